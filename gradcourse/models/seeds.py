"""First weights from a seed."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch

__all__ = ["seeded"]

Made = TypeVar("Made")


def seeded(seed: int, make: Callable[[], Made]) -> Made:
    """Return what ``make`` makes from a seed, and leave torch's own random numbers as they were.

    For modules on the CPU: a module's first weights come from torch's global source.

    Examples
    --------
    >>> make = lambda: torch.nn.Linear(2, 1).weight.sum().item()
    >>> seeded(3, make) == seeded(3, make)
    True
    """
    with torch.random.fork_rng(devices=[]):
        # Not torch.manual_seed, which would reseed every GPU for good.
        torch.default_generator.manual_seed(seed)
        return make()
