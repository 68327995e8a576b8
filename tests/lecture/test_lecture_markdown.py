"""A lesson's Markdown as HTML."""

from __future__ import annotations

import re

import nbformat
import pytest

from gradcourse.cli.course import find_course, list_lessons
from gradcourse.lecture.markdown import to_html

LESSONS = list_lessons(find_course())


@pytest.mark.parametrize("source", [r"# Why $\sqrt d$?", r"Why $\sqrt d$?", r"- why $\sqrt d$?"])
def test_mathematics_is_mathml_wherever_it_stands(source: str) -> None:
    html = to_html(source)
    assert re.search(r"<math\b[^>]*>.*<msqrt>.*</msqrt>.*</math>", html)


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda path: path.stem)
def test_every_formula_of_a_lesson_is_one_that_a_browser_draws(lesson) -> None:
    cells = nbformat.read(lesson, as_version=4).cells
    html = "".join(to_html(cell.source) for cell in cells if cell.cell_type == "markdown")
    assert "ns0:" not in html
    assert html.count("<math ") == html.count("</math>") > 0
    without = re.sub(r"<(math|code|pre)\b.*?</\1>", "", html, flags=re.DOTALL)
    assert "$" not in without
