"""What a softmax does to the gradient, and what can be said about a sequence without looking."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import scipy
from numpy.typing import ArrayLike, NDArray

from gradcourse.checks import at_least, between
from gradcourse.theory.arrays import all_at_least

__all__ = ["attention_slope", "letters_only"]

Array = NDArray[Any]


def attention_slope(score_variance: ArrayLike, share: float = 0.5) -> Array:
    r"""Return a quantile of the slope ``a (1 - a)`` of a softmax over two normal scores.

    .. math:: \sigma'\!\left(\Phi^{-1}\!\left(\tfrac{1 + p}{2}\right)\sqrt{2 v}\right)

    The weight of one of two scores is the sigmoid of their difference, which is normal with
    variance ``2 v``, and the slope falls with the size of that difference. So the quantiles of the
    size, at shares p, are those of the slope, in reverse order.

    Parameters
    ----------
    score_variance
        v, 0 or more: for queries and keys with d independent numbers of variance 1, the dot
        product has v = d, and divided by sqrt(d) it has v = 1.
    share
        Which share of the slopes lies *below* the returned one; 0.5 for the median.

    Raises
    ------
    ValueError
        If one of ``score_variance`` is below 0 or not finite, or ``share`` is not between 0 and 1.
    TypeError
        If one of ``score_variance``, or ``share``, is no number.

    References
    ----------
    Vaswani et al. 2017, *Attention is all you need*, for the division; the quantile is derived.

    Examples
    --------
    >>> attention_slope([1, 64, 512]).round(6).tolist()
    [0.200763, 0.000485, 0.0]
    """
    variance = all_at_least(0, "score_variance", score_variance)
    tail = (2 - between(0, 1, "share", share)) / 2
    size = scipy.stats.norm.ppf(tail) * np.sqrt(2 * variance)
    return np.asarray(scipy.special.expit(size) * scipy.special.expit(-size))


def letters_only(length: int, symbols: int) -> tuple[float, float]:
    r"""Return loss and accuracy of knowing a sequence's symbols, but none of their places.

    The best guess for each place is the sequence's own frequencies. A symbol at a place has
    ``1 + N`` copies in the sequence, with N binomial from the other ``length - 1`` places, so

    .. math:: \text{loss} = \ln T - \mathbb{E}\,\ln(1 + N), \qquad
              N \sim \mathrm{Bin}(T - 1, 1/V).

    The accuracy is that of always saying the most frequent symbol: its mean count over ``T``.

    Parameters
    ----------
    length, symbols
        T and V, both 1 or more.

    Returns
    -------
    loss, accuracy : float
        The loss is the cross-entropy in nats.

    Raises
    ------
    ValueError
        If ``length`` or ``symbols`` is not a whole number of 1 or more.

    Examples
    --------
    >>> loss, accuracy = letters_only(6, 8)
    >>> round(loss, 3), round(accuracy, 3)
    (1.4, 0.363)
    """
    length, symbols = at_least(1, "length", length), at_least(1, "symbols", symbols)
    others = np.arange(length)
    chances = scipy.stats.binom.pmf(others, length - 1, 1 / symbols)
    loss = math.log(length) - float(chances @ np.log1p(others))
    # P(all counts <= k) = T! / V**T times the coefficient of x**T in (sum of x**i / i!)**V.
    below = []
    for most in range(length):
        powers = 1 / scipy.special.factorial(np.arange(most + 1))
        ways = np.polynomial.polynomial.polypow(powers, symbols)
        found = ways[length] if length < len(ways) else 0.0
        below.append(float(found * math.factorial(length)) / float(symbols) ** length)
    return loss, sum(1 - chance for chance in below) / length
