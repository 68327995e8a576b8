"""What every lesson must be, and that each of its live figures answers each of its controls."""

import ast
import contextlib
import io
import re
import runpy
import statistics
import warnings
from pathlib import Path

import numpy as np
import pytest

from gradcourse.live import LiveFigure

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


@pytest.fixture(scope="module")
def figures(source):
    """Run a lesson as a script and collect its live figures."""
    made = []
    original = LiveFigure.__init__

    def remember(self, *arguments, **options):
        original(self, *arguments, **options)
        made.append(self)

    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("error")
        patch.setattr(LiveFigure, "__init__", remember)
        patch.delenv("GRADCOURSE_LEDGER", raising=False)
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            runpy.run_path(str(source))
    assert "✓" in printed.getvalue()
    assert made
    return made


def drawn(figure):
    """Return everything that a picture shows of its data."""
    return {
        (name, key): np.concatenate(line)
        for name, panel in figure.canvas.panels.items()
        for key, line in panel.lines().items()
    }


def test_every_control_moved_to_its_ends_changes_picture_and_words(figures):
    for figure in figures:
        start = figure.settings
        for name in figure.controls:
            ends = figure.positions(name)
            seen = []
            for value in (ends[0], ends[-1]):
                figure.set(**{name: value})
                seen.append((figure.summary, drawn(figure), figure._image.value))
                assert "nan" not in figure.summary
                assert figure.error is None
            (words, lines, picture), (other_words, other_lines, other_picture) = seen
            assert words != other_words, name
            assert picture != other_picture, name
            assert lines.keys() != other_lines.keys() or any(
                not np.array_equal(lines[key], other_lines[key], equal_nan=True) for key in lines
            ), name
            figure.set(**start)


def test_every_figure_shows_theory_beside_measurement(figures):
    for figure in figures:
        for panel in figure.canvas.panels.values():
            labels = {str(artist.get_label()) for artist in panel.labelled()}
            assert any(label.startswith("theory") for label in labels), labels
            assert any(label.startswith("measured") for label in labels), labels


def test_a_value_outside_a_control_gets_one_sentence(figures):
    for figure in figures:
        for name, control in figure.controls.items():
            wrong = "nonsense" if hasattr(control, "options") else -1
            with pytest.raises(ValueError, match=rf"^{name} must be [^\n]*$"):
                figure.set(**{name: wrong})


def test_a_lesson_is_short_and_whole(source):
    kinds = cells(source)
    assert 15 <= len(kinds) <= 35
    code = [code_lines(text) for header, text in kinds if "[markdown]" not in header]
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


def opening(path):
    return next(text for header, text in cells(path) if "find_spec" in text)


def test_every_lesson_opens_with_the_same_cell(source):
    assert opening(source) == opening(SOURCES[0])


@pytest.mark.parametrize("wheels", [[], ["gradcourse-0.1.0-py3-none-any.whl"]])
def test_the_opening_cell_installs_a_wheel_or_says_what_is_missing(tmp_path, monkeypatch, wheels):
    calls = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    monkeypatch.setattr("subprocess.run", lambda command, check: calls.append((command, check)))
    for wheel in wheels:
        Path(wheel).touch()
    if wheels:
        exec(opening(SOURCES[0]), {})
        ((command, check),) = calls
        assert str(command[-1]) == wheels[0]
        assert "--no-deps" in command
        assert check
    else:
        with pytest.raises(AssertionError, match=r"Put gradcourse-\*\.whl beside this notebook"):
            exec(opening(SOURCES[0]), {})
        assert not calls
