"""One weight on its way to a target, when updates are smaller than half an ulp."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gradcourse import theory
from gradcourse.checks import at_least, between, more_than_zero
from gradcourse.exercises import as_prediction
from gradcourse.live import MEASURED, PALETTE, THEORY, Panel
from gradcourse.training import one_thread

__all__ = ["Swallowed", "draw_swallowed", "measure_swallowed"]

Array = NDArray[Any]

DTYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16, "float32": torch.float32}
STEPS = 600


@dataclass(frozen=True)
class Swallowed:
    """A weight that starts at 1 and descends ``(w - target)**2 / 2``.

    Attributes
    ----------
    dtype, learning_rate, target
        The settings.
    pure
        The weight kept in the dtype, shape (steps + 1,).
    master
        The weight kept in float32, with gradients computed from its copy in the dtype; same shape.
    exact
        Theory without rounding, same shape.
    stop
        Where theory says that the pure weight stops.
    update, swallowed
        Size of the update of the pure weight, and the size up to which the weight swallows it, at
        each step; shape (steps,).
    prediction
        The learner's guess of where the bfloat16 weight stops.
    """

    dtype: str
    learning_rate: float
    target: float
    pure: Array
    master: Array
    exact: Array
    stop: float
    update: Array
    swallowed: Array
    prediction: float | None

    @property
    def moved(self) -> int:
        """How many steps changed the pure weight."""
        return int((np.diff(self.pure) != 0).sum())

    def summary(self) -> str:
        """Return the picture in one line."""
        return (
            f"{self.dtype}, learning rate {self.learning_rate:.3g}, target {self.target:g}: the "
            f"weight moves in {self.moved} of {len(self.update)} steps and ends at "
            f"{self.pure[-1]:.4g} (theory stops it at {self.stop:.4g}); with a float32 master "
            f"{self.master[-1]:.4g}, without rounding {self.exact[-1]:.4g}"
        )


@one_thread()
def measure_swallowed(
    learning_rate: float = 0.01,
    dtype: str = "bfloat16",
    target: float = 0.5,
    steps: int = STEPS,
    prediction: float | None = None,
) -> Swallowed:
    """Descend a parabola with the weight in a dtype, and with a float32 master weight (T39).

    Parameters
    ----------
    learning_rate
        Above 0.
    dtype
        ``"bfloat16"``, ``"float16"`` or ``"float32"``.
    target
        The minimum, above 0 and below 1, where the weight starts.
    steps
        How many.
    prediction
        Where the learner expects the bfloat16 weight to stop at learning rate 0.01 and target 0.5,
        drawn as a star.
    """
    if dtype not in DTYPES:
        raise ValueError(f"dtype must be one of {', '.join(DTYPES)}, got {dtype!r}")
    learning_rate = more_than_zero("learning_rate", learning_rate)
    target, steps = between(2.0**-10, 1 - 2.0**-10, "target", target), at_least(1, "steps", steps)
    pure = _descend(
        torch.ones((), dtype=DTYPES[dtype]), DTYPES[dtype], learning_rate, target, steps
    )
    master = _descend(torch.ones(()), DTYPES[dtype], learning_rate, target, steps)
    goal = torch.tensor(target, dtype=DTYPES[dtype]).double().item()
    exact = goal + (1 - goal) * (1 - learning_rate) ** np.arange(steps + 1)
    update = learning_rate * np.abs(pure[:-1] - goal)
    asked = dtype == "bfloat16" and math.isclose(target, 0.5) and math.isclose(learning_rate, 0.01)
    return Swallowed(
        dtype,
        learning_rate,
        target,
        pure,
        master,
        exact,
        _stop(learning_rate, dtype, goal),
        update,
        theory.largest_swallowed(pure[:-1], dtype),
        as_prediction(prediction) if asked else None,
    )


def _descend(
    weight: Tensor, dtype: torch.dtype, learning_rate: float, target: float, steps: int
) -> Array:
    """Return the weight before and after each step of gradient descent, shape (steps + 1,)."""
    goal = torch.tensor(target, dtype=dtype)
    path = torch.empty(steps + 1, dtype=torch.float64)
    path[0] = weight
    for step in range(steps):
        gradient = weight.to(dtype) - goal
        # As SGD does it: the product is not rounded by itself, only the new weight is.
        weight.sub_(gradient.to(weight.dtype), alpha=learning_rate)
        path[step + 1] = weight
    return np.asarray(path.numpy())


def _stop(learning_rate: float, dtype: str, target: float) -> float:
    """Return the distance at which ``learning_rate * (w - target)`` is half an ulp of ``w``.

    The ulp halves with each power of two that the weight passes on its way down from 1.
    """
    high = 1.0
    while True:
        stop = target + float(theory.largest_swallowed(high, dtype)) / learning_rate
        if stop >= high / 2 or high / 2 <= target:
            return min(stop, high)
        high /= 2


def draw_swallowed(result: Swallowed, axes: dict[str, Panel]) -> None:
    """Show the weight, and each update beside half an ulp."""
    weight, update = axes["weight"], axes["update"]
    steps = np.arange(len(result.pure))
    weight.set(
        title="The weight", xlabel="step", ylabel="weight", xlim=(0, len(steps)), ylim=(0, 1.3)
    )
    weight.line(
        "master",
        steps,
        result.master,
        color=PALETTE[2],
        lw=4,
        label="measured: float32 master weight",
    )
    weight.line("pure", steps, result.pure, color=MEASURED, lw=4, label=f"measured: {result.dtype}")
    weight.line(
        "exact", steps, result.exact, color="black", ls=":", lw=1.8, label="no rounding at all"
    )
    weight.hline("stop", result.stop, color=THEORY, ls="--", label="theory: stops here")
    update.set(title="Its update", xlabel="step", ylabel="size", xlim=(0, len(steps)))
    update.decades("y", -8, 0)
    with np.errstate(divide="ignore"):
        sizes = np.log10(result.update), np.log10(result.swallowed)
    update.line("measured", steps[:-1], sizes[0], color=MEASURED, lw=4, label="measured: update")
    update.line("theory", steps[:-1], sizes[1], color=THEORY, ls="--", label="theory: half an ulp")
    if result.prediction is not None:
        guess = float(np.clip(result.prediction, 0, 1.3))
        weight.mark("prediction", len(steps) - 1, guess, "your prediction")
