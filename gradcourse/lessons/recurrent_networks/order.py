"""The exercise of many courses: a tanh RNN and an LSTM learn an order, free and clipped."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn.functional import cross_entropy, one_hot

from gradcourse.checks import at_least, more_than_zero
from gradcourse.exercises import as_prediction
from gradcourse.initialization import forget_gate_bias_
from gradcourse.lessons.recurrent_networks.readers import Reader, Readers, remembered
from gradcourse.live import PALETTE, THEORY, Panel
from gradcourse.models import seeded
from gradcourse.tasks import temporal_order
from gradcourse.training import Pace, learning_curve

__all__ = ["Order", "draw_order", "measure_order"]

Array = NDArray[Any]

NETWORKS = ("tanh RNN", "LSTM")
WAYS = {"free": PALETTE[3], "clipped": PALETTE[0]}
HIDDEN, LENGTH, BATCH, STEPS, SEEDS = 32, 20, 20, 400, 4
SYMBOLS, CLASSES, RADIUS = 6, 4, 1.2
EVERY = 20
LEARNED = 0.8
PAUSE = 0.25


@dataclass(frozen=True)
class Order:
    """Two kinds of networks that learn, each free and clipped, so far.

    Attributes
    ----------
    max_norm, steps
        As given.
    rates
        The learning rate of each kind.
    loss, norm, accuracy
        By network: of each step's batch, before the step, and the norm before clipping. Row 0 is
        free, row 1 clipped; shape (2, seeds, steps so far).
    curves
        By network: loss and log10 of the norm as they are drawn, means over 20 steps, then median,
        lowest and highest seed; shape (2, 2, 3, points).
    progress
        Share of the training that is done.
    prediction
        The learner's guess of the free LSTM's loss at the end, if there is one.
    """

    max_norm: float
    steps: int
    rates: dict[str, float]
    loss: dict[str, Array]
    norm: dict[str, Array]
    accuracy: dict[str, Array]
    curves: dict[str, Array]
    progress: float
    prediction: float | None

    def last_accuracy(self, network: str) -> Array:
        """Return the mean accuracy over the last 40 steps, shape (2, seeds)."""
        return np.asarray(self.accuracy[network][..., -40:].mean(axis=2))

    def learned(self, network: str) -> Array:
        """Return how many networks are right in over 80 % at the end: free and clipped."""
        return np.asarray((self.last_accuracy(network) > LEARNED).sum(axis=1))

    @property
    def nonfinite(self) -> int:
        """How many losses were NaN or Inf."""
        return int(sum((~np.isfinite(rows)).sum() for rows in self.loss.values()))

    def summary(self) -> str:
        """Return the picture in one line."""
        said = []
        for name in NETWORKS:
            free, clipped = self.learned(name)
            # A network that broke has no longest gradient; the others still do.
            longest = np.where(np.isfinite(self.norm[name]), self.norm[name], 0).max(axis=(1, 2))
            said.append(
                f"{name}: {free} of {SEEDS} free and {clipped} of {SEEDS} clipped networks learn, "
                f"longest gradients {longest[0]:.3g} and {longest[1]:.3g}"
            )
        broken = f"{self.nonfinite} losses not finite" if self.nonfinite else "every loss finite"
        done = self.loss["LSTM"].shape[2]
        return (
            f"step {done} of {self.steps}, max_norm {self.max_norm:.3g}. "
            f"{'. '.join(said)}; {broken}"
        )


def measure_order(
    max_norm: float = 1.0,
    rnn_rate: float = 0.1,
    lstm_rate: float = 1.0,
    first_seed: int = 0,
    prediction: float | None = None,
) -> Iterator[Order]:
    """Train tanh RNNs and LSTMs on the temporal order task with plain SGD, free and clipped (T47).

    32 units; the recurrent matrix of the RNN is Gaussian with spectral radius 1.2, the LSTM has
    torch's weights and forget bias 1. Free and clipped networks start alike and see the same
    batches.

    Parameters
    ----------
    max_norm
        Where the clipped ones are clipped.
    rnn_rate, lstm_rate
        Learning rates.
    first_seed
        The first of the seeds of four networks of each kind.
    prediction
        The loss at the end that the learner expects of the free LSTMs, drawn as a star.
    """
    limit = more_than_zero("max_norm", max_norm)
    rates = more_than_zero("rnn_rate", rnn_rate), more_than_zero("lstm_rate", lstm_rate)
    first_seed = at_least(0, "first_seed", first_seed)
    guess = as_prediction(prediction) if math.isclose(rates[1], 1.0) else None
    for result in _train(limit, *rates, first_seed):
        yield replace(result, prediction=guess)


@remembered
def _train(max_norm: float, rnn_rate: float, lstm_rate: float, first_seed: int) -> Iterator[Order]:
    symbols, labels = temporal_order(STEPS * BATCH, LENGTH, first_seed)
    code = one_hot(symbols, SYMBOLS).float()
    rates = dict(zip(NETWORKS, (rnn_rate, lstm_rate), strict=True))
    groups = {name: _readers(name, rates[name], max_norm, first_seed) for name in NETWORKS}
    log = {name: np.full((3, 2, SEEDS, STEPS), np.nan) for name in NETWORKS}

    def so_far(done: int) -> Order:
        rows = {name: one[..., :done].copy() for name, one in log.items()}
        loss, norm, right = ({name: one[place] for name, one in rows.items()} for place in range(3))
        return Order(
            max_norm,
            STEPS,
            rates,
            loss,
            norm,
            right,
            {name: _curves(one) for name, one in rows.items()},
            done / STEPS,
            None,
        )

    pace = Pace(PAUSE)
    for step in range(STEPS):
        batch = slice(step * BATCH, (step + 1) * BATCH)
        for name, group in groups.items():
            loss = partial(cross_entropy, target=labels[batch])
            losses, norms, answers = group.step(code[batch], loss)
            right = (answers.argmax(dim=2) == labels[batch]).float().mean(dim=1)
            log[name][..., step] = torch.stack([losses, norms, right]).view(3, 2, SEEDS)
        if pace.due() and step + 1 < STEPS:
            yield so_far(step + 1)
            pace.restart()
    yield so_far(STEPS)


def _readers(network: str, rate: float, max_norm: float, first_seed: int) -> Readers:
    def make() -> Reader:
        if network == "LSTM":
            lstm = nn.LSTM(SYMBOLS, HIDDEN, batch_first=True)
            return Reader(forget_gate_bias_(lstm, 1.0), CLASSES)
        layer = nn.RNN(SYMBOLS, HIDDEN, batch_first=True)
        recurrent = layer.get_parameter("weight_hh_l0")
        with torch.no_grad():
            nn.init.normal_(recurrent)
            recurrent.mul_(RADIUS / torch.linalg.eigvals(recurrent).abs().max())
        return Reader(layer, CLASSES)

    networks = [seeded(first_seed + seed, make) for _ in WAYS for seed in range(SEEDS)]
    limits = [math.inf] * SEEDS + [max_norm] * SEEDS
    return Readers(networks, partial(torch.optim.SGD, lr=rate), limits)


def _curves(rows: Array) -> Array:
    """Return loss and log10 norm of free and clipped networks, shape (2, 2, 3, points)."""
    with np.errstate(divide="ignore"):
        shown = rows[0], np.log10(rows[1])
    return np.stack([[learning_curve(way, EVERY) for way in one] for one in shown])


def draw_order(result: Order, axes: dict[str, Panel]) -> None:
    """Show loss and gradient norm of both kinds of networks, free and clipped."""
    ends = 0, result.steps
    for name, loss, norm in (
        ("tanh RNN", axes["rnn loss"], axes["rnn norm"]),
        ("LSTM", axes["lstm loss"], axes["lstm norm"]),
    ):
        loss.set(title=f"{name}: loss", ylim=(0, 2.5), xlim=ends)
        norm.set(title=f"{name}: norm before clipping", xlabel="step", xlim=ends)
        norm.decades("y", -3, 3)
        for panel, place, theory, label in (
            (loss, 0, math.log(CLASSES), "theory: guessing"),
            (norm, 1, math.log10(result.max_norm), "theory: max_norm"),
        ):
            for row, (way, color) in enumerate(WAYS.items()):
                middle, low, high = result.curves[name][place, row]
                steps = EVERY * (np.arange(len(middle)) + 0.5)
                panel.band(f"{way} band", steps, low, high, color=color, alpha=0.2)
                panel.line(way, steps, middle, color=color, lw=3, label=f"measured: {way}")
            panel.line("theory", ends, [theory, theory], color=THEORY, ls="--", label=label)
    if result.prediction is not None:
        axes["lstm loss"].mark("prediction", result.steps, result.prediction, "your prediction")
