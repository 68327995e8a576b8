"""Products of independent random numbers: why the typical one shrinks while the mean does not."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from gradcourse.checks import at_least_zero, number
from gradcourse.theory.activations import Array
from gradcourse.theory.arrays import all_at_least

__all__ = ["log10_product_band", "uniform_log_moments"]


def uniform_log_moments(spread: float) -> tuple[float, float]:
    """Return mean and variance of ``ln X`` for ``X`` uniform in ``1 - spread ... 1 + spread``.

    The mean of ``X`` is 1 for every spread; the mean of ``ln X`` is below 0, and the typical
    (median) product of ``n`` such factors is about ``exp(n * mean)``.

    Parameters
    ----------
    spread
        Half the width of the interval, 0 to 1.

    Raises
    ------
    ValueError
        If ``spread`` is not between 0 and 1.
    TypeError
        If ``spread`` is no number.

    Notes
    -----
    Calculus: the integrals of ``ln x`` and ``(ln x)**2`` are ``x ln x - x`` and
    ``x (ln x)**2 - 2 x ln x + 2 x``.

    Examples
    --------
    >>> mean, variance = uniform_log_moments(0.5)
    >>> round(mean, 4)
    -0.0452
    """
    spread = at_least_zero("spread", spread)
    if spread > 1:
        raise ValueError(f"spread must be between 0 and 1, got {spread:g}")
    if spread < 1e-3:
        # The difference of the integrals would cancel; the next term is of order spread**4.
        return -(spread**2) / 6, spread**2 / 3
    low, high = 1 - spread, 1 + spread
    mean = (_first(high) - _first(low)) / (2 * spread)
    square = (_second(high) - _second(low)) / (2 * spread)
    return mean, square - mean**2


def log10_product_band(
    factors: ArrayLike, mean: float, variance: float
) -> tuple[Array, Array, Array]:
    """Return log10 of a product of many factors: the typical one, and a band that holds 90 %.

    Parameters
    ----------
    factors
        Numbers of factors, 0 or more, of any shape.
    mean, variance
        Of ``ln`` of one factor, as :func:`uniform_log_moments` or
        :func:`gradcourse.theory.product_log_norm` give them.

    Returns
    -------
    typical, low, high : arrays of that shape
        Central limit theorem: a sum of logarithms is normal.

    Raises
    ------
    ValueError
        If one of ``factors``, or ``variance``, is below 0 or not finite.
    TypeError
        If an argument is no number.
    """
    count = all_at_least(0, "factors", factors)
    typical = count * number("mean", mean) / math.log(10)
    reach = 1.645 * np.sqrt(count * at_least_zero("variance", variance)) / math.log(10)
    return typical, typical - reach, typical + reach


def _first(x: float) -> float:
    return x * math.log(x) - x if x else 0.0


def _second(x: float) -> float:
    return x * math.log(x) ** 2 - 2 * x * math.log(x) + 2 * x if x else 0.0
