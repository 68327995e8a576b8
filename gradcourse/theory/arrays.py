"""Refuse bad arrays of numbers in the reader's words, as :mod:`gradcourse.checks` does for one."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["all_above", "all_at_least", "numbers"]


def numbers(name: str, values: ArrayLike) -> NDArray[np.float64]:
    """Return numbers of any shape as an array of float64."""
    try:
        found = np.asarray(values)
        if found.dtype.kind in "USc":
            raise TypeError
        return found.astype(np.float64)
    except (TypeError, ValueError, OverflowError):
        raise TypeError(f"{name} must be numbers, got {values!r}") from None


def all_at_least(low: float, name: str, values: ArrayLike) -> NDArray[np.float64]:
    """Return finite numbers of any shape, none below ``low``."""
    found = numbers(name, values)
    wrong = found[~((found >= low) & (found < math.inf))]
    if wrong.size:
        raise ValueError(f"{name} must be finite, {low:g} or more, got {wrong[0]:g}")
    return found


def all_above(
    low: float, name: str, values: ArrayLike, *, infinite: bool = False
) -> NDArray[np.float64]:
    """Return numbers of any shape, all above ``low``, and finite unless told otherwise."""
    found = numbers(name, values)
    wrong = found[~((found > low) & (infinite | (found < math.inf)))]
    if wrong.size:
        what = "" if infinite else "finite and "
        raise ValueError(f"{name} must be {what}above {low:g}, got {wrong[0]:g}")
    return found
