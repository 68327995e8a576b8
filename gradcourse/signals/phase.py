"""Gradients of networks of every depth at many weight scales: the phase diagram of depth."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from gradcourse.checks import at_least, between
from gradcourse.device import choose_device
from gradcourse.signals.activations import ValueAndSlope, value_and_slope
from gradcourse.signals.passes import (
    LOG10_2,
    TOLERANCE,
    checked_inputs,
    log2_largest,
    log2_norms,
    lowest_exponent,
    nothing_on,
    powers_of_2,
    ready,
    rescale_,
    rescale_every,
    start,
)
from gradcourse.signals.weights import BaseWeights, base_weights, measuring
from gradcourse.signals.words import Array

__all__ = ["PhaseDiagram", "phase_diagram"]

# Weight scales are taken in groups whose gradients are this many numbers at most: memory stays
# small, and larger groups are not faster on a CPU.
GROUP_NUMBERS = 2_000_000
# Multiplications, some 0.2 seconds of them, from which on more threads are taken: what is behind a
# slider is faster on one as soon as anything else wants the other.
WORTH_MORE_THREADS = 1e10


@dataclass(frozen=True, eq=False)
class PhaseDiagram:
    """The gradient at the input of networks of every depth, one row for each weight scale.

    Logarithms are to base 10; -inf is an exact 0 (dead units), inf an activation beyond float32.

    Attributes
    ----------
    activation
        Name of the activation.
    width, batch, seed, bias_scale
        As given.
    weight_scales
        Shape ``(scales,)``.
    log10_activation
        Root mean square of the activations of each layer, ``(scales, depth + 1)``; layer 0 is the
        input.
    log10_gradient
        Norm of dL/dh at the input of a network of 1, 2, ... layers, ``(scales, depth)``; it is 1
        at the last layer of each.
    """

    activation: str
    width: int
    batch: int
    seed: int
    bias_scale: float
    weight_scales: Array
    log10_activation: Array
    log10_gradient: Array

    @property
    def depth(self) -> int:
        """The number of layers of the deepest networks."""
        return int(self.log10_gradient.shape[1])

    def summary(self) -> str:
        """Say in one line between which weight scales the gradient keeps its size."""
        scales, deepest = self.weight_scales, self.log10_gradient[:, -1]
        line = (
            f"{deepest.size * self.depth:,} {self.activation} networks of 1 to {self.depth} "
            f"layers, width {self.width}: "
        )
        kept = scales[np.abs(deepest) <= 1]
        if kept.size:
            ends = f"at weight scales {kept.min():.3g} to {kept.max():.3g}"
            return f"{line}the deepest keep their gradient within a factor 10 {ends}"
        return f"{line}none of the deepest keeps its gradient within a factor 10"


def phase_diagram(
    inputs: Tensor,
    activation: str | Callable[[Tensor], Tensor] = "tanh",
    width: int = 64,
    depth: int = 64,
    weight_scales: ArrayLike = (0.5, 1.0, 1.5, 2.0),
    bias_scale: float = 0.0,
    seed: int = 0,
    device: str | torch.device | None = None,
) -> PhaseDiagram:
    """Measure the gradients of networks of 1 to ``depth`` layers at each weight scale.

    A network is the beginning of every deeper one, and all scales share their base weights: the
    numbers are those that ``mlp_signal`` finds for each network alone, with ``seeds=1`` and
    ``first_seed=seed``. All depths go back together, and meet each weight matrix once.

    Parameters
    ----------
    inputs
        A batch of shape (batch, features).
    activation
        A name, or a function from a tensor to a tensor of the same shape.
    width
        Units in each layer.
    depth
        Layers of the deepest networks, 1 or more.
    weight_scales
        Weights are ``N(0, weight_scale**2 / fan_in)``; numbers of shape (scales,).
    bias_scale
        Biases are ``N(0, bias_scale**2)``.
    seed
        Of all random numbers.
    device
        As in ``choose_device``.

    Raises
    ------
    ValueError
        If ``inputs`` is not a tensor of finite numbers of shape (batch, features); if
        ``activation`` is neither a known name nor a function that keeps the shape; if ``width`` or
        ``depth`` is not a whole number of 1 or more, or ``seed`` not one of 0 or more; if
        ``weight_scales`` is empty or has two dimensions or more; if one of them is not between 1e-6
        and 1e6, or ``bias_scale`` between 0 and 1e6; or if the device is not to be had, as in
        ``choose_device``.
    TypeError
        If ``bias_scale`` is no number.

    Examples
    --------
    >>> diagram = phase_diagram(torch.ones(4, 32), "relu", 32, 20, weight_scales=[1.0, 1.4, 2.0])
    >>> diagram.log10_gradient.shape
    (3, 20)
    """
    batch = checked_inputs(inputs)
    name, phi = value_and_slope(activation)
    width = at_least(1, "width", width)
    depth = at_least(1, "depth", depth)
    seed = at_least(0, "seed", seed)
    bias_scale = between(0, 1e6, "bias_scale", bias_scale)
    scales = np.atleast_1d(np.asarray(weight_scales, dtype=np.float64))
    if scales.ndim != 1 or scales.size == 0:
        raise ValueError(f"weight_scales must be numbers of shape (scales,), got {scales.shape}")
    for scale in scales:
        between(1e-6, 1e6, "every weight scale", float(scale))
    where = choose_device(device)
    numbers = len(inputs) * width
    work = float(scales.size * depth**2 * numbers * width)
    found = []
    with measuring(where.type == "cpu" and work < WORTH_MORE_THREADS):
        weights = base_weights(inputs.shape[1], width, seed, 1, where)
        group = max(1, GROUP_NUMBERS // (numbers * depth)) if where.type == "cpu" else scales.size
        for first in range(0, scales.size, group):
            run = _Sweep(batch, weights, phi, depth, scales[first : first + group], bias_scale)
            found.append(run.measure())
    activations, gradients = (np.concatenate(rows) for rows in zip(*found, strict=True))
    return PhaseDiagram(name, width, len(inputs), seed, bias_scale, scales, activations, gradients)


class _Sweep:
    """All depths at a few weight scales; true numbers are the kept ones times ``2**exponent``."""

    def __init__(
        self,
        inputs: Tensor,
        weights: BaseWeights,
        phi: ValueAndSlope,
        depth: int,
        scales: Array,
        bias_scale: float,
    ) -> None:
        self.inputs = inputs
        self.weights = weights
        self.phi = phi
        self.depth = depth
        self.scales = scales
        self.bias_scale = bias_scale

    def measure(self) -> tuple[Array, Array]:
        """Return log10 of activations, (scales, depth + 1), and of gradients, (scales, depth)."""
        self.every = min(rescale_every(scale) for scale in self.scales)
        self.exact = True
        found = self._forward(), self._backward()
        if self.every > 1 and not self.exact:
            # Sizes left the range in which squares are exact between two looks at them.
            self.every = 1
            found = self._forward(), self._backward()
        return found

    def _forward(self) -> Array:
        """Run the layers, and keep their slopes, times what the way back multiplies them by."""
        inputs, first = start(self.inputs, self.weights.device)
        h = inputs.expand(self.scales.size, -1, -1)
        lowest = lowest_exponent(self.phi, nothing_on(h.device), self.bias_scale)
        sizes = [log2_norms(h) - math.log2(h[0].numel()) / 2 + first]
        h, exponent, up, down = ready(h, np.full(self.scales.size, first), lowest)
        log2_root = math.log2(len(inputs) * self.weights.width) / 2
        self.slopes: list[Tensor] = []
        for layer in range(1, self.depth + 1):
            weight, bias = (part[0] for part in self.weights.layer(layer))
            factor = powers_of_2(h, np.log2(self.scales / math.sqrt(weight.shape[1])))
            z = torch.matmul(h, weight.T).mul_(factor)
            if self.bias_scale:
                z += bias * powers_of_2(h, -exponent, math.log2(self.bias_scale))
            value, slope = self.phi(z if up is None else z * up)
            h = value if down is None else value * down
            self.slopes.append(slope * factor)
            look = layer % self.every == 0
            if look:
                exponent = rescale_(h, log2_largest(h), exponent)
            sizes.append(self._checked(log2_norms(h) - log2_root) + exponent)
            if look:
                h, exponent, up, down = ready(h, exponent, lowest)
        return _log10(np.stack(sizes, axis=1))

    def _backward(self) -> Array:
        """Run all depths back together; the deepest begins, and each layer brings in one more."""
        cotangent = self.weights.cotangents(len(self.inputs))[0]
        shape = (self.depth, self.scales.size, *cotangent.shape)
        now, then = (self.weights.scratch(name, *shape)[:, 0] for name in ("now", "then"))
        exponent = np.zeros(shape[:2])
        for layer in range(self.depth, 0, -1):
            weight = self.weights.layer(layer)[0][0]
            depths = self.depth - layer + 1
            now[depths - 1] = cotangent
            now[:depths] *= self.slopes.pop()
            if layer % self.every == 1 or self.every == 1:
                deltas = now[:depths].flatten(0, 1)
                away = self._checked(log2_largest(deltas))
                found = rescale_(deltas, away, exponent[:depths].ravel())
                exponent[:depths] = found.reshape(depths, -1)
            if layer == 1:
                then = then.new_empty(*shape[:3], weight.shape[1])
            torch.mm(now[:depths].flatten(0, 2), weight, out=then[:depths].flatten(0, 2))
            now, then = then, now
        sizes = log2_norms(now.flatten(0, 1)).reshape(shape[:2]) + exponent
        return _log10(sizes[::-1].T)

    def _checked(self, away: Array) -> Array:
        self.exact = self.exact and bool((np.abs(away) < TOLERANCE).all())
        return away


def _log10(sizes: Array) -> Array:
    # Past an activation that truly overflows nothing is known: it is inf, never NaN.
    return np.where(np.isnan(sizes), np.inf, LOG10_2 * sizes)
