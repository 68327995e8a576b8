"""Two spikes: in one step of a training, and in one element of a gradient."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import nn

from gradcourse import clipping

__all__ = ["angle_after_spike", "distance_after_spike"]

STEPS, SPIKE_AT, SPIKE = 300, 20, 1e4
ELEMENTS, OUTLIER, CLIP_VALUE = 10_000, 1000.0, 3.0


def distance_after_spike(max_norm: float) -> float:
    """Return how far Adam is from the minimum of a parabola, one of whose gradients was too long.

    Of 300 steps at learning rate 0.05, the 21st gets 10,000 times its gradient. The distance is
    that of the last step, as a share of the first.

    Parameters
    ----------
    max_norm
        The cap on every gradient, above 0; ``inf`` for none. The first gradient has norm 1.
    """
    weight = nn.Parameter(torch.ones(1, dtype=torch.float64))
    optimizer = torch.optim.Adam([weight], lr=0.05)
    for step in range(STEPS):
        weight.grad = weight.detach() * (SPIKE if step == SPIKE_AT else 1.0)
        clipping.clip_grad_norm_(weight, max_norm)
        optimizer.step()
    return abs(weight.item())


def angle_after_spike(how: str, first_seed: int = 0) -> float:
    """Return how many degrees a clipped gradient with one bad element is off the good gradient.

    The good one has 10,000 normal elements of standard deviation 1. In the bad one the first of
    them is 1000. It is clipped by norm, to the length of the good one, or by value, at 3.

    Parameters
    ----------
    how
        ``"norm"`` or ``"value"``.
    first_seed
        Draws the gradient.
    """
    if how not in ("norm", "value"):
        raise ValueError(f"how must be one of norm, value, got {how!r}")
    good = torch.from_numpy(np.random.default_rng(first_seed).standard_normal(ELEMENTS))
    parameter = nn.Parameter(torch.zeros_like(good))
    parameter.grad = good.clone()
    parameter.grad[0] = OUTLIER
    if how == "norm":
        clipping.clip_grad_norm_(parameter, float(good.norm()))
    else:
        nn.utils.clip_grad_value_(parameter, CLIP_VALUE)
    cosine = torch.cosine_similarity(good, parameter.grad, dim=0)
    return math.degrees(math.acos(float(cosine)))
