"""Real networks on real digits: the chain rule with activations."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from gradcourse import theory
from gradcourse.exercises import as_prediction
from gradcourse.live import MEASURED, THEORY, Panel, snap_up
from gradcourse.signals import MLPSignal, mlp_signal
from gradcourse.signals.words import quantile, slope_per_layer
from gradcourse.tasks import digits

__all__ = ["Network", "Profile", "digit_batch", "draw_network", "measure_network"]

Array = NDArray[Any]


@dataclass(frozen=True)
class Profile:
    """One quantity, layer by layer, as log10 relative to the last layer; arrays of one shape.

    Attributes
    ----------
    layers
        Numbers of the layers.
    median, low, high
        Measured: the median over seeds, and the ends of the band over seeds.
    predicted
        Theory.
    """

    layers: Array
    median: Array
    low: Array
    high: Array
    predicted: Array


@dataclass(frozen=True)
class Network:
    """Gradients of real networks on real digits, with what mean field theory says of them.

    Attributes
    ----------
    signal
        The measurement, for all seeds.
    predicted
        Theory, layer by layer.
    relative_weight_gradient
        log10 of the weight gradients relative to the last layer's, shape (seeds, depth).
    gradient, weights
        The gradient at the activations and at the weights, as they are drawn.
    prediction
        The learner's guess of log10 of the gradient at the input, if there is one.
    """

    signal: MLPSignal
    predicted: theory.MeanField
    relative_weight_gradient: Array
    gradient: Profile
    weights: Profile
    prediction: float | None

    @property
    def predicted_per_layer(self) -> float:
        """The factor per layer that theory predicts, over the same layers as the measured one."""
        return float(10 ** -slope_per_layer(self.predicted.log10_gradient[None]))

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
    with np.errstate(invalid="ignore"):
        relative = signal.log10_weight_gradient - signal.log10_weight_gradient[:, -1:]
    gradient = Profile(
        np.arange(depth + 1),
        signal.median("gradient"),
        *signal.band("gradient"),
        predicted.log10_gradient,
    )
    weights = Profile(
        np.arange(1, depth + 1),
        np.median(relative, axis=0),
        quantile(relative, 0.05),
        quantile(relative, 0.95),
        predicted.log10_weight_gradient,
    )
    asked = (depth, activation) == (50, "sigmoid") and math.isclose(weight_scale, 1)
    guess = as_prediction(prediction) if asked else None
    return Network(signal, predicted, relative, gradient, weights, guess)


def draw_network(result: Network, axes: dict[str, Panel]) -> None:
    """Show the gradient at the activations and at the weights, layer by layer, beside theory."""
    signal, gradient, weights = result.signal, axes["gradient"], axes["weights"]
    ends = [-1.0, 0.5] if result.prediction is None else [-1.0, 0.5, result.prediction]
    seen = (result.gradient.low, result.gradient.high, result.gradient.predicted)
    shown = np.concatenate([*seen, result.weights.low, result.weights.high, ends])
    shown = shown[np.isfinite(shown)]
    for panel, title, profile in (
        (gradient, "Gradient at the activations", result.gradient),
        (weights, "Gradient at the weights", result.weights),
    ):
        panel.set(title=title, xlabel="layer", xlim=(0, snap_up(signal.depth)))
        panel.decades("y", float(shown.min()), float(shown.max()))
        _draw_profile(panel, profile)
    gradient.set(ylabel="norm, relative to the last layer")
    if signal.overflow_layer is not None:
        weights.note(f"float32 overflows at layer {signal.overflow_layer}", "upper right")
        gradient.vline("overflow", signal.overflow_layer, color=MEASURED, lw=1.2)
        weights.vline("overflow", signal.overflow_layer, color=MEASURED, lw=1.2)
    elif np.isneginf(result.gradient.median[0]):
        gradient.note("the gradient is exactly 0", "upper left")
    elif signal.underflow_layer is not None:
        weights.note(f"float32 holds 0 up to layer {signal.underflow_layer}", "upper left")
    if result.prediction is not None:
        gradient.mark("prediction", 0, result.prediction, "your prediction")


def _draw_profile(panel: Panel, profile: Profile) -> None:
    layers = profile.layers
    panel.band(
        "band", layers, profile.low, profile.high, color=MEASURED, alpha=0.2, label="range of seeds"
    )
    panel.line("measured", layers, profile.median, color=MEASURED, label="measured: median")
    panel.line(
        "theory", layers, profile.predicted, color=THEORY, ls="--", label="theory: infinite width"
    )
