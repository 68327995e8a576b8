"""One gradient of two elements, and what six remedies leave of it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from gradcourse import clipping
from gradcourse.checks import more_than_zero
from gradcourse.exercises import as_prediction
from gradcourse.live import GHOST, MEASURED, THEORY, Panel

__all__ = ["REMEDIES", "Remedies", "Remedy", "draw_remedies", "measure_remedies"]

Array = NDArray[Any]

REMEDIES = ("norm", "value", "scaling", "standardising", "percentile", "AGC")
# Two units of one weight each, of different size, so that AGC allows them different steps.
WEIGHTS = (1.0, 0.4)
EDGE = 4.3
# A line of the grid at each whole number; the numbers would take the room of the arrows.
TICKS = list(range(-4, 5))


@dataclass(frozen=True)
class Remedy:
    """A gradient before and after one remedy, shape (2,), and where theory says that it may end.

    ``limit`` are the corners of that place, shape (points, 2).
    """

    before: Array
    after: Array
    limit: Array

    @property
    def turned(self) -> float:
        """The angle between before and after, in degrees."""
        cross = self.before[0] * self.after[1] - self.before[1] * self.after[0]
        return abs(math.degrees(math.atan2(cross, self.before @ self.after)))

    @property
    def kept(self) -> float:
        """The length after, as a share of the length before."""
        return float(np.linalg.norm(self.after) / np.linalg.norm(self.before))

    def words(self) -> str:
        """Return angle and length in a few words."""
        return f"{self.turned:.0f}°, length × {self.kept:.2f}"


@dataclass(frozen=True)
class Remedies:
    """The remedies by name, and the learner's guess of the angle by which value clipping turns."""

    remedies: dict[str, Remedy]
    prediction: float | None

    def summary(self) -> str:
        """Return the picture in one line."""
        return "turned by: " + "; ".join(
            f"{name} {remedy.words()}" for name, remedy in self.remedies.items()
        )


def measure_remedies(
    angle: float = 70.0,
    length: float = 3.0,
    max_norm: float = 1.0,
    first_seed: int = 0,
    prediction: float | None = None,
) -> Remedies:
    """Apply each remedy of ``gradcourse.clipping`` to one gradient.

    Parameters
    ----------
    angle
        Direction of the gradient, in degrees from the first axis.
    length
        Its norm, above 0.
    max_norm
        The limit, above 0: ``max_norm``, ``clip_value``, ``norm`` and ``clip_factor`` of the
        remedies. Standardising has no limit, and the percentile has its own.
    first_seed
        Draws the 99 earlier norms that the percentile looks back on.
    prediction
        The angle in degrees by which the learner expects value clipping to turn the first gradient.
    """
    more_than_zero("length", length)
    more_than_zero("max_norm", max_norm)
    turn = math.radians(angle)
    before = length * np.array([math.cos(turn), math.sin(turn)])
    past = np.random.default_rng(first_seed).lognormal(math.log(2.0), 0.4, 99)
    remember = clipping.PercentileClip(percentile=50)
    for norm in past:
        remember.observe(torch.tensor(norm))
    do: dict[str, Callable[[nn.Parameter], Any]] = {
        "norm": lambda p: clipping.clip_grad_norm_(p, max_norm),
        "value": lambda p: clipping.clip_grad_value_(p, max_norm),
        "scaling": lambda p: clipping.rescale_grad_norm_(p, max_norm),
        "standardising": clipping.standardize_grad_,
        "percentile": remember,
        "AGC": lambda p: clipping.clip_grad_agc_(p, clip_factor=max_norm),
    }
    circle = _circle(max_norm)
    median = float(np.median([*past, length]))
    limits = {
        "norm": circle,
        "value": _box(max_norm, max_norm),
        "scaling": circle,
        "standardising": np.array([[-1.0, 1.0], [1.0, -1.0]]) / math.sqrt(2),
        "percentile": _circle(median),
        "AGC": _box(*(max_norm * size for size in WEIGHTS)),
    }
    found = {name: Remedy(before, _after(do[name], before), limits[name]) for name in REMEDIES}
    asked = (angle, length) == (70, 3) and math.isclose(max_norm, 1)
    return Remedies(found, as_prediction(prediction) if asked else None)


def draw_remedies(result: Remedies, axes: dict[str, Panel]) -> None:
    """Show each remedy in a picture of its own: before, after, and the limit."""
    for name, remedy in result.remedies.items():
        panel = axes[name]
        panel.set(title=name, xlim=(-EDGE, EDGE), ylim=(-EDGE, EDGE), aspect="equal")
        panel.set(xticks=TICKS, yticks=TICKS, xticklabels=[], yticklabels=[])
        only_two = len(remedy.limit) == 2
        panel.line(
            "theory",
            *remedy.limit.T,
            color=THEORY,
            ls="" if only_two else "--",
            marker="o" if only_two else "",
            ms=9,
            label="theory: one of two points" if only_two else "theory: the limit",
        )
        _arrow(panel, "before", remedy.before, GHOST, 3, "gradient before")
        _arrow(panel, "measured", remedy.after, MEASURED, 5, "measured: after")
        panel.text("words", 0, -EDGE + 0.4, remedy.words(), ha="center", fontweight="bold")
    if result.prediction is not None:
        before = result.remedies["value"].before
        turn = math.atan2(before[1], before[0]) - math.radians(result.prediction)
        tip = np.linalg.norm(before) * np.array([math.cos(turn), math.sin(turn)])
        axes["value"].mark("prediction", float(tip[0]), float(tip[1]), "your prediction")


def _after(remedy: Callable[[nn.Parameter], Any], before: Array) -> Array:
    parameter = nn.Parameter(torch.tensor(WEIGHTS, dtype=torch.float64)[:, None])
    parameter.grad = torch.tensor(before)[:, None]
    remedy(parameter)
    after: Array = parameter.grad[:, 0].numpy()
    return after


def _circle(radius: float) -> Array:
    turn = np.linspace(0, 2 * math.pi, 73)
    return radius * np.stack([np.cos(turn), np.sin(turn)], axis=1)


def _box(right: float, top: float) -> Array:
    return np.array([[1, 1], [-1, 1], [-1, -1], [1, -1], [1, 1]]) * [right, top]


def _arrow(panel: Panel, key: str, tip: Array, color: str, width: float, label: str) -> None:
    panel.line(key, [0, tip[0]], [0, tip[1]], color=color, lw=width, label=label)
    length = float(np.linalg.norm(tip))
    if length:
        size = min(0.45, 0.6 * length)
        along = tip / length * size
        across = 0.45 * np.array([-along[1], along[0]])
        head = np.stack([tip - along + across, tip, tip - along - across])
        panel.line(f"{key} head", *head.T, color=color, lw=width)
