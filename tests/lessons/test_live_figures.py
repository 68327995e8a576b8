"""That each live figure of each lesson shows theory, and refuses what its controls do not offer."""

import contextlib
import io
import runpy
import warnings
from pathlib import Path

import pytest

from gradcourse.live import LiveFigure

# Each lesson runs whole. That its figures answer at both ends of every control, a kernel shows in
# tests/test_colab.py.
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
