"""The gradient that BatchNorm makes explode, beside other norms, other places and no norm."""

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
from gradcourse.live import MEASURED, PALETTE, THEORY, Panel, snap_up
from gradcourse.signals import MLPSignal, NormalizedSignal, mlp_signal, normalized_signal
from gradcourse.signals.words import quantile
from gradcourse.tasks import digits

__all__ = ["PLACES", "Explosion", "digit_batch", "draw_explosion", "measure_explosion"]

Array = NDArray[Any]

PLACES = ("before", "after")
BATCHES = (4, 8, 16, 32, 64, 128, 256)
# What one layer does to a gradient without a norm does not depend on the batch.
PLAIN_BATCH = 16
PLAIN = PALETTE[2]


@dataclass(frozen=True)
class Explosion:
    """Gradients of networks with a norm and without, layer by layer, and what theory says.

    Attributes
    ----------
    signal
        Networks with a norm, all seeds.
    plain
        The same weights without a norm.
    layers
        Numbers of the layers, from 1; shape (depth,).
    median, low, high
        log10 of the gradient relative to the last layer: the median seed and the ends of the band.
    predicted
        The same from theory.
    plain_median
        The same without a norm.
    predicted_factor
        The factor per layer that theory predicts of the gradient's norm.
    batches, factors
        Batch sizes, and what theory predicts for each of them; for BatchNorm after the activation
        the limit of large batches.
    factor_low, factor_high
        The range of the measured factor over seeds.
    prediction
        The learner's guess of log10 of the gradient in layer 1, if there is one.
    """

    signal: NormalizedSignal
    plain: MLPSignal
    layers: Array
    median: Array
    low: Array
    high: Array
    predicted: Array
    plain_median: Array
    predicted_factor: float
    batches: Array
    factors: Array
    factor_low: float
    factor_high: float
    prediction: float | None

    @property
    def squared_factor(self) -> float:
        """The measured factor by which one layer multiplies the *squared* gradient."""
        return self.signal.gradient_per_layer**2

    def summary(self) -> str:
        """Return the picture in one line."""
        plain = self.plain
        line = f"{self.signal.summary()}; theory: {self.predicted_factor:.3f}. Without a norm: "
        if plain.overflow_layer is not None:
            return f"{line}float32 overflows at layer {plain.overflow_layer}"
        if np.isneginf(self.plain_median[0]):
            return f"{line}exactly 0"
        return f"{line}{plain.gradient_per_layer:.3f}"


@lru_cache(maxsize=16)
def digit_batch(batch: int = 64, seed: int = 0) -> Tensor:
    """Return digits, each scaled to mean square 1, shape (batch, 64)."""
    inputs, _ = digits(batch, seed)
    return inputs / inputs.square().mean(dim=1, keepdim=True).sqrt()


def measure_explosion(
    norm: str = "BatchNorm",
    place: str = "before",
    activation: str = "relu",
    batch: int = 64,
    weight_scale: float = 1.4,
    depth: int = 50,
    width: int = 64,
    seeds: int = 6,
    first_seed: int = 0,
    prediction: float | None = None,
) -> Explosion:
    """Measure the gradients of random networks with a norm in every layer (T15, T16).

    Parameters
    ----------
    norm
        ``"BatchNorm"``, ``"LayerNorm"`` or ``"RMSNorm"``.
    place
        ``"before"`` or ``"after"`` the activation.
    activation
        A name that ``gradcourse.theory`` and ``gradcourse.signals`` know.
    batch
        Digits in a batch, 4 or more.
    weight_scale
        Weights are ``N(0, weight_scale**2 / fan_in)``.
    depth, width
        Layers, and units in each.
    seeds, first_seed
        How many networks, and the first of their seeds.
    prediction
        log10 of the gradient in layer 1 that the learner expects of 50 ReLU layers with BatchNorm
        before each, drawn as a star there.
    """
    if place not in PLACES:
        raise ValueError(f"place must be one of {', '.join(PLACES)}, got {place!r}")
    after = place == "after"
    inputs = digit_batch(batch, first_seed)
    signal = normalized_signal(
        inputs,
        norm,
        activation,
        width,
        depth,
        weight_scale,
        after=after,
        seeds=seeds,
        first_seed=first_seed,
    )
    plain = mlp_signal(
        inputs[:PLAIN_BATCH],
        activation,
        width,
        depth,
        weight_scale,
        seeds=seeds,
        first_seed=first_seed,
    )
    chis = [_chi(norm, activation, weight_scale, after, size) for size in BATCHES]
    factor = math.sqrt(_chi(norm, activation, weight_scale, after, batch))
    low, high = signal.band()
    layers = np.arange(1, depth + 1)
    asked = (norm, place, activation, depth) == ("BatchNorm", "before", "relu", 50)
    return Explosion(
        signal=signal,
        plain=plain,
        layers=layers,
        median=signal.median()[1:],
        low=low[1:],
        high=high[1:],
        predicted=(depth - layers) * math.log10(factor),
        plain_median=plain.median("gradient")[1:],
        predicted_factor=factor,
        batches=np.array(BATCHES),
        factors=np.sqrt(chis),
        factor_low=float(quantile(signal.per_layer[:, None], 0.05)[0]),
        factor_high=float(quantile(signal.per_layer[:, None], 0.95)[0]),
        prediction=as_prediction(prediction) if asked else None,
    )


def draw_explosion(result: Explosion, axes: dict[str, Panel]) -> None:
    """Show the gradient layer by layer, and the factor per layer against the batch size."""
    _draw_profile(result, axes["gradient"])
    factor = axes["factor"]
    batch = math.log2(result.signal.batch)
    factor.set(
        title="Factor per layer",
        xlabel="batch size",
        ylabel="factor of the gradient's norm",
        xlim=(1.7, 8.3),
        xticks=np.log2(result.batches),
        xticklabels=[str(size) for size in result.batches],
    )
    factor.line(
        "theory", np.log2(result.batches), result.factors, color=THEORY, ls="--", label="theory"
    )
    factor.line(
        "range",
        [batch, batch],
        [result.factor_low, result.factor_high],
        color=MEASURED,
        lw=4,
        alpha=0.35,
    )
    point = {"color": MEASURED, "marker": "o", "ms": 11, "ls": ""}
    factor.line("measured", [batch], [result.signal.gradient_per_layer], label="measured", **point)
    factor.hline("one", 1, color="#444444", lw=1)


def _draw_profile(result: Explosion, panel: Panel) -> None:
    signal = result.signal
    ends = [-1.0, 1.0] if result.prediction is None else [-1.0, 1.0, result.prediction]
    seen = (result.low, result.high, result.predicted, result.plain_median)
    shown = np.concatenate([*seen, ends])
    shown = shown[np.isfinite(shown)]
    panel.set(
        title=f"{signal.norm} {'after' if signal.after else 'before'} {signal.activation}",
        xlabel="layer",
        ylabel="gradient over the last layer's",
        xlim=(0, snap_up(signal.depth)),
    )
    panel.decades("y", float(shown.min()), float(shown.max()))
    panel.line(
        "plain", result.layers, result.plain_median, color=PLAIN, lw=1.8, label="without a norm"
    )
    panel.band(
        "band", result.layers, result.low, result.high, color=MEASURED, alpha=0.2, label="_seeds"
    )
    panel.line("measured", result.layers, result.median, color=MEASURED, label="measured: median")
    panel.line("theory", result.layers, result.predicted, color=THEORY, ls="--", label="theory")
    if signal.overflow_layer is not None:
        panel.note(f"float32 overflows at layer {signal.overflow_layer}", "upper right")
    elif np.isneginf(result.median[0]):
        panel.note("the gradient is exactly 0", "upper left")
    elif signal.underflow_layer is not None:
        panel.note(f"float32 holds 0 up to layer {signal.underflow_layer}", "upper left")
    if result.prediction is not None:
        panel.mark("prediction", 1, result.prediction, "your prediction")


@lru_cache(maxsize=512)
def _chi(norm: str, activation: str, weight_scale: float, after: bool, batch: int) -> float:
    if norm == "BatchNorm" and not after:
        return theory.batch_norm_chi(activation, batch)
    return theory.norm_chi(norm, activation, weight_scale**2, after=after)
