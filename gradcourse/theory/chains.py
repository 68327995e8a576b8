"""Chains of numbers and products of random matrices: the chain rule and nothing else."""

from __future__ import annotations

import math
from decimal import Decimal, localcontext

import numpy as np
import scipy

from gradcourse.checks import at_least, more_than_zero, number
from gradcourse.theory.activations import Activation, Array, ArrayFunction
from gradcourse.theory.activations import activation as as_activation

__all__ = [
    "chain_fixed_point",
    "lyapunov_exponents",
    "overflow_depth",
    "product_log_norm",
    "underflow_depth",
]

# Bits of the significand (the hidden one included) and the largest exponent.
FORMATS = {
    "float16": (11, 15),
    "bfloat16": (8, 127),
    "float32": (24, 127),
    "float64": (53, 1023),
}


def overflow_depth(weight: float, dtype: str = "float32") -> float:
    """Return the first depth at which ``weight**depth`` overflows, or inf if it never does.

    The weight is rounded to the dtype first and its exact power once, to nearest. A product that is
    rounded after each factor may overflow a layer sooner or later when the power passes the limit
    by a hair.

    Parameters
    ----------
    weight
        The factor that each layer multiplies by; only its size matters.
    dtype
        ``"float16"``, ``"bfloat16"``, ``"float32"`` or ``"float64"``.

    Raises
    ------
    ValueError
        If ``weight`` is not finite or ``dtype`` is none of these.

    Examples
    --------
    >>> overflow_depth(1.5)
    219.0
    """
    bits, top = _format(dtype)
    size = _rounded(weight, dtype)
    if size <= 1:
        return math.inf
    if math.isinf(size):
        return 1.0
    # A number is rounded to inf from half a unit in the last place above the largest one.
    return _first_power(size, 2 ** (bits + 1) - 1, top - bits)


def underflow_depth(weight: float, dtype: str = "float32") -> float:
    """Return the first depth at which ``weight**depth`` is rounded to 0, or inf if it never is.

    Subnormal numbers count as numbers. The power is exact and rounded once: a product that is
    rounded after each factor *never* reaches 0 if the weight is above 1/2, because the last
    subnormal number times 0.9 is rounded back to itself.

    Parameters
    ----------
    weight
        The factor that each layer multiplies by; only its size matters.
    dtype
        ``"float16"``, ``"bfloat16"``, ``"float32"`` or ``"float64"``.

    Raises
    ------
    ValueError
        If ``weight`` is not finite or ``dtype`` is none of these.

    Examples
    --------
    >>> underflow_depth(0.25)
    75.0
    """
    bits, top = _format(dtype)
    size = _rounded(weight, dtype)
    if size >= 1:
        return math.inf
    if size == 0:
        return 1.0
    # Half of the smallest subnormal number is a tie, and ties go to the even neighbour, 0.
    return _first_power(size, 1, 1 - top - bits)


def chain_fixed_point(
    activation: str | Activation | ArrayFunction,
    weight: float = 1.0,
    bias: float = 0.0,
    start: float = 1.0,
) -> tuple[float, float]:
    """Return where the chain ``x = phi(weight * x + bias)`` settles, and its gradient's rate there.

    Parameters
    ----------
    activation
        A name, an ``Activation`` or a function of an array.
    weight, bias
        The same in all layers.
    start
        Where the chain starts: it settles on the fixed point that it meets first.

    Returns
    -------
    tuple of float
        The fixed point, infinite if the chain runs away, and ``abs(weight * phi')``, the factor by
        which each layer multiplies the gradient.

    Raises
    ------
    ValueError
        If ``activation`` is neither a known name nor a function, ``weight``, ``bias`` or ``start``
        is not finite, or the chain ends in a cycle.
    TypeError
        If ``weight``, ``bias`` or ``start`` is no number.

    Examples
    --------
    >>> [round(number, 6) for number in chain_fixed_point("sigmoid")]
    [0.659046, 0.224704]
    """
    phi = as_activation(activation)
    for name, value in (("weight", weight), ("bias", bias), ("start", start)):
        if not math.isfinite(number(name, value)):
            raise ValueError(f"{name} must be a finite number, got {value:g}")

    def move(x: float) -> float:
        with np.errstate(over="ignore", invalid="ignore"):
            return float(phi.function(np.array(weight * x + bias)))

    def rate(x: float) -> float:
        return abs(weight * float(phi.derivative(np.array(weight * x + bias))))

    before, now = start, move(start)
    for _ in range(2000):
        if abs(now) > 1e100:
            return math.copysign(math.inf, now), rate(math.copysign(1e100, now))
        if abs(now - before) <= 1e-15 * (1 + abs(now)):
            return now, rate(now)
        before, now = now, move(now)
    after = move(now)
    if (after - now) * (now - before) < 0:
        point = float(scipy.optimize.brentq(lambda x: move(x) - x, before, now, xtol=1e-15))
        if rate(point) > 1 + 1e-6:
            raise ValueError(
                f"the chain of {phi.name} with weight {weight:g} and bias {bias:g} "
                "does not settle: it ends in a cycle"
            )
        return point, rate(point)
    # Still creeping: look ahead, in ever longer steps, for the point where the creeping ends.
    step = after - now
    for _ in range(2000):
        ahead = now + step
        # x + 1 is x in float64 beyond 1e16, which must not pass for a fixed point.
        if abs(ahead) > 1e12:
            return math.copysign(math.inf, step), rate(math.copysign(1e100, step))
        if (move(ahead) - ahead) * step <= 0:
            point = float(scipy.optimize.brentq(lambda x: move(x) - x, now, ahead, xtol=1e-15))
            return point, rate(point)
        step *= 1.5
    return now, rate(now)


def product_log_norm(width: int, weight_variance: float = 1.0) -> tuple[float, float]:
    """Return mean and variance, per factor, of ln of the norm of a product of Gaussian matrices.

    Each factor ``N(0, weight_variance / width)`` multiplies the norm of a vector by an independent
    chi variable. The mean is below ``ln(weight_variance) / 2`` although the mean *square* of the
    norm is exactly kept at 1: the typical product shrinks.

    Parameters
    ----------
    width
        Rows and columns of each matrix, 1 or more.
    weight_variance
        Entries are ``N(0, weight_variance / width)``; above 0.

    Raises
    ------
    ValueError
        If ``width`` is not a whole number of 1 or more, or ``weight_variance`` is not finite and
        above 0.
    TypeError
        If ``weight_variance`` is no number.

    Examples
    --------
    >>> round(product_log_norm(32)[0], 5)
    -0.01579
    """
    width = at_least(1, "width", width)
    variance = more_than_zero("weight_variance", weight_variance)
    mean = (math.log(2 * variance / width) + float(scipy.special.digamma(width / 2))) / 2
    return mean, float(scipy.special.polygamma(1, width / 2)) / 4


def lyapunov_exponents(width: int, weight_variance: float = 1.0) -> Array:
    """Return the growth per factor of ln of each singular value of a product of Gaussian matrices.

    Parameters
    ----------
    width
        Rows and columns of each matrix, 1 or more.
    weight_variance
        Entries are ``N(0, weight_variance / width)``; above 0.

    Returns
    -------
    array of shape (width,)
        The largest first; the factors are ``N(0, weight_variance / width)``.

    Raises
    ------
    ValueError
        If ``width`` is not a whole number of 1 or more, or ``weight_variance`` is not finite and
        above 0.
    TypeError
        If ``weight_variance`` is no number.

    Examples
    --------
    >>> exponents = lyapunov_exponents(16)
    >>> round(float(exponents[0] - exponents[-1]), 2)
    1.99
    """
    width = at_least(1, "width", width)
    variance = more_than_zero("weight_variance", weight_variance)
    degrees = np.arange(width, 0, -1)
    return np.asarray((np.log(2 * variance / width) + scipy.special.digamma(degrees / 2)) / 2)


def _format(dtype: str) -> tuple[int, int]:
    try:
        return FORMATS[dtype]
    except (KeyError, TypeError):
        raise ValueError(f"dtype must be one of {', '.join(FORMATS)}, got {dtype!r}") from None


def _rounded(weight: float, dtype: str) -> float:
    size = abs(float(weight))
    if not math.isfinite(size):
        raise ValueError(f"weight must be a finite number, got {weight:g}")
    if size == 0 or dtype == "float64":
        return size
    bits, top = FORMATS[dtype]
    unit = max(math.frexp(size)[1] - bits, 2 - top - bits)
    rounded = math.ldexp(round(math.ldexp(size, -unit)), unit)
    return rounded if rounded < math.ldexp(1.0, top + 1) else math.inf


def _first_power(size: float, digits: int, exponent: int) -> float:
    """Return the first power of a number that reaches ``digits * 2**exponent``."""
    with localcontext() as context:
        context.prec = 60
        depth = (Decimal(digits).ln() + exponent * Decimal(2).ln()) / Decimal(size).ln()
        nearest = depth.to_integral_value()
        # 0.5**150 is exactly half of the smallest float32: the logarithms must not miss such a tie.
        if abs(depth - nearest) < Decimal("1e-40"):
            return max(1.0, float(nearest))
        return max(1.0, float(depth.to_integral_value(rounding="ROUND_CEILING")))
