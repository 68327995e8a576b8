"""Refuse bad arguments in the reader's words; for every floor of the package."""

from __future__ import annotations

import math
import operator

__all__ = ["at_least", "at_least_zero", "between", "more_than_zero", "number"]

# float would read numbers out of these.
_TEXT: tuple[type, ...] = (str, bytes, bytearray)


def at_least(low: int, name: str, value: int) -> int:
    """Return a whole number that is not below ``low``."""
    try:
        number = operator.index(value)
    except TypeError:
        raise ValueError(f"{name} must be a whole number, {low} or more, got {value!r}") from None
    if number < low:
        raise ValueError(f"{name} must be {low} or more, got {number}")
    return number


def number(name: str, value: float) -> float:
    """Return a number as a float."""
    try:
        if isinstance(value, _TEXT):
            raise TypeError
        return float(value)
    except (TypeError, ValueError):
        raise TypeError(f"{name} must be a number, got {value!r}") from None
    except OverflowError:
        # Without the number: its hundreds of digits would bury the sentence.
        raise ValueError(f"{name} must be a number that a float holds, up to 1.8e308") from None


def at_least_zero(name: str, value: float) -> float:
    """Return a finite number of 0 or more."""
    found = number(name, value)
    if not 0 <= found < math.inf:
        raise ValueError(f"{name} must be a finite number, 0 or more, got {found:g}")
    return found


def more_than_zero(name: str, value: float) -> float:
    """Return a finite number above 0."""
    found = number(name, value)
    if not 0 < found < math.inf:
        raise ValueError(f"{name} must be a finite number above 0, got {found:g}")
    return found


def between(low: float, high: float, name: str, value: float) -> float:
    """Return a number inside of the limits."""
    found = number(name, value)
    if not low <= found <= high:
        raise ValueError(f"{name} must be between {low:g} and {high:g}, got {found:g}")
    return found
