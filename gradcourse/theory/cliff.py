"""The cliff of Pascanu et al.: where the loss of one recurrent unit jumps, and where it is 0."""

from __future__ import annotations

import math

import numpy as np
import scipy
from numpy.typing import ArrayLike

from gradcourse.checks import between, number
from gradcourse.theory.activations import Array

__all__ = ["cliff_valley", "cliff_wall"]


def cliff_wall(weight: ArrayLike, start: float = 0.5) -> Array:
    r"""Return the bias at which one recurrent unit's loss has its wall, for each weight.

    The unit is ``x <- weight * sigmoid(x) + bias``. It falls to the one side or the other of the
    point where it would stay, but could not stay if pushed. The wall is where it *starts* there:

    .. math:: b = x_0 - w\,\sigma(x_0) \quad\text{where}\quad w\,\sigma'(x_0) > 1

    Parameters
    ----------
    weight
        Recurrent weight, any shape.
    start
        The state ``x0`` at the first step.

    Returns
    -------
    array of the shape of ``weight``
        NaN where there is no wall, because the point would be stable.

    Raises
    ------
    TypeError
        If ``start`` is no number.

    References
    ----------
    The model and its surface: Pascanu, Mikolov & Bengio 2013, *On the difficulty of training
    recurrent neural networks*. The formula: fixed points and their slopes.

    Examples
    --------
    >>> round(float(cliff_wall(5.0)), 4)
    -2.6123
    >>> float(cliff_wall(4.0))
    nan
    """
    start = number("start", start)
    weights = np.asarray(weight, dtype=np.float64)
    value = float(scipy.special.expit(start))
    wall: Array = np.where(weights * value * (1 - value) > 1, start - weights * value, np.nan)
    return wall


def cliff_valley(weight: ArrayLike, target: float = 0.7, start: float = 0.5) -> Array:
    r"""Return the bias at which the unit settles where ``sigmoid(x)`` is the target.

    There the loss is 0 after many steps:

    .. math:: b = \operatorname{logit}(y) - w\,y \quad\text{where}\quad |w|\,y\,(1-y) < 1

    It ends where it meets the wall: on the other side of that, the unit goes elsewhere.

    Parameters
    ----------
    weight
        Recurrent weight, any shape.
    target
        The output wanted, between 0 and 1.
    start
        The state at the first step.

    Returns
    -------
    array of the shape of ``weight``
        NaN where the unit does not go there, or does not stay.

    Raises
    ------
    ValueError
        If ``target`` is not above 0 and below 1.
    TypeError
        If ``target`` or ``start`` is no number.

    Examples
    --------
    >>> round(float(cliff_valley(4.0)), 4)
    -1.9527
    >>> float(cliff_valley(5.0))
    nan
    """
    target = between(0, 1, "target", target)
    if target in (0, 1):
        raise ValueError(f"target must lie inside of 0 and 1, got {target:g}")
    weights = np.asarray(weight, dtype=np.float64)
    valley: Array = math.log(target / (1 - target)) - weights * target
    wall = cliff_wall(weights, start)
    # A comparison with NaN is false: without a wall there is no other side.
    beyond = valley < wall if target > scipy.special.expit(start) else valley > wall
    settles = np.abs(weights) * target * (1 - target) < 1
    return np.where(settles & ~beyond, valley, np.nan)
