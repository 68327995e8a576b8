"""The gradient of networks of every depth at many weight variances: the phase diagram of theory."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from gradcourse.checks import at_least, at_least_zero, more_than_zero
from gradcourse.theory.activations import Activation, Array, ArrayFunction
from gradcourse.theory.activations import activation as as_activation
from gradcourse.theory.moments import Moments

__all__ = ["crossing_depths", "gradient_map"]


def gradient_map(
    activation: str | Activation | ArrayFunction,
    depth: int,
    weight_variances: ArrayLike,
    bias_variance: float = 0.0,
    input_variance: float = 1.0,
) -> Array:
    """Predict the gradient at the input of networks of 1 to ``depth`` layers, many scales at once.

    The exact mean field map, layer after layer: what :func:`mean_field_profile` gives for each
    network, computed for all of them together, fast enough for a slider.

    Parameters
    ----------
    activation
        A name, an ``Activation`` or a function of an array.
    depth
        Layers of the deepest networks, 1 or more.
    weight_variances
        Weights have variance ``weight_variance / fan_in``; numbers above 0, shape (scales,).
    bias_variance
        Variance of the biases.
    input_variance
        Mean square of the inputs.

    Returns
    -------
    array of shape (scales, depth)
        log10 of the rms norm of dL/dh at the input, relative to the last layer.

    Raises
    ------
    ValueError
        If ``activation`` is neither a known name nor a function, or another argument is out of
        range.
    TypeError
        If ``bias_variance`` or ``input_variance`` is no number.

    Notes
    -----
    Poole et al. 2016; Schoenholz et al. 2017.

    Examples
    --------
    >>> xavier, default = gradient_map("relu", 10, [1.0, 1 / 3])
    >>> round(float(xavier[-1]), 4), round(float(default[-1]), 4)
    (-1.5051, -3.8908)
    """
    moments = Moments(as_activation(activation))
    depth = at_least(1, "depth", depth)
    variances = np.asarray(weight_variances, dtype=np.float64)
    if variances.ndim != 1 or variances.size == 0:
        raise ValueError(
            f"weight_variances must be numbers of shape (scales,), got shape {variances.shape}"
        )
    for variance in variances:
        more_than_zero("every weight variance", float(variance))
    bias = at_least_zero("bias_variance", bias_variance)
    log_weight, log_bias = np.log(variances), math.log(bias) if bias else -math.inf
    square = np.full(variances.size, math.log(more_than_zero("input_variance", input_variance)))
    log_chi = np.empty((variances.size, depth))
    for layer in range(depth):
        log_q = np.logaddexp(log_weight + square, log_bias)
        square = moments.log_value(log_q)
        log_chi[:, layer] = log_weight + moments.log_slope(log_q)
    return np.asarray(np.cumsum(log_chi, axis=1) / (2 * math.log(10)))


def crossing_depths(log10_gradient: ArrayLike, decades: float) -> Array:
    """Return the depth at which each row of a gradient map first leaves ``-decades ... decades``.

    Parameters
    ----------
    log10_gradient
        Shape (scales, depth), for networks of 1, 2, ... layers; measured or predicted.
    decades
        Above 0.

    Returns
    -------
    array of shape (scales,)
        Between two depths where a straight line crosses; NaN where the row stays inside.

    Raises
    ------
    ValueError
        If ``decades`` is not above 0 or the map has another shape.

    Examples
    --------
    >>> crossing_depths([[-0.5, -1.0, -1.5], [0.1, 0.2, 0.3]], decades=1.25).tolist()
    [2.5, nan]
    """
    limit = more_than_zero("decades", decades)
    rows = np.abs(np.asarray(log10_gradient, dtype=np.float64))
    if rows.ndim != 2 or rows.size == 0:
        raise ValueError(f"log10_gradient must have shape (scales, depth), got {rows.shape}")
    outside = rows >= limit
    after = outside.argmax(axis=1)
    each = np.arange(len(rows))
    # A network without layers hands its gradient on as it is.
    before = np.where(after > 0, rows[each, after - 1], 0.0)
    step = rows[each, after] - before
    share = np.where(np.isfinite(step), (limit - before) / np.where(step > 0, step, 1.0), 1.0)
    return np.where(outside.any(axis=1), after + share, np.nan)
