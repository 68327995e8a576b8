"""Learning rates over the course of a run, in closed form."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gradcourse.checks import at_least, between
from gradcourse.theory.arrays import all_at_least

__all__ = ["warmup_cosine_factor"]

Array = NDArray[Any]


def warmup_cosine_factor(update: ArrayLike, warmup: int, total: int, final: float = 0.0) -> Array:
    r"""Return the share of the peak learning rate that an update has.

    .. math:: \begin{cases} n / w & n \le w \\
              f + (1 - f)\,\tfrac12\left(1 + \cos \pi\frac{n - 1 - w}{N - w}\right) & w < n \le N \\
              f & n > N \end{cases}

    Parameters
    ----------
    update
        n, counted from 1.
    warmup, total
        w and N: updates in the warmup, 0 or more, and in the whole run, 1 or more.
    final
        f, the share that is left at the end, 0 to 1.

    Raises
    ------
    ValueError
        If one of ``update`` is below 1 or not finite, ``total`` is not a whole number of 1 or more,
        ``warmup`` not one from 0 to ``total``, or ``final`` is not between 0 and 1.
    TypeError
        If one of ``update``, or ``final``, is no number.

    References
    ----------
    Loshchilov & Hutter 2017, *SGDR*, for the cosine (without restarts).

    Examples
    --------
    >>> warmup_cosine_factor([1, 2, 3, 4, 5, 6, 7], warmup=2, total=6).round(3).tolist()
    [0.5, 1.0, 1.0, 0.854, 0.5, 0.146, 0.0]
    """
    n = all_at_least(1, "update", update)
    total, warmup = at_least(1, "total", total), at_least(0, "warmup", warmup)
    if warmup > total:
        raise ValueError(f"warmup must be at most total, {total}, got {warmup}")
    floor = between(0, 1, "final", final)
    progress = np.clip((n - 1 - warmup) / max(total - warmup, 1), 0, 1)
    falling = floor + (1 - floor) * (1 + np.cos(np.pi * progress)) / 2
    # After a warmup that fills the whole run there is nothing left to fall.
    later = np.where(n > total, floor, falling)
    return np.asarray(np.where(n <= warmup, n / max(warmup, 1), later))
