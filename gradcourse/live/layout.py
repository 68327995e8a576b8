"""Where the controls, the picture and its words stand."""

from __future__ import annotations

from collections.abc import Callable, Collection

import ipywidgets

from gradcourse.live.controls import Control
from gradcourse.live.sheet import SHEET

__all__ = ["lay_out"]


def lay_out(
    controls: Collection[Control],
    player: ipywidgets.Widget | None,
    reset: Callable[[], object],
    progress: ipywidgets.Widget | None,
    pixels: int,
) -> tuple[ipywidgets.Image, ipywidgets.HTML, ipywidgets.VBox]:
    """Return the picture, the text below it, and all together, ``pixels`` wide at most."""
    width = f"{pixels}px"
    image = ipywidgets.Image(
        format="png", layout=ipywidgets.Layout(width="100%", max_width=width, height="auto")
    )
    text = ipywidgets.HTML(layout=ipywidgets.Layout(max_width=width))
    rows: list[ipywidgets.Widget] = []
    if controls:
        button = ipywidgets.Button(
            description="Reset", tooltip="Return every control to where it started"
        )
        button.layout.width = "5.5em"
        button.on_click(lambda _button: reset())
        for control in controls:
            if control.ours and control.ends is not None:
                control.widget.layout.width = "26em"
        players = [] if player is None else [player]
        rows.append(
            ipywidgets.Box(
                [*players, *(control.widget for control in controls), button],
                layout=ipywidgets.Layout(
                    flex_flow="row wrap", align_items="center", max_width=width
                ),
            )
        )
    below = [] if progress is None else [progress]
    sheet = ipywidgets.HTML(SHEET, layout=ipywidgets.Layout(display="none"))
    return image, text, ipywidgets.VBox([*rows, image, *below, text, sheet])
