"""Refuse bad arguments in the reader's words."""

from __future__ import annotations

import math
import operator

__all__ = ["at_least_one", "at_least_zero", "more_than_zero"]


def at_least_one(name: str, value: int) -> int:
    """Return a whole number of 1 or more."""
    try:
        number = operator.index(value)
    except TypeError:
        raise ValueError(f"{name} must be a whole number, 1 or more, got {value!r}") from None
    if number < 1:
        raise ValueError(f"{name} must be 1 or more, got {number}")
    return number


def at_least_zero(name: str, value: float) -> float:
    """Return a finite number of 0 or more."""
    number = float(value)
    if not 0 <= number < math.inf:
        raise ValueError(f"{name} must be a finite number, 0 or more, got {number:g}")
    return number


def more_than_zero(name: str, value: float) -> float:
    """Return a finite number above 0."""
    number = float(value)
    if not 0 < number < math.inf:
        raise ValueError(f"{name} must be a finite number above 0, got {number:g}")
    return number
