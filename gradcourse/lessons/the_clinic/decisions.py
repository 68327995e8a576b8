"""The decision table: what each treatment is worth in each situation, over several seeds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradcourse.checks import at_least, more_than_zero
from gradcourse.exercises import as_prediction
from gradcourse.lessons.the_clinic.situations import SITUATIONS
from gradcourse.live import MEASURED, PALETTE, THEORY, Panel

__all__ = ["Decision", "decision_for", "draw_decision", "measure_decision"]

Array = NDArray[Any]


# Whole rows at the situations' own learning rates: the picture and the table need the same.
_KNOWN: dict[tuple[str, range], Array] = {}


@dataclass(frozen=True)
class Decision:
    """One row of the decision table.

    Attributes
    ----------
    situation
        Its name.
    treatments
        Names; the first one is to do nothing.
    scores
        Of held-out data, 0 to 1, shape (treatments, seeds); NaN where nothing has begun.
    guess
        Theory: the score of an answer that does not look at the input.
    threshold
        The score from which on a network counts as trained.
    learning_rate
        What all learning rates were multiplied with.
    progress
        Share of the work that is done.
    prediction
        How many networks the learner expects the default line to train, of all situations' first
        learning rate, if there is a guess.
    """

    situation: str
    treatments: tuple[str, ...]
    scores: Array
    guess: float
    threshold: float
    learning_rate: float
    progress: float
    prediction: float | None

    @property
    def learned(self) -> dict[str, int]:
        """How many of the seeds each treatment has trained."""
        counts = (self.scores >= self.threshold).sum(axis=1)
        return dict(zip(self.treatments, counts.tolist(), strict=True))

    def summary(self) -> str:
        """Return the picture in one line."""
        seeds = self.scores.shape[1]
        counts = ", ".join(f"{name} {count}" for name, count in self.learned.items())
        return (
            f"{self.situation}, learning rate x {self.learning_rate:.2g}: "
            f"learned in so many of {seeds} seeds: {counts}"
        )


def measure_decision(
    situation: str = "deep ReLU network",
    learning_rate: float = 1.0,
    seeds: int = 4,
    first_seed: int = 0,
    prediction: float | None = None,
) -> Iterator[Decision]:
    """Train every treatment of a situation on several seeds.

    Parameters
    ----------
    situation
        A name from ``SITUATIONS``.
    learning_rate
        What the learning rates of all treatments are multiplied with.
    seeds, first_seed
        How many, and the first of them; it chooses the data too.
    prediction
        How many seeds the learner expects the default line to train in a deep ReLU network at
        learning rate 1, drawn as a star there.

    Yields
    ------
    Decision
        What there is so far; the last one is whole.
    """
    if situation not in SITUATIONS:
        raise ValueError(f"situation must be one of {', '.join(SITUATIONS)}, got {situation!r}")
    row = SITUATIONS[situation]
    rate = more_than_zero("learning_rate", learning_rate)
    each = range(first_seed, first_seed + at_least(1, "seeds", seeds))
    asked = situation == "deep ReLU network" and abs(rate - 1) < 0.01
    guess = as_prediction(prediction) if asked else None
    names = tuple(trial.name for trial in row.trials)
    key = (situation, each)
    known = rate == 1 and key in _KNOWN
    for share, scores in [(1.0, _KNOWN[key])] if known else row.run(each, rate):
        if rate == 1 and share == 1:
            _KNOWN[key] = scores
        yield Decision(situation, names, scores, row.guess, row.learned, rate, share, guess)


def decision_for(situation: str, seeds: int = 4, first_seed: int = 0) -> Decision:
    """Return a whole row of the table, at the situation's own learning rate."""
    *_, last = measure_decision(situation, seeds=seeds, first_seed=first_seed)
    return last


def draw_decision(result: Decision, axes: Panel) -> None:
    """Show the score of each seed under each treatment, in rows."""
    rows = np.arange(len(result.treatments))[::-1]
    seeds = result.scores.shape[1]
    labels = [f"{name}: {result.learned[name]} of {seeds}" for name in result.treatments]
    axes.set(
        title=result.situation,
        xlabel="score on held-out data",
        xlim=(-0.03, 1.03),
        ylim=(-0.6, len(rows) - 0.4),
        yticks=rows,
        yticklabels=labels,
    )
    y = np.repeat(rows, seeds) + np.tile(np.linspace(-0.15, 0.15, seeds), len(rows))
    style = {"color": MEASURED, "ls": "", "marker": "o", "ms": 10, "alpha": 0.8}
    axes.line("measured", result.scores.ravel(), y, label="measured: one seed", **style)
    axes.vline("theory", result.guess, color=THEORY, ls="--", label="theory: guessing")
    axes.vline("learned", result.threshold, color=PALETTE[2], lw=1.5, label="learned from here")
    if result.prediction is not None:
        axes.mark("prediction", result.prediction / seeds, rows[-1], "your prediction, as a share")
