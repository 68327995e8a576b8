"""Lesson 00: how to read a live figure, on a product of random numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradcourse.checks import at_least
from gradcourse.exercises import Verdict, as_prediction, check_number
from gradcourse.live import MEASURED, PALETTE, THEORY, Panel, snap_up
from gradcourse.theory import uniform_log_moments

__all__ = ["Product", "check_factors", "draw_product", "measure_product"]

MEAN = PALETTE[2]


@dataclass(frozen=True)
class Product:
    """Many runs of one experiment: multiply random factors.

    Attributes
    ----------
    spread
        Factors are uniform between ``1 - spread`` and ``1 + spread``.
    log10
        Logarithms of the running product, shape (runs, factors + 1).
    prediction
        The learner's guess of log10 of the typical final product, if there is one.
    """

    spread: float
    log10: NDArray[Any]
    prediction: float | None

    @property
    def factors(self) -> int:
        """Number of factors multiplied."""
        return int(self.log10.shape[1]) - 1

    @property
    def typical(self) -> NDArray[Any]:
        """Median over runs of log10 of the product, shape (factors + 1,)."""
        return np.asarray(np.median(self.log10, axis=0))

    @property
    def average(self) -> NDArray[Any]:
        """log10 of the mean over runs of the product, shape (factors + 1,)."""
        return np.asarray(np.log10(np.mean(10.0**self.log10, axis=0)))

    def summary(self) -> str:
        """Return the picture in one line."""
        end = self.typical[-1]
        return (
            f"{self.factors} factors between {1 - self.spread:.2g} and {1 + self.spread:.2g}: "
            f"the typical product is 10^{end:.1f}, although each factor averages 1 "
            f"({self.log10.shape[0]} runs)"
        )


def measure_product(
    factors: int = 100,
    spread: float = 0.5,
    runs: int = 200,
    seed: int = 0,
    prediction: float | None = None,
) -> Product:
    """Multiply random factors many times.

    Parameters
    ----------
    factors
        How many factors are multiplied, 1 or more.
    spread
        Half the width of the interval around 1 that factors are drawn from, 0 to 0.99.
    runs
        How often the experiment is repeated, 1 or more.
    seed
        Of the random numbers.
    prediction
        log10 of what the learner expects of 100 factors at spread 0.5, drawn as a star there.
    """
    factors, runs = at_least(1, "factors", factors), at_least(1, "runs", runs)
    if not 0 <= spread <= 0.99:
        raise ValueError(f"spread must be between 0 and 0.99, got {spread}")
    length = int(snap_up(factors))
    noise = np.stack([_noise(seed, run, length)[:factors] for run in range(runs)])
    log10 = np.cumsum(np.log10(1 + spread * noise), axis=1)
    asked = factors == 100 and math.isclose(spread, 0.5)
    return Product(
        spread,
        np.hstack([np.zeros((runs, 1)), log10]),
        as_prediction(prediction) if asked else None,
    )


@lru_cache(maxsize=4096)
def _noise(seed: int, run: int, length: int) -> NDArray[Any]:
    # One stream for each run: more runs or factors must not change those already drawn.
    return np.random.default_rng([seed, run]).uniform(-1, 1, length)


def draw_product(result: Product, axes: Panel) -> None:
    """Show the typical product and its band, beside the line that theory predicts."""
    steps = np.arange(result.factors + 1)
    mean, variance = (moment / math.log(10) ** power for power, moment in _moments(result))
    low, high = np.quantile(result.log10, [0.05, 0.95], axis=0)
    axes.set(xlabel="factors multiplied", ylabel="product", xlim=(0, snap_up(result.factors)))
    shown = [low.min(), high.max(), 0.5, -1.0]
    if result.prediction is not None:
        shown.append(result.prediction)
    axes.decades("y", min(shown), max(shown))
    axes.band("band", steps, low, high, color=MEASURED, alpha=0.2, label="90 % of runs")
    axes.line("average", steps, result.average, color=MEAN, ls="-.", label="measured: mean")
    axes.line("typical", steps, result.typical, color=MEASURED, label="measured: median")
    axes.line("theory", steps, steps * mean, color=THEORY, ls="--", label="theory: typical")
    axes.hline("mean", 0, color="black", ls=(0, (1, 3)), lw=1.5, label="theory: mean")
    edge: dict[str, Any] = {"color": THEORY, "ls": ":", "lw": 1.5}
    axes.line("theory high", steps, steps * mean + 1.645 * np.sqrt(steps * variance), **edge)
    axes.line("theory low", steps, steps * mean - 1.645 * np.sqrt(steps * variance), **edge)
    if result.prediction is not None:
        axes.mark("prediction", result.factors, result.prediction, "your prediction")


def _moments(result: Product) -> list[tuple[int, float]]:
    return list(enumerate(uniform_log_moments(result.spread), start=1))


def check_factors(answer: Any) -> Verdict:
    """Check how many factors bring the typical product below 1e-6 at spread 0.5."""
    mean, _ = uniform_log_moments(0.5)
    expected = math.ceil(-6 * math.log(10) / mean)
    return check_number(
        answer,
        expected,
        within=0.004,
        mistakes={
            math.ceil(-6 / mean): "6 decades are 6 * ln(10) in the natural logarithm.",
            -expected: "the sign: both logarithms are negative, so their ratio is positive.",
            6 / abs(math.log10(0.5)): "the typical factor is not the smallest one, 0.5.",
        },
        hint="One factor changes ln(product) by E ln X on average; 1e-6 is ln(1e-6) away.",
    )
