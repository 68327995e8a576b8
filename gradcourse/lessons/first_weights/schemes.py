"""First weights by name: what each does to the signal and to its gradient, layer by layer."""

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
from gradcourse.lessons.first_weights.batch import digit_batch
from gradcourse.live import MEASURED, THEORY, Panel, snap_up
from gradcourse.signals.activations import value_and_slope
from gradcourse.signals.weights import base_weights, measuring
from gradcourse.signals.words import change, median, quantile, slope_per_layer

__all__ = ["SCHEMES", "Schemes", "draw_schemes", "first_layers", "measure_schemes"]

Array = NDArray[np.float64]

# The weight variance of each, times fan_in, in the square layers of these networks.
SCHEMES = {
    "default": 1 / 3,
    "Xavier": 1.0,
    "He": 2.0,
    "orthogonal": 1.0,
    "orthogonal, gain 1.41": 2.0,
}
WIDTH, BATCH, SEEDS, DEEPEST = 64, 16, 8, 100


@dataclass(frozen=True, eq=False)
class Schemes:
    """Signal and gradient of real networks on digits, with what mean field theory says of them.

    Attributes
    ----------
    scheme, activation
        As given.
    log10_activation
        Root mean square of the activations of each layer, shape (seeds, depth + 1).
    log10_gradient
        Norm of the gradient at the activations of each layer, relative to the last, same shape.
    predicted
        Theory.
    prediction
        The learner's guess of log10 of the gradient at the input, if there is one.
    """

    scheme: str
    activation: str
    log10_activation: Array
    log10_gradient: Array
    predicted: theory.MeanField
    prediction: float | None

    @property
    def depth(self) -> int:
        """The number of layers."""
        return self.predicted.depth

    @property
    def gradient_per_layer(self) -> float:
        """The factor by which one layer changes the gradient's norm, measured."""
        return float(10 ** -slope_per_layer(self.log10_gradient))

    @property
    def predicted_per_layer(self) -> float:
        """The factor per layer that theory predicts, over the same layers."""
        return float(10 ** -slope_per_layer(self.predicted.log10_gradient[None]))

    def summary(self) -> str:
        """Return the picture in one line."""
        total = float(median(self.log10_gradient)[0])
        layers = f"{self.depth} {self.activation} layer{'' if self.depth == 1 else 's'}"
        return (
            f"{layers}, {self.scheme} weights: "
            f"{change('the gradient', self.gradient_per_layer, total, 'layer')}; "
            f"theory: {self.predicted_per_layer:.3g} per layer; {len(self.log10_gradient)} seeds"
        )


def first_layers(scheme: str, layer: int, first_seed: int = 0) -> tuple[Tensor, Tensor]:
    """Return weights (seeds, 64, 64) and biases (seeds, 1, 64) of one layer of all networks.

    All schemes start from the same normal numbers, so that they differ in nothing else.
    """
    base = base_weights(WIDTH, WIDTH, first_seed, SEEDS, torch.device("cpu"))
    weight, bias = base.layer(layer)
    scale = math.sqrt(SCHEMES[scheme] / WIDTH)
    if scheme == "default":
        # The distribution function makes uniform numbers of normal ones.
        uniform = [torch.erf(part / math.sqrt(2)) / math.sqrt(WIDTH) for part in (weight, bias)]
        return uniform[0], uniform[1]
    if scheme.startswith("orthogonal"):
        rotation = _rotations(layer, first_seed)
        return rotation * math.sqrt(SCHEMES[scheme]), torch.zeros_like(bias)
    return weight * scale, torch.zeros_like(bias)


@lru_cache(maxsize=2 * DEEPEST)
def _rotations(layer: int, first_seed: int) -> Tensor:
    base = base_weights(WIDTH, WIDTH, first_seed, SEEDS, torch.device("cpu"))
    rotation, triangle = torch.linalg.qr(base.layer(layer)[0])
    # With the signs of the diagonal, all rotations and reflections are equally likely.
    signs = torch.diagonal(triangle, dim1=1, dim2=2).sign()
    turned: Tensor = rotation * signs[:, None, :]
    return turned


def measure_schemes(
    depth: int = 30,
    scheme: str = "default",
    activation: str = "relu",
    first_seed: int = 0,
    prediction: float | None = None,
) -> Schemes:
    """Send digits through networks with first weights by name, and a gradient back (T09).

    Eight networks, 64 units wide, 16 digits.

    Parameters
    ----------
    depth
        Layers, 1 to 100.
    scheme
        A name in ``SCHEMES``.
    activation
        A name that ``gradcourse.theory`` and ``gradcourse.signals`` know.
    first_seed
        The first of the seeds.
    prediction
        log10 of the gradient at the input that the learner expects of 30 ReLU layers with the
        default weights, drawn as a star there.
    """
    depth = at_least(1, "depth", depth)
    if depth > DEEPEST:
        raise ValueError(f"depth must be {DEEPEST} or less, got {depth}")
    if scheme not in SCHEMES:
        raise ValueError(f"scheme must be one of {', '.join(SCHEMES)}, got {scheme!r}")
    name, phi = value_and_slope(activation)
    with measuring():
        layers = [first_layers(scheme, layer, first_seed) for layer in range(1, depth + 1)]
        h = digit_batch(BATCH, first_seed).expand(SEEDS, -1, -1)
        sizes, slopes = [_norms(h)], []
        for weight, bias in layers:
            h, slope = phi(torch.baddbmm(bias, h, weight.mT))
            sizes.append(_norms(h))
            slopes.append(slope)
        base = base_weights(WIDTH, WIDTH, first_seed, SEEDS, torch.device("cpu"))
        gradient = base.cotangents(BATCH)
        gains = [torch.ones(SEEDS)]
        for (weight, _), slope in zip(reversed(layers), reversed(slopes), strict=True):
            gradient = torch.bmm(gradient * slope, weight)
            # The sizes are kept as logarithms: at depth 100 the norm itself would leave float32.
            gains.append(_norms(gradient))
            gradient = gradient / gains[-1].clamp(min=1e-30)[:, None, None]
    with np.errstate(divide="ignore"):
        activations = np.log10(torch.stack(sizes, 1).double().numpy())
        gained = np.log10(torch.stack(gains, 1).double().numpy())
    activations -= math.log10(BATCH * WIDTH) / 2
    variance = SCHEMES[scheme]
    bias_variance = variance / WIDTH if scheme == "default" else 0.0
    predicted = theory.mean_field_profile(activation, depth, variance, bias_variance)
    asked = (depth, scheme, activation) == (30, "default", "relu")
    return Schemes(
        scheme,
        name,
        activations,
        np.cumsum(gained, axis=1)[:, ::-1],
        predicted,
        as_prediction(prediction) if asked else None,
    )


def _norms(tensor: Tensor) -> Tensor:
    norms: Tensor = torch.linalg.vector_norm(tensor, dim=(1, 2))
    return norms


def draw_schemes(result: Schemes, axes: dict[str, Panel]) -> None:
    """Show signal and gradient, layer by layer, beside theory."""
    predicted = result.predicted
    pairs = (
        ("signal", "Signal, forward", result.log10_activation, predicted.log10_activation),
        ("gradient", "Gradient, backward", result.log10_gradient, predicted.log10_gradient),
    )
    guess = [] if result.prediction is None else [result.prediction]
    ends = np.concatenate([np.ravel(part) for pair in pairs for part in pair[2:]])
    ends = np.concatenate([ends[np.isfinite(ends)], [-1.0, 0.5], guess])
    layers = np.arange(result.depth + 1)
    for name, title, rows, theory_row in pairs:
        panel = axes[name]
        panel.set(title=title, xlabel="layer", xlim=(0, snap_up(result.depth)))
        panel.decades("y", float(ends.min()), float(ends.max()))
        low, high = quantile(rows, 0.05), quantile(rows, 0.95)
        panel.band("band", layers, low, high, color=MEASURED, alpha=0.2, label="range of seeds")
        panel.line("measured", layers, median(rows), color=MEASURED, label="measured: median")
        panel.line(
            "theory", layers, theory_row, color=THEORY, ls="--", label="theory: infinite width"
        )
    axes["signal"].set(ylabel="root mean square")
    axes["gradient"].set(ylabel="norm, relative to the last layer")
    if result.prediction is not None:
        axes["gradient"].mark("prediction", 0, result.prediction, "your prediction")
