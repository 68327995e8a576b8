"""What the README shows runs, what it says is so, and its links lead somewhere."""

from __future__ import annotations

import html
import itertools
import re
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

import gradcourse
from gradcourse.cli import _parser
from gradcourse.initialization import initialize
from gradcourse.models import MLP
from gradcourse.tasks import digits
from tools.lesson_pictures import CHOSEN, PICTURES, WIDTH, chosen

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [
    ROOT / name
    for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs/troubleshooting.md")
]
LESSONS = sorted(path.name for path in (ROOT / "notebooks").glob("*.ipynb"))
NOTES = ROOT / "gradcourse" / "lecture" / "notes"


def section(title: str) -> str:
    """Return what is below a heading."""
    (found,) = re.findall(rf"^## {title}\n(.*?)(?=^## |\Z)", TEXT, re.DOTALL | re.MULTILINE)
    return str(found)


def table(title: str, head: str) -> list[list[str]]:
    """Return the rows of a table below a heading, whose first line is given."""
    below = section(title).partition(head + "\n")[2].partition("\n\n")[0]
    rows = below.splitlines()[1:]
    assert rows
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]


def example(word: str) -> str:
    """Return the one Python example in which a word occurs."""
    examples = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    (found,) = [code for code in examples if word in code]
    return str(found)


def test_it_is_short():
    assert len(TEXT.splitlines()) <= 200


def test_the_training_loop_runs_and_says_what_its_comment_says(capsys):
    torch.manual_seed(0)
    model = MLP(in_features=64, width=64, depth=20, out_features=10, activation="relu")
    own = {
        "model": model,
        "batches": [digits(batch=256)] * 10,
        "loss_function": torch.nn.functional.cross_entropy,
        "optimizer": torch.optim.SGD(model.parameters(), lr=0.1),
    }
    code = example("GradMonitor")
    exec(code, own)
    said = capsys.readouterr().out
    (promised,) = [line[2:] for line in code.splitlines() if line.startswith("# ")]
    assert promised.removesuffix(" ...") in said
    assert len(code.splitlines()) <= 12
    # The advice is worth following.
    initialize(model, "he_normal")
    exec(code, own)
    assert "vanishing" not in capsys.readouterr().out


def test_the_example_runs_and_its_claim_is_true(capsys):
    exec(example("mlp_signal"), {})
    said = capsys.readouterr().out
    assert "60 gelu layers, width 128" in said
    assert "✓ the edge of chaos of tanh" in said


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)
def test_links_lead_to_files(page):
    text = page.read_text(encoding="utf-8")
    targets = re.findall(r"\]\(([^)#:]+)\)", text) + re.findall(r'(?:src|href)="([^":]+)"', text)
    for target in targets:
        assert (page.parent / target).exists(), target


def test_every_command_is_one():
    fences = "\n".join(re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL))
    commands = re.findall(r"^gradcourse (.*?)(?: +#.*)?$", fences, re.MULTILINE)
    commands += re.findall(r"`gradcourse ([^`]*)`", TEXT)
    assert len(commands) > 5
    for command in commands:
        if command != "COMMAND --help":
            words = command.split()
            # `gradcourse run` alone names the command.
            _parser().parse_args(words if words != ["run"] else ["run", "01"])


def test_modules_in_the_table_are_those_of_the_package():
    named = {cell for row in table("In your own code", "| in | there is |") for cell in row[:1]}
    folders = {path.parent.name for path in (ROOT / "gradcourse").glob("*/__init__.py")}
    inner = {"cli", "lecture", "lessons", "models"}
    assert named == {f"`gradcourse.{name}`" for name in folders - inner}


# The lessons and their pictures


def test_every_lesson_is_listed():
    listed = re.findall(r"\]\(notebooks/([^)]+)\)\*\*<br>", section("The lessons"))
    assert listed == LESSONS
    assert [name[:2] for name in LESSONS] == list(CHOSEN)


@pytest.mark.parametrize("number", CHOSEN)
def test_a_lesson_s_picture_and_its_words_are_those_of_its_notebook(number):
    wanted, words = chosen(number)
    with Image.open(PICTURES / f"{number}.webp") as stored:
        found = np.asarray(stored.convert("RGB")).astype(int)
    again = "the notebook has another picture now: python -m tools.lesson_pictures"
    assert found.shape[1] == WIDTH
    assert found.shape == np.asarray(wanted).shape, again
    # Another Pillow may round otherwise.
    assert np.abs(found - np.asarray(wanted)).max() <= 2, again
    image = rf'<img src="docs/lessons/{number}\.webp" width="380" alt="([^"]*)">'
    (alternative,) = re.findall(image, TEXT)
    assert html.unescape(alternative) == words, again


def test_pictures_are_small_enough_for_a_page():
    small = [path.stat().st_size for path in PICTURES.iterdir()]
    assert len(small) == len(LESSONS)
    assert sum(small) < 1e6
    moving = ROOT / "docs" / "live_figure.gif"
    assert moving.stat().st_size < 1.5e6
    with Image.open(moving) as film:
        assert film.width == 800
        assert film.n_frames >= 20


# Where it runs, and for teachers


def test_a_front_end_is_shown_by_a_test_or_said_to_be_untested():
    rows = table("Where it runs", "| where | opens | live | tested by |")
    for where, opens, live, tested in rows:
        files = re.findall(r"\]\(([^)]+)\)", tested)
        assert files or "*untested*" in opens + live, where
        for name in files:
            assert re.search(r"^def test_", (ROOT / name).read_text(encoding="utf-8"), re.MULTILINE)


def minutes(lesson: str) -> int:
    (path,) = NOTES.glob(f"{lesson}_*.md")
    (found,) = re.findall(r"^Time: (\d+) minutes\.$", path.read_text(encoding="utf-8"), re.M)
    return int(found)


def needed(lesson: str) -> set[str]:
    """Return the lessons that a lesson cannot do without, by its speaker notes."""
    (path,) = NOTES.glob(f"{lesson}_*.md")
    text = path.read_text(encoding="utf-8")
    (needs,) = re.findall(r"^Needs: (.*?)^Arc:", text, re.DOTALL | re.MULTILINE)
    parts = [
        part for part in re.split(r"[;.]", needs) if "helps" not in part and "as many" not in part
    ]
    lists = re.findall(r"lessons? (\d\d(?:[^;.]*? and \d\d\b)?)", ";".join(parts))
    return {number for one in lists for number in re.findall(r"\b\d\d\b", one)}


def test_lessons_need_what_their_notes_say():
    assert needed("04") == {"02", "03"}
    assert needed("03") == {"01"}
    assert needed("12") == {"01", "03"}
    assert needed("13") == set()


def test_sessions_have_the_minutes_of_their_lessons_and_what_each_lesson_needs():
    rows = table("For teachers", "| sessions | lessons | minutes |")
    for count, lessons, time in rows:
        sessions = [one.split() for one in lessons.split("·")]
        assert len(sessions) == int(count)
        assert [sum(map(minutes, one)) for one in sessions] == [int(t) for t in time.split("·")]
        given: set[str] = set()
        for lesson in itertools.chain(*sessions):
            assert needed(lesson) <= given, lesson
            given.add(lesson)
    assert sum(minutes(name[:2]) for name in LESSONS) == 14.25 * 60
    assert "14¼ hours" in section("For teachers")


# Versions


def test_the_citation_is_that_of_the_citation_file():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    (block,) = re.findall(r"```bibtex\n(.*?)```", TEXT, re.DOTALL)
    cited = dict(re.findall(r"^ +(\w+) += \{+(.*?)\}+,?$", block, re.MULTILINE))
    assert cited == {
        "title": citation["title"],
        "author": " and ".join(author["name"] for author in citation["authors"]),
        "version": citation["version"],
        "license": citation["license"],
    }


def test_the_changelog_has_a_section_for_this_version():
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    sections = re.findall(r"^## \[([^\]]+)\] - (unreleased|\d{4}-\d\d-\d\d)$", text, re.MULTILINE)
    assert sections[0][0] == gradcourse.__version__
