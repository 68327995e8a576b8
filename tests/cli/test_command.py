"""The whole command: what it loads, how it is asked, which lesson is meant."""

from __future__ import annotations

import subprocess
import sys

import pytest
from said import Course, sentence

from gradcourse.cli import main
from gradcourse.cli.course import Refusal, pick_lessons


def test_help_and_version_load_nothing_heavy() -> None:
    script = (
        "import sys\nfrom gradcourse.cli import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit: pass\n"
        "heavy = {'torch', 'papermill', 'matplotlib', 'nbformat'} & set(sys.modules)\n"
        "sys.exit(f'loaded {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for command in ("lab", "run", "claims", "info"):
        assert command in done.stdout


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["teach"],
        ["run"],
        ["lab", "--port", "0"],
        ["lab", "--port", "http"],
        ["lab", "--port", "65536"],
        ["claims", "--seeds", "0"],
        ["claims", "--seeds", "-1"],
    ],
)
def test_a_malformed_request_exits_with_2(words: list[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(words)
    assert stopped.value.code == 2


def test_info_names_versions_and_device(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRADCOURSE_DEVICE", "cpu")
    assert main(["info"]) == 0
    said = capsys.readouterr().out
    for word in ("gradcourse", "python", "torch", "ipywidgets", "memory", "threads"):
        assert f"\n{word} " in f"\n{said}"
    assert "cpu (asked for by GRADCOURSE_DEVICE)" in said


def test_info_refuses_a_device_that_is_none(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRADCOURSE_DEVICE", "abacus")
    assert main(["info"]) == 2
    assert "abacus" in sentence(capsys)


@pytest.mark.parametrize(
    ("word", "stem"),
    [
        ("01", "01_vanishing"),
        ("1", "01_vanishing"),
        ("10", "10_transformers"),
        ("01_vanishing", "01_vanishing"),
        ("01_vanishing.ipynb", "01_vanishing"),
        ("notebooks/01_vanishing.ipynb", "01_vanishing"),
        ("VANISH", "01_vanishing"),
        ("start", "00_start_here"),
    ],
)
def test_a_lesson_is_found_by_number_name_or_part(course: Course, word: str, stem: str) -> None:
    folder = course(_00_start_here=[], _01_vanishing=[], _10_transformers=[])
    assert [lesson.stem for lesson in pick_lessons([word], folder)] == [stem]


@pytest.mark.parametrize("word", ["07", "attention", "", "."])
def test_an_unknown_lesson_is_answered_with_the_known_ones(course: Course, word: str) -> None:
    folder = course(_00_start_here=[], _01_vanishing=[])
    with pytest.raises(Refusal, match="00_start_here, 01_vanishing"):
        pick_lessons([word], folder)


def test_an_ambiguous_lesson_is_answered_with_the_candidates(course: Course) -> None:
    folder = course(_01_vanishing=[], _02_watching=[], _03_clipping=[])
    with pytest.raises(Refusal, match=r"could be 01_vanishing, 02_watching, 03_clipping"):
        pick_lessons(["ing"], folder)


def test_each_lesson_is_taken_once_and_no_word_means_all(course: Course) -> None:
    folder = course(_01_a=[], _02_b=[])
    assert [one.stem for one in pick_lessons(["2", "b", "1"], folder)] == ["02_b", "01_a"]
    assert [one.stem for one in pick_lessons([], folder)] == ["01_a", "02_b"]
