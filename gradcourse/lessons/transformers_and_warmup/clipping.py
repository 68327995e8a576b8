"""Clipping while a transformer trains: how often it acts, and what Adam makes of it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from gradcourse import theory
from gradcourse.checks import more_than_zero
from gradcourse.exercises import as_prediction
from gradcourse.lessons.transformers_and_warmup.training import Training, measure_training
from gradcourse.live import MEASURED, PALETTE, THEORY, Panel

__all__ = ["RUNS", "Clipping", "adam_updates", "draw_clipping", "measure_clipping"]

Array = NDArray[Any]
RUNS: dict[str, dict[str, Any]] = {
    "post-norm, warmup 100": {"norm": "post", "warmup": 100},
    "pre-norm": {"norm": "pre", "steps": 100},
}
LIMITS = np.linspace(-2, 2, 81)
# Late enough for Adam to have forgotten that it began with zeros.
SPIKE_AT, AFTER = 1000, 150
WINDOW, FIRST = 20, 100


@dataclass(frozen=True)
class Clipping:
    """How often a limit acts in a training, and what Adam does with one spike.

    Attributes
    ----------
    run, max_norm, spike
        As given.
    share
        Share of a training's first 100 steps with a gradient longer than each of ``10**LIMITS``.
    predicted_share
        Theory: norms that are log-normal, with the same mean and spread.
    update
        How far Adam moves a weight at each step around the spike, in learning rates: gradients are
        1, but for one, and clipped; shape (steps,).
    predicted_update
        Theory.
    free
        Theory without clipping.
    at
        The share at ``max_norm``.
    progress
        Share of the work done, 0 to 1.
    prediction
        The learner's guess of the share that is clipped to 1 with post-norm, if there is one.
    """

    run: str
    max_norm: float
    spike: float
    share: Array
    predicted_share: Array
    update: Array
    predicted_update: Array
    free: Array
    at: float
    progress: float
    prediction: float | None

    def summary(self) -> str:
        """Return the picture in one line."""
        place = SPIKE_AT - 1
        predicted, free = self.predicted_update[place], self.free[place]
        return (
            f"{self.run}: {self.at:.0%} of the first {FIRST} gradients are longer than "
            f"{self.max_norm:.3g}; "
            f"a spike of {self.spike:.3g} moves a weight by {self.update[place]:.3g} learning "
            f"rates (theory: {predicted:.3g}; without clipping {free:.3g}), "
            f"{WINDOW} steps later by {self.update[place + WINDOW]:.3g}"
        )


def adam_updates(gradients: Array, max_norm: float = math.inf) -> Array:
    """Return how far torch's Adam moves one weight, in learning rates; shape of ``gradients``.

    Its eps is 1e-12 instead of torch's 1e-8, so that gradients of 1e-8 are not yet too small.

    Examples
    --------
    >>> adam_updates(np.array([1e-3, 1e-3, 1e-3]), max_norm=1e-4).round(3)
    array([1., 1., 1.])
    """
    weight = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.Adam([weight], lr=1.0, eps=1e-12)
    places = [0.0]
    for gradient in gradients:
        weight.grad = torch.tensor([gradient], dtype=torch.float64)
        torch.nn.utils.clip_grad_norm_([weight], max_norm)
        optimizer.step()
        places.append(weight.item())
    return -np.diff(places)


def measure_clipping(
    max_norm: float = 1.0,
    spike: float = 100.0,
    run: str = "post-norm, warmup 100",
    first_seed: int = 0,
    prediction: float | None = None,
) -> Iterator[Clipping]:
    """Count the steps at which clipping acts, and let Adam meet a spike.

    The norms are those of a training that is not clipped, so that every limit can be tried on them.

    Parameters
    ----------
    max_norm
        The limit.
    spike
        The one gradient that is not 1.
    run
        A name from ``RUNS``.
    first_seed
        The first of the seeds of three networks.
    prediction
        The share of the steps, in percent, that the learner expects to be clipped to 1 with
        post-norm; drawn as a star.
    """
    limit, size = more_than_zero("max_norm", max_norm), more_than_zero("spike", spike)
    if run not in RUNS:
        raise ValueError(f"run must be one of {', '.join(RUNS)}, got {run!r}")
    gradients = np.ones(SPIKE_AT + AFTER)
    gradients[SPIKE_AT - 1] = size
    update = adam_updates(gradients, limit)
    relative = min(size, limit) / min(1.0, limit)
    predicted, free = (
        theory.adam_spike_update(len(gradients), SPIKE_AT, one) for one in (relative, size)
    )
    guess = as_prediction(prediction) if run == next(iter(RUNS)) else None
    for training in measure_training(**RUNS[run], first_seed=first_seed):
        share, expected = _shares(training)
        at = float((training.gradient[:, :FIRST] > limit).mean())
        yield Clipping(
            run,
            limit,
            size,
            share,
            expected,
            update,
            predicted,
            free,
            at,
            training.progress,
            guess,
        )


def draw_clipping(result: Clipping, axes: dict[str, Panel]) -> None:
    """Show the share of clipped steps against the limit, and Adam's updates around the spike."""
    share, update = axes["share"], axes["update"]
    share.set(title="How often it acts", ylabel="share of the first 100 steps", xlabel="max_norm")
    share.set(ylim=(0.0, 1.03))
    share.decades("x", -2.0, 2.0)
    share.line("measured", LIMITS, result.share, color=MEASURED, lw=4, label="measured")
    style = {"color": THEORY, "ls": "--"}
    share.line("theory", LIMITS, result.predicted_share, label="theory: log-normal", **style)
    share.vline("limit", math.log10(result.max_norm), color="black", lw=1.2, ls=":")
    if result.prediction is not None:
        share.mark("prediction", 0.0, result.prediction / 100, "your prediction")
    seen = slice(SPIKE_AT - WINDOW - 1, None)
    steps = np.arange(1, len(result.update) + 1)[seen] - SPIKE_AT
    update.set(
        title="Adam after one spike", xlabel="steps since the spike", ylabel="learning rates"
    )
    update.set(xlim=(-WINDOW, AFTER))
    update.decades("y", -3.0, 1.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        measured, predicted, free = (
            np.log10(np.abs(rows[seen]))
            for rows in (result.update, result.predicted_update, result.free)
        )
    update.line("free", steps, free, color=PALETTE[6], lw=1.5, ls=":", label="theory: not clipped")
    update.line("measured", steps, measured, color=MEASURED, lw=4, label="measured: clipped")
    update.line("theory", steps, predicted, label="theory: clipped", **style)


def _shares(training: Training) -> tuple[Array, Array]:
    logs = np.log10(np.maximum(training.gradient[:, :FIRST].ravel(), 1e-30))
    measured = (logs[:, None] > LIMITS).mean(axis=0)
    natural = logs * math.log(10)
    # The spread of one step alone, at the very start, is that between networks.
    typical, spread = math.exp(natural.mean()), max(float(natural.std()), 1e-6)
    return measured, theory.lognormal_clip_rate(10**LIMITS, typical, spread)
