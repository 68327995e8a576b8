"""The style sheet that each figure brings along: what only the page itself can show."""

from __future__ import annotations

__all__ = ["FIGURE", "SHEET"]

# The class of a live figure on a page.
FIGURE = "gradcourse-live"

# ipywidgets' sliders do not show that the keyboard is theirs.
_COLOUR = "var(--jp-ui-font-color1,currentcolor)"
_FOCUS = f".{FIGURE} .noUi-handle:focus-visible{{outline:2px solid {_COLOUR};outline-offset:2px}}"

# After a restart sliders still move in the page, and the picture no longer follows. No kernel is
# left to say so, but JupyterLab gives widgets without one a class.
_GONE = f".{FIGURE}.jupyter-widgets-disconnected"
_FADED = f"{_GONE} .widget-image,{_GONE} [role=status]{{opacity:.25}}"
_SAID = (
    f"{_GONE} .widget-html-content::before{{display:block;font-weight:bold;"
    "content:'The kernel behind this figure is gone: run the cell again.'}"
)
SHEET = f"<style>{_FOCUS}{_FADED}{_SAID}</style>"
