"""Isometry: whether all directions keep their length, or only the average one."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gradcourse import theory
from gradcourse.checks import at_least
from gradcourse.exercises import as_prediction
from gradcourse.live import MEASURED, THEORY, Panel, snap_up
from gradcourse.signals.activations import value_and_slope
from gradcourse.signals.weights import base_weights, measuring

__all__ = ["ACTIVATIONS", "Isometry", "draw_isometry", "measure_isometry"]

Array = NDArray[np.float64]

WIDTH, SEEDS, DEEPEST = 128, 4, 32
# The weight variance at which the mean square of a gradient stays: for tanh, beside biases.
TANH_BIAS = 0.05
ACTIVATIONS = ("linear", "relu", "tanh")


@dataclass(frozen=True, eq=False)
class Isometry:
    """Singular values of the Jacobian of critical networks, from the input to the last layer.

    Attributes
    ----------
    activation, weights
        As given.
    spread
        Variance of the squared singular values over their mean squared, after 1, 2, ... layers,
        shape (seeds, depth).
    log10_values
        log10 of the singular values after the last layer, largest first, the median over seeds,
        shape (width,); -inf for 0.
    predicted
        The spread that theory predicts, shape (depth,).
    prediction
        The learner's guess of log10 of the largest singular value, if there is one.
    """

    activation: str
    weights: str
    spread: Array
    log10_values: Array
    predicted: Array
    prediction: float | None

    @property
    def depth(self) -> int:
        """The number of layers."""
        return len(self.predicted)

    @property
    def median_spread(self) -> Array:
        """The median spread of the seeds, shape (depth,)."""
        return np.asarray(np.median(self.spread, axis=0))

    def summary(self) -> str:
        """Return the picture in one line."""
        return (
            f"{self.depth} {self.activation} layers, {self.weights} weights, width {WIDTH}: the "
            f"squared singular values spread by {self.median_spread[-1]:.3g} "
            f"(theory {self.predicted[-1]:.3g}); the largest value is "
            f"{10 ** self.log10_values[0]:.3g}"
        )


def measure_isometry(
    depth: int = 16,
    weights: str = "Gaussian",
    activation: str = "linear",
    first_seed: int = 0,
    prediction: float | None = None,
) -> Isometry:
    """Measure the singular values of Jacobians, and predict their spread (T17).

    Four networks of width 128, at the weight variance at which the mean squared gradient stays.

    Parameters
    ----------
    depth
        Layers, 1 to 32.
    weights
        ``"Gaussian"`` or ``"orthogonal"``.
    activation
        ``"linear"``, ``"relu"`` or ``"tanh"`` (with bias variance 0.05, at its edge).
    first_seed
        The first of the seeds.
    prediction
        log10 of the largest singular value that the learner expects of 16 linear layers with
        Gaussian weights, drawn as a star there.
    """
    depth = at_least(1, "depth", depth)
    if depth > DEEPEST:
        raise ValueError(f"depth must be {DEEPEST} or less, got {depth}")
    if weights not in ("Gaussian", "orthogonal"):
        raise ValueError(f"weights must be one of Gaussian, orthogonal, got {weights!r}")
    if activation not in ACTIVATIONS:
        raise ValueError(f"activation must be one of {', '.join(ACTIVATIONS)}, got {activation!r}")
    spread, jacobians = _jacobians(weights, activation, first_seed)
    values = np.linalg.svd(jacobians[depth - 1], compute_uv=False)
    with np.errstate(divide="ignore"):
        # Beyond float32's digits a singular value is rounding.
        values = np.where(values > 1e-6 * values[:, :1], values, 0.0)
        log10_values = np.log10(np.median(values, axis=0))
    variance, bias = _critical(activation)
    layers = np.arange(1, depth + 1)
    orthogonal = weights == "orthogonal"
    predicted = theory.jacobian_spread(activation, layers, variance, bias, orthogonal)
    asked = (depth, weights, activation) == (16, "Gaussian", "linear")
    guess = as_prediction(prediction) if asked else None
    return Isometry(activation, weights, spread[:, :depth], log10_values, predicted, guess)


def _critical(activation: str) -> tuple[float, float]:
    bias = TANH_BIAS if activation == "tanh" else 0.0
    return {"linear": 1.0, "relu": 2.0}.get(
        activation, theory.critical_weight_variance("tanh", bias)
    ), bias


@lru_cache(maxsize=6)
def _jacobians(weights: str, activation: str, first_seed: int) -> tuple[Array, Array]:
    """Return spreads, (seeds, 32), and Jacobians, (32, seeds, width, width), layer by layer."""
    variance, bias_variance = _critical(activation)
    _, phi = value_and_slope(activation)
    length = 1.0
    if activation == "tanh":
        length = theory.length_fixed_point("tanh", variance, bias_variance)
    base = base_weights(WIDTH, WIDTH, first_seed, SEEDS, torch.device("cpu"))
    found, spreads = [], []
    with measuring():
        h = base.cotangents(1) * math.sqrt(WIDTH)
        # So that the first layer's sums have the variance that deep ones settle on.
        h = h * math.sqrt((length - bias_variance) / variance)
        jacobian = torch.eye(WIDTH).expand(SEEDS, -1, -1)
        for layer in range(1, DEEPEST + 1):
            weight, bias = base.layer(layer)
            weight = _orthogonal(weight) if weights == "orthogonal" else weight / math.sqrt(WIDTH)
            weight = weight * math.sqrt(variance)
            h, slope = phi(torch.baddbmm(bias * math.sqrt(bias_variance), h, weight.mT))
            jacobian = slope.mT * torch.bmm(weight, jacobian)
            gram = torch.bmm(jacobian, jacobian.mT)
            first = torch.diagonal(gram, dim1=1, dim2=2).mean(1)
            second = gram.square().sum((1, 2)) / WIDTH
            spreads.append(second / first.square() - 1)
            found.append(jacobian)
    return torch.stack(spreads, 1).double().numpy(), torch.stack(found).numpy()


def _orthogonal(gaussian: Tensor) -> Tensor:
    rotation, triangle = torch.linalg.qr(gaussian)
    signs = torch.diagonal(triangle, dim1=1, dim2=2).sign()
    turned: Tensor = rotation * signs[:, None, :]
    return turned


def draw_isometry(result: Isometry, axes: dict[str, Panel]) -> None:
    """Show the singular values after the last layer, and their spread over depth beside theory."""
    values, spread = axes["values"], axes["spread"]
    directions = np.arange(1, WIDTH + 1)
    values.set(title="Singular values", xlabel="direction", ylabel="factor", xlim=(0, WIDTH))
    guess = 1.0 if result.prediction is None else result.prediction
    values.decades("y", min(-4.0, guess), max(1.0, guess))
    if result.prediction is not None:
        values.mark("prediction", 1, result.prediction, "your prediction")
    values.line("values", directions, result.log10_values, color=MEASURED, lw=4, label="measured")
    values.line("isometry", [0, WIDTH], [0, 0], color=THEORY, ls=":", label="theory: isometry")
    lost = int(np.isneginf(result.log10_values).sum())
    if lost:
        values.note(f"{lost} below 10⁻⁶ of the largest", "upper right")
    layers = np.arange(1, result.depth + 1)
    top = max(float(result.spread.max()), float(result.predicted.max()), 1.0)
    spread.set(
        title="Spread of their squares",
        xlabel="layers",
        ylabel="variance / mean²",
        xlim=(0, snap_up(result.depth)),
        ylim=(-0.03 * snap_up(top), 1.03 * snap_up(top)),
    )
    low, high = result.spread.min(axis=0), result.spread.max(axis=0)
    spread.band("band", layers, low, high, color=MEASURED, alpha=0.2)
    middle = result.median_spread
    spread.line("measured", layers, middle, color=MEASURED, label="measured: median of 4 seeds")
    spread.line("theory", layers, result.predicted, color=THEORY, ls="--", label="theory")
