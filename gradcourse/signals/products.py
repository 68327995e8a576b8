"""Products of random matrices: a deep network without activations."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from gradcourse.checks import at_least, between
from gradcourse.signals.weights import base_weights, log10_of, measuring, random_generator
from gradcourse.signals.words import Array, change, median, quantile

__all__ = ["ProductSignal", "product_exponents", "product_signal"]


@dataclass(frozen=True, eq=False)
class ProductSignal:
    """The norm of a vector on its way through random matrices.

    Attributes
    ----------
    width
        Rows and columns of each matrix.
    weight_scale
        Entries are ``N(0, weight_scale**2 / width)``; orthogonal matrices are multiplied by it.
    orthogonal
        Whether the matrices are random rotations instead.
    log10_norm
        log10 of the norm after each factor, shape ``(seeds, depth + 1)``; it starts at 0.
    """

    width: int
    weight_scale: float
    orthogonal: bool
    log10_norm: Array

    @property
    def depth(self) -> int:
        """The number of factors."""
        return int(self.log10_norm.shape[1]) - 1

    @property
    def seeds(self) -> int:
        """The number of seeds."""
        return len(self.log10_norm)

    @property
    def factor_per_matrix(self) -> float:
        """The typical factor by which one matrix changes the norm."""
        return float(10 ** (median(self.log10_norm)[-1] / self.depth))

    @property
    def overflow_layer(self) -> int | None:
        """The first depth at which the median norm is beyond float32, or None."""
        return _first(median(self.log10_norm) >= 128 * math.log10(2))

    @property
    def underflow_layer(self) -> int | None:
        """The first depth at which float32 rounds the median norm to 0, or None."""
        return _first(median(self.log10_norm) <= -150 * math.log10(2))

    def median(self) -> Array:
        """Return the median over seeds, shape ``(depth + 1,)``."""
        return median(self.log10_norm)

    def band(self, low: float = 0.05, high: float = 0.95) -> tuple[Array, Array]:
        """Return two quantiles over seeds, each of shape ``(depth + 1,)``.

        Parameters
        ----------
        low, high
            Which quantiles, 0 to 1.

        Raises
        ------
        ValueError
            If a quantile is not between 0 and 1.
        """
        return quantile(self.log10_norm, low), quantile(self.log10_norm, high)

    def summary(self) -> str:
        """Say in one line what happened."""
        kind = "orthogonal" if self.orthogonal else "Gaussian"
        matrices = f"{kind} matri{'x' if self.depth == 1 else 'ces'}"
        total = float(median(self.log10_norm)[-1])
        seeds = f"{self.seeds} seed{'' if self.seeds == 1 else 's'}"
        line = (
            f"{self.depth} {matrices}, width {self.width}, weight scale {self.weight_scale:.3g}: "
            f"{change('the norm', self.factor_per_matrix, total, 'matrix')}; {seeds}"
        )
        if self.overflow_layer is not None:
            return f"{line}; float32 overflows at matrix {self.overflow_layer}"
        if self.underflow_layer is not None:
            return f"{line}; float32 holds 0 from matrix {self.underflow_layer} on"
        return line


def product_signal(
    width: int,
    depth: int,
    weight_scale: float = 1.0,
    seeds: int = 8,
    orthogonal: bool = False,
    first_seed: int = 0,
) -> ProductSignal:
    """Send a random unit vector through ``depth`` random matrices, for all seeds in one batch.

    The norm is accumulated in logarithms, so no depth overflows. It runs on the CPU in float64: a
    product of matrices this small is no work for a GPU.

    Parameters
    ----------
    width
        Rows and columns of each matrix.
    depth
        The number of matrices, 1 or more.
    weight_scale
        Entries are ``N(0, weight_scale**2 / width)``.
    seeds, first_seed
        How many seeds, and the first of them.
    orthogonal
        Take random rotations, times ``weight_scale``.

    Raises
    ------
    ValueError
        If ``width``, ``depth`` or ``seeds`` is not a whole number of 1 or more, or ``first_seed``
        not one of 0 or more; or if ``weight_scale`` is not between 1e-6 and 1e6.
    TypeError
        If ``weight_scale`` is no number.

    Examples
    --------
    >>> signal = product_signal(width=32, depth=9, weight_scale=2.0, orthogonal=True)
    >>> round(signal.factor_per_matrix, 10)
    2.0
    """
    width, depth, seeds, first_seed = _checked(width, depth, seeds, first_seed)
    weight_scale = between(1e-6, 1e6, "weight_scale", weight_scale)
    start = [random_generator(first_seed + row, 0).standard_normal(width) for row in range(seeds)]
    with measuring():
        vector = torch.from_numpy(np.stack(start))[:, :, None]
        vector /= torch.linalg.vector_norm(vector, dim=1, keepdim=True)
        norms = [torch.from_numpy(np.ones(seeds))]
        for layer in range(1, depth + 1):
            vector = torch.bmm(_matrices(layer, width, first_seed, seeds, orthogonal), vector)
            norm = torch.linalg.vector_norm(vector, dim=1, keepdim=True)
            vector /= norm
            norms.append(norm[:, 0, 0])
    steps = np.cumsum(log10_of(torch.stack(norms, dim=1)), axis=1)
    log10 = steps + math.log10(weight_scale) * np.arange(depth + 1)
    return ProductSignal(width, weight_scale, orthogonal, log10)


def product_exponents(
    width: int,
    depth: int,
    weight_scale: float = 1.0,
    seeds: int = 8,
    orthogonal: bool = False,
    first_seed: int = 0,
) -> Array:
    """Measure the growth per factor of ln of each singular value of a product of matrices.

    The product is kept as an orthogonal matrix times triangular ones, whose diagonals hold the
    growth: the singular values themselves are too far apart for any floating point format.

    Parameters
    ----------
    width, depth, weight_scale, seeds, orthogonal, first_seed
        As in :func:`product_signal`.

    Returns
    -------
    array of shape (seeds, width)
        The largest first; compare ``gradcourse.theory.lyapunov_exponents``.

    Raises
    ------
    ValueError
        If ``width``, ``depth`` or ``seeds`` is not a whole number of 1 or more, or ``first_seed``
        not one of 0 or more; or if ``weight_scale`` is not between 1e-6 and 1e6.
    TypeError
        If ``weight_scale`` is no number.

    Examples
    --------
    >>> bool(abs(product_exponents(width=16, depth=200, orthogonal=True)).max() < 1e-10)
    True
    """
    width, depth, seeds, first_seed = _checked(width, depth, seeds, first_seed)
    weight_scale = between(1e-6, 1e6, "weight_scale", weight_scale)
    with measuring():
        frame = torch.from_numpy(np.eye(width)).expand(seeds, width, width)
        growth = torch.from_numpy(np.zeros((seeds, width)))
        for layer in range(1, depth + 1):
            moved = torch.bmm(_matrices(layer, width, first_seed, seeds, orthogonal), frame)
            frame, triangle = torch.linalg.qr(moved)
            growth += torch.diagonal(triangle, dim1=1, dim2=2).abs().log()
    exponents = growth.numpy() / depth + math.log(weight_scale)
    return np.asarray(-np.sort(-exponents, axis=1))


def _checked(width: int, depth: int, seeds: int, first_seed: int) -> tuple[int, int, int, int]:
    return (
        at_least(1, "width", width),
        at_least(1, "depth", depth),
        at_least(1, "seeds", seeds),
        at_least(0, "first_seed", first_seed),
    )


def _matrices(layer: int, width: int, first_seed: int, seeds: int, orthogonal: bool) -> Tensor:
    weights = base_weights(width, width, first_seed, seeds, torch.device("cpu"))
    gaussian = weights.layer(layer)[0].double()
    if not orthogonal:
        return gaussian / math.sqrt(width)
    rotation, triangle = torch.linalg.qr(gaussian)
    # With the signs of the diagonal, all rotations and reflections are equally likely.
    signs = torch.diagonal(triangle, dim1=1, dim2=2).sign()
    rotated: Tensor = rotation * signs[:, None, :]
    return rotated


def _first(reached: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]) -> int | None:
    return int(np.argmax(reached)) if reached.any() else None
