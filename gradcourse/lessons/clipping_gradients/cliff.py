"""The cliff: two walkers on the loss of one recurrent unit, one free and one clipped."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradcourse import theory
from gradcourse.checks import more_than_zero
from gradcourse.exercises import as_prediction
from gradcourse.lessons.clipping_gradients.unit import START, TARGET, Walk, settled_output, walk
from gradcourse.live import MEASURED, PALETTE, THEORY, Panel

__all__ = ["MAP", "Cliff", "Map", "draw_cliff", "draw_map", "loss_map", "measure_cliff"]

Array = NDArray[Any]

# Weight and bias at the edges of the map.
MAP = (3.6, 6.4), (-3.9, -1.4)
FREE, CLIPPED = PALETTE[3], MEASURED
STEPS = 300
BELOW = 0.1


@dataclass(frozen=True)
class Map:
    """The loss over weight and bias, and theory's wall and valley.

    ``root`` is the root of the loss, how far the output is from the target: the loss itself would
    be nearly 0 above the wall. It has shape (biases, weights); ``wall`` and ``valley`` are biases
    of shape (weights,).
    """

    weights: Array
    biases: Array
    root: Array
    wall: Array
    valley: Array


@cache
def loss_map() -> Map:
    """Return the map, computed once."""
    weights, biases = (np.linspace(*ends, 141) for ends in MAP)
    root = np.abs(settled_output(weights, biases[:, None]) - TARGET)
    wall, valley = theory.cliff_wall(weights, START), theory.cliff_valley(weights, TARGET, START)
    return Map(weights, biases, root, wall, valley)


@dataclass(frozen=True)
class Cliff:
    """Two walkers from one start: walker 0 is free, walker 1 is clipped.

    Attributes
    ----------
    walk
        Their steps.
    longest
        The longest step that clipping allows: ``learning_rate * max_norm``.
    prediction
        The learner's guess of the free walker's longest step, if there is one.
    """

    walk: Walk
    longest: float
    prediction: float | None

    @property
    def jump(self) -> int:
        """The step at which the free walker jumps furthest, counted from 1."""
        return int(self.walk.length[:, 0].argmax()) + 1

    def summary(self) -> str:
        """Return the picture in one line."""
        free, clipped = self.walk.length.max(axis=0)
        losses = self.walk.loss[-1]
        return (
            f"free: longest step {free:.3g}, at step {self.jump}, last loss {losses[0]:.2g}; "
            f"clipped: longest step {clipped:.3g} (theory: {self.longest:.3g} at most), "
            f"last loss {losses[1]:.2g}"
        )


def measure_cliff(
    learning_rate: float = 0.3,
    max_norm: float = 1.0,
    weight: float = 5.0,
    prediction: float | None = None,
) -> Cliff:
    """Let two walkers descend from a start just below the wall (T20 and T21).

    Parameters
    ----------
    learning_rate, max_norm
        Above 0.
    weight
        Where they start; the bias there is 0.1 below the wall.
    prediction
        The length of the free walker's longest step that the learner expects of the first setting,
        drawn as a star there.
    """
    more_than_zero("learning_rate", learning_rate)
    more_than_zero("max_norm", max_norm)
    bias = float(theory.cliff_wall(weight, START)) - BELOW
    if math.isnan(bias):
        raise ValueError(f"weight must be above 4.26, where the wall begins, got {weight:g}")
    starts = np.full(2, weight), np.full(2, bias)
    steps = walk(*starts, learning_rate, np.array([math.inf, max_norm]), STEPS)
    asked = math.isclose(learning_rate, 0.3) and math.isclose(weight, 5)
    return Cliff(steps, learning_rate * max_norm, as_prediction(prediction) if asked else None)


def draw_map(panel: Panel) -> None:
    """Show the loss as colours, with the wall and the valley that theory predicts."""
    shown = loss_map()
    panel.set(xlabel="recurrent weight w", ylabel="bias b", xlim=MAP[0], ylim=MAP[1])
    panel.heatmap(
        "loss", shown.weights, shown.biases, shown.root, (0, 1), "root of the loss", cmap="Greys"
    )
    panel.line(
        "theory wall",
        shown.weights,
        shown.wall,
        color=THEORY,
        ls="--",
        lw=3.5,
        label="theory: wall",
    )
    panel.line(
        "theory valley",
        shown.weights,
        shown.valley,
        color=PALETTE[2],
        ls=":",
        lw=3.5,
        label="theory: loss 0",
    )


def draw_cliff(result: Cliff, axes: dict[str, Panel]) -> None:
    """Show both walkers on the map, and the length of each of their steps."""
    plane, lengths = axes["plane"], axes["lengths"]
    plane.set(title="Two walkers at the wall")
    draw_map(plane)
    lengths.set(title="Length of each step", xlabel="step", xlim=(0, STEPS))
    lengths.decades("y", -4, 4)
    steps = np.arange(1, STEPS + 1)
    for walker, name, color, width in ((0, "free", FREE, 3), (1, "clipped", CLIPPED, 3)):
        path = result.walk.weight[:, walker], result.walk.bias[:, walker]
        plane.line(name, *path, color=color, lw=width, marker=".", ms=7, label=f"measured: {name}")
        size = np.log10(np.maximum(result.walk.length[:, walker], 1e-300))
        lengths.line(name, steps, size, color=color, label=f"measured: {name}")
    lengths.line(
        "theory",
        [0, STEPS],
        [math.log10(result.longest)] * 2,
        color=THEORY,
        ls="--",
        label="theory: learning rate × max_norm",
    )
    plane.line(
        "start",
        result.walk.weight[0, :1],
        result.walk.bias[0, :1],
        color="black",
        marker="o",
        ms=10,
        ls="",
        label="start",
    )
    if result.prediction is not None and result.prediction > 0:
        place = math.log10(result.prediction)
        lengths.mark("prediction", result.jump, place, "your prediction")
