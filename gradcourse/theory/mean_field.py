"""Mean field theory of wide random layers: lengths, the slope chi, and the critical line.

Poole et al. 2016 and Schoenholz et al. 2017 derive the maps; they hold for any activation.
"""

from __future__ import annotations

import functools
import math

import numpy as np
import scipy

from gradcourse.checks import at_least_zero, more_than_zero
from gradcourse.theory.activations import Activation, ArrayFunction
from gradcourse.theory.activations import activation as as_activation
from gradcourse.theory.moments import Moments

__all__ = [
    "chi",
    "critical_weight_variance",
    "depth_scale",
    "length_fixed_point",
    "length_map",
    "weight_variance_of",
]

SCHEMES = {
    "he": 2.0,
    "kaiming": 2.0,
    "xavier": 1.0,
    "glorot": 1.0,
    "lecun": 1.0,
    "orthogonal": 1.0,
    "default": 1 / 3,
}

# Differences in ln q below this are rounding, not dynamics.
ROUNDING = 1e-12


def length_map(
    activation: str | Activation | ArrayFunction,
    q: float,
    weight_variance: float,
    bias_variance: float = 0.0,
) -> float:
    """Return the pre-activation variance of the layer after one with variance ``q``.

    ``weight_variance * E[phi(sqrt(q) z)**2] + bias_variance``, with ``z`` standard normal.

    Parameters
    ----------
    activation
        A name, an ``Activation`` or a function of an array.
    q
        Pre-activation variance of the layer before, finite, 0 or more.
    weight_variance, bias_variance
        Weights have variance ``weight_variance / fan_in``; finite, 0 or more.

    Raises
    ------
    ValueError
        If ``activation`` is neither a known name nor a function, or a variance is below 0 or not
        finite.
    TypeError
        If a variance is no number.

    Examples
    --------
    >>> round(length_map("relu", 3.0, weight_variance=2.0), 12)
    3.0
    """
    moments = Moments(as_activation(activation))
    q = at_least_zero("q", q)
    weight = at_least_zero("weight_variance", weight_variance)
    bias = at_least_zero("bias_variance", bias_variance)
    return weight * math.exp(_at(moments, q, slope=False)) + bias


def length_fixed_point(
    activation: str | Activation | ArrayFunction,
    weight_variance: float,
    bias_variance: float = 0.0,
    start: float = 1.0,
) -> float:
    """Return the pre-activation variance that a deep network settles on.

    Parameters
    ----------
    activation
        A name, an ``Activation`` or a function of an array.
    weight_variance, bias_variance
        Weights have variance ``weight_variance / fan_in``.
    start
        The variance in the first layer. Some activations (GELU, SiLU) let short inputs die out and
        long ones grow; where every length is kept (ReLU at 2), the start is the answer.

    Returns
    -------
    float
        0.0 if the signal dies out, inf if it grows without end.

    Raises
    ------
    ValueError
        If ``activation`` is neither a known name nor a function, a variance of weights or biases is
        below 0 or not finite, or ``start`` is not finite and above 0.
    TypeError
        If a variance or ``start`` is no number.

    Examples
    --------
    >>> round(length_fixed_point("tanh", 1.761, 0.05), 2)
    0.57
    """
    moments = Moments(as_activation(activation))
    weight = at_least_zero("weight_variance", weight_variance)
    bias = at_least_zero("bias_variance", bias_variance)
    return _settled(moments, weight, bias, more_than_zero("start", start))


def chi(
    activation: str | Activation | ArrayFunction,
    q: float,
    weight_variance: float,
) -> float:
    """Return the factor by which one layer multiplies the mean square of the gradient.

    ``weight_variance * E[phi'(sqrt(q) z)**2]``; below 1 gradients vanish, above 1 they explode.

    Parameters
    ----------
    activation
        A name, an ``Activation`` or a function of an array.
    q
        The pre-activation variance, which may be inf.
    weight_variance
        Weights have variance ``weight_variance / fan_in``.

    Raises
    ------
    ValueError
        If ``activation`` is neither a known name nor a function, ``q`` is not 0 or more, or
        ``weight_variance`` is below 0 or not finite.
    TypeError
        If ``q`` or ``weight_variance`` is no number.

    Examples
    --------
    >>> round(chi("relu", q=1.0, weight_variance=2.0), 12)
    1.0
    """
    moments = Moments(as_activation(activation))
    if not q >= 0:
        raise ValueError(f"q must be 0 or more, got {q:g}")
    return _chi(moments, float(q), at_least_zero("weight_variance", weight_variance))


def critical_weight_variance(
    activation: str | Activation | ArrayFunction,
    bias_variance: float = 0.0,
) -> float:
    """Return the smallest weight variance beyond which gradients explode: the edge of chaos.

    It is where ``chi``, at the length that a unit input settles on, passes 1. For tanh, sigmoid and
    ReLU ``chi`` is exactly 1 there; for GELU and SiLU without biases it jumps past 1, because the
    signal itself turns from dying out to growing.

    Parameters
    ----------
    activation
        A name, an ``Activation`` or a function of an array.
    bias_variance
        Variance of the biases, finite, 0 or more.

    Raises
    ------
    ValueError
        If ``activation`` is neither a known name nor a function, ``bias_variance`` is below 0 or
        not finite, or no weight variance up to a million makes gradients explode.
    TypeError
        If ``bias_variance`` is no number.

    Examples
    --------
    >>> round(critical_weight_variance("tanh", 0.05), 3)
    1.761
    """
    phi = as_activation(activation)
    return _critical(phi, at_least_zero("bias_variance", bias_variance))


def depth_scale(chi: float) -> float:
    """Return the number of layers over which the squared gradient changes by a factor e.

    ``1 / abs(ln chi)``: inf at the edge of chaos, where depth does not matter.

    Raises
    ------
    ValueError
        If ``chi`` is not 0 or more.

    Examples
    --------
    >>> round(depth_scale(0.5), 3)
    1.443
    """
    if not chi >= 0:
        raise ValueError(f"chi must be 0 or more, got {chi:g}")
    if chi in (0, math.inf):
        return 0.0
    return math.inf if chi == 1 else 1 / abs(math.log(chi))


def weight_variance_of(scheme: str) -> float:
    """Return the weight variance, times fan_in, of an initialisation of a square layer.

    ``"he"`` 2, ``"xavier"``, ``"lecun"`` and ``"orthogonal"`` 1, and 1/3 for ``"default"``, which
    is what ``torch.nn.Linear`` does.

    Raises
    ------
    ValueError
        If the scheme is unknown.

    Examples
    --------
    >>> round(chi("relu", 1.0, weight_variance_of("xavier")), 12)
    0.5
    """
    try:
        return SCHEMES[scheme]
    except (KeyError, TypeError):
        raise ValueError(f"scheme must be one of {', '.join(SCHEMES)}, got {scheme!r}") from None


def _at(moments: Moments, q: float, *, slope: bool) -> float:
    if q == 0:
        square = moments.phi.derivative if slope else moments.phi.function
        if not slope:
            value = abs(float(square(np.array(0.0))))
            return 2 * math.log(value) if value else -math.inf
        # A hair beside 0 on both sides, so that ReLU's slope there is the mean of its two.
        q = 1e-30
    log_mean = moments.log_slope if slope else moments.log_value
    return float(log_mean(np.array([math.log(q)]))[0])


def _chi(moments: Moments, q: float, weight: float) -> float:
    if math.isinf(q):
        return weight * moments.limit_of_slope()
    return weight * math.exp(_at(moments, q, slope=True))


def _settled(moments: Moments, weight: float, bias: float, start: float) -> float:
    if weight == 0:
        return bias
    log_weight, log_bias = math.log(weight), math.log(bias) if bias else -math.inf

    def drift(log_q: float) -> float:
        length = log_weight + float(moments.log_value(np.array([log_q]))[0])
        return float(np.logaddexp(length, log_bias)) - log_q

    here = math.log(start)
    sign = math.copysign(1.0, drift(here))
    if abs(drift(here)) <= ROUNDING:
        return start
    ahead, step = here, 0.25
    while abs(ahead) < 700:
        ahead += sign * step
        step *= 1.25
        now = sign * drift(ahead)
        if now < -ROUNDING:
            log_q = scipy.optimize.brentq(drift, here, ahead, xtol=1e-14, rtol=1e-14)
            return math.exp(float(log_q))
        if now > ROUNDING:
            here = ahead
    return math.inf if sign > 0 else 0.0


@functools.lru_cache(maxsize=256)
def _critical(phi: Activation, bias: float) -> float:
    moments = Moments(phi)

    def log_chi(log_weight: float) -> float:
        weight = math.exp(log_weight)
        value = _chi(moments, _settled(moments, weight, bias, 1.0), weight)
        return math.log(value) if value else -1e3

    low = math.log(1e-3)
    top = math.log(1e6)
    while low < top:
        high = low + 0.4
        if log_chi(high) > ROUNDING:
            return math.exp(float(scipy.optimize.bisect(log_chi, low, high, xtol=1e-12)))
        low = high
    raise ValueError(
        f"no weight variance up to 1e+06 makes gradients explode through {phi.name} "
        f"with bias_variance {bias:g}"
    )
