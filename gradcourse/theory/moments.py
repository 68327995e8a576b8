"""Averages over a Gaussian pre-activation, for variances of any size."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import numpy as np

from gradcourse.checks import at_least_zero
from gradcourse.theory.activations import Activation, Array, ArrayFunction

__all__ = ["Moments", "gaussian_mean"]

# Between these variances the panels below resolve an activation; outside of them it is a power law.
LOWEST, HIGHEST = 1e-24, 1e12
# Where a standard normal variable is cut off.
END = 10.0


def gaussian_mean(function: ArrayFunction, variance: float) -> float:
    """Return the mean of ``function(x)`` for ``x`` normal with mean 0 and the given variance.

    A Gauss rule with 12 nodes on each of up to 25 panels on either side of 0, each panel half as
    wide as the one outside of it. It sees a kink at 0, and a tanh that is a step at the scale of
    the variance, for which Gauss-Hermite nodes are too far apart: 256 of them are off by 4 % for
    the squared slope of tanh at variance 30.

    Parameters
    ----------
    function
        Takes and returns an array.
    variance
        0 or more.

    Raises
    ------
    ValueError
        If ``variance`` is below 0 or not finite.
    TypeError
        If ``variance`` is no number.

    Examples
    --------
    >>> round(gaussian_mean(lambda x: np.maximum(x, 0) ** 2, 3.0), 12)
    1.5
    """
    variance = at_least_zero("variance", variance)
    return float(_means(function, np.array([variance]))[0])


class Moments:
    """Mean squares of an activation and of its slope, as functions of ln of the variance ``q``.

    Logarithms go in and come out, so that 200 layers stay inside float64 at any weight scale.
    """

    def __init__(self, phi: Activation) -> None:
        self.phi = phi
        self.log_value = _log_mean_square(phi.function)
        self.log_slope = _log_mean_square(phi.derivative)

    def limit_of_slope(self) -> float:
        """Return the mean square of the slope for an infinite variance."""
        ends = self.phi.derivative(np.array([-1e150, 1e150]))
        return float(np.mean(np.square(ends)))


def _log_mean_square(function: ArrayFunction) -> Callable[[Array], Array]:
    def middle(log_q: Array) -> Array:
        with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
            mean = _means(lambda x: np.square(function(x)), np.exp(log_q))
            return np.where(np.isnan(mean), np.inf, np.log(mean))

    low, high = math.log(LOWEST), math.log(HIGHEST)

    @functools.cache
    def tail(end: float, inside: float) -> tuple[float, float]:
        at_end, at_inside = middle(np.array([end, inside]))
        power = (at_end - at_inside) / (end - inside) if np.isfinite(at_inside) else math.nan
        # The measured power is off by the next term of the expansion, and 200 layers would see it.
        half = round(2 * power) / 2 if math.isfinite(power) else 0.0
        return float(at_end), half if abs(power - half) < 1e-3 else float(power)

    def log_mean_square(log_q: Array) -> Array:
        log_q = np.asarray(log_q, dtype=np.float64)
        inner = np.clip(log_q, low, high)
        result = middle(inner)
        for end, inside, outer in (
            (low, low + 4, log_q < low),
            (high, high - 4, log_q > high),
        ):
            if outer.any():
                at_end, power = tail(end, inside)
                beyond = log_q[outer] - end
                # A power of 0 times an infinite ln q is a constant, not NaN.
                result[outer] = at_end + (power * beyond if power else 0.0)
        return result

    return log_mean_square


@functools.cache
def _nodes(halvings: int) -> tuple[Array, Array]:
    point, weight = np.polynomial.legendre.leggauss(12)
    edges = np.concatenate([[0.0], END * 0.5 ** np.arange(halvings, -1, -1)])
    width = np.diff(edges)[:, None]
    right = (edges[:-1, None] + width * (point + 1) / 2).ravel()
    mass = (width * weight / 2).ravel() * np.exp(-np.square(right) / 2) / math.sqrt(2 * math.pi)
    return np.concatenate([-right[::-1], right]), np.concatenate([mass[::-1], mass])


def _means(function: ArrayFunction, variances: Array) -> Array:
    # The innermost panel is 1/32 wide in x, far below the scale on which an activation bends.
    halvings = math.ceil(math.log2(END * math.sqrt(max(float(variances.max()), 1e-3)))) + 5
    nodes, masses = _nodes(min(halvings, 24))
    values = np.asarray(function(np.sqrt(variances)[:, None] * nodes), dtype=np.float64)
    return np.asarray(np.broadcast_to(values, (len(variances), len(nodes))) @ masses)
