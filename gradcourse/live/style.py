"""Colours and sizes of every picture: colour-blind safe, and readable from the back row."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

from matplotlib import style

__all__ = ["GHOST", "MEASURED", "PALETTE", "RC", "THEORY", "styled"]

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Colours of Okabe & Ito 2008 that colour-blind readers tell apart, in the order for lines."""

MEASURED = PALETTE[0]
"""The colour of what is measured."""
THEORY = PALETTE[1]
"""The colour of what theory predicts."""
GHOST = "#9A9A9A"
"""The colour of what was there before."""

RC: dict[Any, Any] = {
    "axes.axisbelow": True,
    "axes.edgecolor": "#444444",
    "axes.grid": True,
    "axes.labelsize": 13,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 14,
    "axes.titleweight": "bold",
    # At the top of the axes, where it stands anyway: finding that out takes a tenth of a redraw.
    "axes.titley": 1.0,
    "figure.facecolor": "white",
    "font.size": 13,
    "grid.color": "#DDDDDD",
    "grid.linewidth": 0.8,
    "legend.fontsize": 12.5,
    "legend.frameon": False,
    "lines.linewidth": 2.5,
    "lines.solid_capstyle": "round",
    "xtick.labelsize": 12,
    "ytick.labelsize": 12,
}


def styled() -> AbstractContextManager[None]:
    """Return a context in which matplotlib makes artists in the style of the course.

    It starts from matplotlib's own defaults, so a style that the reader has chosen changes
    nothing here, and nothing here outlasts the context.
    """
    return style.context(["default", RC])
