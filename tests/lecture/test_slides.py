"""What the slides of a lecture are made of, without a kernel."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nbformat
import pytest

from gradcourse.cli.course import find_course, list_lessons
from gradcourse.lecture.needed import needed_cells
from gradcourse.lecture.slides import Claim, make_lecture

LESSONS = list_lessons(find_course())
TITLE = "# 01 · A lesson\n\n**Question.** Why?"


def notebook(*cells: str) -> Any:
    """Make a notebook: a cell that starts with # is text, the others are code, one with a claim."""
    made = []
    for source in cells:
        if source.startswith("#"):
            made.append(nbformat.v4.new_markdown_cell(source))
            continue
        output = nbformat.v4.new_output(
            "stream", text=f"noise\n✓ {source} holds  [measured 1; expected 1]\n"
        )
        made.append(nbformat.v4.new_code_cell(source, outputs=[output]))
    return nbformat.v4.new_notebook(cells=made)


def slides(*cells: str) -> Any:
    return make_lecture(notebook(*cells)).slides


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda path: path.stem)
def test_each_lesson_makes_a_lecture(lesson: Path) -> None:
    written = nbformat.read(lesson, as_version=4)
    lecture = make_lecture(written)
    first, last = lecture.slides[0], lecture.slides[-1]
    assert lecture.title == first.heading == written.cells[0].source.splitlines()[0][2:]
    assert "**Question.**" in first.text
    assert not first.code
    assert last.heading == "Remember"
    assert last.text.lstrip().startswith("1.")
    live = [cell for cell in written.cells if cell.cell_type == "code" and "live(" in cell.source]
    figures = [slide for slide in lecture.slides if slide.figure is not None]
    assert [lecture.cells[slide.figure or 0] for slide in figures] == [one.source for one in live]
    assert all(slide.picture and slide.said for slide in figures)
    everything = "\n".join(
        slide.heading + slide.text + slide.predict + slide.words for slide in lecture.slides
    )
    for absent in ("Heard and measured", "<details>", "\n## ", ".ipynb", "References"):
        assert absent not in everything, absent
    ran = "\n".join(lecture.cells)
    assert "pip" not in ran
    assert "..." not in [line.rpartition("= ")[2] for line in ran.splitlines()]
    asked = sum(cell.source.count("**Predict") for cell in written.cells)
    assert everything.count("**Predict") == asked


def test_a_section_gives_its_text_its_figure_and_its_claims() -> None:
    start, text, figure, claims = slides(
        TITLE,
        "import numpy as np",
        "## 1 · A section\n\n" + "A long text. " * 30 + "\n\n**Predict.** How many? Write a number."
        " Then move it.\n\nThe blue line.",
        "shown = 3",
        "live(measure, draw, of=shown)",
        "nothing",
    )
    assert start.code == ""
    assert text.text.startswith("A long text.")
    assert "Predict" not in text.text
    assert figure.predict == "**Predict.** How many?"
    assert figure.words == "Then move it.\n\nThe blue line."
    assert text.code == "shown = 3"
    assert figure.code == "live(measure, draw, of=shown)"
    assert claims.heading == "1 · A section"
    assert claims.claims[-1] == Claim("nothing holds", "")


def test_claims_stand_below_the_text_that_they_belong_to() -> None:
    made = slides(TITLE, "## 1 · A", "live(m)", "## 2 · B\n\nFirst.", "x", "### Second", "y")
    assert [(one.text.strip(), [each.statement for each in one.claims]) for one in made[-2:]] == [
        ("First.", ["x holds"]),
        ("### Second", ["y holds"]),
    ]


def test_a_short_text_stands_above_its_figure() -> None:
    _, figure = slides(TITLE, "## 1 · A\n\nShort.\n\n**Predict.** Up?", "live(m)")[:2]
    assert figure.predict == "Short.\n\n**Predict.** Up?"


def test_code_without_a_slide_of_its_own_belongs_to_the_figure() -> None:
    made = notebook(TITLE, "## 1 · A\n\nShort.\n\n**Predict.** Up?", "x = 1", "live(x)")
    made.cells[2].outputs = []
    assert make_lecture(made).slides[1].code == "x = 1\n\nlive(x)"


def test_a_prediction_that_ends_a_section_belongs_to_the_next_figure() -> None:
    made = slides(TITLE, "## 1 · A\n\nText.\n\n**Predict.** Up?", "## 2 · B\n\nHow.", "live(m)")
    figure = next(slide for slide in made if slide.figure is not None)
    assert (figure.heading, figure.predict, figure.words) == ("2 · B", "**Predict.** Up?", "How.")


def test_a_prediction_in_the_middle_of_a_paragraph_stands_above_its_figure() -> None:
    text = "It starts at 3. **Predict.** Up? Write a number. Then tick it."
    _, figure = slides(TITLE, f"## 1 · A\n\n{text}", "live(m)")[:2]
    assert figure.predict == "It starts at 3. **Predict.** Up?"
    assert figure.words == "Then tick it."


def test_a_prediction_without_a_figure_stays_in_the_text() -> None:
    made = slides(TITLE, "## 1 · A\n\n**Predict.** Up?\n\nMore.", "x = 1", "## 2 · B", "live(m)")
    assert "**Predict.** Up?" in made[1].text


def test_what_does_not_fit_goes_on_on_a_slide_with_the_same_heading() -> None:
    paragraphs = "\n\n".join(f"Paragraph {number}. " + "word " * 60 for number in range(9))
    made = slides(TITLE, f"## 1 · Much\n\n{paragraphs}", "live(m)")
    texts = [slide for slide in made[1:] if slide.figure is None and slide.text]
    assert len(texts) > 2
    assert {slide.heading for slide in texts} == {"1 · Much"}
    assert "".join(slide.text for slide in texts).count("Paragraph") == 9


def test_slides_of_a_section_are_filled_evenly() -> None:
    lines = [f"Paragraph {number}." for number in range(11)]
    made = slides(TITLE, "## 1 · Much\n\n" + "\n\n".join(lines), "live(m)")
    held = [slide.text.count("Paragraph") for slide in made[1:] if slide.text]
    assert held == [6, 5]


def test_a_formula_stays_with_the_text_that_leads_to_it() -> None:
    lines = [f"Paragraph {number}." for number in range(8)]
    text = "\n\n".join([*lines, "So it is:", "$$x$$", "After."])
    made = slides(TITLE, f"## 1 · Much\n\n{text}", "live(m)")
    (with_formula,) = [slide for slide in made if "$$" in slide.text]
    assert "So it is:\n\n$$x$$" in with_formula.text


def test_a_heading_stays_with_its_text() -> None:
    lines = [f"Paragraph {number}." for number in range(9)]
    text = "\n\n".join([*lines, "### The reason", *lines])
    made = slides(TITLE, f"## 1 · Much\n\n{text}", "live(m)")
    assert not any(slide.text.rstrip().endswith("reason") for slide in made)


def test_a_claim_brings_what_was_measured() -> None:
    text = (
        "noise\n✓ 3 < 4  [measured 3; expected below 4; arithmetic]\n"
        "✓ a long one\n  [measured 0.5; expected 0.5 within 0.1]\n"
        "✓ it is so  [measured 1; expected 1; Pascanu 2013]\n✓ not [in] a notebook\n"
    )
    cell = nbformat.v4.new_code_cell("x", outputs=[nbformat.v4.new_output("stream", text=text)])
    cells = notebook(TITLE, "## 1 · A", "live(m)").cells
    made = make_lecture(nbformat.v4.new_notebook(cells=[*cells, cell])).slides
    assert made[-1].claims[1:] == [
        Claim("3 < 4", "measured 3; expected below 4; arithmetic"),
        Claim("a long one", "measured 0.5; expected 0.5 within 0.1"),
        # Of a question of yes or no the numbers say nothing.
        Claim("it is so", "Pascanu 2013"),
        Claim("not [in] a notebook", ""),
    ]


def test_exercise_hearsay_references_and_folded_text_are_left_out() -> None:
    made = slides(
        TITLE,
        "## 1 · A",
        "live(m)",
        "## Heard and measured\n\nRumour.",
        "rumour = 1",
        "## Exercise\n\nSolve.",
        "answer = ...",
        "# <details>\n\n## Secret\n\n</details>",
        "## Remember\n\n1. This.\n\n## References\n\nBook.",
    )
    assert [slide.heading for slide in made] == ["01 · A lesson", "1 · A", "1 · A", "Remember"]
    assert made[-1].text.strip() == "1. This."
    assert not made[-1].claims


def test_a_notebook_without_a_live_figure_is_refused() -> None:
    with pytest.raises(ValueError, match="no live figure"):
        make_lecture(notebook(TITLE, "print(1)"))


def test_a_notebook_without_a_title_is_refused() -> None:
    with pytest.raises(ValueError, match="no title"):
        make_lecture(notebook("live(m)"))


@pytest.mark.parametrize(
    ("cells", "kept"),
    [
        (["a = 1", "b = 2", "live(a)"], [0, 2]),
        (["a = 1", "a = 2", "live(a)"], [1, 2]),
        (["a = 1", "a += 2", "live(a)"], [0, 1, 2]),
        (["a = {}", "a['x'] = 2", "live(a)"], [0, 1, 2]),
        (["a = thing()", "a.x.y = 2", "live(a)"], [0, 1, 2]),
        (["a = 1", "if b:\n    a = 2", "live(a)"], [0, 1, 2]),
        (["a = 1", "def f(a):\n    return a", "live(f)"], [1, 2]),
        (["a = 1", "def f():\n    return a", "live(f)"], [0, 1, 2]),
        (["x = 1", "live([x for x in y])"], [1]),
        (["x = 1", "live([z for z in x])"], [0, 1]),
        (["import a.b", "from c import d as e", "live(a, e)"], [0, 1, 2]),
        (["n = 1", "for n in y:\n    print(n)\nlive(0)"], [1]),
        (["n = 1", "for m in y:\n    k = n\nlive(k)"], [0, 1]),
        (["a = b = 1", "c, (d, *e) = a, b", "live(e)"], [0, 1, 2]),
        (["first = 1", "second = first", "print(second)", "live(second)"], [0, 1, 3]),
        (["with a as b:\n    c = b", "live(c)"], [0, 1]),
    ],
)
def test_a_cell_runs_when_a_figure_needs_what_it_makes(cells: list[str], kept: list[int]) -> None:
    assert needed_cells(cells, [len(cells) - 1]) == kept
