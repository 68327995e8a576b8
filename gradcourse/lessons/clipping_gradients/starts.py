"""Sixty-four starts by the wall: how many walkers solve the task, free and at each limit."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import scipy
from numpy.typing import NDArray

from gradcourse import theory
from gradcourse.checks import more_than_zero
from gradcourse.exercises import as_prediction
from gradcourse.lessons.clipping_gradients.cliff import CLIPPED, FREE, MAP, draw_map
from gradcourse.lessons.clipping_gradients.unit import START, TARGET, Walk, settled_output, walk
from gradcourse.live import THEORY, Panel

__all__ = ["Starts", "draw_starts", "measure_starts"]

Array = NDArray[Any]

WALKERS, STEPS, NEAR = 64, 300, 0.05
MAX_NORMS = np.logspace(-3, 3, 13)


@dataclass(frozen=True)
class Starts:
    """What became of 64 walkers that started by the wall.

    Attributes
    ----------
    free, clipped
        Their steps, from the same starts.
    free_solved, clipped_solved
        Which of them solved the task, shape (64,).
    max_norms, solved
        The share that solves it at each limit, both of shape (limits,).
    reach
        The share that can solve it at most, because the others cannot walk that far.
    max_norm
        The limit of ``clipped``.
    prediction
        The learner's guess of how many free walkers solve it, if there is one.
    """

    free: Walk
    clipped: Walk
    free_solved: Array
    clipped_solved: Array
    max_norms: Array
    solved: Array
    reach: Array
    max_norm: float
    prediction: float | None

    @property
    def off_the_map(self) -> int:
        """How many free walkers end outside of what the picture shows."""
        (left, right), (bottom, top) = MAP
        weight, bias = self.free.weight[-1], self.free.bias[-1]
        inside = (left <= weight) & (weight <= right) & (bottom <= bias) & (bias <= top)
        return int((~inside).sum())

    def summary(self) -> str:
        """Return the picture in one line."""
        return (
            f"solved by {self.free_solved.sum()} of {WALKERS} free walkers and by "
            f"{self.clipped_solved.sum()} of {WALKERS} clipped at {self.max_norm:.3g}; "
            f"longest steps {self.free.length.max():.3g} and {self.clipped.length.max():.3g}"
        )


def measure_starts(
    learning_rate: float = 0.3,
    max_norm: float = 1.0,
    first_seed: int = 0,
    prediction: float | None = None,
) -> Starts:
    """Let 64 walkers descend, free and clipped, from random starts by the wall (T21).

    A walker has solved the task if the output of its unit settles within 0.05 of the target. It
    is tried over ten times as many steps in time as it was trained on, so that a unit that only
    passes by the target at that moment does not count.

    Parameters
    ----------
    learning_rate, max_norm
        Above 0.
    first_seed
        Draws the starts: weights from 4.5 to 6, biases up to 0.1 from the wall.
    prediction
        How many of the 64 free walkers the learner expects to solve the task.
    """
    more_than_zero("learning_rate", learning_rate)
    more_than_zero("max_norm", max_norm)
    weight, bias, free, solved, reach = _sweep(learning_rate, first_seed)
    clipped = walk(weight, bias, learning_rate, max_norm, STEPS)
    guess = as_prediction(prediction) if math.isclose(learning_rate, 0.3) else None
    ends = _solved(free), _solved(clipped)
    return Starts(free, clipped, *ends, MAX_NORMS, solved, reach, max_norm, guess)


@lru_cache(maxsize=8)
def _sweep(learning_rate: float, first_seed: int) -> tuple[Array, Array, Walk, Array, Array]:
    """Return the starts, the free walk, and the shares measured and possible at each limit."""
    source = np.random.default_rng(first_seed)
    weight = source.uniform(4.5, 6.0, WALKERS)
    bias = theory.cliff_wall(weight, START) + source.uniform(-0.1, 0.1, WALKERS)
    limits = np.repeat(MAX_NORMS, WALKERS)
    many = np.tile(weight, len(MAX_NORMS)), np.tile(bias, len(MAX_NORMS))
    solved = _solved(walk(*many, learning_rate, limits, STEPS)).reshape(-1, WALKERS).mean(axis=1)
    possible = STEPS * learning_rate * MAX_NORMS[:, None] >= _distance(weight, bias)
    return (
        weight,
        bias,
        walk(weight, bias, learning_rate, math.inf, STEPS),
        solved,
        possible.mean(1),
    )


def _solved(steps: Walk) -> Array:
    output = settled_output(steps.weight[-1], steps.bias[-1], 500)
    near: Array = np.abs(output - TARGET) <= NEAR
    return near


def _distance(weight: Array, bias: Array) -> Array:
    """Return the way from each start to the nearest place where the task is solved.

    The places are rays, one for each output that is near enough: each ends where the unit would no
    longer stay there, or at the wall.
    """
    output = np.linspace(TARGET - NEAR, TARGET + NEAR, 201)
    logit = scipy.special.logit(output)
    value = scipy.special.expit(START)
    end = np.minimum(1 / (output * (1 - output)), (logit - START) / (output - value))
    along = np.stack([np.ones_like(output), -output]) / np.hypot(1, output)
    offset = np.stack([weight[:, None] - end, bias[:, None] - (logit - output * end)])
    ahead = np.minimum(np.einsum("cs,cws->ws", along, offset), 0)
    away = offset - ahead * along[:, None]
    nearest: Array = np.hypot(*away).min(axis=1)
    return nearest


def draw_starts(result: Starts, axes: dict[str, Panel]) -> None:
    """Show where the walkers ended, and the share that solves the task at each limit."""
    plane, share = axes["plane"], axes["share"]
    plane.set(title="Where 64 walkers end")
    draw_map(plane)
    start = result.free.weight[0], result.free.bias[0]
    plane.line("start", *start, color="black", marker=".", ms=6, ls="", label="start")
    for name, steps, color, marker in (
        ("free", result.free, FREE, "X"),
        ("clipped", result.clipped, CLIPPED, "o"),
    ):
        ends = steps.weight[-1], steps.bias[-1]
        plane.line(
            name,
            *ends,
            color=color,
            marker=marker,
            ms=9,
            mec="white",
            ls="",
            label=f"measured: {name}",
        )
    if result.off_the_map:
        plane.note(f"{result.off_the_map} free walkers are off the map", "lower left")
    share.set(title="Share that solves the task", xlabel="max_norm", ylim=(-0.03, 1.05))
    share.decades("x", -3, 3)
    x = np.log10(result.max_norms)
    share.line("theory", x, result.reach, color=THEORY, ls="--", label="theory: can walk so far")
    share.line("clipped", x, result.solved, color=CLIPPED, lw=4, label="measured: clipped")
    free = float(result.free_solved.mean())
    share.line("free", x[[0, -1]], [free, free], color=FREE, lw=3, label="measured: free")
    share.line(
        "present",
        [math.log10(result.max_norm)],
        [result.clipped_solved.mean()],
        color=CLIPPED,
        marker="o",
        ms=13,
        mec="white",
        ls="",
    )
    if result.prediction is not None:
        share.mark("prediction", 3, result.prediction / WALKERS, "your prediction")
