"""What a floating-point format can hold, what it loses, and what a loss scale does about it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy
from numpy.typing import ArrayLike, NDArray

from gradcourse.checks import at_least, more_than_zero
from gradcourse.theory.arrays import all_above

__all__ = [
    "FLOAT_FORMATS",
    "FloatFormat",
    "float_format",
    "flushed_share",
    "largest_swallowed",
    "loss_scales",
    "overflowing_share",
    "skipped_share",
    "spacing",
]

Array = NDArray[Any]


@dataclass(frozen=True)
class FloatFormat:
    r"""A binary format of IEEE 754's kind, with subnormal numbers and infinities.

    A number has a sign, an exponent and a fraction of :math:`p` bits. With :math:`e` exponent bits
    the *bias* is :math:`b = 2^{e-1}-1`; normal numbers are :math:`\pm 2^E (1 + f/2^p)` with
    :math:`1-b \le E \le b`, and below them numbers continue in equal steps down to 0.

    Attributes
    ----------
    exponent_bits, fraction_bits
        How many bits either part has.

    References
    ----------
    IEEE 754-2019, *Standard for floating-point arithmetic*; for bfloat16 Kalamkar et al. 2019, *A
    study of BFLOAT16 for deep learning training*.

    Examples
    --------
    >>> half = float_format("float16")
    >>> half.largest, half.overflow_from, half.flush_to == 2.0**-25
    (65504.0, 65520.0, True)
    """

    exponent_bits: int
    fraction_bits: int

    @property
    def largest_exponent(self) -> int:
        """The exponent of the largest numbers, which is also the bias."""
        return int(2 ** (self.exponent_bits - 1) - 1)

    @property
    def eps(self) -> float:
        """The distance from 1 to the next number."""
        return 2.0**-self.fraction_bits

    @property
    def largest(self) -> float:
        """The largest finite number."""
        return (2 - self.eps) * 2.0**self.largest_exponent

    @property
    def smallest_normal(self) -> float:
        """The smallest number that has all its digits."""
        return 2.0 ** (1 - self.largest_exponent)

    @property
    def smallest(self) -> float:
        """The smallest number above 0, which is subnormal."""
        return self.smallest_normal * self.eps

    @property
    def overflow_from(self) -> float:
        """What rounds to infinity: this and everything above."""
        return (2 - self.eps / 2) * 2.0**self.largest_exponent

    @property
    def flush_to(self) -> float:
        """What rounds to 0: this, by the rule of ties to even, and everything below."""
        return self.smallest / 2


FLOAT_FORMATS = {
    "float16": FloatFormat(5, 10),
    "bfloat16": FloatFormat(8, 7),
    "float32": FloatFormat(8, 23),
}
"""The formats by torch's names for them."""


def float_format(name: str) -> FloatFormat:
    """Return a format by the name that torch gives it.

    Raises
    ------
    ValueError
        If the name is unknown.

    Examples
    --------
    >>> float_format("bfloat16").eps
    0.0078125
    """
    try:
        return FLOAT_FORMATS[name]
    except (KeyError, TypeError):
        known = ", ".join(FLOAT_FORMATS)
        raise ValueError(f"a float format must be one of {known}, got {name!r}") from None


def spacing(value: ArrayLike, name: str = "float16") -> Array:
    r"""Return the distance from a number to the next one away from 0, an *ulp*.

    .. math:: 2^{\max(\lfloor \log_2 |x| \rfloor,\; 1-b) - p}

    with :math:`p` fraction bits and bias :math:`b`; it is NaN beyond the largest number.

    Parameters
    ----------
    value
        Any shape.
    name
        A format of ``FLOAT_FORMATS``.

    Raises
    ------
    ValueError
        If the format is unknown.

    References
    ----------
    IEEE 754-2019, *Standard for floating-point arithmetic*.

    Examples
    --------
    >>> spacing([1.0, 1000.0, 1e-6]).tolist()
    [0.0009765625, 0.5, 5.960464477539063e-08]
    """
    kind = float_format(name)
    size = np.abs(np.asarray(value, dtype=np.float64))
    # frexp gives a fraction from 1/2 to 1, so its exponent is one above that of IEEE 754.
    exponent = np.where(size > 0, np.frexp(size)[1] - 1, -np.inf)
    exponent = np.maximum(exponent, 1 - kind.largest_exponent)
    steps = 2.0 ** (exponent - kind.fraction_bits)
    return np.where(size <= kind.largest, steps, np.nan)


def largest_swallowed(weight: ArrayLike, name: str = "bfloat16") -> Array:
    r"""Return the size up to which an update towards 0 leaves a weight as it is: half an ulp.

    Halfway between a weight and its neighbour a sum is rounded to the one whose last bit is 0.
    Towards 0 the neighbour of a power of two is only half as far away as in the other direction.
    A weight whose last bit is 1 moves at exactly this size; others move just above it.

    Parameters
    ----------
    weight
        Numbers that the format holds, other than 0; any shape.
    name
        A format of ``FLOAT_FORMATS``.

    Raises
    ------
    ValueError
        If the format is unknown.

    References
    ----------
    IEEE 754-2019, *Standard for floating-point arithmetic*; Micikevicius et al. 2018, *Mixed
    precision training*.

    Examples
    --------
    >>> largest_swallowed([1.0, 1.5]).tolist()
    [0.001953125, 0.00390625]
    """
    size = np.abs(np.asarray(weight, dtype=np.float64))
    # What lies just below a power of two has the spacing of the numbers below it.
    return spacing(np.nextafter(size, 0), name) / 2


def flushed_share(std: ArrayLike, scale: ArrayLike = 1.0, name: str = "float16") -> Array:
    r"""Return the share of Gaussian gradients that are rounded to 0.

    .. math:: \operatorname{erf}\left(\frac{t}{S\sigma\sqrt2}\right)

    for gradients :math:`N(0, \sigma^2)` times a loss scale :math:`S`, where :math:`t` is half the
    smallest number of the format, :math:`2^{-25}` for float16.

    Parameters
    ----------
    std
        Above 0, any shape.
    scale
        The loss scale, above 0; it is broadcast against ``std``.
    name
        A format of ``FLOAT_FORMATS``.

    Raises
    ------
    ValueError
        If one of ``std`` or of ``scale`` is not finite and above 0, or the format is unknown.
    TypeError
        If one of them is no number.

    References
    ----------
    The definition of erf; the picture that it explains is in Micikevicius et al. 2018, *Mixed
    precision training*.

    Examples
    --------
    >>> round(float(flushed_share(2.0**-26, scale=4.0)), 4)
    0.3829
    """
    share: Array = scipy.special.erf(float_format(name).flush_to / _spread(std, scale))
    return share


def overflowing_share(std: ArrayLike, scale: ArrayLike = 1.0, name: str = "float16") -> Array:
    r"""Return the share of Gaussian gradients that become infinite.

    .. math:: \operatorname{erfc}\left(\frac{u}{S\sigma\sqrt2}\right)

    where :math:`u` is what the format rounds to infinity, 65520 for float16.

    Parameters
    ----------
    std, scale, name
        As for :func:`flushed_share`.

    Raises
    ------
    ValueError
        If one of ``std`` or of ``scale`` is not finite and above 0, or the format is unknown.
    TypeError
        If one of them is no number.

    Examples
    --------
    >>> round(float(overflowing_share(1.0, scale=65520.0)), 4)
    0.3173
    """
    share: Array = scipy.special.erfc(float_format(name).overflow_from / _spread(std, scale))
    return share


def _spread(std: ArrayLike, scale: ArrayLike) -> Array:
    """Return the standard deviation of scaled gradients, times the root of 2."""
    spread: Array = all_above(0, "std", std) * all_above(0, "scale", scale) * math.sqrt(2)
    return spread


def skipped_share(growth_interval: int) -> float:
    r"""Return the share of steps that a gradient scaler skips at most, in the long run.

    .. math:: \frac{1}{n + 1}

    The scale neither grows nor shrinks for ever, so there are as many doublings as halvings. Each
    halving is one skipped step; each doubling takes ``n`` clean steps in a row. With gradients of
    constant size no clean step is lost, and the bound is met.

    Parameters
    ----------
    growth_interval
        Clean steps before the scale doubles, 1 or more.

    Raises
    ------
    ValueError
        If ``growth_interval`` is not a whole number of 1 or more.

    References
    ----------
    Derived from the rule in ``torch.amp.GradScaler``.

    Examples
    --------
    >>> round(skipped_share(10), 4)
    0.0909
    """
    return 1 / (at_least(1, "growth_interval", growth_interval) + 1)


def loss_scales(steps: int, init_scale: float, largest_scale: float, growth_interval: int) -> Array:
    """Return the scale that a gradient scaler uses in each step, for gradients of constant size.

    The scale halves after a step in which it was too large, and doubles after ``growth_interval``
    clean steps in a row.

    Parameters
    ----------
    steps
        How many, 1 or more.
    init_scale
        The first scale, above 0.
    largest_scale
        What overflows lies above it.
    growth_interval
        1 or more.

    Returns
    -------
    Array
        Shape (steps,).

    Raises
    ------
    ValueError
        If ``steps`` or ``growth_interval`` is not a whole number of 1 or more, or a scale is not
        finite and above 0.
    TypeError
        If a scale is no number.

    References
    ----------
    The documentation of ``torch.amp.GradScaler``.

    Examples
    --------
    >>> loss_scales(8, init_scale=16, largest_scale=4, growth_interval=2).tolist()
    [16.0, 8.0, 4.0, 4.0, 8.0, 4.0, 4.0, 8.0]
    """
    steps = at_least(1, "steps", steps)
    growth_interval = at_least(1, "growth_interval", growth_interval)
    scale = more_than_zero("init_scale", init_scale)
    largest_scale = more_than_zero("largest_scale", largest_scale)
    scales, clean = np.empty(steps), 0
    for step in range(steps):
        scales[step] = scale
        clean = clean + 1 if scale <= largest_scale else 0
        if clean == 0:
            scale /= 2
        elif clean == growth_interval:
            scale, clean = 2 * scale, 0
    return scales
