"""A chain of equal weights: the chain rule in numbers, as a dtype holds them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from gradcourse import theory
from gradcourse.checks import at_least
from gradcourse.exercises import as_prediction
from gradcourse.live import MEASURED, THEORY, Panel, snap_up

__all__ = ["Chain", "draw_chain", "measure_chain"]

Array = NDArray[Any]

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
    depth = at_least(1, "depth", depth)
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
        axes.mark("prediction", result.prediction, float(np.mean(limits)), "your prediction")


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
