"""Learning rates over the course of a run."""

from __future__ import annotations

import math

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from gradcourse.checks import at_least, between

__all__ = ["warmup_cosine"]


class WarmupCosine:
    """The factor on the peak of the learning rate."""

    # A class, because a scheduler with a function made inside of a function does not pickle.

    def __init__(self, warmup: int, total: int, final: float) -> None:
        self.warmup = warmup
        self.total = total
        self.final = final

    def __call__(self, step: int) -> float:
        """Return the factor for the update that follows ``step`` updates."""
        if step >= self.total:
            return self.final
        if step < self.warmup:
            return (step + 1) / self.warmup
        progress = (step - self.warmup) / (self.total - self.warmup)
        return self.final + (1 - self.final) * (1 + math.cos(math.pi * progress)) / 2


def warmup_cosine(optimizer: Optimizer, warmup: int, total: int, final: float = 0.0) -> LambdaLR:
    """Return a scheduler: a linear warmup to the peak, half a cosine down, and then constant.

    The peak is the learning rate that the optimizer comes with, for each parameter group its own.
    Update ``n`` of the warmup, counted from 1, uses ``n / warmup`` of it, so that no update is lost
    to a learning rate of 0 and update ``warmup`` is the first at the peak. ``final`` is reached
    after ``total`` updates, so the last of them still moves when ``final`` is 0, and any further
    update stays there.

    Parameters
    ----------
    optimizer
        The optimizer whose learning rate is set, at once and by each ``scheduler.step()``.
    warmup
        Updates in the warmup, 0 to ``total``; 0 starts at the peak, and so does 1.
    total
        Updates in the whole run, the warmup included, 1 or more.
    final
        The learning rate at the end as a share of the peak, 0 to 1.

    Returns
    -------
    LambdaLR
        Step it once after each update of the optimizer. It pickles, and its ``state_dict`` holds
        the shape of the schedule too.

    Raises
    ------
    ValueError
        If a number is out of its range.

    Notes
    -----
    The cosine is that of Loshchilov & Hutter 2017 (SGDR) without restarts. With ``warmup`` of 1 or
    more and below ``total`` the learning rates are those of torch's ``LinearLR(start_factor=1 /
    warmup, total_iters=warmup - 1)`` followed, from ``warmup``, by
    ``CosineAnnealingLR(T_max=total - warmup)``.

    Examples
    --------
    >>> import torch
    >>> optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    >>> scheduler = warmup_cosine(optimizer, warmup=4, total=8)
    >>> for _ in range(9):
    ...     print(round(scheduler.get_last_lr()[0], 2), end=" ")
    ...     optimizer.step()
    ...     scheduler.step()
    0.25 0.5 0.75 1.0 1.0 0.85 0.5 0.15 0.0
    """
    total = at_least(1, "total", total)
    warmup = at_least(0, "warmup", warmup)
    if warmup > total:
        raise ValueError(f"warmup must be at most total, {total}, got {warmup}")
    return LambdaLR(optimizer, WarmupCosine(warmup, total, between(0, 1, "final", final)))
