"""What clipping does to a random gradient: the angle it turns, the length it keeps, how often."""

from __future__ import annotations

import math

import numpy as np
import scipy
from numpy.typing import ArrayLike

from gradcourse.checks import more_than_zero
from gradcourse.theory.activations import Array
from gradcourse.theory.arrays import all_above

__all__ = ["lognormal_clip_rate", "value_clip_cosine", "value_clip_length"]


def value_clip_cosine(clip_value: ArrayLike) -> Array:
    r"""Return the cosine between a Gaussian gradient and what clipping by value leaves of it.

    .. math:: \cos = \frac{\operatorname{erf}(c/\sqrt2)}{\sqrt{
        \operatorname{erf}(c/\sqrt2) - c\sqrt{2/\pi}\,e^{-c^2/2}
        + c^2\operatorname{erfc}(c/\sqrt2)}}

    For independent elements ``N(0, s**2)`` of a long gradient. Clipped to almost nothing, only the
    signs are left: the cosine is ``sqrt(2 / pi)``, and the angle 37.1 degrees, its largest.

    Parameters
    ----------
    clip_value
        In standard deviations of an element, above 0; ``inf`` clips nothing. Any shape.

    Raises
    ------
    ValueError
        If a clip value is not above 0.
    TypeError
        If one is no number.

    Notes
    -----
    Derived: Stein's lemma gives the mean of ``z * clip(z)``, and the mean of ``clip(z)**2`` is the
    integral of ``z**2`` over ``|z| < c`` plus ``c**2`` times the share beyond.

    Examples
    --------
    >>> round(float(value_clip_cosine(0.5)), 4)
    0.89
    """
    limit = all_above(0, "clip_value", clip_value, infinite=True)
    cosine: Array = scipy.special.erf(limit / math.sqrt(2)) / value_clip_length(limit)
    return cosine


def value_clip_length(clip_value: ArrayLike) -> Array:
    r"""Return the share of a Gaussian gradient's length that clipping by value leaves.

    The root of the denominator in :func:`value_clip_cosine`.

    Parameters
    ----------
    clip_value
        As in :func:`value_clip_cosine`.

    Raises
    ------
    ValueError
        If a clip value is not above 0.
    TypeError
        If one is no number.

    Examples
    --------
    >>> round(float(value_clip_length(0.5)), 4)
    0.4303
    """
    limit = all_above(0, "clip_value", clip_value, infinite=True)
    # The chi-square integral of what lies inside: the difference in closed form would cancel.
    inside = scipy.special.gammainc(1.5, limit**2 / 2)
    with np.errstate(invalid="ignore"):
        beyond = limit**2 * scipy.special.erfc(limit / math.sqrt(2))
    length: Array = np.sqrt(inside + np.where(np.isinf(limit), 0.0, beyond))
    return length


def lognormal_clip_rate(max_norm: ArrayLike, typical: float, spread: float) -> Array:
    r"""Return the share of steps whose norm exceeds ``max_norm``, if ``ln(norm)`` is normal.

    .. math:: P(\lVert g \rVert > m) = \tfrac12\operatorname{erfc}\left(
        \frac{\ln m - \ln\mathrm{typical}}{\sqrt2\,\mathrm{spread}}\right)

    Parameters
    ----------
    max_norm
        Above 0, any shape.
    typical
        The median norm, above 0.
    spread
        Standard deviation of ``ln(norm)``, above 0.

    Raises
    ------
    ValueError
        If an argument is not above 0, or ``typical`` or ``spread`` not finite.
    TypeError
        If an argument is no number.

    Examples
    --------
    >>> round(float(lognormal_clip_rate(4.0, typical=1.0, spread=1.0)), 4)
    0.0828
    """
    more_than_zero("typical", typical)
    more_than_zero("spread", spread)
    limit = all_above(0, "max_norm", max_norm, infinite=True)
    rate: Array = scipy.special.ndtr((math.log(typical) - np.log(limit)) / spread)
    return rate
