"""Residual networks at initialisation: what a sum does to lengths, forward and backward."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gradcourse.checks import at_least, at_least_zero
from gradcourse.theory.arrays import all_at_least

__all__ = ["log10_residual_norm", "pre_norm_stream", "relu_branch_gain", "relu_cosine"]

Array = NDArray[Any]


def relu_branch_gain(first_variance: float, second_variance: float) -> float:
    r"""Return the factor by which ``Linear, ReLU, Linear`` multiplies a mean square.

    .. math:: \kappa = \sigma_1^2 \sigma_2^2 / 2

    The ReLU halves the mean square, forward and backward alike. For square layers with Gaussian
    weights and without biases it is exact at any width, in the mean over the weights.

    Parameters
    ----------
    first_variance, second_variance
        Variance of the weights of either layer, times its fan-in.

    Raises
    ------
    ValueError
        If a variance is below 0 or not finite.
    TypeError
        If a variance is no number.

    Examples
    --------
    He's weights belong behind a ReLU. Before it they double what nothing halves:

    >>> relu_branch_gain(1.0, 2.0), relu_branch_gain(2.0, 2.0)
    (1.0, 2.0)
    """
    first = at_least_zero("first_variance", first_variance)
    return first * at_least_zero("second_variance", second_variance) / 2


def log10_residual_norm(
    blocks: ArrayLike,
    branch_scale: ArrayLike = 1.0,
    branch_gain: float = 1.0,
    skip_scale: float = 1.0,
) -> Array:
    r"""Return log10 of the factor by which blocks ``s x + a f(x)`` change a root mean square.

    .. math:: \frac{L}{2} \log_{10}\left(s^2 + a^2 \kappa\right)

    The last weights of a branch are random and average 0, so its output is uncorrelated with the
    skip and the two mean squares add. The same holds for the gradient on its way back.

    Parameters
    ----------
    blocks
        Numbers of blocks L, 0 or more.
    branch_scale
        a, of a shape that broadcasts with ``blocks``.
    branch_gain
        The factor by which a branch alone multiplies the mean square, as from
        :func:`relu_branch_gain`.
    skip_scale
        s: 1 for a residual network, 0 for the same network without its skips.

    Returns
    -------
    array
        Of the broadcast shape; -inf where nothing passes. For a = 1, s = 1 the square grows as
        ``2**L``, and for a = 1/sqrt(L) as ``(1 + 1/L)**L``, which is less than e.

    Raises
    ------
    ValueError
        If one of ``blocks``, or ``branch_gain``, is below 0 or not finite.
    TypeError
        If one of ``blocks``, or ``branch_gain``, is no number.

    References
    ----------
    Zhang, Dauphin & Ma 2019, *Fixup initialization*; De & Smith 2020, *Batch normalization biases
    residual blocks towards the identity function in deep networks*.

    Examples
    --------
    >>> 10 ** log10_residual_norm([1, 2, 4])
    array([1.41421356, 2.        , 4.        ])
    """
    count = all_at_least(0, "blocks", blocks)
    scale = np.asarray(branch_scale, np.float64)
    square = float(skip_scale) ** 2 + scale**2 * at_least_zero("branch_gain", branch_gain)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(count == 0, 0.0, count / 2 * np.log10(square))


def relu_cosine(cosine: ArrayLike) -> Array:
    r"""Return the mean of ``relu(u) relu(v)`` over that of ``relu(u)**2``, for correlated normals.

    .. math:: \left(\sqrt{1-c^2} + c\,(\pi - \arccos c)\right) / \pi

    Parameters
    ----------
    cosine
        The correlation c of the two standard normal numbers, -1 to 1.

    References
    ----------
    Cho & Saul 2009, *Kernel methods for deep learning*.

    Examples
    --------
    >>> relu_cosine([0.0, 1.0]).round(4).tolist()
    [0.3183, 1.0]
    """
    c = np.clip(np.asarray(cosine, np.float64), -1, 1)
    return np.asarray((np.sqrt(1 - c**2) + c * (math.pi - np.arccos(c))) / math.pi)


def pre_norm_stream(
    depth: int,
    tokens: int,
    attention_gain: float = 1.0,
    feed_forward_gain: float = 0.32,
) -> Array:
    r"""Return the root mean square of a pre-norm transformer's residual stream, block by block.

    Tokens start independent, with mean square 1. Attention is uniform (as with query weights of 0)
    and adds the same mean of the normalised tokens to each of them; a ReLU feed-forward layer adds
    a constant times :func:`relu_cosine`. What is added is uncorrelated with the stream, so with
    mean square q and mean product c of two tokens, ``r = c / q``:

    .. math:: q, c \mathrel{+}= \kappa_a \frac{1 + (T-1) r}{T}, \qquad
              q \mathrel{+}= \kappa_f, \quad c \mathrel{+}= \kappa_f\, \mathrm{relu\_cosine}(r).

    Parameters
    ----------
    depth
        Number of blocks, 0 or more.
    tokens
        T, the length of the sequence.
    attention_gain
        Variance of the value weights times that of the output weights, each times its fan-in: 1
        for Xavier.
    feed_forward_gain
        As from :func:`relu_branch_gain`; the default is Xavier's for a middle layer four times as
        wide: ``0.4 * 1.6 / 2``.

    Returns
    -------
    array of shape (depth + 1,)
        Infinite width; it grows toward ``depth**0.5``. The gradient of the last block shrinks like
        its inverse, because the norm behind the last block divides by it.

    Raises
    ------
    ValueError
        If ``depth`` is not a whole number of 0 or more, ``tokens`` not one of 1 or more, or a gain
        is below 0 or not finite.
    TypeError
        If a gain is no number.

    References
    ----------
    Xiong et al. 2020, *On layer normalization in the transformer architecture*.

    Examples
    --------
    >>> pre_norm_stream(1, tokens=1)  # the root of 1 + 1 + 0.32
    array([1.        , 1.52315462])
    """
    depth, tokens = at_least(0, "depth", depth), at_least(1, "tokens", tokens)
    attention = at_least_zero("attention_gain", attention_gain)
    feed_forward = at_least_zero("feed_forward_gain", feed_forward_gain)
    square, product, squares = 1.0, 0.0, [1.0]
    for _ in range(depth):
        mean = attention * (1 + (tokens - 1) * product / square) / tokens
        square, product = square + mean, product + mean
        product += feed_forward * float(relu_cosine(product / square))
        square += feed_forward
        squares.append(square)
    return np.sqrt(squares)
