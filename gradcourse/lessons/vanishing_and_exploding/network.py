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
from gradcourse.tasks import digits

__all__ = ["Network", "digit_batch", "draw_network", "measure_network"]

Array = NDArray[Any]


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
        gradient.mark("prediction", 0, result.prediction, "your prediction")


def _profile(
    panel: Panel, layers: Array, median: Array, band: tuple[Array, Array], predicted: Array
) -> None:
    panel.band("band", layers, *band, color=MEASURED, alpha=0.2, label="range of seeds")
    panel.line("measured", layers, median, color=MEASURED, label="measured: median")
    panel.line("theory", layers, predicted, color=THEORY, ls="--", label="theory: infinite width")


def _finite(values: Array) -> Array:
    return values[np.isfinite(values)]
