"""A product of random matrices: the chain rule in layers without activations."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradcourse import theory
from gradcourse.exercises import as_prediction
from gradcourse.live import MEASURED, THEORY, Panel, snap_up
from gradcourse.signals import ProductSignal, product_signal

__all__ = ["Matrices", "draw_matrices", "measure_matrices"]

Array = NDArray[Any]


@dataclass(frozen=True)
class Matrices:
    """A vector on its way through random matrices, with what theory says of it.

    Attributes
    ----------
    signal
        The measurement, for all seeds.
    median, bottom, top
        log10 of the measured norm: the median seed and the ends of the band that holds 90 % of the
        seeds; shape (depth + 1,).
    typical, low, high
        The same from theory.
    mean_square
        log10 of the root of the mean square norm that theory predicts, shape (depth + 1,).
    prediction
        The learner's guess of log10 of the typical norm at the end, if there is one.
    """

    signal: ProductSignal
    median: Array
    bottom: Array
    top: Array
    typical: Array
    low: Array
    high: Array
    mean_square: Array
    prediction: float | None

    def summary(self) -> str:
        """Return the picture in one line."""
        return f"{self.signal.summary()}; theory: 10^{self.typical[-1]:.1f}"


def measure_matrices(
    width: int = 8,
    depth: int = 100,
    weight_scale: float = 1.0,
    kind: str = "Gaussian",
    seeds: int = 32,
    first_seed: int = 0,
    prediction: float | None = None,
) -> Matrices:
    """Send a random vector through random matrices and predict its norm (T03 and T04).

    Parameters
    ----------
    width
        Rows and columns of each matrix.
    depth
        Number of matrices.
    weight_scale
        Entries are ``N(0, weight_scale**2 / width)``.
    kind
        ``"Gaussian"`` or ``"orthogonal"``.
    seeds, first_seed
        How many seeds, and the first of them.
    prediction
        log10 of the typical norm that the learner expects of 100 Gaussian matrices of width 8 and
        weight scale 1, drawn as a star there.
    """
    if kind not in ("Gaussian", "orthogonal"):
        raise ValueError(f"kind must be one of Gaussian, orthogonal, got {kind!r}")
    signal = product_signal(width, depth, weight_scale, seeds, kind == "orthogonal", first_seed)
    steps = np.arange(depth + 1)
    mean_square = steps * math.log10(weight_scale)
    mean, variance = math.log(weight_scale), 0.0
    if kind == "Gaussian":
        mean, variance = theory.product_log_norm(width, weight_scale**2)
    predicted = theory.log10_product_band(steps, mean, variance)
    asked = (width, depth, kind) == (8, 100, "Gaussian") and math.isclose(weight_scale, 1)
    guess = as_prediction(prediction) if asked else None
    return Matrices(signal, signal.median(), *signal.band(), *predicted, mean_square, guess)


def draw_matrices(result: Matrices, axes: Panel) -> None:
    """Show the norm after each matrix, its band over seeds, and what theory predicts."""
    signal = result.signal
    steps = np.arange(signal.depth + 1)
    bottom, top, mean_square = result.bottom, result.top, result.mean_square
    shown = [bottom.min(), top.max(), mean_square.max(), mean_square.min(), 0.5, -1.0]
    if result.prediction is not None:
        shown.append(result.prediction)
        axes.mark("prediction", signal.depth, result.prediction, "your prediction")
    axes.set(xlabel="matrices multiplied", ylabel="norm", xlim=(0, snap_up(signal.depth)))
    axes.decades("y", min(shown), max(shown))
    axes.band("band", steps, bottom, top, color=MEASURED, alpha=0.2, label="5 to 95 % of seeds")
    axes.line("measured", steps, result.median, color=MEASURED, label="measured: median")
    axes.line("theory", steps, result.typical, color=THEORY, ls="--", label="theory: typical")
    edge: dict[str, Any] = {"color": THEORY, "ls": ":", "lw": 1.5}
    axes.line("theory low", steps, result.low, **edge)
    axes.line("theory high", steps, result.high, **edge)
    axes.line(
        "mean square",
        steps,
        mean_square,
        color="black",
        ls="-.",
        lw=1.5,
        label="theory: root mean square",
    )
