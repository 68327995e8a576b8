"""The adding problem: three networks learn to add two numbers that lie far apart, or do not."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import mse_loss

from gradcourse.checks import at_least, more_than_zero
from gradcourse.exercises import as_prediction
from gradcourse.lessons.recurrent_networks.reach import COLORS, NETWORKS
from gradcourse.lessons.recurrent_networks.readers import Reader, Readers, remembered
from gradcourse.live import THEORY, Panel
from gradcourse.models import seeded
from gradcourse.tasks import adding_problem
from gradcourse.training import Pace, learning_curve

__all__ = ["Adding", "draw_adding", "measure_adding"]

Array = NDArray[Any]

HIDDEN, BATCH, STEPS, SEEDS = 16, 32, 250, 3
MAX_NORM = 1.0
EVERY = 10
# Of a variance of 1/6: a fifth of it.
LEARNED = 0.03
PAUSE = 0.25


@dataclass(frozen=True)
class Adding:
    """Three kinds of networks that learn to add, so far.

    Attributes
    ----------
    length, learning_rate, steps
        As given.
    loss, norm
        By network: mean squared error of each step's batch, before the step, and the gradient's
        norm before clipping; shape (seeds, steps so far).
    curves
        By network: log10 of loss and norm as they are drawn, means over 10 steps, then median,
        lowest and highest seed; shape (2, 3, points).
    progress
        Share of the training that is done.
    prediction
        The learner's guess of the tanh RNN's error at the end, if there is one.
    """

    length: int
    learning_rate: float
    steps: int
    loss: dict[str, Array]
    norm: dict[str, Array]
    curves: dict[str, Array]
    progress: float
    prediction: float | None

    def error(self, network: str) -> Array:
        """Return the mean squared error over the last 20 steps of each network, shape (seeds,)."""
        return np.asarray(self.loss[network][:, -20:].mean(axis=1))

    def learned(self, network: str) -> int:
        """Return how many networks end below an error of 0.03."""
        return int((self.error(network) < LEARNED).sum())

    def summary(self) -> str:
        """Return the picture in one line."""
        said = ", ".join(
            f"{name} {np.median(self.error(name)):.3g} ({self.learned(name)} of {len(rows)} learn)"
            for name, rows in self.loss.items()
        )
        done = round(self.progress * self.steps)
        return (
            f"adding over {self.length} steps, step {done} of {self.steps}: error {said}; "
            f"always answering 1: {1 / 6:.3g}"
        )


def measure_adding(
    length: int = 40,
    learning_rate: float = 0.02,
    training_steps: int = STEPS,
    networks: tuple[str, ...] = tuple(NETWORKS),
    first_seed: int = 0,
    prediction: float | None = None,
) -> Iterator[Adding]:
    """Train a tanh RNN, an LSTM and a GRU on the adding problem (T37).

    All have 16 units and torch's first weights; Adam, batches of 32, clipped at 1.

    Parameters
    ----------
    length
        Of the sequences, 2 or more.
    learning_rate
        Of Adam.
    training_steps
        How many.
    networks
        Which of the three kinds to train.
    first_seed
        The first of the seeds of three networks of each kind.
    prediction
        The error that the learner expects of the tanh RNN at length 40, drawn as a star.
    """
    length = at_least(2, "length", length)
    steps = at_least(1, "training_steps", training_steps)
    rate, first_seed = (
        more_than_zero("learning_rate", learning_rate),
        at_least(0, "seed", first_seed),
    )
    guess = as_prediction(prediction) if length == 40 else None
    for result in _train(length, rate, steps, networks, first_seed):
        yield replace(result, prediction=guess)


@remembered
def _train(
    length: int, rate: float, steps: int, networks: tuple[str, ...], first_seed: int
) -> Iterator[Adding]:
    inputs, targets = adding_problem(steps * BATCH, length, first_seed)
    batches = list(zip(torch.split(inputs, BATCH), torch.split(targets, BATCH), strict=True))
    groups = {name: _readers(name, rate, first_seed) for name in networks}
    log = {name: np.full((2, SEEDS, steps), np.nan) for name in networks}

    def so_far(done: int) -> Adding:
        rows = {name: one[:, :, :done] for name, one in log.items()}
        return Adding(
            length,
            rate,
            steps,
            {name: one[0].copy() for name, one in rows.items()},
            {name: one[1].copy() for name, one in rows.items()},
            {
                name: np.stack([np.log10(learning_curve(part, EVERY)) for part in one])
                for name, one in rows.items()
            },
            done / steps,
            None,
        )

    pace = Pace(PAUSE)
    for step, (batch, target) in enumerate(batches):
        for name, group in groups.items():
            losses, norms, _ = group.step(batch, partial(_loss, target))
            log[name][:, :, step] = torch.stack([losses, norms])
        if pace.due() and step + 1 < steps:
            yield so_far(step + 1)
            pace.restart()
    yield so_far(steps)


def _readers(network: str, rate: float, first_seed: int) -> Readers:
    def make() -> Reader:
        return Reader(NETWORKS[network](2, HIDDEN, batch_first=True), 1)

    networks = [seeded(first_seed + seed, make) for seed in range(SEEDS)]
    return Readers(networks, partial(torch.optim.Adam, lr=rate), [MAX_NORM] * SEEDS)


def _loss(target: Tensor, answers: Tensor) -> Tensor:
    return mse_loss(answers[:, 0], target)


def draw_adding(result: Adding, axes: dict[str, Panel]) -> None:
    """Show error and gradient norm of the three networks during training."""
    error, norm = axes["error"], axes["norm"]
    error.set(title="Mean squared error", xlabel="step")
    norm.set(title="Gradient norm, before clipping", xlabel="step")
    error.decades("y", -4, 1)
    norm.decades("y", -3, 2)
    ends = 0, result.steps
    for place, panel, theory, label in (
        (0, error, math.log10(1 / 6), "theory: always 1"),
        (1, norm, math.log10(MAX_NORM), "theory: clipped above"),
    ):
        panel.set(xlim=ends)
        for name, curves in result.curves.items():
            middle, low, high = curves[place]
            steps = EVERY * (np.arange(len(middle)) + 0.5)
            color = COLORS[name]
            panel.band(f"{name} band", steps, low, high, color=color, alpha=0.2)
            panel.line(name, steps, middle, color=color, lw=3, label=f"measured: {name}")
        panel.line("theory", ends, [theory, theory], color=THEORY, ls="--", label=label)
    if result.prediction is not None and result.prediction > 0:
        error.mark("prediction", result.steps, math.log10(result.prediction), "your prediction")
