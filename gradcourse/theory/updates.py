"""How far one step of an optimizer moves the weights."""

from __future__ import annotations

import math

from gradcourse.checks import at_least_zero, more_than_zero

__all__ = ["sgd_update_ratio"]


def sgd_update_ratio(
    learning_rate: float,
    gradient_norm: float,
    weight_norm: float,
    total_norm: float = 0.0,
    max_norm: float = math.inf,
) -> float:
    r"""Return how far a step of plain SGD moves some weights, against their size.

    .. math:: \frac{|\Delta w|}{|w|} = \eta\,\frac{|g|}{|w|}\,\min\left(1, \frac{c}{|G|}\right)

    with learning rate :math:`\eta`, the gradient :math:`g` of these weights, and clipping of the
    norm :math:`|G|` of all gradients to :math:`c`. It is exact, whatever the network.

    Parameters
    ----------
    learning_rate, gradient_norm
        0 or more.
    weight_norm
        Above 0.
    total_norm, max_norm
        The norm of all gradients before clipping and its limit, 0 or more; no clipping by default.

    Raises
    ------
    ValueError
        If ``learning_rate``, ``gradient_norm`` or ``total_norm`` is below 0 or not finite,
        ``weight_norm`` is not finite and above 0, or ``max_norm`` is below 0 or NaN.
    TypeError
        If one of these is no number.

    Examples
    --------
    >>> sgd_update_ratio(0.1, gradient_norm=0.6, weight_norm=8.0)
    0.0075
    >>> sgd_update_ratio(0.1, gradient_norm=0.6, weight_norm=8.0, total_norm=5.0, max_norm=1.0)
    0.0015
    """
    at_least_zero("learning_rate", learning_rate)
    at_least_zero("gradient_norm", gradient_norm)
    at_least_zero("total_norm", total_norm)
    more_than_zero("weight_norm", weight_norm)
    if math.isnan(max_norm) or max_norm < 0:
        raise ValueError(f"max_norm must be 0 or more, got {max_norm}")
    kept = max_norm / total_norm if total_norm > max_norm else 1.0
    return learning_rate * gradient_norm / weight_norm * kept
