"""Spectral normalisation of stacked weights: what torch's does to one weight, for many at once."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize

__all__ = ["PowerIteration", "random_directions"]


class PowerIteration:
    """The largest singular values of stacked matrices, from below, a little better at each step.

    ``torch.nn.utils.parametrizations.spectral_norm`` does the same for one weight, but changes its
    buffers in place, so that it does not run in ``torch.func.vmap``.

    Parameters
    ----------
    weight
        Shape (..., rows, columns).
    left
        Where to start, shape (..., rows).
    """

    def __init__(self, weight: Tensor, left: Tensor) -> None:
        self.left = normalize(left, dim=-1)
        self._turn_right(weight)

    @torch.no_grad()
    def step(self, weight: Tensor, count: int = 1) -> None:
        """Turn both directions towards those that the weight stretches most."""
        for _ in range(count):
            self.left = normalize((weight @ self.right[..., None]).squeeze(-1), dim=-1)
            self._turn_right(weight)

    def norms(self, weight: Tensor) -> Tensor:
        """Return the estimates, shape (...); gradients flow through the weight only."""
        stretched = (weight @ self.right[..., None]).squeeze(-1)
        return (self.left * stretched).sum(-1)

    @torch.no_grad()
    def _turn_right(self, weight: Tensor) -> None:
        self.right = normalize((self.left[..., None, :] @ weight).squeeze(-2), dim=-1)


def random_directions(weight: Tensor, generator: torch.Generator) -> Tensor:
    """Return random starts for a stack of weights, shape (..., rows)."""
    return torch.randn(weight.shape[:-1], generator=generator)
