"""Forward and backward signals of random multilayer perceptrons."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from gradcourse.checks import at_least, between
from gradcourse.device import choose_device
from gradcourse.signals.activations import value_and_slope
from gradcourse.signals.passes import Passes, checked_inputs, passes
from gradcourse.signals.weights import base_weights, measuring, one_thread_is_best
from gradcourse.signals.words import (
    Array,
    change,
    median,
    quantile,
    slope_per_layer,
)

__all__ = ["MLPSignal", "mlp_signal"]

Profile = Literal["activation", "gradient", "weight_gradient"]

# Five numbers are kept for each: sum, activation, slope, and the two gradients.
GROUP_NUMBERS = 12_000_000


@dataclass(frozen=True, eq=False)
class MLPSignal:
    """Activations and gradients of every layer of random networks, one row for each seed.

    Logarithms are to base 10; -inf is an exact 0 (dead or saturated units). Layer 0 is the input.

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
        """Return the median over seeds of a profile, one number for each layer.

        Raises
        ------
        ValueError
            If ``profile`` is not ``"activation"``, ``"gradient"`` or ``"weight_gradient"``.
        """
        return median(self._profile(profile))

    def band(
        self, profile: Profile = "gradient", low: float = 0.05, high: float = 0.95
    ) -> tuple[Array, Array]:
        """Return two quantiles over seeds of a profile.

        Parameters
        ----------
        profile
            ``"activation"``, ``"gradient"`` or ``"weight_gradient"``.
        low, high
            Which quantiles, 0 to 1.

        Raises
        ------
        ValueError
            If ``profile`` is none of these, or a quantile is not between 0 and 1.
        """
        return quantile(self._profile(profile), low), quantile(self._profile(profile), high)

    def summary(self) -> str:
        """Say in one line what happened to the gradient."""
        layers = f"{self.depth} {self.activation} layer{'' if self.depth == 1 else 's'}"
        line = f"{layers}, width {self.width}, weight scale {self.weight_scale:.3g}: "
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
    A slope that float32 rounds to 0 is 0 here as in autograd, and a flat activation takes numbers
    beyond 1e19, as of inputs, for straight.

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

    Raises
    ------
    ValueError
        If ``inputs`` is not a tensor of finite numbers of shape (batch, features); if
        ``activation`` is neither a known name nor a function that keeps the shape; if ``width``,
        ``depth`` or ``seeds`` is not a whole number of 1 or more, or ``first_seed`` not one of 0 or
        more; if ``weight_scale`` is not between 1e-6 and 1e6, or ``bias_scale`` between 0 and 1e6;
        or if the device is not to be had, as in ``choose_device``.
    TypeError
        If a scale is no number.

    Examples
    --------
    >>> signal = mlp_signal(torch.ones(1, 64), "relu", depth=100, weight_scale=3.0)
    >>> signal.log10_gradient.shape
    (8, 101)
    """
    batch = checked_inputs(inputs)
    name, phi = value_and_slope(activation)
    width = at_least(1, "width", width)
    depth = at_least(1, "depth", depth)
    seeds = at_least(1, "seeds", seeds)
    first_seed = at_least(0, "first_seed", first_seed)
    weight_scale = between(1e-6, 1e6, "weight_scale", weight_scale)
    bias_scale = between(0, 1e6, "bias_scale", bias_scale)
    where = choose_device(device)
    groups = []
    with measuring(one_thread_is_best(where, width)):
        for first, count in _groups(seeds, len(inputs) * width * depth):
            weights = base_weights(inputs.shape[1], width, first_seed + first, count, where)
            groups.append(passes(batch, weights, phi, depth, weight_scale, bias_scale))
    found = {
        field.name: np.concatenate([getattr(group, field.name) for group in groups])
        for field in fields(Passes)
    }
    return MLPSignal(
        activation=name,
        width=width,
        batch=len(inputs),
        weight_scale=weight_scale,
        bias_scale=bias_scale,
        first_seed=first_seed,
        log10_activation=found["activation"],
        log10_gradient=found["gradient"],
        log10_weight_gradient=found["weight_gradient"],
        forward_overflow_layer=_typical(found["forward_overflow"]),
        backward_overflow_layer=_typical(found["backward_overflow"], last=True),
        underflow_layer=_typical(found["underflow"], last=True),
    )


def _groups(seeds: int, numbers: int) -> Iterator[tuple[int, int]]:
    """Divide seeds into groups whose passes fit into memory; one network keeps ``numbers``."""
    most = max(1, GROUP_NUMBERS // numbers)
    for first in range(0, seeds, most):
        yield first, min(most, seeds - first)


def _typical(layers: Iterable[float], *, last: bool = False) -> int | None:
    """Return the layer of an event in the median seed; ``last`` if it is met on the way back."""
    order = sorted((math.inf if math.isnan(x) else -x if last else x) for x in layers)
    middle = order[(len(order) - 1) // 2]
    return None if math.isinf(middle) else int(abs(middle))
