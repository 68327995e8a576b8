"""Medians and slopes over seeds, and the words of a summary."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

__all__ = ["change", "median", "quantile", "slope_per_layer"]

Array = NDArray[np.float64]


def quantile(values: Array, share: float) -> Array:
    """Return a quantile over the first axis without interpolation: log10 of 0 is -inf."""
    return np.asarray(np.quantile(values, share, axis=0, method="inverted_cdf"))


def median(values: Array) -> Array:
    """Return the median over the first axis; -inf and inf are allowed."""
    ordered = np.sort(values, axis=0)
    low, high = ordered[(len(values) - 1) // 2], ordered[len(values) // 2]
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(np.isfinite(low) & np.isfinite(high), (low + high) / 2, low))


def slope_per_layer(profiles: Array) -> float:
    """Return the median over seeds of the slope of a line through each profile.

    Three layers are left out at each end where at least five remain: the first layers have not
    settled yet, and the last have not mixed.
    """
    layers = profiles.shape[1]
    drop = 3 if layers >= 11 else 0
    inner = profiles[:, drop : layers - drop]
    x = np.arange(inner.shape[1]) - (inner.shape[1] - 1) / 2
    with np.errstate(invalid="ignore"):
        slopes = inner @ x / (x @ x)
    # A profile that reaches 0 falls without end, one that overflows is not known.
    slopes[np.isneginf(inner).any(axis=1)] = math.inf
    slopes[np.isposinf(inner).any(axis=1)] = -math.inf
    return float(median(slopes[:, None])[0])


def change(what: str, factor: float, total: float, unit: str) -> str:
    """Say how a quantity changes: by a factor for each layer and by a power of 10 over all."""
    power = f"10^{0.0 if abs(total) < 0.05 else total:.1f} over all"
    if 0.995 <= factor < 1.005:
        return f"{what} keeps its size ({power})"
    verb = "grows" if factor > 1 else "shrinks"
    return f"{what} {verb} by a factor {_number(factor)} per {unit} ({power})"


def _number(value: float) -> str:
    # Two digits would call 0.983 and 0.978 the same, and 1.02 "1".
    digits = 3 if 0.9 < value < 1.1 else 2
    return f"{value:.{digits}g}"
