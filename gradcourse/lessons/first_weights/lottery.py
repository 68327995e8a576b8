"""The lottery of depth over width: what a He network does to a gradient depends on its seed."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from gradcourse import theory
from gradcourse.checks import at_least
from gradcourse.exercises import as_prediction
from gradcourse.live import MEASURED, THEORY, Panel, snap_up

__all__ = ["Lottery", "draw_lottery", "lottery_gains", "measure_lottery"]

Array = NDArray[np.float64]

DEEPEST, SEEDS = 100, 1000
ASKED = 50, 16


@dataclass(frozen=True, eq=False)
class Lottery:
    """The gradient's norm at the input of many He networks, and its law.

    Attributes
    ----------
    width
        Units in each layer.
    log10_norm
        log10 of the norm after 0, 1, ... layers, shape (seeds, depth + 1).
    median, low, high
        Over seeds, shape (depth + 1,): the median and the ends of the band that holds 90 %.
    predicted, predicted_low, predicted_high
        The same from theory.
    centres, density
        The histogram at the last depth, per power of ten, shape (bins,).
    grid, predicted_density
        The normal density of theory, shape (points,).
    prediction
        The learner's guess of log10 of the median, if there is one.
    """

    width: int
    log10_norm: Array
    median: Array
    low: Array
    high: Array
    predicted: Array
    predicted_low: Array
    predicted_high: Array
    centres: Array
    density: Array
    grid: Array
    predicted_density: Array
    prediction: float | None

    @property
    def depth(self) -> int:
        """The number of layers."""
        return len(self.median) - 1

    @property
    def ratio(self) -> float:
        """How many times the gradient of the seed at 95 % is longer than that of the one at 5 %."""
        low, high = self.low[-1], self.high[-1]
        return math.inf if np.isneginf(low) else float(10 ** (high - low))

    def summary(self) -> str:
        """Return the picture in one line."""
        predicted = float(10 ** (self.predicted_high[-1] - self.predicted_low[-1]))
        dead = int(np.isneginf(self.log10_norm[:, -1]).sum())
        some = f"; {dead} dead (a layer let nothing pass)" if dead else ""
        return (
            f"{len(self.log10_norm)} He networks, width {self.width}, depth {self.depth}, "
            f"5 L/n = {5 * self.depth / self.width:.2g}: median norm 10^{self.median[-1]:.2f} "
            f"(theory 10^{self.predicted[-1]:.2f}), 90 % of seeds within a factor "
            f"{self.ratio:.3g} (theory {predicted:.3g}){some}"
        )


@lru_cache(maxsize=4)
def lottery_gains(width: int, seeds: int = SEEDS, first_seed: int = 0) -> Array:
    """Return log10 of a gradient's norm after 0 to 100 He layers, shape (seeds, 101).

    In each layer one random matrix meets one vector. A Gaussian matrix times a vector is a Gaussian
    vector, so ``width`` numbers are drawn, and not ``width**2`` weights. A ReLU lets each of them
    pass or not, as the sign of its sum decides, which says nothing of their squares.
    """
    source = np.random.default_rng([first_seed, width])
    squares = np.empty((seeds, DEEPEST + 1))
    squares[:, 0] = 1.0
    for layer in range(1, DEEPEST + 1):
        products = source.standard_normal((seeds, width), dtype=np.float32)
        open_units = source.random((seeds, width), dtype=np.float32) < 0.5
        squares[:, layer] = 2 / width * np.einsum("su,su,su->s", products, products, open_units)
    with np.errstate(divide="ignore"):
        return np.asarray(np.cumsum(np.log10(squares), axis=1) / 2)


def measure_lottery(
    depth: int = 50,
    width: int = 16,
    seeds: int = SEEDS,
    first_seed: int = 0,
    prediction: float | None = None,
) -> Lottery:
    """Draw what He layers do to a gradient, many seeds at once, and predict its law (T11).

    Parameters
    ----------
    depth
        Layers, 1 to 100.
    width
        Units in each layer.
    seeds, first_seed
        How many networks, 2 or more, and what their random numbers start from.
    prediction
        log10 of the median norm that the learner expects of 50 layers of width 16, drawn as a star
        there.
    """
    depth, width = at_least(1, "depth", depth), at_least(1, "width", width)
    seeds = at_least(2, "seeds", seeds)
    if depth > DEEPEST:
        raise ValueError(f"depth must be {DEEPEST} or less, got {depth}")
    norms = lottery_gains(width, seeds, at_least(0, "first_seed", first_seed))[:, : depth + 1]
    middle, low, high = np.quantile(norms, [0.5, 0.05, 0.95], axis=0, method="inverted_cdf")
    mean, variance = theory.relu_log_gain(width)
    predicted = theory.log10_product_band(
        np.arange(depth + 1), float(mean / 2), float(variance / 4)
    )
    centre = float(predicted[0][-1])
    sigma = math.sqrt(float(variance) * depth) / (2 * math.log(10))
    edges = np.linspace(centre - 4 * sigma, centre + 4 * sigma, 31)
    counts, _ = np.histogram(norms[:, -1], edges)
    grid = np.linspace(edges[0], edges[-1], 101)
    normal = np.exp(-(((grid - centre) / sigma) ** 2) / 2) / (sigma * math.sqrt(2 * math.pi))
    return Lottery(
        width,
        norms,
        middle,
        low,
        high,
        *predicted,
        (edges[1:] + edges[:-1]) / 2,
        counts / seeds / np.diff(edges),
        grid,
        normal,
        as_prediction(prediction) if (depth, width) == ASKED else None,
    )


def draw_lottery(result: Lottery, axes: dict[str, Panel]) -> None:
    """Show the band over depth, and the histogram at the last depth, beside theory."""
    fan, bars = axes["depth"], axes["seeds"]
    layers = np.arange(result.depth + 1)
    guess = [] if result.prediction is None else [result.prediction]
    shown = [*result.low, *result.high, *result.predicted_low, *result.predicted_high, *guess]
    ends = np.array([-1.0, 0.5, *shown])
    ends = ends[np.isfinite(ends)]
    fan.set(
        title="The band over depth",
        xlabel="layers",
        ylabel="gradient norm at the input",
        xlim=(0, snap_up(result.depth)),
    )
    fan.decades("y", float(ends.min()), float(ends.max()))
    measured = {"color": MEASURED, "alpha": 0.25}
    fan.band("band", layers, result.low, result.high, label="90 % of seeds", **measured)
    fan.line("median", layers, result.median, color=MEASURED, label="measured: He networks")
    fan.line("theory", layers, result.predicted, color=THEORY, ls="--", label="theory: 5 L/n")
    for key, row in (("low", result.predicted_low), ("high", result.predicted_high)):
        fan.line(f"theory {key}", layers, row, color=THEORY, ls=":", lw=2)
    bars.set(title="1000 seeds at the last depth", xlabel="gradient norm at the input", yticks=[])
    bars.decades("x", float(result.grid[0]), float(result.grid[-1]))
    top = 1.35 * float(result.predicted_density.max())
    # In units of the peak: the picture is about width, and the axis need not move.
    heights = result.density / top
    bars.set(ylim=(0, 1))
    bars.band("bars", result.centres, np.zeros_like(heights), heights, step="mid", **measured)
    bars.line(
        "measured",
        result.centres,
        heights,
        color=MEASURED,
        drawstyle="steps-mid",
        label="measured: He networks",
    )
    bars.line(
        "normal",
        result.grid,
        result.predicted_density / top,
        color=THEORY,
        ls="--",
        label="theory: 5 L/n",
    )
    if result.prediction is not None:
        fan.mark("prediction", result.depth, result.prediction, "your prediction")
