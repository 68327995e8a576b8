"""Limits that seldom move while a slider does, so that the axes are seldom drawn again."""

from __future__ import annotations

import math

__all__ = ["range_to_show", "snap_decades", "snap_up"]

# Limits stay while the numbers fill this share of them; new ones leave this share ahead.
FILLED, AHEAD = 0.4, 0.25


def snap_decades(low: float, high: float) -> tuple[float, float]:
    """Widen a range of exponents to round ones, at most nine steps apart.

    The limits then stay where they are while a slider moves a little, and the axes need not be
    drawn again.

    Raises
    ------
    ValueError
        If an end is not finite, or the ends are not in order.

    Examples
    --------
    >>> snap_decades(-3.2, 0.4)
    (-4.0, 1.0)
    >>> snap_decades(-38, 2)
    (-40.0, 5.0)
    """
    if not (math.isfinite(low) and math.isfinite(high) and low <= high):
        raise ValueError(f"a range of decades needs finite low <= high, got {low} and {high}")
    if low == high:
        low, high = low - 0.5, high + 0.5
    decade = 1
    while True:
        for step in (decade, 2 * decade, 5 * decade):
            first, last = math.floor(low / step), math.ceil(high / step)
            # A quotient can underflow to 0 although the end lies a hair beyond it.
            first -= first * step > low
            last += last * step < high
            if last - first <= 9:
                return float(first * step), float(last * step)
        decade *= 10


def snap_up(value: float) -> float:
    """Return the smallest of 10, 15, 20, 30, 50, 100, 150, ... not below ``value``.

    Few enough that a slider of the depth meets a new one, and has the axes drawn again, seldom.

    Raises
    ------
    ValueError
        If ``value`` is not finite.

    Examples
    --------
    >>> snap_up(37)
    50
    """
    if not math.isfinite(value):
        raise ValueError(f"snap_up needs a finite number, got {value}")
    decade = 10
    while True:
        for step in (1, 1.5, 2, 3, 5):
            if step * decade >= value:
                return step * decade
        decade *= 10


def range_to_show(
    present: tuple[float, float] | None, low: float, high: float
) -> tuple[float, float] | None:
    """Return None if numbers from ``low`` to ``high`` suit the present limits, else their range.

    Limits that seldom move while a slider does are drawn seldom, and are easier to follow. They
    stay as long as the numbers fit and fill a good part of them; where a drag leaves them, there
    is some room ahead.

    Examples
    --------
    >>> range_to_show((-4, 1), -2.2, 0.4)
    >>> range_to_show((-4, 1), -0.5, 0.4)
    (-0.5, 0.4)
    >>> range_to_show((-4, 1), -5.0, 1.0)
    (-6.5, 1.0)
    """
    if present is None:
        return low, high
    bottom, top = present
    if bottom <= low and high <= top:
        return None if high - low >= FILLED * (top - bottom) else (low, high)
    # A jump to another scale is not a drag: nobody knows where the next one leads.
    room = AHEAD * (high - low) if high - low < 2 * (top - bottom) else 0.0
    return low - room if low < bottom else low, high + room if high > top else high
