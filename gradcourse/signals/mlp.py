"""Forward and backward signals of random multilayer perceptrons."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from gradcourse.checks import at_least, between
from gradcourse.device import choose_device
from gradcourse.signals.activations import ValueAndSlope, value_and_slope
from gradcourse.signals.weights import (
    BaseWeights,
    base_weights,
    log10_of,
    one_thread,
    random_generator,
)
from gradcourse.signals.words import (
    Array,
    change,
    median,
    quantile,
    slope_per_layer,
)

__all__ = ["MLPSignal", "mlp_signal"]

Profile = Literal["activation", "gradient", "weight_gradient"]

LOG10_2 = math.log10(2)
# A float32 is rounded to inf from 2**128 on, and to 0 up to 2**-150.
LARGEST, SMALLEST = 128, -150
# Numbers are rescaled, by powers of 2, when their size leaves 2**-8 to 2**8.
COMFORT = 8
# Beyond these powers of 2 an activation is taken to be straight: x -> a x on either side of 0.
STRAIGHT_BELOW, STRAIGHT_ABOVE = -40, 64


@dataclass(frozen=True, eq=False)
class MLPSignal:
    """Activations and gradients of every layer of random networks, one row for each seed.

    Logarithms are to base 10; -inf is an exact 0 (dead units). Layer 0 is the input.

    Attributes
    ----------
    activation
        Name of the activation.
    width, batch
        Units in each layer, and samples.
    weight_scale, bias_scale
        As given.
    first_seed
        The seed of the first row.
    log10_activation
        Root mean square of the activations, over samples and units, ``(seeds, depth + 1)``.
    log10_gradient
        Norm of dL/dh for the whole batch, ``(seeds, depth + 1)``; the last is 0.
    log10_weight_gradient
        Norm of dL/dW, as ``weight.grad.norm()`` would give it, ``(seeds, depth)``.
    forward_overflow_layer
        The first layer in which a plain float32 forward pass makes an inf, in the median seed.
    backward_overflow_layer
        The layer whose activation gradient is the first to overflow on the way back.
    underflow_layer
        The last layer whose activation gradient a plain float32 run flushes to exactly 0.
    """

    activation: str
    width: int
    batch: int
    weight_scale: float
    bias_scale: float
    first_seed: int
    log10_activation: Array
    log10_gradient: Array
    log10_weight_gradient: Array
    forward_overflow_layer: int | None
    backward_overflow_layer: int | None
    underflow_layer: int | None

    @property
    def depth(self) -> int:
        """The number of layers."""
        return int(self.log10_weight_gradient.shape[1])

    @property
    def seeds(self) -> int:
        """The number of seeds."""
        return len(self.log10_gradient)

    @property
    def overflow_layer(self) -> int | None:
        """The layer at which a plain float32 run overflows, forward or else backward, or None."""
        if self.forward_overflow_layer is not None:
            return self.forward_overflow_layer
        return self.backward_overflow_layer

    @property
    def gradient_per_layer(self) -> float:
        """The factor by which one layer changes the gradient's norm on its way back.

        The median over seeds of a line through log10 of the norms, three layers left out at each
        end. 0 if most gradients end in an exact 0.
        """
        return float(10 ** -slope_per_layer(self.log10_gradient))

    def median(self, profile: Profile = "gradient") -> Array:
        """Return the median over seeds of a profile, one number for each layer."""
        return median(self._profile(profile))

    def band(
        self, profile: Profile = "gradient", low: float = 0.05, high: float = 0.95
    ) -> tuple[Array, Array]:
        """Return two quantiles over seeds of a profile."""
        return quantile(self._profile(profile), low), quantile(self._profile(profile), high)

    def summary(self) -> str:
        """Say in one line what happened to the gradient."""
        layers = f"{self.depth} {self.activation} layer{'' if self.depth == 1 else 's'}"
        line = f"{layers}, width {self.width}, weight scale {self.weight_scale:.2g}: "
        seeds = f"{self.seeds} seed{'' if self.seeds == 1 else 's'}"
        dead = int(np.isneginf(self.log10_gradient[:, 0]).sum())
        total = float(self.median()[0])
        if np.isposinf(total):
            return f"{line}the activation overflows float32 at layer {self.overflow_layer}; {seeds}"
        if np.isneginf(total):
            return f"{line}the gradient is exactly 0 in {dead} of {seeds}"
        line += change("the gradient", self.gradient_per_layer, total, "layer") + f"; {seeds}"
        if dead:
            line += f", {dead} of them dead"
        if self.overflow_layer is not None:
            line += f"; plain float32 overflows at layer {self.overflow_layer}"
        elif self.underflow_layer is not None:
            line += f"; plain float32 has 0 up to layer {self.underflow_layer}"
        return line

    def _profile(self, profile: Profile) -> Array:
        profiles = {
            "activation": self.log10_activation,
            "gradient": self.log10_gradient,
            "weight_gradient": self.log10_weight_gradient,
        }
        try:
            return profiles[profile]
        except KeyError:
            raise ValueError(
                f"profile must be one of {', '.join(profiles)}, got {profile!r}"
            ) from None


def mlp_signal(
    inputs: Tensor,
    activation: str | Callable[[Tensor], Tensor] = "tanh",
    width: int = 64,
    depth: int = 50,
    weight_scale: float = 1.0,
    bias_scale: float = 0.0,
    seeds: int = 8,
    first_seed: int = 0,
    device: str | torch.device | None = None,
) -> MLPSignal:
    """Measure activations and gradients of random networks, all seeds in one batch.

    The loss is the inner product of the last activations with random numbers of unit norm, so what
    is measured belongs to the layers and not to a loss. Numbers are rescaled on their way, by
    powers of 2, so no depth overflows: this is right to float32 accuracy for every activation that
    is a straight line through 0 near 0 or stays away from it, and far from 0 is flat or straight.

    Parameters
    ----------
    inputs
        A batch of shape (batch, features).
    activation
        A name, or a function from a tensor to a tensor of the same shape.
    width
        Units in each layer.
    depth
        The number of layers, 1 or more.
    weight_scale
        Weights are ``N(0, weight_scale**2 / fan_in)``.
    bias_scale
        Biases are ``N(0, bias_scale**2)``.
    seeds, first_seed
        How many networks, and the first of their seeds.
    device
        As in ``choose_device``.

    Examples
    --------
    >>> signal = mlp_signal(torch.ones(1, 64), "relu", depth=100, weight_scale=3.0)
    >>> signal.log10_gradient.shape
    (8, 101)
    """
    if not isinstance(inputs, Tensor) or inputs.ndim != 2 or inputs.numel() == 0:
        shape = tuple(inputs.shape) if isinstance(inputs, Tensor) else type(inputs).__name__
        raise ValueError(f"inputs must be a tensor of shape (batch, features), got {shape}")
    if not torch.isfinite(inputs).all():
        raise ValueError("inputs must be finite numbers, got NaN or inf")
    name, phi = value_and_slope(activation)
    width = at_least(1, "width", width)
    depth = at_least(1, "depth", depth)
    seeds = at_least(1, "seeds", seeds)
    first_seed = at_least(0, "first_seed", first_seed)
    weight_scale = between(1e-6, 1e6, "weight_scale", weight_scale)
    bias_scale = between(0, 1e6, "bias_scale", bias_scale)
    where = choose_device(device)
    run = _Run(
        base_weights(inputs.shape[1], width, first_seed, seeds, where),
        phi,
        weight_scale,
        bias_scale,
    )
    with torch.no_grad(), one_thread(where.type == "cpu" and width <= 256):
        run.forward(inputs.detach().to("cpu", torch.float64), depth)
        run.backward(len(inputs))
    return MLPSignal(
        activation=name,
        width=width,
        batch=len(inputs),
        weight_scale=weight_scale,
        bias_scale=bias_scale,
        first_seed=first_seed,
        log10_activation=run.log10_activation,
        log10_gradient=run.log10_gradient,
        log10_weight_gradient=run.log10_weight_gradient,
        forward_overflow_layer=_typical(run.forward_overflow),
        backward_overflow_layer=_typical(run.backward_overflow, last=True),
        underflow_layer=_typical(run.backward_underflow, last=True),
    )


class _Run:
    """One forward and one backward pass; true numbers are the kept ones times ``2**exponent``."""

    def __init__(
        self, weights: BaseWeights, phi: ValueAndSlope, weight_scale: float, bias_scale: float
    ) -> None:
        self.weights = weights
        self.phi = phi
        self.weight_scale = weight_scale
        self.bias_scale = bias_scale
        self.device = weights.device
        self.seeds = len(weights.seeds)
        # For each seed the layer of an event, NaN while it has not happened.
        never = np.full(self.seeds, math.nan)
        self.forward_overflow, self.forward_underflow = never.copy(), never.copy()
        self.backward_overflow, self.backward_underflow = never.copy(), never.copy()

    def forward(self, inputs: Tensor, depth: int) -> None:
        """Run the layers, and keep what the backward pass needs."""
        size = float(inputs.abs().max())
        first = math.frexp(size)[1] if abs(math.log2(size or 1.0)) > COMFORT else 0
        h = (inputs * 2.0**-first).to(self.device, torch.float32).expand(self.seeds, -1, -1)
        exponent = np.full(self.seeds, float(first))
        # With fewer samples than units, inner products of samples are a cheaper way to dW's norm.
        self.gram = len(inputs) < self.weights.width
        self.slopes: list[Tensor] = []
        self.below: list[Tensor] = []
        norms = [torch.linalg.vector_norm(h, dim=(1, 2)) / math.sqrt(h[0].numel())]
        exponents = [exponent]
        self.kept_exponents = []
        nothing = torch.zeros(1, 1, 1, device=self.device)
        for layer in range(1, depth + 1):
            self.below.append(torch.bmm(h, h.mT) if self.gram else h)
            self.kept_exponents.append(exponent)
            weight, bias = self.weights.layer(layer)
            scale = self.weight_scale / math.sqrt(weight.shape[2])
            if self.bias_scale:
                bias = bias * self._powers(-exponent, math.log2(self.bias_scale))
                z = torch.baddbmm(bias, h, weight.mT, alpha=scale)
            else:
                z = torch.baddbmm(nothing, h, weight.mT, beta=0, alpha=scale)
            near = np.clip(exponent, STRAIGHT_BELOW, STRAIGHT_ABOVE)
            if near.any():
                h, slope = self.phi(z * self._powers(near))
                h = h * self._powers(-near)
            else:
                h, slope = self.phi(z)
            self.slopes.append(slope)
            norm = torch.linalg.vector_norm(h, dim=(1, 2)) / math.sqrt(h[0].numel())
            norms.append(norm)
            exponents.append(exponent)
            sizes = _log2(norm) + exponent
            self._watch(z, sizes, exponent, layer, self.forward_overflow, self.forward_underflow)
            h, exponent = self._rescaled(h, sizes, exponent)
        self.log10_activation = log10_of(norms) + LOG10_2 * np.stack(exponents, axis=1)
        self.depth = depth
        self._mark_overflow(self.log10_activation, from_layer=True)

    def backward(self, batch: int) -> None:
        """Run the layers back from random cotangents of unit norm."""
        width = self.weights.width
        draws = [
            random_generator(seed, 0).standard_normal((batch, width)) for seed in self.weights.seeds
        ]
        cotangents = np.stack([draw / np.linalg.norm(draw) for draw in draws])
        delta = torch.from_numpy(cotangents.astype(np.float32)).to(self.device)
        exponent = np.zeros(self.seeds)
        norms, exponents = [torch.linalg.vector_norm(delta, dim=(1, 2))], [exponent]
        by_weight, by_weight_exponents = [], []
        # In a plain run the sums above a flushed layer are 0, and so is the slope of a ReLU there:
        # this is how much smaller, in powers of 2, that makes the gradient of a plain run.
        smaller = np.zeros(self.seeds)
        with np.errstate(divide="ignore"):
            at_zero = np.log2(abs(float(self.phi(torch.zeros(1, 1, 1))[1])) * self.weight_scale)
        before = _log2(norms[0])
        for layer in range(self.depth, 0, -1):
            weight = self.weights.layer(layer)[0]
            delta = delta * self.slopes.pop()
            below = self.below.pop()
            if self.gram:
                product = torch.bmm(delta, delta.mT).mul_(below)
                by_weight.append(product.sum((1, 2)).clamp_(min=0).sqrt_())
            else:
                product = torch.bmm(delta.mT, below)
                by_weight.append(torch.linalg.vector_norm(product, dim=(1, 2)))
            by_weight_exponents.append(exponent + self.kept_exponents[layer - 1])
            delta = torch.bmm(delta, weight)
            exponent = exponent + math.log2(self.weight_scale / math.sqrt(weight.shape[2]))
            norm = torch.linalg.vector_norm(delta, dim=(1, 2))
            norms.append(norm)
            exponents.append(exponent)
            sizes = _log2(norm) + exponent
            flushed = (layer > self.forward_underflow) & np.isfinite(sizes)
            if flushed.any():
                smaller[flushed] += at_zero - (sizes - before)[flushed]
            events = self.backward_overflow, self.backward_underflow
            self._watch(delta, sizes + smaller, exponent + smaller, layer - 1, *events)
            before = sizes
            delta, exponent = self._rescaled(delta, sizes, exponent)
        gradient = log10_of(norms) + LOG10_2 * np.stack(exponents, axis=1)
        weight_gradient = log10_of(by_weight) + LOG10_2 * np.stack(by_weight_exponents, axis=1)
        gradient[:, 0] = 0.0
        self.log10_gradient = gradient[:, ::-1].copy()
        self.log10_weight_gradient = weight_gradient[:, ::-1].copy()
        self._mark_overflow(self.log10_gradient[:, :-1])
        self._mark_overflow(self.log10_weight_gradient)

    def _watch(
        self,
        tensor: Tensor,
        sizes: Array,
        exponent: Array,
        layer: int,
        overflow: Array,
        underflow: Array,
    ) -> None:
        # The largest element lies between the root mean square and the norm, so it is looked up
        # only where one of the two is near a limit.
        spread = math.log2(tensor[0].numel()) + 2
        near = ~((sizes < LARGEST - spread) & (sizes > SMALLEST + spread))
        if not near.any():
            return
        kept = _log2(tensor.abs().amax((1, 2)))
        largest = kept + exponent
        broken = np.isnan(sizes) | np.isposinf(sizes) | ~(largest < LARGEST)
        overflow[np.isnan(overflow) & near & broken] = layer
        flushed = (largest <= SMALLEST) & np.isfinite(kept)
        underflow[np.isnan(underflow) & near & flushed] = layer

    def _rescaled(self, tensor: Tensor, sizes: Array, exponent: Array) -> tuple[Tensor, Array]:
        away = sizes - exponent
        steps = np.where(np.isfinite(away) & (np.abs(away) > COMFORT), np.round(away), 0.0)
        if not steps.any():
            return tensor, exponent
        return tensor * self._powers(-steps), exponent + steps

    def _powers(self, exponents: Array, offset: float = 0.0) -> Tensor:
        powers = np.exp2(np.clip(exponents + offset, -126, 126)).astype(np.float32)
        return torch.from_numpy(powers).to(self.device)[:, None, None]

    def _mark_overflow(self, profile: Array, from_layer: bool = False) -> None:
        # Past an activation that truly overflows nothing is known: it is inf, never NaN.
        for row in np.flatnonzero(np.isnan(profile).any(1) | np.isposinf(profile).any(1)):
            bad = ~np.isfinite(profile[row]) & ~np.isneginf(profile[row])
            profile[row, int(np.argmax(bad)) if from_layer else 0 :] = math.inf


def _log2(norms: Tensor) -> Array:
    with np.errstate(divide="ignore"):
        return np.asarray(np.log2(norms.cpu().numpy().astype(np.float64)))


def _typical(layers: Iterable[float], *, last: bool = False) -> int | None:
    """Return the layer of an event in the median seed; ``last`` if it is met on the way back."""
    order = sorted((math.inf if math.isnan(x) else -x if last else x) for x in layers)
    middle = order[(len(order) - 1) // 2]
    return None if math.isinf(middle) else int(abs(middle))
