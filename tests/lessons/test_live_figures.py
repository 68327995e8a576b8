"""That each live figure of each lesson answers each of its controls."""

import contextlib
import io
import runpy
import warnings
from pathlib import Path

import numpy as np
import pytest

from gradcourse.live import LiveFigure

# Each lesson runs whole, and its figures train at both ends of every control.
pytestmark = pytest.mark.slow

SOURCES = sorted((Path(__file__).parents[2] / "notebooks" / "source").glob("*.py"))


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
            below = min(-1, getattr(control, "min", 0) - 1)
            wrong = "nonsense" if hasattr(control, "options") else below
            with pytest.raises(ValueError, match=rf"^{name} must be [^\n]*$"):
                figure.set(**{name: wrong})
