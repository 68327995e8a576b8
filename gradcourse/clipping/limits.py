"""Check the limits and orders that clipping is given, in the reader's words."""

from __future__ import annotations

import math
from typing import Literal

from gradcourse.checks import number

__all__ = ["limit_of", "order"]


def limit_of(name: str, value: float | None) -> float:
    """Return a limit of 0 or more; ``inf`` for None."""
    found = math.inf if value is None else number(name, value)
    if not found >= 0:
        raise ValueError(f"{name} must be 0 or more, or None for no limit, got {found:g}")
    return found


def order(norm_type: float | Literal["inf"]) -> float:
    """Return the order of a norm, above 0."""
    # Code that was written for torch may have the word.
    found = math.inf if norm_type == "inf" else number("norm_type", norm_type)
    if not found > 0:
        raise ValueError(f"norm_type must be above 0, or inf, got {found:g}")
    return found
