"""The picture of a training run's gradients: over the steps, and over the layers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from gradcourse.diagnosis.history import History, over_steps

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["draw"]


def draw(history: History) -> Figure:
    """Return a figure with the norm over the steps and its profile over the layers."""
    # Drawing is the only thing here that needs matplotlib.
    from matplotlib import pyplot as plt

    from gradcourse.live.style import styled

    with styled():
        figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
        _draw_steps(left, history)
        _draw_layers(right, history)
    return figure


def _draw_steps(axes: Axes, history: History) -> None:
    from gradcourse.live.style import MEASURED, PALETTE, THEORY

    axes.set(title="gradient norm", xlabel="step", yscale="log")
    finite = np.isfinite(history.norm) & (history.norm > 0)
    axes.plot(history.steps[finite], history.norm[finite], color=MEASURED, label="before clipping")
    limited = np.isfinite(history.max_norm) & (history.max_norm > 0)
    if limited.any():
        axes.plot(
            history.steps[limited],
            history.max_norm[limited],
            color=THEORY,
            linestyle="--",
            label=f"max_norm ({history.clipped.mean():.0%} clipped)",
        )
    bad = ~np.isfinite(history.norm)
    for place, step in enumerate(history.steps[bad]):
        axes.axvline(step, color=PALETTE[6], label="NaN or Inf" if place == 0 else None)
    if finite.any() or bad.any():
        axes.legend()


def _draw_layers(axes: Axes, history: History) -> None:
    from gradcourse.live.style import MEASURED

    layers = history.layers or history.parameters
    axes.set(
        title="gradient of each layer's output" if history.layers else "gradient of each parameter",
        xlabel="layer, from input to output" if history.layers else "in the model's order",
        yscale="log",
    )
    middle, low, high = over_steps(layers, 0.5, 0.05, 0.95)
    places = np.arange(len(layers))
    axes.plot(places, middle, "o-", color=MEASURED, label="median over the steps")
    axes.fill_between(places, low, high, color=MEASURED, alpha=0.25, label="5 to 95 % of the steps")
    # A name at each of hundreds of layers could not be read.
    some = places[:: len(layers) // 24 + 1]
    axes.set_xticks(some, [list(layers)[place] for place in some], rotation=90)
    if np.isfinite(middle).any():
        axes.legend()
