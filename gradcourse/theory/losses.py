"""What a loss does to a gradient: the mean squared error and Huber's, which bounds it."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import scipy
from numpy.typing import ArrayLike

from gradcourse.checks import more_than_zero
from gradcourse.theory.activations import Array
from gradcourse.theory.arrays import all_above

__all__ = ["huber_gradient", "huber_location"]


def huber_gradient(residual_std: ArrayLike, delta: float = 1.0) -> Array:
    """Return the gradient of the Huber loss of a linear model at 0, for a normal target.

    The inputs are white and normal, and the target is a linear function of them with standard
    deviation ``residual_std``, which is ``s``. By Stein's lemma the gradient's norm is
    ``s erf(delta / (s sqrt 2))``: for small targets half of the mean squared error's ``2 s``, for
    large ones at most ``delta sqrt(2 / pi)``.

    Parameters
    ----------
    residual_std
        One or many, above 0.
    delta
        Where the loss turns from a parabola into straight lines, as in ``torch.nn.HuberLoss``.

    Raises
    ------
    ValueError
        If one of ``residual_std``, or ``delta``, is not finite and above 0.
    TypeError
        If one of ``residual_std``, or ``delta``, is no number.

    Examples
    --------
    >>> [round(float(norm), 4) for norm in huber_gradient([0.1, 1000.0])]
    [0.1, 0.7979]
    """
    spread = all_above(0, "residual_std", residual_std)
    bend = more_than_zero("delta", delta) / (math.sqrt(2) * spread)
    return np.asarray(spread * scipy.special.erf(bend))


def huber_location(
    survival: Callable[[float], float], delta: float = 1.0, between: tuple[float, float] = (-1, 1)
) -> float:
    """Return the constant that minimises the expected Huber loss: where its gradient is 0.

    For a narrow ``delta`` it is the median, for a wide one the mean.

    Parameters
    ----------
    survival
        ``P(target > t)``, as ``scipy.stats.expon(scale=100).sf``.
    delta
        As in ``torch.nn.HuberLoss``.
    between
        Two numbers with the answer between them.

    Raises
    ------
    ValueError
        If ``delta`` is not finite and above 0, or the gradient has one sign at both numbers of
        ``between``.
    TypeError
        If ``delta`` is no number.

    Notes
    -----
    The expected gradient at ``m`` is ``delta`` minus the integral of the survival function over
    ``[m - delta, m + delta]``. Huber 1964.

    Examples
    --------
    >>> from scipy import stats
    >>> round(huber_location(stats.expon.sf, delta=0.01, between=(0, 3)), 4)
    0.6932
    """
    delta = more_than_zero("delta", delta)

    def slope(place: float) -> float:
        area, _ = scipy.integrate.quad(survival, place - delta, place + delta, limit=200)
        return delta - float(area)

    return float(scipy.optimize.brentq(slope, *between))
