"""The edge of stability: a network's sharpness climbs until the learning rate stops it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from gradcourse import theory
from gradcourse.checks import at_least, more_than_zero
from gradcourse.exercises import as_prediction
from gradcourse.lessons.three_causes.recipes import YIELD_EVERY
from gradcourse.live import MEASURED, THEORY, Panel
from gradcourse.models import MLP, seeded
from gradcourse.signals import sharpness
from gradcourse.tasks import digits
from gradcourse.training import Ensemble, Pace, one_thread

__all__ = ["Edge", "draw_edge", "measure_edge"]

Array = NDArray[Any]

IMAGES, WIDTH, DEPTH = 100, 16, 2
STEPS, EVERY = 1000, 20


@dataclass(frozen=True)
class Edge:
    """Full-batch gradient descent of small networks, and the sharpness on its way.

    Attributes
    ----------
    learning_rate, momentum
        The settings.
    steps
        When the sharpness was measured, shape (times,).
    sharpness
        The largest eigenvalue of the Hessian, shape (times, seeds).
    losses
        After each step, shape (steps + 1, seeds).
    limit
        Theory: the sharpness above which the learning rate is too large.
    progress
        Share of the steps that are done.
    total
        How many steps there will be.
    prediction
        The learner's guess of the sharpness at the end at learning rate 0.4 without momentum, if
        there is one.
    """

    learning_rate: float
    momentum: float
    steps: Array
    sharpness: Array
    losses: Array
    limit: float
    progress: float
    total: int
    prediction: float | None

    @property
    def median(self) -> Array:
        """The median of the seeds, shape (times,)."""
        return np.asarray(np.median(self.sharpness, axis=1))

    @property
    def late(self) -> float:
        """The mean sharpness over all seeds in the last quarter of the measured times."""
        return float(self.sharpness[-max(1, len(self.steps) // 4) :].mean())

    @property
    def rises(self) -> float:
        """The share of the second half of the steps in which the loss rose."""
        later = self.losses[len(self.losses) // 2 :]
        return float((np.diff(later, axis=0) > 0).mean()) if len(later) > 1 else 0.0

    def summary(self) -> str:
        """Return the picture in one line."""
        first, last = np.median(self.losses[0]), np.median(self.losses[-1])
        # The loss may leave between two times at which the sharpness is measured.
        if not (np.isfinite(self.sharpness).all() and np.isfinite(self.losses).all()):
            return f"learning rate {self.learning_rate:.3g}: the loss leaves float32"
        return (
            f"learning rate {self.learning_rate:.3g}, momentum {self.momentum:.3g}: sharpness "
            f"{self.median[0]:.1f} at the start, {self.late:.1f} at the end "
            f"(theory: 2(1 + momentum)/lr = {self.limit:.1f}); loss {first:.2f} to {last:.3f}, "
            f"rising in {100 * self.rises:.0f} % of the later steps"
        )


def measure_edge(
    learning_rate: float = 0.4,
    momentum: float = 0.0,
    seeds: int = 4,
    first_seed: int = 0,
    steps: int = STEPS,
    prediction: float | None = None,
) -> Iterator[Edge]:
    """Train small networks on all of 100 digits at once, and follow their sharpness (T33).

    Parameters
    ----------
    learning_rate, momentum
        Of ``torch.optim.SGD``.
    seeds, first_seed
        How many networks, and the first of their seeds.
    steps
        How many of them.
    prediction
        The sharpness at the end that the learner expects at learning rate 0.4 without momentum,
        drawn as a star there.

    Yields
    ------
    Edge
        What there is so far; the last one is whole.
    """
    # The same formula for the learning rate has the sharpness in its place.
    rate = more_than_zero("learning_rate", learning_rate)
    limit = theory.largest_stable_learning_rate(rate, momentum)
    asked = abs(learning_rate - 0.4) < 0.02 and momentum == 0
    guess = as_prediction(prediction) if asked else None
    inputs, labels = digits(IMAGES, first_seed)
    # Images of length about 1.
    inputs, targets = inputs / 8, nn.functional.one_hot(labels, 10).float()
    ensemble = Ensemble(
        seeded(seed, lambda: MLP(64, WIDTH, DEPTH, 10))
        for seed in range(first_seed, first_seed + at_least(1, "seeds", seeds))
    )
    optimizer = torch.optim.SGD(ensemble.parameters(), lr=learning_rate, momentum=momentum)

    def losses() -> Tensor:
        residuals: Tensor = ensemble(inputs) - targets
        return 0.5 * residuals.square().sum(dim=2).mean(dim=1)

    times: list[int] = []
    sharp: list[Array] = []
    history: list[Array] = []
    pace = Pace(YIELD_EVERY)
    for step in range(0, steps + 1, EVERY):
        with one_thread():
            times.append(step)
            sharp.append(sharpness(losses(), ensemble.parameters()).numpy())
            for _ in range(min(EVERY, steps - step + 1)):
                optimizer.zero_grad()
                each = losses()
                history.append(each.detach().numpy())
                torch.autograd.backward(each.sum())
                optimizer.step()
        over = step + EVERY > steps
        if over or pace.due():
            yield Edge(
                learning_rate,
                momentum,
                np.array(times),
                np.array(sharp),
                np.array(history),
                limit,
                1.0 if over else step / steps,
                steps,
                guess,
            )
            pace.restart()


def draw_edge(result: Edge, axes: Panel) -> None:
    """Show the sharpness step by step, below and at the limit that the learning rate sets."""
    shown = result.sharpness[np.isfinite(result.sharpness)]
    top = max(1.5 * result.limit, float(shown.max(initial=0.0)), result.prediction or 0.0)
    axes.set(
        xlabel="step",
        ylabel="sharpness",
        xlim=(0, result.total),
        ylim=(0, min(top, 3 * result.limit)),
    )
    low, high = result.sharpness.min(axis=1), result.sharpness.max(axis=1)
    axes.band("band", result.steps, low, high, color=MEASURED, alpha=0.2, label="range of seeds")
    axes.line("measured", result.steps, result.median, color=MEASURED, label="measured: median")
    axes.hline("theory", result.limit, color=THEORY, ls="--", label="theory: 2(1 + momentum)/lr")
    if result.prediction is not None:
        axes.mark("prediction", result.total, result.prediction, "your prediction")
