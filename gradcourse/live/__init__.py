"""The live figure: a picture that follows its sliders. It knows nothing of gradients.

``live(measure, draw, depth=(1, 100), activation=["tanh", "relu"])`` reads like
``ipywidgets.interact``: ``measure(**settings)`` computes a result, ``draw(result, axes)`` says what
the picture shows, and the controls are made from abbreviations.
"""

from gradcourse.live.controls import Log, log
from gradcourse.live.figure import LiveFigure, live
from gradcourse.live.limits import snap_decades, snap_up
from gradcourse.live.panel import Panel
from gradcourse.live.style import GHOST, MEASURED, PALETTE, THEORY

__all__ = [
    "GHOST",
    "MEASURED",
    "PALETTE",
    "THEORY",
    "LiveFigure",
    "Log",
    "Panel",
    "live",
    "log",
    "snap_decades",
    "snap_up",
]
