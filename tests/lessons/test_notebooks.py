"""What every lesson must be."""

import ast
import re
import statistics
from pathlib import Path

import pytest

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
SOURCES = sorted((NOTEBOOKS / "source").glob("*.py"))
MARK = re.compile(r"^# %%(.*)$", re.MULTILINE)


def cells(path):
    """Return the cells of a py:percent source as (header, text)."""
    parts = MARK.split(path.read_text(encoding="utf-8"))[1:]
    return [(parts[i], parts[i + 1].strip("\n")) for i in range(0, len(parts), 2)]


def code_lines(text):
    return [line for line in text.splitlines() if line.strip()]


@pytest.fixture(scope="module", params=SOURCES, ids=lambda path: path.stem)
def source(request):
    return request.param


def test_a_lesson_is_short_and_whole(source):
    kinds = cells(source)
    assert 15 <= len(kinds) <= 35
    code = [code_lines(text) for header, text in kinds if "[markdown]" not in header]
    # The cell that installs the course is the same everywhere: nobody reads it twice.
    code[0] = []
    assert max(map(len, code)) <= 15
    assert statistics.median(map(len, code)) <= 9
    prose = "\n".join(text for header, text in kinds if "[markdown]" in header)
    for part in (
        "**Question.**",
        "**Predict",
        "## Heard and measured",
        "## Exercise",
        "<summary>Hint",
        "<summary>Solution",
        "## Remember",
        "## References",
    ):
        assert part in prose, part
    remember = prose.split("## Remember")[1].split("##")[0]
    assert len(re.findall(r"^# \d\.", remember, re.MULTILINE)) == 5


def test_links_between_lessons_lead_somewhere(source):
    for target in re.findall(r"\]\(([^)]+\.ipynb)\)", source.read_text(encoding="utf-8")):
        assert (NOTEBOOKS / target).is_file(), target


def test_the_map_leads_to_every_lesson():
    first = SOURCES[0].read_text(encoding="utf-8")
    for path in SOURCES[1:]:
        assert f"({path.stem}.ipynb)" in first


def test_a_lesson_has_parameters_with_a_seed(source):
    (text,) = [text for header, text in cells(source) if 'tags=["parameters"]' in header]
    assert re.search(r"^seed = 0$", text, re.MULTILINE)


def stored(code):
    """Return the names that code binds outside of comprehensions, functions and lambdas."""
    scoped = (
        ast.ListComp,
        ast.SetComp,
        ast.DictComp,
        ast.GeneratorExp,
        ast.FunctionDef,
        ast.Lambda,
    )
    waiting, names = [ast.parse(code)], set()
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        waiting += [] if isinstance(node, scoped) else ast.iter_child_nodes(node)
    return names


def test_no_cell_overwrites_a_parameter(source):
    code = [(header, text) for header, text in cells(source) if "[markdown]" not in header]
    (parameters,) = [stored(text) for header, text in code if "parameters" in header]
    for header, text in code:
        if "parameters" not in header:
            assert not parameters & stored(text), text


def test_no_lesson_names_a_device(source):
    code = "\n".join(text for header, text in cells(source) if "[markdown]" not in header)
    assert not re.search(r"\bcuda\b|\bmps\b|device=", code)
