"""Lesson 01: the chain rule multiplies, in numbers, in matrices and in a real network."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gradcourse import theory
from gradcourse.exercises import Verdict, as_prediction, check_function, check_number
from gradcourse.live import MEASURED, THEORY, Panel, snap_up
from gradcourse.signals import MLPSignal, ProductSignal, mlp_signal, product_signal
from gradcourse.tasks import digits

__all__ = [
    "Chain",
    "Matrices",
    "Network",
    "check_gradient_factor",
    "check_weight_scale",
    "digit_batch",
    "draw_chain",
    "draw_matrices",
    "draw_network",
    "measure_chain",
    "measure_matrices",
    "measure_network",
]

Array = NDArray[Any]

# log10 of the smallest number that float32 does not round to 0, and of the largest it can hold.
FLOAT32_LOG10 = (-150 * math.log10(2), 128 * math.log10(2))
DTYPES = {
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
    "float32": torch.float32,
    "float64": torch.float64,
}


@dataclass(frozen=True)
class Chain:
    """A chain of equal weights, multiplied one after the other in a dtype.

    Attributes
    ----------
    weight
        The weight of every layer.
    dtype
        Name of the floating point format.
    log10
        log10 of the size of each product, shape (depth + 1,); inf and -inf where it left the dtype.
    prediction
        The learner's guess of the layer at which float32 overflows, if there is one.
    """

    weight: float
    dtype: str
    log10: Array
    prediction: float | None

    @property
    def depth(self) -> int:
        """Number of layers."""
        return len(self.log10) - 1

    @property
    def theory(self) -> Array:
        """log10 of the power ``weight**layer``, shape (depth + 1,)."""
        return np.arange(self.depth + 1) * math.log10(abs(self.weight))

    @property
    def overflow_layer(self) -> int | None:
        """The first layer whose product is inf, or None."""
        over = np.isposinf(self.log10)
        return int(over.argmax()) if over.any() else None

    @property
    def zero_layer(self) -> int | None:
        """The first layer whose product is 0, or None."""
        zero = np.isneginf(self.log10)
        return int(zero.argmax()) if zero.any() else None

    @property
    def stuck_layer(self) -> int | None:
        """The layer from which rounding keeps a shrinking product where it is, or None."""
        same = (np.diff(self.log10) == 0) & np.isfinite(self.log10[1:])
        return int(same.argmax()) if same.any() and abs(self.weight) != 1 else None

    def summary(self) -> str:
        """Return the picture in one line."""
        line = f"{self.weight:.4g} multiplied {self.depth} times in {self.dtype}: "
        predicted = theory.overflow_depth(self.weight, self.dtype)
        if self.overflow_layer is not None:
            return f"{line}overflows at layer {self.overflow_layer} (theory: {predicted:.0f})"
        if self.zero_layer is not None:
            return f"{line}is exactly 0 from layer {self.zero_layer} on"
        line += f"10^{self.log10[-1]:.1f} (theory: 10^{self.theory[-1]:.1f})"
        if self.stuck_layer is not None:
            line += f"; rounding stops it from layer {self.stuck_layer} on"
        return line


def measure_chain(
    weight: float = 1.5,
    depth: int = 100,
    dtype: str = "float32",
    prediction: float | None = None,
) -> Chain:
    """Multiply one weight by itself, as a deep chain of single units does.

    Parameters
    ----------
    weight
        Any finite number but 0.
    depth
        Number of layers, 1 or more.
    dtype
        ``"float16"``, ``"bfloat16"``, ``"float32"`` or ``"float64"``.
    prediction
        The layer at which the learner expects 1.5 to overflow float32, drawn as a star there.
    """
    if depth < 1:
        raise ValueError(f"depth must be 1 or more, got {depth}")
    if not math.isfinite(weight) or weight == 0:
        raise ValueError(f"weight must be a finite number other than 0, got {weight}")
    if dtype not in DTYPES:
        raise ValueError(f"dtype must be one of {', '.join(DTYPES)}, got {dtype!r}")
    factor = torch.tensor(abs(weight), dtype=DTYPES[dtype])
    products = [torch.ones((), dtype=DTYPES[dtype])]
    for _ in range(depth):
        products.append(products[-1] * factor)
    with np.errstate(divide="ignore"):
        log10 = np.log10(torch.stack(products).double().numpy())
    asked = math.isclose(weight, 1.5) and dtype == "float32"
    return Chain(weight, dtype, log10, as_prediction(prediction) if asked else None)


def draw_chain(result: Chain, axes: Panel) -> None:
    """Show the product after each layer beside the power that theory predicts."""
    layers = np.arange(result.depth + 1)
    axes.set(
        xlabel="layers multiplied",
        ylabel="product",
        xlim=(0, snap_up(max(result.depth, result.prediction or 0))),
    )
    shown = np.concatenate([result.theory, [-0.5, 0.5]])
    limits = float(np.clip(shown.min(), -400, 0)), float(np.clip(shown.max(), 0, 400))
    axes.decades("y", *limits)
    axes.line(
        "measured", layers, result.log10, color=MEASURED, lw=4, label="measured: in the dtype"
    )
    axes.line("theory", layers, result.theory, color=THEORY, ls="--", label="theory: weight^layer")
    if result.overflow_layer is not None:
        axes.vline("overflow", result.overflow_layer, color=MEASURED, lw=1.2)
        _say_at(axes, result.overflow_layer, limits, f"inf from layer {result.overflow_layer}")
    elif result.zero_layer is not None:
        axes.vline("overflow", result.zero_layer, color=MEASURED, lw=1.2)
        _say_at(axes, result.zero_layer, limits, f"0 from layer {result.zero_layer}")
    if result.prediction is not None:
        _star(axes, result.prediction, float(np.mean(limits)))


def _say_at(axes: Panel, layer: int, limits: tuple[float, float], words: str) -> None:
    low, high = axes.axes.get_xlim()
    right = layer > (low + high) / 2
    axes.text(
        "event right" if right else "event left",
        layer,
        limits[0] + 0.1 * (limits[1] - limits[0]),
        f"{words} " if right else f" {words}",
        ha="right" if right else "left",
        va="center",
        color=MEASURED,
        fontweight="bold",
    )


@dataclass(frozen=True)
class Matrices:
    """A vector on its way through random matrices, with what theory says of it.

    Attributes
    ----------
    signal
        The measurement, for all seeds.
    typical, low, high
        log10 of the norm that theory predicts: the typical seed and the ends of the band that
        holds 90 % of the seeds; shape (depth + 1,).
    mean_square
        log10 of the root of the mean square norm that theory predicts, shape (depth + 1,).
    prediction
        The learner's guess of log10 of the typical norm at the end, if there is one.
    """

    signal: ProductSignal
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
    typical = steps * mean / math.log(10)
    reach = 1.645 * np.sqrt(steps * variance) / math.log(10)
    asked = (width, depth, kind) == (8, 100, "Gaussian") and math.isclose(weight_scale, 1)
    guess = as_prediction(prediction) if asked else None
    return Matrices(signal, typical, typical - reach, typical + reach, mean_square, guess)


def draw_matrices(result: Matrices, axes: Panel) -> None:
    """Show the norm after each matrix, its band over seeds, and what theory predicts."""
    signal = result.signal
    steps = np.arange(signal.depth + 1)
    low, high = signal.band()
    shown = [low.min(), high.max(), result.mean_square.max(), result.mean_square.min(), 0.5, -1.0]
    if result.prediction is not None:
        shown.append(result.prediction)
    axes.set(xlabel="matrices multiplied", ylabel="norm", xlim=(0, snap_up(signal.depth)))
    axes.decades("y", min(shown), max(shown))
    axes.band("band", steps, low, high, color=MEASURED, alpha=0.2, label="5 to 95 % of seeds")
    axes.line("measured", steps, signal.median(), color=MEASURED, label="measured: median")
    axes.line("theory", steps, result.typical, color=THEORY, ls="--", label="theory: typical")
    edge: dict[str, Any] = {"color": THEORY, "ls": ":", "lw": 1.5}
    axes.line("theory low", steps, result.low, **edge)
    axes.line("theory high", steps, result.high, **edge)
    axes.line(
        "mean square",
        steps,
        result.mean_square,
        color="black",
        ls="-.",
        lw=1.5,
        label="theory: root mean square",
    )
    if result.prediction is not None:
        _star(axes, signal.depth, result.prediction)


def _star(axes: Panel, x: float, y: float) -> None:
    axes.line(
        "prediction",
        [x],
        [y],
        color="black",
        marker="*",
        ms=16,
        ls="",
        clip_on=False,
        zorder=5,
        label="your prediction",
    )


@dataclass(frozen=True)
class Network:
    """Gradients of real networks on real digits, with what mean field theory says of them.

    Attributes
    ----------
    signal
        The measurement, for all seeds.
    predicted
        Theory, layer by layer.
    prediction
        The learner's guess of log10 of the gradient at the input, if there is one.
    """

    signal: MLPSignal
    predicted: theory.MeanField
    prediction: float | None

    @property
    def predicted_per_layer(self) -> float:
        """The factor per layer that theory predicts, over the same layers as the measured one."""
        profile = self.predicted.log10_gradient
        drop = 3 if len(profile) >= 11 else 0
        inner = profile[drop : len(profile) - drop]
        return float(10 ** -np.polyfit(np.arange(len(inner)), inner, 1)[0])

    def relative(self, values: Array) -> Array:
        """Return weight gradients relative to the last layer's, seed by seed."""
        with np.errstate(invalid="ignore"):
            return values - values[..., -1:]

    def summary(self) -> str:
        """Return the picture in one line."""
        return f"{self.signal.summary()}; theory: {self.predicted_per_layer:.3g} per layer"


@lru_cache(maxsize=4)
def digit_batch(batch: int = 32, seed: int = 0) -> Tensor:
    """Return real digits, each scaled to mean square 1, shape (batch, 64).

    Theory then needs one number for the input instead of one for each image.
    """
    inputs, _ = digits(batch, seed)
    return inputs / inputs.square().mean(dim=1, keepdim=True).sqrt()


def measure_network(
    depth: int = 50,
    weight_scale: float = 1.0,
    activation: str = "tanh",
    width: int = 64,
    seeds: int = 8,
    first_seed: int = 0,
    prediction: float | None = None,
) -> Network:
    """Measure the gradients of random networks on digits, and predict them (T05 to T09, T13).

    Parameters
    ----------
    depth, width
        Layers, and units in each.
    weight_scale
        Weights are ``N(0, weight_scale**2 / fan_in)``, biases are 0.
    activation
        A name that ``gradcourse.theory`` and ``gradcourse.signals`` know.
    seeds, first_seed
        How many networks, and the first of their seeds.
    prediction
        log10 of the gradient at the input that the learner expects of 50 sigmoid layers at weight
        scale 1, drawn as a star there.
    """
    inputs = digit_batch(seed=first_seed)
    signal = mlp_signal(
        inputs, activation, width, depth, weight_scale, seeds=seeds, first_seed=first_seed
    )
    predicted = theory.mean_field_profile(
        activation, depth, weight_scale**2, input_ratio=inputs.shape[1] / width
    )
    asked = (depth, activation) == (50, "sigmoid") and math.isclose(weight_scale, 1)
    return Network(signal, predicted, as_prediction(prediction) if asked else None)


def draw_network(result: Network, axes: dict[str, Panel]) -> None:
    """Show the gradient at the activations and at the weights, layer by layer, beside theory."""
    signal, depth = result.signal, result.signal.depth
    gradient, weights = axes["gradient"], axes["weights"]
    weight_rows = result.relative(signal.log10_weight_gradient)
    shown = _finite(
        np.concatenate(
            [
                *signal.band("gradient"),
                result.predicted.log10_gradient,
                np.quantile(weight_rows, [0.05, 0.95], axis=0, method="inverted_cdf").ravel(),
                [-1.0, 0.5],
                [] if result.prediction is None else [result.prediction],
            ]
        )
    )
    for panel, title in (
        (gradient, "Gradient at the activations"),
        (weights, "Gradient at the weights"),
    ):
        panel.set(title=title, xlabel="layer", xlim=(0, snap_up(depth)))
        panel.decades("y", float(shown.min()), float(shown.max()))
    gradient.set(ylabel="norm, relative to the last layer")
    _profile(
        gradient,
        np.arange(depth + 1),
        signal.median("gradient"),
        signal.band("gradient"),
        result.predicted.log10_gradient,
    )
    low, high = np.quantile(weight_rows, [0.05, 0.95], axis=0, method="inverted_cdf")
    _profile(
        weights,
        np.arange(1, depth + 1),
        np.median(weight_rows, axis=0),
        (low, high),
        result.predicted.log10_weight_gradient,
    )
    if signal.overflow_layer is not None:
        weights.note(f"float32 overflows at layer {signal.overflow_layer}", "upper right")
        gradient.vline("overflow", signal.overflow_layer, color=MEASURED, lw=1.2)
        weights.vline("overflow", signal.overflow_layer, color=MEASURED, lw=1.2)
    elif np.isneginf(signal.median()[0]):
        gradient.note("the gradient is exactly 0", "upper left")
    elif signal.underflow_layer is not None:
        weights.note(f"float32 holds 0 up to layer {signal.underflow_layer}", "upper left")
    if result.prediction is not None:
        _star(gradient, 0, result.prediction)


def _profile(
    panel: Panel, layers: Array, median: Array, band: tuple[Array, Array], predicted: Array
) -> None:
    panel.band("band", layers, *band, color=MEASURED, alpha=0.2, label="range of seeds")
    panel.line("measured", layers, median, color=MEASURED, label="measured: median")
    panel.line("theory", layers, predicted, color=THEORY, ls="--", label="theory: infinite width")


def _finite(values: Array) -> Array:
    return values[np.isfinite(values)]


def check_gradient_factor(function: Callable[[float], float]) -> Verdict:
    """Check the first exercise: the factor by which a ReLU layer changes the gradient's norm."""
    return check_function(
        function,
        lambda weight_scale: weight_scale / math.sqrt(2),
        [(1.0,), (math.sqrt(2),), (3.0,)],
        mistakes=[
            (lambda s: math.sqrt(s / 2), "chi takes the weight *variance*, weight_scale**2."),
            (lambda s: s**2 / 2, "that is chi, the factor of the *square*; take its root."),
            (lambda s: s, "half of the ReLUs are off: their slope is 0, not 1."),
            (lambda s: s / 2, "the half belongs under the root: half of the *squares* are lost."),
        ],
        hint="A layer multiplies the squared norm by weight_scale**2 times the mean squared slope.",
    )


def check_weight_scale(answer: Any) -> Verdict:
    """Check the second exercise: the weight scale at which tanh with bias scale 0.3 is critical."""
    variance = theory.critical_weight_variance("tanh", 0.3**2)
    return check_number(
        answer,
        math.sqrt(variance),
        within=0.01,
        mistakes={
            theory.critical_weight_variance("tanh", 0.3): (
                "square the bias scale first, and take the root of the result."
            ),
            variance: "that is the weight *variance*; the scale is its root.",
            math.sqrt(theory.critical_weight_variance("tanh", 0.3)): (
                "bias_variance is the square of the bias scale."
            ),
            1.0: "1 is critical without biases; biases push units towards saturation.",
        },
        hint="theory.critical_weight_variance takes the bias variance and returns a variance.",
    )
