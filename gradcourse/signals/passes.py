"""One forward and one backward pass of many networks, which neither overflow nor underflow."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from gradcourse.signals.activations import ValueAndSlope
from gradcourse.signals.weights import BaseWeights, log10_of
from gradcourse.signals.words import Array

__all__ = [
    "LOG10_2",
    "TOLERANCE",
    "Passes",
    "checked_inputs",
    "log2_largest",
    "log2_norms",
    "lowest_exponent",
    "nothing_on",
    "passes",
    "powers_of_2",
    "ready",
    "rescale_",
    "rescale_every",
    "start",
]

LOG10_2 = math.log10(2)
# A float32 is rounded to inf from 2**128 on, and to 0 up to 2**-150.
LARGEST, SMALLEST = 128, -150
# What powers of 2 are multiplied with; smaller ones lose digits.
LARGEST_POWER = 126
# Numbers are rescaled, by powers of 2, when their size leaves 2**-8 to 2**8 at a layer that asks.
COMFORT = 8
# Between those layers sizes may leave it, but so little that squares of products stay exact.
TOLERANCE = 28
# Beyond these powers of 2 an activation is taken to be straight: x -> a x on either side of 0.
STRAIGHT_BELOW, STRAIGHT_ABOVE = -40, 64


@dataclass(frozen=True, eq=False)
class Passes:
    """What two passes measured; log10 of norms, and the layers of events, NaN where none was.

    Attributes
    ----------
    activation, gradient
        Shape (seeds, depth + 1).
    weight_gradient
        Shape (seeds, depth).
    forward_overflow, backward_overflow, underflow
        Shape (seeds,).
    """

    activation: Array
    gradient: Array
    weight_gradient: Array
    forward_overflow: Array
    backward_overflow: Array
    underflow: Array


def passes(
    inputs: Tensor,
    weights: BaseWeights,
    phi: ValueAndSlope,
    depth: int,
    weight_scale: float,
    bias_scale: float,
) -> Passes:
    """Run all seeds of ``weights`` forward and back on ``inputs``, float64 on the CPU.

    A host that reads a size after each layer costs as much as the layer, so sizes are looked at
    every few layers. Where that was too seldom, it is all done again with a look at every layer.
    """
    every = rescale_every(weight_scale)
    run = _Run(weights, phi, weight_scale, bias_scale, every)
    done = run.measure(inputs, depth)
    if every > 1 and not run.exact:
        done = _Run(weights, phi, weight_scale, bias_scale, 1).measure(inputs, depth)
    return done


def checked_inputs(inputs: Tensor) -> Tensor:
    """Return a batch as float64 on the CPU, or say what it must be."""
    if not isinstance(inputs, Tensor) or inputs.ndim != 2 or inputs.numel() == 0:
        shape = tuple(inputs.shape) if isinstance(inputs, Tensor) else type(inputs).__name__
        raise ValueError(f"inputs must be a tensor of shape (batch, features), got {shape}")
    if not torch.isfinite(inputs).all():
        raise ValueError("inputs must be finite numbers, got NaN or inf")
    return inputs.detach().to("cpu", torch.float64)


def start(inputs: Tensor, device: torch.device) -> tuple[Tensor, float]:
    """Return inputs of comfortable size as float32, and their exponent."""
    size = float(inputs.abs().max())
    first = math.frexp(size)[1] if abs(math.log2(size or 1.0)) > COMFORT else 0
    comfortable = torch.from_numpy(np.ldexp(inputs.numpy(), -first))
    return comfortable.to(device, torch.float32), float(first)


def rescale_every(weight_scale: float) -> int:
    """Return after how many layers sizes are looked at: a layer changes them by a few bits."""
    return max(1, min(8, int(16 / (1 + abs(math.log2(weight_scale))))))


class _Run:
    """One forward and one backward pass; true numbers are the kept ones times ``2**exponent``."""

    def __init__(
        self,
        weights: BaseWeights,
        phi: ValueAndSlope,
        weight_scale: float,
        bias_scale: float,
        every: int,
    ) -> None:
        self.weights = weights
        self.phi = phi
        self.weight_scale = weight_scale
        self.bias_scale = bias_scale
        self.every = every
        self.exact = True
        self.seeds = len(weights.seeds)
        self.nothing = nothing_on(weights.device)
        # For each seed the layer of an event, NaN while it has not happened.
        never = np.full(self.seeds, math.nan)
        self.forward_overflow, self.forward_underflow = never.copy(), never.copy()
        self.backward_overflow, self.backward_underflow = never.copy(), never.copy()

    def measure(self, inputs: Tensor, depth: int) -> Passes:
        self.depth = depth
        activation = self.forward(inputs)
        gradient, weight_gradient = self.backward(len(inputs))
        return Passes(
            activation,
            gradient,
            weight_gradient,
            self.forward_overflow,
            self.backward_overflow,
            self.backward_underflow,
        )

    def forward(self, inputs: Tensor) -> Array:
        """Run the layers, and keep what the backward pass needs."""
        device, width = self.weights.device, self.weights.width
        self.inputs, first = start(inputs, device)
        h = self.inputs.expand(self.seeds, -1, -1)
        lowest = lowest_exponent(self.phi, self.nothing, self.bias_scale)
        h, exponent, up, down = ready(h, np.full(self.seeds, first), lowest)
        shape = (self.depth, len(inputs), width)
        sums = self.weights.scratch("sums", *shape)
        self.hidden = self.weights.scratch("hidden", *shape)
        self.slopes = self.weights.scratch("slopes", *shape)
        rows = zip(sums.unbind(), self.hidden.unbind(), self.slopes.unbind(), strict=True)
        self.exponents = np.full((self.depth + 1, self.seeds), first)
        sum_exponents = np.empty((self.depth, self.seeds))
        for layer, (z, hidden, slopes) in enumerate(rows, start=1):
            sum_exponents[layer - 1] = exponent
            weight, bias = self.weights.layer(layer)
            scale = self.weight_scale / math.sqrt(weight.shape[2])
            if self.bias_scale:
                bias = bias * powers_of_2(h, -exponent, math.log2(self.bias_scale))
                torch.baddbmm(bias, h, weight.mT, alpha=scale, out=z)
            else:
                torch.baddbmm(self.nothing, h, weight.mT, beta=0, alpha=scale, out=z)
            value, slope = self.phi(z if up is None else z * up)
            h = hidden.copy_(value)
            slopes.copy_(slope)
            if down is not None:
                h.mul_(down)
            self.exponents[layer] = exponent
            if layer % self.every == 0:
                self.exponents[layer] = exponent = rescale_(h, log2_largest(h), exponent)
                h, exponent, up, down = ready(h, exponent, lowest)
        norms = torch.cat([_norm(self.inputs).expand(1, self.seeds), _norm(self.hidden)])
        entries = [inputs.numel(), *[len(inputs) * width] * self.depth]
        activation = self._log10(norms, self.exponents) - np.log10(entries)[:, None] / 2
        events = self.forward_overflow, self.forward_underflow
        sizes, layers = activation[1:] / LOG10_2, range(1, self.depth + 1)
        self._watch(sums, sizes, sum_exponents, layers, *events)
        profile = activation.T.copy()
        _mark_overflow(profile, from_layer=True)
        return profile

    def backward(self, batch: int) -> tuple[Array, Array]:
        """Run the layers back from random cotangents of unit norm."""
        delta = self.weights.cotangents(batch)
        exponent = np.zeros(self.seeds)
        # In the order in which they are met.
        exponents = np.zeros((self.depth + 1, self.seeds))
        # The gradients of sums take the place of the slopes, and those of activations of the sums.
        by_sum, by_activation = self.slopes.unbind(), [delta]
        place = self.weights.scratch("sums", self.depth, batch, self.weights.width).unbind()
        for layer in range(self.depth, 0, -1):
            weight = self.weights.layer(layer)[0]
            delta = by_sum[layer - 1].mul_(delta)
            if layer % self.every == 1 or self.every == 1:
                exponent = rescale_(delta, log2_largest(delta), exponent)
            exponents[self.depth + 1 - layer] = exponent
            scale = self.weight_scale / math.sqrt(weight.shape[2])
            out = place[layer - 1] if layer > 1 else None
            delta = torch.baddbmm(self.nothing, delta, weight, beta=0, alpha=scale, out=out)
            by_activation.append(delta)
        norms = torch.stack([_norm(delta) for delta in by_activation])
        gradient = self._log10(norms, exponents)
        by_weight = self._by_weight(self.slopes)
        weight_exponents = exponents[:0:-1] + self.exponents[:-1]
        weight_gradient = self._log10(by_weight, weight_exponents, 2 * TOLERANCE)
        layers = range(self.depth - 1, -1, -1)
        sizes = gradient / LOG10_2
        smaller = self._smaller(sizes, layers)
        plain = exponents[1:] + smaller
        events = self.backward_overflow, self.backward_underflow
        self._watch(by_activation[1:], sizes[1:] + smaller, plain, layers, *events)
        gradient[0] = 0.0
        profile, weight_profile = gradient[::-1].T.copy(), weight_gradient.T.copy()
        _mark_overflow(profile[:, :-1])
        _mark_overflow(weight_profile)
        return profile, weight_profile

    def _by_weight(self, by_sum: Tensor) -> Tensor:
        """Return the norms of the weight gradients, shape (depth, seeds)."""
        if len(self.inputs) >= self.weights.width:
            beneath = [self.inputs.expand(self.seeds, -1, -1), *self.hidden[:-1]]
            pairs = zip(by_sum, beneath, strict=True)
            return torch.stack([_norm(torch.bmm(delta.mT, h)) for delta, h in pairs])
        # With fewer samples than units, inner products of samples are a cheaper way.
        shape = (self.depth, len(self.inputs), len(self.inputs))
        product = self.weights.scratch("product", *shape)
        below = self.weights.scratch("below", *shape)
        _inner(by_sum, out=product)
        _inner(self.inputs.expand(1, self.seeds, -1, -1), out=below[:1])
        _inner(self.hidden[:-1], out=below[1:])
        return product.mul_(below).sum((2, 3)).clamp_(min=0).sqrt_()

    def _log10(self, norms: Tensor, exponents: Array, tolerance: int = TOLERANCE) -> Array:
        """Return log10 of the true norms, all of shape (layers, seeds)."""
        kept = log10_of(norms)
        self.exact = self.exact and bool((np.abs(kept) < tolerance * LOG10_2).all())
        return kept + LOG10_2 * exponents

    def _smaller(self, sizes: Array, layers: Sequence[int]) -> Array:
        """Return by how many powers of 2 the gradients of a plain float32 run are smaller.

        There the sums above a flushed layer are 0, and so is the slope of a ReLU at them.
        """
        with np.errstate(divide="ignore", invalid="ignore"):
            at_zero = np.log2(abs(float(self.phi(self.nothing)[1])) * self.weight_scale)
            flushed = (np.array(layers)[:, None] + 1 > self.forward_underflow) & np.isfinite(
                sizes[1:]
            )
            lost = np.where(flushed, at_zero - np.diff(sizes, axis=0), 0.0)
        return np.asarray(np.cumsum(lost, axis=0))

    def _watch(
        self,
        tensors: Sequence[Tensor] | Tensor,
        sizes: Array,
        exponents: Array,
        layers: Sequence[int],
        overflow: Array,
        underflow: Array,
    ) -> None:
        # The largest element lies between the root mean square and the norm, so it is looked up
        # only where one of the two is near a limit.
        spread = math.log2(tensors[0][0].numel()) + 2
        near = ~((sizes < LARGEST - spread) & (sizes > SMALLEST + spread))
        for row in map(int, np.flatnonzero(near.any(axis=1))):
            layer = layers[row]
            kept = log2_largest(tensors[row])
            largest = kept + exponents[row]
            broken = np.isnan(sizes[row]) | np.isposinf(sizes[row]) | ~(largest < LARGEST)
            overflow[np.isnan(overflow) & near[row] & broken] = layer
            flushed = (largest <= SMALLEST) & np.isfinite(kept)
            underflow[np.isnan(underflow) & near[row] & flushed] = layer


def rescale_(tensor: Tensor, away: Array, exponent: Array) -> Array:
    """Bring each entry of a tensor to a comfortable size in place, and return its exponents.

    Parameters
    ----------
    tensor
        Shape (n, ...).
    away
        log2 of the size of each entry, shape (n,); from inf there is no way back, and zeros have
        any exponent: 0, as what biases make of them is of their size.
    exponent
        The true numbers are ``tensor * 2**exponent``, shape (n,).
    """
    far = np.abs(away) > COMFORT
    if not far.any():
        return exponent
    far &= np.isfinite(away)
    steps = np.where(far, np.clip(np.round(away), -LARGEST_POWER, LARGEST_POWER), 0.0)
    tensor.mul_(powers_of_2(tensor, -steps))
    return np.where(np.isneginf(away), 0.0, exponent + steps)


def nothing_on(device: torch.device) -> Tensor:
    """Return a single zero of shape (1, 1, 1), whatever torch's default dtype is."""
    return torch.zeros(1, 1, 1, dtype=torch.float32, device=device)


def lowest_exponent(phi: ValueAndSlope, nothing: Tensor, bias_scale: float) -> float:
    """Return the exponent below which what is added to sums or activations could overflow."""
    added = max(min(abs(float(phi(nothing)[0])), 1.0), bias_scale)
    return math.log2(added) - COMFORT if added else -math.inf


def ready(
    h: Tensor, exponent: Array, lowest: float
) -> tuple[Tensor, Array, Tensor | None, Tensor | None]:
    """Return numbers for the layers to come, at exponents that are not below the lowest.

    With them come the powers of 2 that take sums to the size that an activation is for, and what it
    makes of them back again; None for 1.
    """
    if (exponent < lowest).any():
        higher = np.maximum(exponent, lowest)
        h, exponent = h * powers_of_2(h, exponent - higher), higher
    near = np.clip(exponent, STRAIGHT_BELOW, STRAIGHT_ABOVE)
    if not near.any():
        return h, exponent, None, None
    return h, exponent, powers_of_2(h, near), powers_of_2(h, -near)


def log2_largest(tensor: Tensor) -> Array:
    """Return log2 of the largest size in each entry of a tensor of shape (n, ...), shape (n,).

    Unlike a norm it has no squares, which leave float32 long before the numbers do.
    """
    return _log2(tensor.flatten(1).abs().amax(1))


def log2_norms(tensor: Tensor) -> Array:
    """Return log2 of the norm of each entry of a tensor of shape (n, ...), shape (n,)."""
    return _log2(torch.linalg.vector_norm(tensor.flatten(1), dim=1))


def powers_of_2(like: Tensor, exponents: Array, offset: float = 0.0) -> Tensor:
    """Return ``2**(exponents + offset)``, to be multiplied with tensors like ``like``, (n, ...)."""
    powers = np.exp2(np.clip(exponents + offset, -LARGEST_POWER, LARGEST_POWER))
    shape = -1, *[1] * (like.ndim - 1)
    return torch.from_numpy(powers.astype(np.float32)).to(like.device).view(shape)


def _inner(tensor: Tensor, out: Tensor) -> None:
    """Write the inner products of all samples, (layers, seeds, batch, batch)."""
    flat = tensor.flatten(0, 1)
    torch.bmm(flat, flat.mT, out=out.flatten(0, 1))


def _norm(tensor: Tensor) -> Tensor:
    """Return the norm over samples and units, the last two dimensions."""
    norm: Tensor = torch.linalg.vector_norm(tensor, dim=(-2, -1))
    return norm


def _log2(norms: Tensor) -> Array:
    with np.errstate(divide="ignore"):
        return np.asarray(np.log2(norms.cpu().numpy().astype(np.float64)))


def _mark_overflow(profile: Array, from_layer: bool = False) -> None:
    # Past an activation that truly overflows nothing is known: it is inf, never NaN.
    for row in np.flatnonzero(np.isnan(profile).any(1) | np.isposinf(profile).any(1)):
        bad = ~np.isfinite(profile[row]) & ~np.isneginf(profile[row])
        profile[row, int(np.argmax(bad)) if from_layer else 0 :] = math.inf
