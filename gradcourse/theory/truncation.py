"""What truncated back-propagation through time keeps of a gradient."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from gradcourse.checks import at_least, between, number

__all__ = ["kept_pairs", "mean_truncated_share", "truncated_share", "truncation_horizon"]


def truncated_share(memory: float, steps: int, kept: int) -> float:
    r"""Return the share of the last step's gradient that its last ``kept`` steps hold.

    In :math:`h_t = a\,h_{t-1} + w\,x` with constant input, step ``T - j`` adds :math:`a^j x` to
    :math:`\partial h_T/\partial w`. A graph that is cut ``k`` steps before the end keeps

    .. math:: \frac{1 + a + \dots + a^{k-1}}{1 + a + \dots + a^{T-1}} = \frac{1 - a^k}{1 - a^T}

    and :math:`k/T` if :math:`a = 1`.

    Parameters
    ----------
    memory
        ``a``, any finite number: what one step keeps of the state.
    steps
        ``T``, 1 or more.
    kept
        ``k``, 0 to ``steps``.

    Returns
    -------
    float
        Between 0 and 1 if ``memory`` is 0 or more.

    Raises
    ------
    ValueError
        If a number is out of range, or the whole gradient is 0: ``memory`` -1 and ``steps`` even.

    References
    ----------
    Werbos 1990, *Backpropagation through time: what it does and how to do it*, for the method; the
    closed form is a geometric series.

    Examples
    --------
    >>> round(truncated_share(0.9, steps=100, kept=10), 4)
    0.6513
    """
    memory = _finite("memory", memory)
    steps = at_least(1, "steps", steps)
    kept = int(between(0, steps, "kept", at_least(0, "kept", kept)))
    if abs(memory) > 1:
        # Powers of the inverse, because those of a large number overflow.
        inverse = 1 / memory
        return inverse ** (steps - kept) * _share(inverse, steps, kept)
    return _share(memory, steps, kept)


def _share(memory: float, steps: int, kept: int) -> float:
    if memory == 1:
        return kept / steps
    whole = _one_minus_power(memory, steps)
    if whole == 0:
        raise ValueError("the whole gradient is 0: memory is -1 and steps is even")
    return _one_minus_power(memory, kept) / whole


def _one_minus_power(memory: float, power: int) -> float:
    """Return ``1 - memory**power`` to full precision, for a memory of size 1 at most."""
    if memory == 0 or power == 0:
        return 0.0 if power == 0 else 1.0
    exponent = power * math.log(abs(memory))
    return 1 + math.exp(exponent) if memory < 0 and power % 2 else -math.expm1(exponent)


def truncation_horizon(memory: float, share: float, steps: float = math.inf) -> float:
    r"""Return how many steps hold a share of the last step's gradient.

    The inverse of :func:`truncated_share`, as a real number: round it up to whole steps.

    .. math:: k = \frac{\ln\left(1 - s\,(1 - a^T)\right)}{\ln a}

    Parameters
    ----------
    memory
        ``a``, above 0; below 1 if ``steps`` is infinite, because no number of steps is enough then.
    share
        ``s``, above 0 and below 1.
    steps
        ``T``, 1 or more.

    Raises
    ------
    ValueError
        If ``memory`` is not finite and above 0, or not below 1 while ``steps`` is infinite; if
        ``share`` is not above 0 and below 1; or if ``steps`` is not 1 or more.
    TypeError
        If one of the three is no number.

    Examples
    --------
    >>> round(truncation_horizon(0.9, share=0.9), 2)
    21.85
    """
    memory = _finite("memory", memory)
    share = number("share", share)
    steps = number("steps", steps)
    if not 0 < share < 1:
        raise ValueError(f"share must be above 0 and below 1, got {share:g}")
    if not steps >= 1:
        raise ValueError(f"steps must be 1 or more, got {steps:g}")
    if memory <= 0:
        raise ValueError(f"memory must be above 0, got {memory:g}")
    if memory >= 1 and math.isinf(steps):
        raise ValueError(f"memory must be below 1 for endlessly many steps, got {memory:g}")
    if memory == 1:
        return share * steps
    rate = math.log(memory)
    if memory > 1:
        # As above, from the other end: 1 - s + s a**-T leaves nothing to overflow.
        return steps + math.log(share + (1 - share) * math.exp(-steps * rate)) / rate
    return math.log1p(share * math.expm1(steps * rate)) / rate


def kept_pairs(steps: int, chunk: int, overlap: int = 0) -> NDArray[np.int64]:
    """Count the pairs of a loss and an earlier step that truncation leaves connected.

    With a loss at every step there are ``steps - j`` pairs of a loss and the step ``j`` before it.
    A loss sees back to ``overlap`` steps before the first step of its chunk, so that a pair at
    distance ``j`` is always kept for ``j <= overlap``, and never for ``j >= chunk + overlap``; in
    between the share falls on a straight line (but for the ends of the sequence). The count is the
    same for every network.

    Parameters
    ----------
    steps
        Length of the sequence, 1 or more.
    chunk
        Steps between two cuts, 1 or more; the last chunk may be shorter.
    overlap
        As in :func:`gradcourse.training.tbptt`, 0 or more.

    Returns
    -------
    Array of shape (steps,)
        One count for each distance, 0 to ``steps - 1``.

    Raises
    ------
    ValueError
        If ``steps`` or ``chunk`` is not a whole number of 1 or more, or ``overlap`` not one of 0 or
        more.

    Examples
    --------
    >>> kept_pairs(steps=6, chunk=3)
    array([6, 4, 2, 0, 0, 0])
    >>> kept_pairs(steps=6, chunk=6)
    array([6, 5, 4, 3, 2, 1])
    """
    steps, chunk = at_least(1, "steps", steps), at_least(1, "chunk", chunk)
    overlap = at_least(0, "overlap", overlap)
    step = np.arange(steps)
    reach = step - np.maximum(0, step // chunk * chunk - overlap) + 1
    return np.asarray(steps - np.cumsum(np.bincount(reach, minlength=steps + 1))[:steps])


def mean_truncated_share(memory: float, steps: int, chunk: int, overlap: int = 0) -> float:
    r"""Return the share of the gradient that truncation keeps when every step has a loss.

    The gradient of :math:`\sum_t h_t` in :math:`h_t = a\,h_{t-1} + w\,x` is
    :math:`\sum_j n_j a^j x` with :math:`n_j` from :func:`kept_pairs`. It is less than
    :func:`truncated_share` of a chunk, because most losses stand in the middle of one.

    If the contributions of a network's steps are independent of one another and their *squares*
    change by ``memory`` a step, the root of this is both the cosine between the truncated and the
    full gradient and the ratio of their lengths.

    Parameters
    ----------
    memory
        ``a``, 0 or more.
    steps, chunk, overlap
        As for :func:`kept_pairs`.

    Raises
    ------
    ValueError
        If ``memory`` is below 0 or not finite, or as in :func:`kept_pairs`.
    TypeError
        If ``memory`` is no number.

    Examples
    --------
    >>> round(mean_truncated_share(0.9, steps=100, chunk=10), 4)
    0.4547
    """
    memory = _finite("memory", memory)
    if memory < 0:
        raise ValueError(f"memory must be 0 or more, got {memory:g}")
    kept, every = kept_pairs(steps, chunk, overlap), kept_pairs(steps, steps)
    distance = np.arange(steps, dtype=np.float64)
    # Relative to the largest power, which alone might overflow.
    powers = memory**distance if memory <= 1 else (1 / memory) ** distance[::-1]
    return float(kept @ powers / (every @ powers))


def _finite(name: str, value: float) -> float:
    found = number(name, value)
    if not math.isfinite(found):
        raise ValueError(f"{name} must be a finite number, got {found:g}")
    return found
