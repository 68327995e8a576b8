"""A learning rate that warms up and falls like a cosine: in closed form, and torch's own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from gradcourse import theory
from gradcourse.exercises import as_prediction
from gradcourse.live import MEASURED, PALETTE, THEORY, Panel, snap_up
from gradcourse.training import warmup_cosine

__all__ = ["Schedule", "draw_schedule", "measure_schedule", "zero_based"]

Array = NDArray[Any]
EARLY = 12


@dataclass(frozen=True)
class Schedule:
    """Learning rates of a run and a tenth more, as shares of the peak; shape (updates,).

    Attributes
    ----------
    warmup, total, final
        As given.
    rate
        What an optimizer was given by ``training.warmup_cosine``.
    predicted
        The closed form.
    zero
        The version of many notes, which counts from 0; NaN after the end of the run.
    prediction
        The learner's guess of the share that is left after 75 of 100 updates, if there is one.
    """

    warmup: int
    total: int
    final: float
    rate: Array
    predicted: Array
    zero: Array
    prediction: float | None

    @property
    def mean(self) -> float:
        """Mean learning rate of the run, as a share of the peak."""
        return float(self.rate[: self.total].mean())

    def summary(self) -> str:
        """Return the picture in one line."""
        difference = np.abs(self.rate - self.predicted).max()
        return (
            f"warmup {self.warmup} of {self.total}, final {self.final:g}: the first update has "
            f"{self.rate[0]:.3g} of the peak, the last {self.rate[self.total - 1]:.3g}, "
            f"all of them {self.mean:.3f} in the mean; "
            f"theory and optimizer differ by {difference:.1g}"
        )


def zero_based(step: Array, warmup: int, total: int) -> Array:
    """Return the share of the peak as many notes compute it, from steps counted from 0.

    Examples
    --------
    The first update is lost, and after the end the learning rate rises again:

    >>> zero_based(np.array([0, 2, 4, 6]), warmup=2, total=4)
    array([0., 1., 0., 1.])
    """
    rising = step / max(warmup, 1)
    progress = (step - warmup) / max(total - warmup, 1)
    return np.asarray(np.where(step < warmup, rising, 0.5 * (1 + np.cos(np.pi * progress))))


def measure_schedule(
    warmup: int = 20,
    total: int = 100,
    final: float = 0.0,
    prediction: float | None = None,
) -> Schedule:
    """Let a scheduler set an optimizer's learning rate, and write down what it sets.

    Parameters
    ----------
    warmup
        Updates in the warmup; no more than ``total`` are used.
    total
        Updates in the run.
    final
        The share of the peak that is left at the end.
    prediction
        The share of the peak that the learner expects at update 80 of 100, with a warmup of 20,
        drawn as a star.
    """
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    warmup = min(warmup, total)
    scheduler = warmup_cosine(optimizer, warmup, total, final)
    updates = total + max(total // 4, 1)
    rates = []
    for _ in range(updates):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    numbers = np.arange(1, updates + 1)
    guess = as_prediction(prediction) if (warmup, total, final) == (20, 100, 0.0) else None
    return Schedule(
        warmup,
        total,
        final,
        np.array(rates),
        theory.warmup_cosine_factor(numbers, warmup, total, final),
        zero_based(numbers - 1, warmup, total),
        guess,
    )


def draw_schedule(result: Schedule, axes: dict[str, Panel]) -> None:
    """Show the whole run, and its first updates."""
    numbers = np.arange(1, len(result.rate) + 1)
    run, first = axes["run"], axes["first"]
    run.set(
        title="The whole run",
        xlabel="update",
        ylabel="share of the peak",
        xlim=(0, snap_up(len(numbers))),
        ylim=(-0.03, 1.05),
    )
    first.set(title="The first updates", xlabel="update", xlim=(0.5, EARLY + 0.5))
    early = slice(0, EARLY)
    shown = (result.rate, result.predicted, result.zero)
    top = max(0.1, *(float(rates[early].max()) for rates in shown))
    first.set(ylim=(-0.03 * top, 1.05 * top))
    for panel, part, marker in ((run, slice(None), "None"), (first, early, "o")):
        x = numbers[part]
        notes = {"color": PALETTE[2], "lw": 2, "marker": marker, "label": "in many notes"}
        panel.line("zero", x, result.zero[part], **notes)
        style = {"color": MEASURED, "lw": 4, "marker": marker, "label": "measured: optimizer"}
        panel.line("measured", x, result.rate[part], **style)
        panel.line("theory", x, result.predicted[part], color=THEORY, ls="--", label="theory")
    run.vline("total", result.total, color="black", lw=1.2, ls=":")
    if result.prediction is not None:
        run.mark("prediction", 80, result.prediction, "your prediction")
