"""What normalisation does to training: learning rates that learn, and an explosion that heals."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from gradcourse import theory
from gradcourse.checks import at_least, more_than_zero
from gradcourse.exercises import as_prediction
from gradcourse.lessons.normalization.networks import NORMS, Stack
from gradcourse.live import MEASURED, PALETTE, THEORY, Panel
from gradcourse.training import one_thread

__all__ = ["RATES", "Training", "draw_training", "measure_training"]

Array = NDArray[Any]

RATES = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
STEPS = 150
# Reads most digits right; a network that guesses reads a tenth of them.
LEARNED = 0.8
COLOURS = {"no norm": PALETTE[2], "BatchNorm": MEASURED, "LayerNorm": PALETTE[3]}
# The learning rates whose gradients are followed, and how they are drawn.
FOLLOWED = ((0.01, PALETTE[5]), (0.1, MEASURED), (1.0, "#00294A"))


@dataclass(frozen=True)
class Training:
    """Networks trained at several learning rates, with a norm and without.

    Attributes
    ----------
    depth, weight_scale, batch
        As given.
    rates
        The learning rates, shape (rates,).
    accuracy
        Share of the test digits that are read right, shape (norms, rates, seeds).
    broken
        Which networks ended in NaN or inf, shape (norms, rates, seeds).
    ratio
        log10 of the norm of BatchNorm's weight gradient in layer 2 relative to the last hidden
        layer's, median over seeds, shape (rates, steps so far).
    predicted_ratio
        Theory, before the first step.
    progress
        Share of the work done.
    prediction
        The largest learning rate at which the learner expects BatchNorm to learn, if any.
    """

    depth: int
    weight_scale: float
    batch: int
    rates: Array
    accuracy: Array
    broken: Array
    ratio: Array
    predicted_ratio: float
    progress: float
    prediction: float | None

    def best(self, norm: str) -> float:
        """Return the accuracy at the best learning rate: the median over seeds."""
        return float(self._median(norm).max())

    def largest_rate(self, norm: str) -> float:
        """Return the largest learning rate at which the median network learns, 0 if none does."""
        learned = self.rates[self._median(norm) > LEARNED]
        return float(learned.max()) if learned.size else 0.0

    def summary(self) -> str:
        """Return the picture in one line."""
        parts = []
        for number, norm in enumerate(NORMS):
            rate = self.largest_rate(norm)
            part = f"{norm}: learns up to rate {rate:g}" if rate else f"{norm}: learns at no rate"
            part += f" (best {self.best(norm):.0%}"
            broken = int(self.broken[number].sum())
            part += f", {broken} of {self.broken[number].size} end in NaN)" if broken else ")"
            parts.append(part)
        return (
            f"{self.depth} layers, weight scale {self.weight_scale:.3g}, {self.ratio.shape[1]} "
            f"steps. {'; '.join(parts)}"
        )

    def range_of(self, norm: str) -> Array:
        """Lowest, median and highest accuracy of the seeds at each rate, shape (3, rates)."""
        return np.asarray(np.quantile(self.accuracy[NORMS.index(norm)], (0, 0.5, 1), axis=1))

    def _median(self, norm: str) -> Array:
        return np.asarray(self.range_of(norm)[1])


def measure_training(
    depth: int = 10,
    weight_scale: float = 1.4,
    batch: int = 64,
    seeds: int = 3,
    first_seed: int = 0,
    prediction: float | None = None,
) -> Iterator[Training]:
    """Train ReLU networks on digits at several learning rates, and yield what there is so far.

    Parameters
    ----------
    depth
        Hidden layers of 64 units, 2 or more.
    weight_scale
        Weights are ``N(0, weight_scale**2 / fan_in)``.
    batch
        Digits in a step, 4 or more.
    seeds, first_seed
        Networks for each norm and each learning rate, and the first of their seeds.
    prediction
        The largest learning rate at which the learner expects 10 layers with BatchNorm to learn,
        drawn as a star.
    """
    depth = at_least(2, "depth", depth)
    weight_scale = more_than_zero("weight_scale", weight_scale)
    guess = as_prediction(prediction) if depth == 10 else None
    if guess is not None:
        guess = more_than_zero("prediction", guess)
    predicted = (depth - 2) * math.log10(theory.batch_norm_chi("relu", batch)) / 2
    stacks = [
        Stack(norm, depth, weight_scale, RATES, batch=batch, seeds=seeds, first_seed=first_seed)
        for norm in NORMS
    ]
    ratios: list[Array] = []
    # A third of a second on one core; a look at all test digits costs as much as two steps.
    chunk = max(1, 200 // depth)
    for done in range(0, STEPS, chunk):
        with one_thread():
            for _ in range(min(chunk, STEPS - done)):
                norms = {stack.norm: stack.step() for stack in stacks}
                ratios.append(_ratio(norms["BatchNorm"], seeds))
            accuracy = np.stack([stack.accuracy().numpy() for stack in stacks])
            broken = np.stack([stack.broken().numpy() for stack in stacks])
        yield Training(
            depth=depth,
            weight_scale=weight_scale,
            batch=batch,
            rates=np.array(RATES),
            accuracy=accuracy,
            broken=broken,
            ratio=np.stack(ratios, axis=1),
            predicted_ratio=predicted,
            progress=len(ratios) / STEPS,
            prediction=guess,
        )


def draw_training(result: Training, axes: dict[str, Panel]) -> None:
    """Show which learning rates learn, and how the explosion goes on during training."""
    panel, ratio = axes["accuracy"], axes["ratio"]
    rates = np.log10(result.rates)
    panel.set(
        title=f"{result.depth} layers, after {result.ratio.shape[1]} steps",
        xlabel="learning rate",
        ylabel="share of test digits right",
        xlim=(-2.15, 0.65),
        ylim=(0, 1.02),
        xticks=rates,
        xticklabels=[f"{rate:g}" for rate in result.rates],
    )
    for norm in NORMS:
        low, middle, high = result.range_of(norm)
        panel.band(f"band {norm}", rates, low, high, color=COLOURS[norm], alpha=0.2)
        name = "measured: no norm" if norm == "no norm" else norm
        panel.line(norm, rates, middle, color=COLOURS[norm], label=name, marker="o", ms=6)
    panel.hline("guessing", 0.1, color=THEORY, ls="--", lw=1.5, label="theory: guessing")
    if result.prediction is not None:
        place = float(np.clip(math.log10(result.prediction), -2.1, 0.6))
        panel.mark("prediction", place, LEARNED, "your prediction")

    steps = np.arange(result.ratio.shape[1])
    shown = [result.ratio[result.rates == rate][0] for rate, _ in FOLLOWED]
    ratio.set(
        title="BatchNorm: does it last?",
        xlabel="step",
        ylabel="gradient of layer 2 / last layer",
        xlim=(0, STEPS),
    )
    ends = np.concatenate([*shown, [-0.5, result.predicted_ratio]])
    ends = ends[np.isfinite(ends)]
    ratio.decades("y", float(ends.min()), float(ends.max()))
    for (rate, colour), values in zip(FOLLOWED, shown, strict=True):
        name = f"measured: rate {rate:g}" if rate == FOLLOWED[0][0] else f"rate {rate:g}"
        ratio.line(f"rate {rate}", steps, values, color=colour, lw=2, label=name)
    ratio.hline(
        "theory", result.predicted_ratio, color=THEORY, ls="--", label="theory: before step 1"
    )


def _ratio(norms: Tensor, seeds: int) -> Array:
    """Return log10 of layer 2's gradient relative to the last one's, median over seeds."""
    relative = (norms[:, 1].double() / norms[:, -1]).log10().numpy()
    return np.asarray(np.median(relative.reshape(-1, seeds), axis=1))
