"""``gradcourse claims``: the ledger, and its exit code."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from said import Course

from gradcourse.cli import main
from gradcourse.cli.ledger import table

CLAIMING = [
    "# parameters\nseed = 0",
    "from gradcourse.claims import claim\n"
    "claim('two is above one', 2, above=1, source='arithmetic')\n"
    "claim('the seed is below two', seed, below=2, source='luck')",
]


def test_a_true_ledger_is_printed(course: Course, capsys: pytest.CaptureFixture[str]) -> None:
    course(_00_start_here=["1"], _01_a=CLAIMING)
    assert main(["claims"]) == 0
    said = capsys.readouterr().out
    assert "2 claims, 2 true, 0 false" in said
    (line,) = [line for line in said.splitlines() if "two is above one" in line]
    assert " ".join(line.split()) == "true two is above one 2 above 1 arithmetic"
    assert "GRADCOURSE_LEDGER" not in os.environ


def test_a_claim_that_a_seed_contradicts_is_false(
    course: Course, capsys: pytest.CaptureFixture[str]
) -> None:
    course(_01_a=CLAIMING, _02_b=["1"])
    assert main(["claims", "--seeds", "2"]) == 1
    said = capsys.readouterr().out
    assert "true 3/3" in said
    assert "FALSE 2/3" in said
    assert "0 (0 to 2)" in said
    assert "2 (2 to 2)" not in said
    assert "no parameter named seed" in said
    assert "2 claims, 1 true, 1 false" in said


def test_a_lesson_that_fails_is_named_and_its_claims_still_printed(
    course: Course, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    course(_01_a=[*CLAIMING, "1 / 0"])
    before = sorted(tmp_path.iterdir())
    assert main(["claims", "01"]) == 1
    said = capsys.readouterr()
    assert "2 claims, 2 true, 0 false; 1 of 1 lessons failed" in said.out
    assert "  FAILED in cell In [3]: ZeroDivisionError" in said.out
    assert "01_a, cell In [3]: ZeroDivisionError" in said.err
    assert sorted(tmp_path.iterdir()) == before


def test_lessons_that_run_at_the_same_time_give_the_same_ledger_in_the_same_order(
    course: Course, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    course(_01_a=["import time\ntime.sleep(1)", *CLAIMING], _02_b=CLAIMING, _03_c=["1 / 0"])
    before = sorted(tmp_path.iterdir())
    said = []
    for jobs in "1", "2":
        assert main(["claims", "--seeds", "2", "--jobs", jobs]) == 1
        said.append(capsys.readouterr().out)
    assert said[0] == said[1]
    assert said[0].index("01_a") < said[0].index("02_b") < said[0].index("03_c")
    assert sorted(tmp_path.iterdir()) == before


def test_a_table_folds_long_cells_to_the_width() -> None:
    rows = [("", "claim"), ("true", "word " * 40), ("FALSE", "short")]
    lines = table(rows, 80).splitlines()
    assert max(map(len, lines)) <= 80
    assert " ".join(line[9:] for line in lines).split().count("word") == 40
