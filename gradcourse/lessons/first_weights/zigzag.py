"""Networks that widen and narrow again: where fan in and fan out differ in every layer."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from gradcourse.checks import at_least
from gradcourse.initialization import initialize
from gradcourse.models import activation_module
from gradcourse.training import one_thread

__all__ = ["zigzag_factors"]

NARROW, WIDE, BATCH = 64, 256, 16


@one_thread()
def zigzag_factors(
    scheme: str,
    activation: str = "linear",
    pairs: int = 10,
    seeds: int = 20,
    first_seed: int = 0,
    **options: Any,
) -> tuple[float, float]:
    """Measure what a pair of layers, 64 to 256 units and back, does to the mean square.

    Parameters
    ----------
    scheme, **options
        As for ``gradcourse.initialization.initialize``.
    activation
        A name that ``gradcourse.models`` knows.
    pairs, seeds, first_seed
        Pairs in a network, networks, and the first of their seeds.

    Returns
    -------
    forward, backward : float
        The factor per pair, the geometric mean over pairs and seeds.
    """
    pairs, seeds = at_least(1, "pairs", pairs), at_least(1, "seeds", seeds)
    logs = []
    for seed in range(first_seed, first_seed + seeds):
        source = torch.Generator().manual_seed(seed)
        layers: list[nn.Module] = []
        for fans in ((NARROW, WIDE), (WIDE, NARROW)) * pairs:
            layers += [nn.Linear(*fans), activation_module(activation)]
        net = nn.Sequential(*layers)
        initialize(net, scheme, generator=source, **options)
        x = torch.randn(BATCH, NARROW, generator=source).requires_grad_()
        out = net(x)
        (gradient,) = torch.autograd.grad(out, x, torch.randn(out.shape, generator=source))
        logs.append([float(part.detach().square().mean().log()) for part in (out, gradient)])
    forward, backward = np.exp(np.mean(logs, axis=0) / pairs)
    return float(forward), float(backward)
