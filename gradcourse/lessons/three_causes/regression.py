"""Causes two and three: the regression that ends in NaN, and one cure at a time."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradcourse.exercises import as_prediction
from gradcourse.lessons.three_causes.recipes import (
    NOISE,
    YIELD_EVERY,
    Recipe,
    Trainer,
    step_axis,
    times,
)
from gradcourse.live import MEASURED, THEORY, Panel
from gradcourse.training import Pace, one_thread

__all__ = ["CLIPPING", "Regression", "draw_regression", "measure_regression"]

Array = NDArray[Any]

STEPS = 1600
CLIPPING: dict[str, dict[str, float]] = {
    "none": {},
    "norm 1": {"max_norm": 1.0},
    "value 5": {"clip_value": 5.0},
}


@dataclass(frozen=True)
class Regression:
    """Networks on their way to a solution, or to NaN.

    Attributes
    ----------
    recipe
        How they were trained.
    steps
        When it was measured: steps done, shape (times,).
    errors
        Root mean square error on held-out rows in units of the targets, shape (times, seeds).
    strain
        The sharpness of the training loss as a share of what the learning rate allows, that is
        ``learning_rate * sharpness / (2 (1 + momentum))``, shape (times, seeds).
    broken
        The step at which the loss was first not finite, NaN where it always was; shape (seeds,).
    target_std
        The error of a network that always answers the mean.
    progress
        Share of the steps that are done; 1 as well when every network is lost.
    total
        How many steps there were to be.
    prediction
        The learner's guess of the step at which the untreated loss is first not finite.
    """

    recipe: Recipe
    steps: Array
    errors: Array
    strain: Array
    broken: Array
    target_std: float
    progress: float
    total: int
    prediction: float | None

    @property
    def lost(self) -> int:
        """How many networks ended in NaN."""
        return int(np.isfinite(self.broken).sum())

    @property
    def error_range(self) -> tuple[Array, Array, Array]:
        """Median, lowest and highest error of the seeds, each of shape (times,)."""
        return spread(self.errors)

    @property
    def strain_range(self) -> tuple[Array, Array, Array]:
        """Median, lowest and highest strain of the seeds, each of shape (times,)."""
        return spread(self.strain)

    @property
    def passed(self) -> int:
        """The first measured step at which the median strain was above 1, or -1."""
        above = self.strain_range[0] > 1
        return int(self.steps[above.argmax()]) if above.any() else -1

    def summary(self) -> str:
        """Return the picture in one line."""
        seeds = len(self.broken)
        words = f"lost {self.lost} of {seeds} networks"
        if self.lost:
            words += f", the first at step {np.nanmin(self.broken):.0f}"
        if self.lost < seeds:
            words += (
                f"; error {self.error_range[0][-1]:.3g} after {self.steps[-1]} steps "
                f"(guessing the mean {self.target_std:.0f}, noise alone {NOISE:g})"
            )
        if self.lost == seeds:
            return f"{words}; lr x sharpness passed the edge at step {self.passed}"
        return f"{words}; lr x sharpness is {self.strain_range[0][-1]:.2g} of what is stable"


def measure_regression(
    clipping: str = "none",
    loss: str = "MSE",
    standardise: bool = False,
    learning_rate: float = 0.01,
    momentum: float = 0.9,
    seeds: int = 5,
    first_seed: int = 0,
    steps: int = STEPS,
    prediction: float | None = None,
) -> Iterator[Regression]:
    """Train the regression with large targets (T34).

    Parameters
    ----------
    clipping
        ``"none"``, ``"norm 1"`` or ``"value 5"``.
    loss
        ``"MSE"`` or ``"Huber"``.
    standardise
        Whether targets are brought to mean 0 and variance 1.
    learning_rate, momentum
        Of SGD.
    seeds, first_seed
        How many networks, and the first of their seeds; it chooses the data too.
    steps
        Of 32 rows each.
    prediction
        The step at which the learner expects the first NaN without any cure, drawn as a star there.

    Yields
    ------
    Regression
        What there is so far; the last one is whole.
    """
    if clipping not in CLIPPING:
        raise ValueError(f"clipping must be one of {', '.join(CLIPPING)}, got {clipping!r}")
    recipe = Recipe(learning_rate, loss, standardise=standardise, **CLIPPING[clipping])
    trainer = Trainer([recipe], seeds, first_seed, momentum)
    asked = recipe == Recipe() and math.isclose(momentum, 0.9)
    guess = as_prediction(prediction) if asked else None
    done: list[int] = []
    errors: list[Array] = []
    strain: list[Array] = []
    pace = Pace(YIELD_EVERY)
    for step in times(steps):
        with one_thread():
            trainer.train(step - trainer.done)
            done.append(step)
            errors.append(trainer.errors()[0])
            strain.append(learning_rate * trainer.sharpness()[0] / (2 * (1 + momentum)))
        over = step == steps or bool(np.isfinite(trainer.broken).all())
        if over or pace.due():
            yield Regression(
                recipe,
                np.array(done),
                np.array(errors),
                np.array(strain),
                trainer.broken[0].copy(),
                trainer.target_std,
                1.0 if over else step / steps,
                steps,
                guess,
            )
            pace.restart()
        if over:
            return


def spread(values: Array) -> tuple[Array, Array, Array]:
    """Return median, lowest and highest of the seeds; the median counts lost ones as infinite.

    ``values`` has shape (..., seeds); the highest is that of the networks that are left.
    """
    worst = np.where(np.isnan(values), np.inf, values)
    alive = np.where(np.isfinite(values), values, -np.inf)
    return np.median(worst, axis=-1), worst.min(axis=-1), alive.max(axis=-1)


def draw_regression(result: Regression, axes: dict[str, Panel]) -> None:
    """Show the error and the strain against the steps, both on logarithmic axes."""
    x = np.log10(result.steps + 1)
    error, strain = axes["error"], axes["strain"]
    error.set(title="Error on held-out rows", ylabel="RMSE, units of the target")
    strain.set(title="Step over longest stable step", ylabel="1: the edge")
    for panel, values, limits in (
        (error, result.error_range, (-2.0, 4.0)),
        (strain, result.strain_range, (-4.0, 3.0)),
    ):
        step_axis(panel, result.total)
        panel.decades("y", *limits)
        median, low, high = (_log10(each) for each in values)
        panel.band("band", x, low, high, color=MEASURED, alpha=0.2, label="range of seeds")
        panel.line("measured", x, median, color=MEASURED, label="measured: median")
    mean, noise = math.log10(result.target_std), math.log10(NOISE)
    error.hline("mean", mean, color="black", ls="-.", lw=1.5, label="guessing the mean")
    error.hline("theory", noise, color=THEORY, ls="--", label="theory: noise alone")
    strain.hline("theory", 0.0, color=THEORY, ls="--", label="theory: the edge")
    if result.lost:
        first = np.log10(np.nanmin(result.broken))
        for panel in (error, strain):
            panel.vline("nan", float(first), color="black", lw=1.2)
        seeds = len(result.broken)
        error.note(f"NaN: {result.lost} of {seeds} networks", "upper right")
    if result.prediction is not None:
        place = float(np.clip(np.log10(max(result.prediction, 1.0)), 0, 4))
        error.mark("prediction", place, mean, "your prediction")


def _log10(values: Array) -> Array:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.log10(values))
