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
from gradcourse.theory import log10_product_band, uniform_log_moments

__all__ = ["Product", "check_factors", "draw_product", "measure_product"]

MEAN = PALETTE[2]


@dataclass(frozen=True)
class Product:
    """Many runs of one experiment, multiply random factors, and what theory says of it.

    All arrays but the first have shape (factors + 1,) and are log10 of the product so far.

    Attributes
    ----------
    spread
        Factors are uniform between ``1 - spread`` and ``1 + spread``.
    log10
        log10 of the running product of every run, shape (runs, factors + 1).
    typical, low, high
        Median over runs, and the ends of the band that holds 90 % of them.
    average
        log10 of the mean over runs of the product.
    predicted, predicted_low, predicted_high
        The same median and band from theory; the mean is predicted to stay at 0.
    prediction
        The learner's guess of log10 of the typical final product, if there is one.
    """

    spread: float
    log10: NDArray[Any]
    typical: NDArray[Any]
    low: NDArray[Any]
    high: NDArray[Any]
    average: NDArray[Any]
    predicted: NDArray[Any]
    predicted_low: NDArray[Any]
    predicted_high: NDArray[Any]
    prediction: float | None

    @property
    def factors(self) -> int:
        """Number of factors multiplied."""
        return len(self.typical) - 1

    def summary(self) -> str:
        """Return the picture in one line."""
        return (
            f"{self.factors} factors between {1 - self.spread:.2g} and {1 + self.spread:.2g}: "
            f"the typical product is 10^{self.typical[-1]:.1f}, although each factor averages 1 "
            f"({len(self.log10)} runs)"
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
    products = np.cumsum(np.log10(1 + spread * noise), axis=1)
    log10 = np.hstack([np.zeros((runs, 1)), products])
    low, typical, high = np.quantile(log10, [0.05, 0.5, 0.95], axis=0)
    average = np.log10(np.mean(10.0**log10, axis=0))
    predicted = log10_product_band(np.arange(factors + 1), *uniform_log_moments(spread))
    guess = as_prediction(prediction) if factors == 100 and math.isclose(spread, 0.5) else None
    return Product(spread, log10, typical, low, high, average, *predicted, guess)


@lru_cache(maxsize=4096)
def _noise(seed: int, run: int, length: int) -> NDArray[Any]:
    # One stream for each run: more runs or factors must not change those already drawn.
    return np.random.default_rng([seed, run]).uniform(-1, 1, length)


def draw_product(result: Product, axes: Panel) -> None:
    """Show the typical product and its band, beside the line that theory predicts."""
    steps = np.arange(result.factors + 1)
    axes.set(xlabel="factors multiplied", ylabel="product", xlim=(0, snap_up(result.factors)))
    shown = [result.low.min(), result.high.max(), 0.5, -1.0]
    if result.prediction is not None:
        shown.append(result.prediction)
        axes.mark("prediction", result.factors, result.prediction, "your prediction")
    axes.decades("y", min(shown), max(shown))
    axes.band(
        "band", steps, result.low, result.high, color=MEASURED, alpha=0.2, label="90 % of runs"
    )
    axes.line("average", steps, result.average, color=MEAN, ls="-.", label="measured: mean")
    axes.line("typical", steps, result.typical, color=MEASURED, label="measured: median")
    axes.line("theory", steps, result.predicted, color=THEORY, ls="--", label="theory: typical")
    axes.hline("mean", 0, color="black", ls=(0, (1, 3)), lw=1.5, label="theory: mean")
    edge: dict[str, Any] = {"color": THEORY, "ls": ":", "lw": 1.5}
    axes.line("theory low", steps, result.predicted_low, **edge)
    axes.line("theory high", steps, result.predicted_high, **edge)


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
