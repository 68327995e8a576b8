"""Long memory from the first step: forget biases of an LSTM, before training and during it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn.functional import cross_entropy, one_hot

from gradcourse import theory
from gradcourse.checks import at_least, more_than_zero
from gradcourse.exercises import as_prediction
from gradcourse.initialization import chrono_, forget_gate_bias_
from gradcourse.lessons.recurrent_networks.reach import cell_gradient
from gradcourse.lessons.recurrent_networks.readers import Reader, Readers, remembered
from gradcourse.live import PALETTE, THEORY, Panel
from gradcourse.models import seeded
from gradcourse.tasks import first_symbol
from gradcourse.training import Pace, learning_curve

__all__ = ["STARTS", "Memory", "draw_memory", "measure_memory"]

Array = NDArray[Any]

STARTS = {"torch's bias": PALETTE[3], "bias 1": PALETTE[2], "chrono": PALETTE[0]}
HIDDEN, BATCH, STEPS, SEEDS = 16, 16, 300, 6
SYMBOLS, CLASSES = 8, 4
EVERY = 10
LEARNED = 0.6
LOWEST = -12.0
PAUSE = 0.25


@dataclass(frozen=True)
class Memory:
    """LSTMs that must remember one symbol, with three starts, so far.

    Attributes
    ----------
    length, learning_rate, steps
        As given.
    accuracy
        By start: of each step's batch, before the step; shape (seeds, steps so far).
    curves
        By start: accuracy as it is drawn, means over 10 steps, then median, lowest and highest
        seed; shape (3, points).
    before
        By start: log10 of the gradient at the memory cell before training, at each step back and
        relative to the last one; the median of the networks, shape (length,).
    predicted
        By start: what the gates alone would keep, shape (length,).
    progress
        Share of the training that is done.
    prediction
        The learner's guess of the accuracy with bias 1, if there is one.
    """

    length: int
    learning_rate: float
    steps: int
    accuracy: dict[str, Array]
    curves: dict[str, Array]
    before: dict[str, Array]
    predicted: dict[str, Array]
    progress: float
    prediction: float | None

    def last_accuracy(self, start: str) -> Array:
        """Return the mean accuracy over the last 30 steps of each network, shape (seeds,)."""
        return np.asarray(self.accuracy[start][:, -30:].mean(axis=1))

    def learned(self, start: str) -> int:
        """Return how many networks are right in over 60 % at the end."""
        return int((self.last_accuracy(start) > LEARNED).sum())

    def summary(self) -> str:
        """Return the picture in one line."""
        counts = ", ".join(f"{name} {self.learned(name)} of {SEEDS}" for name in STARTS)
        left = ", ".join(f"10^{rows[-1]:.1f}" for rows in self.before.values())
        done = self.accuracy["chrono"].shape[1]
        return (
            f"remember a symbol for {self.length} steps, step {done} of {self.steps}: learned by "
            f"{counts}; before training {left} of the gradient reached the first step"
        )


def measure_memory(
    length: int = 100,
    learning_rate: float = 0.01,
    first_seed: int = 0,
    prediction: float | None = None,
) -> Iterator[Memory]:
    """Train LSTMs to remember the first of many symbols, with three kinds of first biases (T48).

    16 units, Adam, batches of 16, clipped at 1. The three start alike but for their biases: torch's
    own, a forget bias of 1, and chrono biases for the length of the sequence.

    Parameters
    ----------
    length
        Of the sequences, 3 or more.
    learning_rate
        Of Adam.
    first_seed
        The first of the seeds of six networks of each kind.
    prediction
        The accuracy, from 0 to 1, that the learner expects of forget bias 1 at length 100, drawn as
        a star.
    """
    length, rate = at_least(3, "length", length), more_than_zero("learning_rate", learning_rate)
    first_seed = at_least(0, "first_seed", first_seed)
    guess = as_prediction(prediction) if length == 100 else None
    for result in _train(length, rate, first_seed):
        yield replace(result, prediction=guess)


@remembered
def _train(length: int, rate: float, first_seed: int) -> Iterator[Memory]:
    symbols, labels = first_symbol(STEPS * BATCH, length, first_seed)
    code = one_hot(symbols, SYMBOLS).float()
    groups = {start: _readers(start, length, rate, first_seed) for start in STARTS}
    log = {start: np.full((SEEDS, STEPS), np.nan) for start in STARTS}
    back = np.arange(length)
    with np.errstate(divide="ignore"):
        predicted = {
            "torch's bias": np.log10(theory.gate_memory(back, 0.0)),
            "bias 1": np.log10(theory.gate_memory(back, 1.0)),
            "chrono": np.log10(theory.chrono_memory(back, length)),
        }
    before = {start: _before(start, length, first_seed) for start in STARTS}

    def so_far(done: int) -> Memory:
        rows = {start: one[:, :done].copy() for start, one in log.items()}
        curves = {start: learning_curve(one, EVERY) for start, one in rows.items()}
        return Memory(length, rate, STEPS, rows, curves, before, predicted, done / STEPS, None)

    pace = Pace(PAUSE)
    for step in range(STEPS):
        batch = slice(step * BATCH, (step + 1) * BATCH)
        for start, group in groups.items():
            loss = partial(cross_entropy, target=labels[batch])
            _, _, answers = group.step(code[batch], loss)
            log[start][:, step] = (answers.argmax(dim=2) == labels[batch]).float().mean(dim=1)
        if pace.due() and step + 1 < STEPS:
            yield so_far(step + 1)
            pace.restart()
    yield so_far(STEPS)


def _readers(start: str, length: int, rate: float, first_seed: int) -> Readers:
    def make() -> Reader:
        lstm = nn.LSTM(SYMBOLS, HIDDEN, batch_first=True)
        reader = Reader(lstm, CLASSES)
        # Last, so that all other weights are the same in the three.
        if start == "bias 1":
            forget_gate_bias_(lstm, 1.0)
        if start == "chrono":
            chrono_(lstm, length)
        return reader

    networks = [seeded(first_seed + seed, make) for seed in range(SEEDS)]
    return Readers(networks, partial(torch.optim.Adam, lr=rate), [1.0] * SEEDS)


@lru_cache(maxsize=32)
def _before(start: str, length: int, first_seed: int) -> Array:
    symbols, _ = first_symbol(SEEDS * BATCH, length, first_seed)
    code = one_hot(symbols, SYMBOLS).double().view(SEEDS, BATCH, length, SYMBOLS)
    found = cell_gradient(
        1.0 if start == "bias 1" else None,
        length if start == "chrono" else None,
        code.transpose(1, 2),
        HIDDEN,
        first_seed,
    )
    return np.asarray(np.median(found, axis=0))


def draw_memory(result: Memory, axes: dict[str, Panel]) -> None:
    """Show the gradient at the memory cell before training, and the accuracy during it."""
    before, accuracy = axes["before"], axes["accuracy"]
    before.set(title="Before: gradient at the cell", xlabel="steps back", xlim=(0, result.length))
    before.decades("y", LOWEST, 1)
    accuracy.set(title="Accuracy", xlabel="step", xlim=(0, result.steps), ylim=(0, 1.05))
    back = np.arange(result.length)
    for start, color in STARTS.items():
        middle, low, high = result.curves[start]
        steps = EVERY * (np.arange(len(middle)) + 0.5)
        label = f"measured: {start}"
        accuracy.band(f"{start} band", steps, low, high, color=color, alpha=0.2)
        accuracy.line(start, steps, middle, color=color, lw=3, label=label)
        before.line(start, back, result.before[start], color=color, lw=3, label=label)
        before.line(
            f"{start} theory",
            back,
            result.predicted[start],
            color=THEORY,
            ls="--",
            lw=1.8,
            label="theory: gates alone" if start == "chrono" else "_theory",
        )
    ends = [0, result.steps]
    accuracy.line("theory", ends, [0.25, 0.25], color=THEORY, ls="--", label="theory: guessing")
    if result.prediction is not None:
        accuracy.mark("prediction", result.steps, result.prediction, "your prediction")
