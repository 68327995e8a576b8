"""The gradient of random networks that normalise in every layer, all seeds in one batch."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from gradcourse.checks import at_least, between
from gradcourse.device import choose_device
from gradcourse.signals.activations import ValueAndSlope, value_and_slope
from gradcourse.signals.passes import LARGEST, LOG10_2, SMALLEST, checked_inputs, nothing_on
from gradcourse.signals.weights import (
    BaseWeights,
    base_weights,
    log10_of,
    measuring,
    one_thread_is_best,
)
from gradcourse.signals.words import Array, median, quantile, slope_per_layer

__all__ = ["NormalizedSignal", "normalized_signal"]

# What torch's own modules add to the variance.
EPSILON = 1e-5

# The dimension that each norm averages over, of (seeds, batch, units), and if it takes the mean.
KINDS = {"BatchNorm": (1, True), "LayerNorm": (2, True), "RMSNorm": (2, False)}


@dataclass(frozen=True, eq=False)
class NormalizedSignal:
    """Gradients of every layer of random networks that normalise, one row for each seed.

    Attributes
    ----------
    norm
        ``"BatchNorm"``, ``"LayerNorm"`` or ``"RMSNorm"``.
    after
        Whether it comes after the activation.
    activation
        Name of the activation.
    width, batch
        Units in each layer, and samples.
    weight_scale
        As given.
    log10_gradient
        log10 of the norm of dL/dh for the whole batch, relative to the last layer; the first column
        is the input. -inf is an exact 0. Shape (seeds, depth + 1).
    """

    norm: str
    after: bool
    activation: str
    width: int
    batch: int
    weight_scale: float
    log10_gradient: Array

    @property
    def depth(self) -> int:
        """The number of layers."""
        return int(self.log10_gradient.shape[1]) - 1

    @property
    def per_layer(self) -> Array:
        """The factor by which a layer changes the gradient's norm, of each seed; shape (seeds,)."""
        rows = self.log10_gradient[:, None, 1:]
        return np.array([10 ** -slope_per_layer(row) for row in rows])

    @property
    def gradient_per_layer(self) -> float:
        """The median over seeds of that factor."""
        return float(10 ** -slope_per_layer(self.log10_gradient[:, 1:]))

    @property
    def overflow_layer(self) -> int | None:
        """The layer at which a plain float32 run overflows on its way back, or None."""
        over = np.flatnonzero(self.median() > LARGEST * LOG10_2)
        return int(over.max()) if over.size else None

    @property
    def underflow_layer(self) -> int | None:
        """The last layer whose gradient a plain float32 run flushes to 0, or None."""
        flushed = np.flatnonzero(self.median() < SMALLEST * LOG10_2)
        return int(flushed.max()) if flushed.size else None

    def median(self) -> Array:
        """Return the median over seeds, one number for each layer."""
        return median(self.log10_gradient)

    def band(self, low: float = 0.05, high: float = 0.95) -> tuple[Array, Array]:
        """Return two quantiles over seeds.

        Parameters
        ----------
        low, high
            Which quantiles, 0 to 1.

        Raises
        ------
        ValueError
            If a quantile is not between 0 and 1.
        """
        return quantile(self.log10_gradient, low), quantile(self.log10_gradient, high)

    def summary(self) -> str:
        """Say in one line what happened to the gradient."""
        place = "after" if self.after else "before"
        line = (
            f"{self.depth} layers, {self.norm} {place} {self.activation}, batch {self.batch}, "
            f"weight scale {self.weight_scale:.3g}: "
        )
        total = float(self.median()[1])
        if np.isneginf(total):
            return f"{line}the gradient is exactly 0"
        factor = self.gradient_per_layer
        verb = "grows" if factor > 1 else "shrinks"
        # Two digits would call the factors of batches of 16 and of 256 the same.
        line += f"the gradient {verb} by a factor {factor:.3f} per layer (10^{total:.1f} over all)"
        if self.overflow_layer is not None:
            return f"{line}; plain float32 overflows at layer {self.overflow_layer}"
        if self.underflow_layer is not None:
            return f"{line}; plain float32 has 0 up to layer {self.underflow_layer}"
        return line


def normalized_signal(
    inputs: Tensor,
    norm: str = "BatchNorm",
    activation: str = "relu",
    width: int = 64,
    depth: int = 50,
    weight_scale: float = 1.0,
    *,
    after: bool = False,
    seeds: int = 8,
    first_seed: int = 0,
    device: str | torch.device | None = None,
) -> NormalizedSignal:
    """Measure the gradients of random networks that normalise in every layer.

    Layer ``l`` is ``h = phi(norm(W h))``, or ``norm(phi(W h))``. The norm is torch's at
    initialisation: gain 1, shift 0, and ``eps`` 1e-5; BatchNorm takes its statistics from the
    batch, as in training. The loss is the inner product of the last activations with random
    numbers. The gradient is divided by its norm after each layer, so no depth overflows.

    Parameters
    ----------
    inputs
        A batch of shape (batch, features).
    norm
        ``"BatchNorm"``, ``"LayerNorm"`` or ``"RMSNorm"``.
    activation
        A name.
    width, depth
        Units in each layer, and layers.
    weight_scale
        Weights are ``N(0, weight_scale**2 / fan_in)``; there are no biases, which a norm that
        subtracts a mean over the batch would take away again.
    after
        Whether the norm comes after the activation.
    seeds, first_seed
        How many networks, and the first of their seeds: the weights of ``mlp_signal``.
    device
        As in ``choose_device``.

    Raises
    ------
    ValueError
        If ``inputs`` is not a tensor of finite numbers of shape (batch, features); if the norm is
        unknown; if ``activation`` is neither a known name nor a function that keeps the shape; if
        ``width``, ``depth`` or ``seeds`` is not a whole number of 1 or more, or ``first_seed`` not
        one of 0 or more; if ``weight_scale`` is not between 1e-6 and 1e6; or if the device is not
        to be had, as in ``choose_device``.
    TypeError
        If ``weight_scale`` is no number.

    Examples
    --------
    >>> signal = normalized_signal(torch.randn(32, 64), "BatchNorm", "relu", depth=20)
    >>> signal.log10_gradient.shape
    (8, 21)
    """
    batch = checked_inputs(inputs)
    if norm not in KINDS:
        raise ValueError(f"norm must be one of {', '.join(KINDS)}, got {norm!r}")
    name, phi = value_and_slope(activation)
    width = at_least(1, "width", width)
    depth = at_least(1, "depth", depth)
    seeds = at_least(1, "seeds", seeds)
    first_seed = at_least(0, "first_seed", first_seed)
    scale = between(1e-6, 1e6, "weight_scale", weight_scale)
    where = choose_device(device)
    with measuring(one_thread_is_best(where, width)):
        weights = base_weights(inputs.shape[1], width, first_seed, seeds, where)
        gradient = _passes(batch.to(where, torch.float32), weights, norm, phi, depth, scale, after)
    return NormalizedSignal(norm, after, name, width, len(inputs), scale, gradient)


def _passes(
    inputs: Tensor,
    weights: BaseWeights,
    norm: str,
    phi: ValueAndSlope,
    depth: int,
    weight_scale: float,
    after: bool,
) -> Array:
    """Return log10 of the gradients' norms, shape (seeds, depth + 1)."""
    dim, centred = KINDS[norm]
    nothing = nothing_on(weights.device)
    h = inputs.expand(len(weights.seeds), -1, -1)
    kept = []
    for layer in range(1, depth + 1):
        weight, _ = weights.layer(layer)
        scale = weight_scale / math.sqrt(weight.shape[2])
        z = torch.baddbmm(nothing, h, weight.mT, beta=0, alpha=scale)
        if after:
            value, slope = phi(z)
            h, inverse = _normalise(value, dim, centred)
            kept.append((weight, scale, h, inverse, slope))
        else:
            y, inverse = _normalise(z, dim, centred)
            h, slope = phi(y)
            kept.append((weight, scale, y, inverse, slope))
    gradient = weights.cotangents(len(inputs))
    norms = [torch.ones(len(gradient), device=gradient.device)]
    for weight, scale, y, inverse, slope in reversed(kept):
        if after:
            gradient = _back(gradient, y, inverse, dim, centred).mul_(slope)
        else:
            gradient = _back(gradient * slope, y, inverse, dim, centred)
        gradient = torch.baddbmm(nothing, gradient, weight, beta=0, alpha=scale)
        size = torch.linalg.vector_norm(gradient, dim=(1, 2))
        norms.append(size)
        gradient.div_(torch.where(size > 0, size, 1.0)[:, None, None])
    return np.cumsum(log10_of(torch.stack(norms, dim=1)), axis=1)[:, ::-1].copy()


def _normalise(z: Tensor, dim: int, centred: bool) -> tuple[Tensor, Tensor]:
    """Return normalised numbers, and one over their deviation."""
    if centred:
        z = z - z.mean(dim, keepdim=True)
    inverse = (z.square().mean(dim, keepdim=True) + EPSILON).rsqrt_()
    return z * inverse, inverse


def _back(gradient: Tensor, y: Tensor, inverse: Tensor, dim: int, centred: bool) -> Tensor:
    """Return the gradient below the norm: two directions taken away, and divided."""
    along = (gradient * y).mean(dim, keepdim=True)
    result = torch.addcmul(gradient, y, along, value=-1)
    if centred:
        result.sub_(gradient.mean(dim, keepdim=True))
    return result.mul_(inverse)
