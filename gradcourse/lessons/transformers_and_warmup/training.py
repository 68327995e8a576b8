"""Transformers learn to reverse a sequence, or do not: norm, warmup and learning rate."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradcourse import theory
from gradcourse.exercises import as_prediction
from gradcourse.lessons.transformers_and_warmup.network import LENGTH, SYMBOLS, train
from gradcourse.live import MEASURED, PALETTE, THEORY, Panel
from gradcourse.training import Pace

__all__ = ["STEPS", "Training", "draw_training", "measure_training"]

Array = NDArray[Any]
STEPS = 200
# The mean of so many steps is a network's result, which a single batch of 96 symbols is not.
LATEST = 10
SOLVED, FAILED = 0.75, 0.5


@dataclass(frozen=True)
class Training:
    """Some transformers that learn to reverse sequences, alike but for their seeds.

    Attributes
    ----------
    norm, warmup, learning_rate, max_norm, steps
        As given.
    loss, accuracy
        Of the batch of each step, which no network has seen before, shape (seeds, steps so far).
    gradient
        Norm of the gradient of each step, before clipping, of the same shape.
    progress
        Share of the work done, 0 to 1.
    prediction
        The learner's guess of the accuracy of post-norm without warmup, if there is one.
    """

    norm: str
    warmup: int
    learning_rate: float
    max_norm: float
    steps: int
    loss: Array
    accuracy: Array
    gradient: Array
    progress: float
    prediction: float | None = None

    @property
    def seeds(self) -> int:
        """Number of networks."""
        return len(self.loss)

    @property
    def reached(self) -> Array:
        """Each network's accuracy over the last ten steps, shape (seeds,)."""
        return np.asarray(self.accuracy[:, -LATEST:].mean(axis=1))

    @property
    def solved(self) -> int:
        """How many networks reach 75 %."""
        return int((self.reached > SOLVED).sum())

    @property
    def failed(self) -> int:
        """How many networks stay below 50 %."""
        return int((self.reached < FAILED).sum())

    @property
    def letters(self) -> tuple[float, float]:
        """Theory: loss and accuracy of knowing the letters, but not their places."""
        return theory.letters_only(LENGTH, SYMBOLS)

    @property
    def clipped(self) -> float:
        """Share of the steps at which clipping acts."""
        return float((self.gradient > self.max_norm).mean())

    def summary(self) -> str:
        """Return the picture in one line."""
        reached = ", ".join(f"{100 * value:.0f}" for value in self.reached)
        line = (
            f"{self.norm}-norm, warmup {self.warmup}, learning rate {self.learning_rate:.2g}, "
            f"{self.loss.shape[1]} steps: {self.solved} of {self.seeds} solve it; "
            f"accuracy {reached} %"
        )
        if math.isfinite(self.max_norm):
            line += f"; clipped to {self.max_norm:g} at {self.clipped:.0%} of the steps"
        return line


def measure_training(
    norm: str = "post",
    warmup: int = 0,
    learning_rate: float = 0.003,
    max_norm: float = math.inf,
    steps: int = STEPS,
    seeds: int = 3,
    first_seed: int = 0,
    prediction: float | None = None,
) -> Iterator[Training]:
    """Train transformers of eight blocks with Adam, and yield what there is so far (T43).

    What was trained to its end before is not trained again.

    Parameters
    ----------
    norm
        ``"post"`` or ``"pre"``.
    warmup
        Steps in the linear warmup; the learning rate stays at its peak after them.
    learning_rate
        The peak.
    max_norm
        The gradient of each network is clipped to it; ``inf`` for never.
    steps
        How many, each with 16 new sequences.
    seeds, first_seed
        How many networks, and the first of their seeds.
    prediction
        The accuracy in percent that the learner expects of post-norm without warmup at learning
        rate 0.003, drawn as a star.
    """
    asked = (norm, warmup) == ("post", 0) and math.isclose(learning_rate, 0.003)
    guess = as_prediction(prediction) if asked else None
    finished = _finished(norm, warmup, learning_rate, max_norm, steps, seeds, first_seed)
    if not finished:
        for result in _train(norm, warmup, learning_rate, max_norm, steps, seeds, first_seed):
            if result.progress == 1:
                finished.append(result)
            else:
                yield replace(result, prediction=guess)
    yield replace(finished[0], prediction=guess)


def draw_training(result: Training, axes: dict[str, Panel]) -> None:
    """Show loss and accuracy over the steps, beside guessing and beside knowing the letters."""
    loss, accuracy = axes["loss"], axes["accuracy"]
    steps = np.arange(1, result.loss.shape[1] + 1)
    letters_loss, letters_accuracy = result.letters
    for panel, title, rows, levels in (
        (loss, "Loss", result.loss, (math.log(SYMBOLS), letters_loss)),
        (accuracy, "Accuracy", result.accuracy, (1 / SYMBOLS, letters_accuracy)),
    ):
        panel.set(title=title, xlabel="step", xlim=(0, result.steps))
        for number, row in enumerate(rows):
            label = {"label": "measured: each network"} if number == 0 else {}
            style: dict[str, Any] = {"color": MEASURED, "lw": 1.8, "alpha": 0.8, **label}
            panel.line(f"measured {number}", steps, row, **style)
        for key, level, dashes, words in (
            ("guessing", levels[0], "--", "theory: guessing"),
            ("letters", levels[1], ":", "theory: letters, not places"),
        ):
            ends = [0, result.steps]
            panel.line(key, ends, [level, level], color=THEORY, ls=dashes, label=words)
        if 0 < result.warmup < result.steps:
            words = "end of the warmup"
            panel.vline("warmup", result.warmup, color=PALETTE[2], lw=1.5, label=words)
    loss.set(ylim=(0.0, 3.0))
    accuracy.set(ylim=(0.0, 1.02))
    if result.prediction is not None:
        accuracy.mark("prediction", result.steps, result.prediction / 100, "your prediction")


@lru_cache(maxsize=64)
def _finished(*_settings: float | str) -> list[Training]:
    """Return the place where the result of these settings is kept."""
    return []


def _train(
    norm: str,
    warmup: int,
    learning_rate: float,
    max_norm: float,
    steps: int,
    seeds: int,
    first_seed: int,
) -> Iterator[Training]:
    rows: list[tuple[Array, Array, Array]] = []
    pace = Pace(0.2)
    for step in train(norm, warmup, learning_rate, steps, seeds, first_seed, max_norm):
        rows.append((step.loss, step.accuracy, step.norm))
        if step.number == steps or pace.due():
            loss, accuracy, gradient = (np.stack(row, axis=1) for row in zip(*rows, strict=True))
            done = step.number / steps
            settings = (norm, warmup, learning_rate, max_norm, steps)
            yield Training(*settings, loss, accuracy, gradient, done)
            pace.restart()
