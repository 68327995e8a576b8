"""The ways compared: what is in each notebook, and where its picture is in the page."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import nbformat

__all__ = ["BASE", "WAYS", "Way", "missing", "notebook"]

CELLS = Path(__file__).parent / "ways"

# Kernel time is taken where every message of a widget arrives, so that it holds the whole answer:
# the callback, and what a library does later because of it, such as drawing when the page asks.
PROBE = """\
import time

start = {start}
answers = []
_handlers = get_ipython().kernel.shell_handlers
_answer = _handlers["comm_msg"]


def _timed(*message):
    began, counted = time.time(), time.perf_counter()
    try:
        return _answer(*message)
    finally:
        answers.append((began, time.perf_counter() - counted))


_handlers["comm_msg"] = _timed
"""


@dataclass(frozen=True)
class Way:
    """One way to put a slider and a picture into a notebook.

    Attributes
    ----------
    label
        Its name in the tables.
    cell
        The file in ``ways/`` that is its cell.
    measured
        The file in ``ways/`` that defines ``gradient_norms``, or None if the cell measures.
    kind
        How the page shows the picture: ``img``, ``canvas`` or ``plotly``.
    selector
        Where the picture is.
    needs
        Packages that it imports and the course does not.
    magic
        A line above the cell.
    words
        Where the page says the value shown, if the picture depends on what was shown before it too.
    seen
        Whether to measure values that were shown before as well.
    """

    label: str
    cell: str
    measured: str | None = "measure_torch"
    kind: str = "img"
    selector: str = ".jp-OutputArea-output img"
    needs: tuple[str, ...] = ()
    magic: str = ""
    words: str | None = None
    seen: bool = False


_IPYMPL: dict[str, Any] = {
    "kind": "canvas",
    "selector": ".jupyter-matplotlib-canvas-container canvas",
    "magic": "%matplotlib ipympl\n",
}
_PLOTLY: dict[str, Any] = {
    "kind": "plotly",
    "selector": ".js-plotly-plot",
    "needs": ("plotly", "anywidget"),
}

BASE = "interact"
WAYS: dict[str, Way] = {
    "interact": Way("interact + plt.show()", "interact"),
    "interact-ours": Way(
        "interact + plt.show(), our measurement", "interact", measured="measure_ours"
    ),
    "ipympl": Way("ipympl", "ipympl", needs=("ipympl",), **_IPYMPL),
    "ipympl-ours": Way(
        "ipympl, our measurement", "ipympl", measured="measure_ours", needs=("ipympl",), **_IPYMPL
    ),
    "mpl_interactions": Way(
        "mpl-interactions", "mpl_interactions", needs=("ipympl", "mpl_interactions"), **_IPYMPL
    ),
    "plotly": Way("plotly FigureWidget", "plotly", **_PLOTLY),
    "plotly-ours": Way(
        "plotly FigureWidget, our measurement", "plotly", measured="measure_ours", **_PLOTLY
    ),
    "live": Way("**gradcourse.live**", "live", measured=None, seen=True),
    "lesson": Way(
        "gradcourse.live, main figure of lesson 01", "lesson", measured=None, words="[role=status]"
    ),
    "round-trip": Way("the round trip alone", "round_trip", measured=None),
}


def missing(ways: list[str]) -> str | None:
    """Return a sentence that names the packages these ways lack, or None."""
    lacking = sorted({name for way in ways for name in WAYS[way].needs if find_spec(name) is None})
    if not lacking:
        return None
    return (
        f"the ways to compare with need {', '.join(lacking)}: make bench-slider installs them, "
        "or leave ways out with --ways"
    )


def notebook(way: Way, start: int) -> str:
    """Return the notebook of a way, whose slider starts at ``start``."""
    sources = [PROBE.format(start=start)]
    if way.measured is not None:
        sources.append((CELLS / f"{way.measured}.py").read_text())
    sources.append(way.magic + (CELLS / f"{way.cell}.py").read_text())
    cells = []
    for source in sources:
        cell = nbformat.v4.new_code_cell(source)
        # The slider and the whole picture fit into the window, and neither is scrolled.
        cell.metadata = {"jupyter": {"source_hidden": True}, "scrolled": False}
        cells.append(cell)
    made = nbformat.v4.new_notebook(cells=cells)
    made.metadata.kernelspec = {
        "name": "python3",
        "display_name": "Python 3",
        "language": "python",
    }
    return str(nbformat.writes(made))
