"""The button that plays a control from one end to the other."""

from __future__ import annotations

from typing import Any

import ipywidgets

from gradcourse.live.controls import Control

__all__ = ["make_player"]

PLAY_SECONDS = 8.0


def make_player(control: Control) -> ipywidgets.Play:
    """Return a play button that steps a control through its positions, and follows it."""
    stops = control.stops()
    player = ipywidgets.Play(
        value=control.nearest_stop(),
        min=0,
        max=stops - 1,
        interval=max(80, int(1000 * PLAY_SECONDS / stops)),
    )

    def step(change: Any) -> None:
        if change["new"] != control.nearest_stop():
            control.widget.value = control.position(change["new"])

    def follow(_change: Any) -> None:
        player.value = control.nearest_stop()

    player.observe(step, names="value")
    control.widget.observe(follow, names="value")
    return player
