"""Forward and backward signals of random residual networks, for many branch scales at once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gradcourse.checks import at_least, between
from gradcourse.device import choose_device
from gradcourse.signals.passes import (
    LOG10_2,
    checked_inputs,
    log2_largest,
    nothing_on,
    rescale_,
    start,
)
from gradcourse.signals.weights import (
    BaseWeights,
    base_weights,
    log10_of,
    measuring,
    one_thread_is_best,
)
from gradcourse.signals.words import Array

__all__ = ["ResidualSignal", "residual_signal"]

# A block changes sizes by so few bits that a look at every fourth keeps them inside of float32.
EVERY = 4
SMALLEST_SCALE, LARGEST_SCALE = 1e-4, 100.0
OVERFLOW_BITS, FLUSH_BITS = 128, -150


@dataclass(frozen=True, eq=False)
class ResidualSignal:
    """Sizes at the input (0) and behind each block, for each branch scale and seed.

    Attributes
    ----------
    branch_scales
        Shape (scales,).
    skip
        Whether the input of a block is added to its branch.
    log10_activation
        log10 of the root mean square over samples and units, shape (scales, seeds, blocks + 1).
    log10_gradient
        log10 of the norm of dL/dx for the whole batch, same shape; the last is 0.
    forward_overflow, backward_overflow
        For each scale the block behind which a plain float32 pass has its first inf, in the median
        seed; None where there is none. The backward pass meets the last blocks first.
    underflow
        For each scale the last block behind which a plain float32 gradient is exactly 0, or None.
    """

    branch_scales: Array
    skip: bool
    log10_activation: Array
    log10_gradient: Array
    forward_overflow: list[int | None]
    backward_overflow: list[int | None]
    underflow: list[int | None]


def residual_signal(
    inputs: Tensor,
    width: int = 64,
    blocks: int = 100,
    branch_scale: float | Sequence[float] = 1.0,
    skip: bool = True,
    seeds: int = 8,
    first_seed: int = 0,
    device: str | torch.device | None = None,
) -> ResidualSignal:
    """Measure networks of blocks ``x + a * W2 relu(W1 x)`` behind a random linear first layer.

    Weights are normal with variance 1 / fan_in in the first layer and in ``W1``, and 2 / fan_in in
    ``W2``, behind the ReLU: a branch keeps the mean square of its input. There are no biases. The
    loss is the inner product of the last activations with random numbers of unit norm. Sizes are
    rescaled by powers of 2 on the way, so that no depth overflows.

    Parameters
    ----------
    inputs
        A batch of shape (batch, features).
    width
        Units of the residual stream and inside of each branch.
    blocks
        1 or more.
    branch_scale
        a; one number, or several that are measured at once, with the same weights.
    skip
        False leaves ``a * W2 relu(W1 x)``.
    seeds, first_seed
        How many networks, and the first of their seeds.
    device
        As in ``choose_device``.

    Raises
    ------
    ValueError
        If ``inputs`` is not a tensor of finite numbers of shape (batch, features); if ``width``,
        ``blocks`` or ``seeds`` is not a whole number of 1 or more, or ``first_seed`` not one of 0
        or more; if there is no branch scale, or one is not between 1e-4 and 100; or if the device
        is not to be had, as in ``choose_device``.
    TypeError
        If ``branch_scale`` holds sequences of several numbers.

    Examples
    --------
    >>> signal = residual_signal(torch.ones(1, 64), blocks=200, branch_scale=[0.1, 1.0])
    >>> signal.log10_gradient.shape
    (2, 8, 201)
    """
    batch = checked_inputs(inputs)
    width, blocks = at_least(1, "width", width), at_least(1, "blocks", blocks)
    seeds, first_seed = at_least(1, "seeds", seeds), at_least(0, "first_seed", first_seed)
    scales = [
        between(SMALLEST_SCALE, LARGEST_SCALE, "branch_scale", one)
        for one in np.atleast_1d(np.asarray(branch_scale, np.float64))
    ]
    if not scales:
        raise ValueError("branch_scale must hold at least one number, got none")
    where = choose_device(device)
    with measuring(one_thread_is_best(where, width)):
        weights = base_weights(batch.shape[1], width, first_seed, seeds, where)
        run = _Run(weights, scales, skip)
        return run.measure(batch, blocks)


class _Run:
    """Two passes; rows are scales times samples, and every seed has weights of its own."""

    def __init__(self, weights: BaseWeights, scales: list[float], skip: bool) -> None:
        self.weights, self.scales, self.skip = weights, scales, skip
        self.shape = (len(weights.seeds), len(scales))
        self.nothing = nothing_on(weights.device)
        self.first = 1 / math.sqrt(weights.width)
        self.second = math.sqrt(2 / weights.width)

    def measure(self, inputs: Tensor, blocks: int) -> ResidualSignal:
        batch, width = len(inputs), self.weights.width
        rows = len(self.scales) * batch
        self.factors = torch.tensor(self.scales, device=self.weights.device, dtype=torch.float32)
        self.factors = self.factors.repeat_interleave(batch)[None, :, None]
        self.kept = self.weights.scratch("stream", blocks + 1, rows, width)[: blocks + 1]
        self.masks = torch.empty(
            (blocks, self.shape[0], rows, width), dtype=torch.bool, device=self.weights.device
        )
        exponents = self.forward(inputs, blocks)
        size = math.log10(batch * width) / 2
        activation, largest = self._sizes(exponents)
        forward_overflow = self._first(largest >= OVERFLOW_BITS)
        exponents = self.backward(batch, blocks)
        gradient, largest = self._sizes(exponents)
        back = slice(None, None, -1)
        return ResidualSignal(
            np.array(self.scales),
            self.skip,
            activation - size,
            gradient,
            forward_overflow,
            [
                None if one is None else blocks - one
                for one in self._first(largest[..., back] >= OVERFLOW_BITS)
            ],
            [
                None if one is None else blocks - one
                for one in self._first(largest[..., back] <= FLUSH_BITS)
            ],
        )

    def forward(self, inputs: Tensor, blocks: int) -> Array:
        """Keep the stream behind each block, and return its exponents (blocks + 1, seeds, scales).

        Every operation commutes with powers of 2, so true numbers are the kept ones times
        ``2**exponent``.
        """
        begun, first = start(inputs, self.weights.device)
        exponents = np.full((blocks + 1, *self.shape), first)
        weight = self.weights.layer(1)[0]
        rows = begun.expand(self.shape[0], -1, -1).repeat(1, len(self.scales), 1)
        x = self._product(rows, weight.mT, 1 / math.sqrt(weight.shape[2]), out=self.kept[0])
        for block in range(1, blocks + 1):
            one, two = self._weights(block)
            inside = self._product(x, one.mT, self.first)
            torch.gt(inside, 0, out=self.masks[block - 1])
            change = self._product(inside.clamp_(min=0), two.mT, self.second).mul_(self.factors)
            x = self._add(x, change, self.kept[block])
            exponents[block] = self._rescaled(x, exponents[block - 1], block)
        return exponents

    def backward(self, batch: int, blocks: int) -> Array:
        """Replace the stream by its gradient, and return the exponents."""
        exponents = np.zeros((blocks + 1, *self.shape))
        g = self.kept[blocks].copy_(self.weights.cotangents(batch).repeat(1, len(self.scales), 1))
        for block in range(blocks, 0, -1):
            one, two = self._weights(block)
            inside = self._product(g, two, self.second).mul_(self.masks[block - 1])
            change = self._product(inside, one, self.first).mul_(self.factors)
            g = self._add(g, change, self.kept[block - 1])
            exponents[block - 1] = self._rescaled(g, exponents[block], block)
        return exponents

    def _weights(self, block: int) -> tuple[Tensor, Tensor]:
        return self.weights.layer(2 * block)[0], self.weights.layer(2 * block + 1)[0]

    def _product(
        self, left: Tensor, right: Tensor, scale: float, out: Tensor | None = None
    ) -> Tensor:
        return torch.baddbmm(self.nothing, left, right, beta=0, alpha=scale, out=out)

    def _add(self, x: Tensor, change: Tensor, out: Tensor) -> Tensor:
        return torch.add(x, change, out=out) if self.skip else out.copy_(change)

    def _rescaled(self, x: Tensor, exponent: Array, block: int) -> Array:
        if block % EVERY:
            return exponent
        networks = x.view(exponent.size, -1, x.shape[-1])
        return rescale_(networks, log2_largest(networks), exponent.ravel()).reshape(self.shape)

    def _sizes(self, exponents: Array) -> tuple[Array, Array]:
        """Return log10 of norms and log2 of the largest sizes, (scales, seeds, blocks + 1)."""
        parts = self.kept.view(*self.kept.shape[:2], len(self.scales), -1, self.kept.shape[-1])
        norms = log10_of(torch.linalg.vector_norm(parts, dim=(-2, -1)))
        with np.errstate(divide="ignore"):
            largest = np.log2(parts.abs().amax((-2, -1)).cpu().numpy().astype(np.float64))
        return (norms + LOG10_2 * exponents).T, (largest + exponents).T

    def _first(self, happened: NDArray[np.bool_]) -> list[int | None]:
        """Return for each scale the first place of an event in the median seed."""
        places = np.where(happened.any(2), happened.argmax(2), happened.shape[2])
        middle = np.sort(places, axis=1)[:, (places.shape[1] - 1) // 2]
        return [int(one) if one < happened.shape[2] else None for one in middle]
