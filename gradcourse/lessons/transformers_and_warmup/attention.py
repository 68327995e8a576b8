"""The softmax of attention: what large scores do to its gradient."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from gradcourse import theory
from gradcourse.exercises import as_prediction
from gradcourse.live import MEASURED, THEORY, Panel, snap_up
from gradcourse.signals.words import quantile

__all__ = ["DIVISORS", "Attention", "draw_attention", "measure_attention"]

Array = NDArray[Any]
# The power of d that a score is divided by.
DIVISORS = {"nothing": 0.0, "sqrt(d)": 0.5, "d": 1.0}
DIMENSIONS = tuple(2**power for power in range(1, 11))
DRAWS = 2000
LOWEST = -18.0


@dataclass(frozen=True)
class Attention:
    """One query that chooses between two keys, drawn many times.

    Attributes
    ----------
    dimension, divide
        As given.
    spread
        Standard deviation of the scores at this dimension.
    edges, density
        Their histogram: borders of the bins, shape (bins + 1,), and heights, shape (bins,).
    predicted_spread
        Theory.
    slope, low, high
        log10 of the slope of the attention weight, for each dimension of ``DIMENSIONS``: the median
        draw, and the quarter from below and from above.
    predicted
        Theory for the median.
    prediction
        The learner's guess of log10 of the slope at 512 numbers, if there is one.
    """

    dimension: int
    divide: str
    spread: float
    edges: Array
    density: Array
    predicted_spread: float
    slope: Array
    low: Array
    high: Array
    predicted: Array
    prediction: float | None

    @property
    def at(self) -> float:
        """The median slope at this dimension."""
        return float(10 ** self.slope[DIMENSIONS.index(self.dimension)])

    @property
    def predicted_at(self) -> float:
        """The same of theory."""
        return float(10 ** self.predicted[DIMENSIONS.index(self.dimension)])

    def summary(self) -> str:
        """Return the picture in one line."""
        return (
            f"{self.dimension} numbers, scores divided by {self.divide}: their spread is "
            f"{self.spread:.3g} (theory: {self.predicted_spread:.3g}), the median slope "
            f"{self.at:.2g} (theory: {self.predicted_at:.2g})"
        )


def measure_attention(
    dimension: int = 64,
    divide: str = "nothing",
    first_seed: int = 0,
    prediction: float | None = None,
) -> Attention:
    """Draw queries and keys, and measure how steep the softmax over two scores is.

    Parameters
    ----------
    dimension
        Numbers in a query and in a key: 2, 4, 8, ... or 1024.
    divide
        ``"nothing"``, ``"sqrt(d)"`` or ``"d"``: by what a score is divided.
    first_seed
        Chooses queries and keys.
    prediction
        log10 of the median slope that the learner expects of 512 numbers, if the scores are divided
        by nothing; drawn as a star.
    """
    if dimension not in DIMENSIONS:
        raise ValueError(f"dimension must be one of {DIMENSIONS}, got {dimension}")
    if divide not in DIVISORS:
        raise ValueError(f"divide must be one of {', '.join(DIVISORS)}, got {divide!r}")
    divisors = np.array(DIMENSIONS, np.float64) ** DIVISORS[divide]
    scores = _scores(first_seed) / divisors[:, None, None]
    difference = torch.from_numpy(scores[:, 0] - scores[:, 1])
    log_slope = np.asarray(_log_sigmoid(difference) + _log_sigmoid(-difference)) / math.log(10)
    here = scores[DIMENSIONS.index(dimension)].ravel()
    variances = np.array(DIMENSIONS) / divisors**2
    spread = math.sqrt(variances[DIMENSIONS.index(dimension)])
    density, edges = np.histogram(here, 24, (-3.5 * spread, 3.5 * spread), density=True)
    with np.errstate(divide="ignore"):
        predicted = np.log10(theory.attention_slope(variances))
    return Attention(
        dimension,
        divide,
        float(here.std()),
        edges,
        density,
        spread,
        np.median(log_slope, axis=1),
        quantile(log_slope.T, 0.25),
        quantile(log_slope.T, 0.75),
        predicted,
        as_prediction(prediction) if divide == "nothing" else None,
    )


def draw_attention(result: Attention, axes: dict[str, Panel]) -> None:
    """Show the scores at one dimension, and the slope of the softmax at all of them."""
    scores, slope = axes["scores"], axes["slope"]
    reach = float(snap_up(3.5 * result.predicted_spread))
    x = np.linspace(-reach, reach, 121)
    top = 1 / (math.sqrt(2 * math.pi) * result.predicted_spread)
    scores.set(
        title=f"Scores of {result.dimension} numbers",
        xlabel="score",
        ylabel="relative frequency",
        xlim=(-reach, reach),
        ylim=(0, 1.35),
    )
    # Relative to the highest point of theory, so that the axis can stay.
    steps = np.repeat(result.edges, 2)[1:-1], np.repeat(result.density, 2) / top
    scores.line("measured", *steps, color=MEASURED, label="measured")
    bell = np.exp(-((x / result.predicted_spread) ** 2) / 2)
    scores.line("theory", x, bell, color=THEORY, ls="--", label="theory: normal")
    d = np.log2(DIMENSIONS)
    slope.set(
        title="Slope of the softmax",
        xlabel="numbers in a query, d",
        ylabel="a (1 - a)",
        xlim=(1, 10),
        xticks=[1, 3, 5, 7, 9],
        xticklabels=["2", "8", "32", "128", "512"],
    )
    slope.decades("y", LOWEST, 0.0)
    low, high = np.maximum(result.low, LOWEST), result.high
    slope.band("band", d, low, high, color=MEASURED, alpha=0.2, label="half of the draws")
    slope.line("measured", d, result.slope, color=MEASURED, lw=4, label="measured: median")
    slope.line("theory", d, result.predicted, color=THEORY, ls="--", label="theory: median")
    slope.vline("here", math.log2(result.dimension), color="black", lw=1.2, ls=":")
    if result.prediction is not None:
        slope.mark("prediction", 9, result.prediction, "your prediction")


@lru_cache(maxsize=4)
def _scores(first_seed: int) -> Array:
    """Return the scores of two keys, shape (dimensions, 2, draws)."""
    source = np.random.default_rng(first_seed)
    rows = []
    for dimension in DIMENSIONS:
        query, *keys = source.standard_normal((3, DRAWS, dimension), dtype=np.float32)
        rows.append([np.einsum("ij,ij->i", query, key, dtype=np.float64) for key in keys])
    return np.array(rows)


def _log_sigmoid(values: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.logsigmoid(values)
