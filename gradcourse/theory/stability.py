"""When gradient descent is stable: on a quadratic, and in the smallest networks."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from gradcourse.checks import at_least, at_least_zero, more_than_zero
from gradcourse.theory.activations import Array
from gradcourse.theory.arrays import all_at_least

__all__ = [
    "heavy_ball_iterates",
    "heavy_ball_rate",
    "largest_stable_learning_rate",
    "two_layer_norm",
    "two_layer_sharpness",
]

# Sharpness over the target's standard deviation, and squared norm over the same.
_TWO_LAYERS = {"linear": (4.0, 2.0), "relu": (2.0, 4.0)}


def largest_stable_learning_rate(curvature: float, momentum: float = 0.0) -> float:
    """Return ``2 (1 + momentum) / curvature``, above which heavy-ball descent diverges.

    Parameters
    ----------
    curvature
        The largest eigenvalue of the Hessian, above 0.
    momentum
        As in ``torch.optim.SGD``, 0 or more and below 1.

    Raises
    ------
    ValueError
        If ``curvature`` is not finite and above 0, or ``momentum`` is not 0 or more and below 1.
    TypeError
        If one of the two is no number.

    Notes
    -----
    Along an eigenvector of curvature ``h`` a step of ``torch.optim.SGD`` is
    ``x' = (1 + m - lr h) x - m x_before``. Both roots of ``z**2 - (1 + m - lr h) z + m`` lie inside
    the unit circle if and only if ``0 < lr h < 2 (1 + m)`` (Jury's criterion). Polyak 1964; Cohen
    et al. 2021 use it for networks.

    Examples
    --------
    >>> round(largest_stable_learning_rate(10, momentum=0.9), 6)
    0.38
    """
    return 2 * (1 + _momentum(momentum)) / more_than_zero("curvature", curvature)


def heavy_ball_rate(learning_rate: ArrayLike, curvature: float, momentum: float = 0.0) -> Array:
    """Return the factor per step by which heavy-ball descent changes a distance in the long run.

    It is the spectral radius of the companion matrix ``[[1 + m - lr h, -m], [1, 0]]``, the size of
    its larger eigenvalue: below 1 the distance shrinks, above 1 it grows.

    Parameters
    ----------
    learning_rate
        One or many, 0 or more.
    curvature
        Of the quadratic along this direction, 0 or more.
    momentum
        As in ``torch.optim.SGD``, 0 or more and below 1.

    Returns
    -------
    array
        Of the shape of ``learning_rate``.

    Raises
    ------
    ValueError
        If a learning rate or ``curvature`` is below 0 or not finite, or ``momentum`` is not 0 or
        more and below 1.
    TypeError
        If an argument is no number.

    Examples
    --------
    >>> [round(float(rate), 3) for rate in heavy_ball_rate([0.05, 0.1, 0.3], 10)]
    [0.5, 0.0, 2.0]
    >>> round(float(heavy_ball_rate(0.1, 10, momentum=0.9)), 4)
    0.9487
    """
    first, second = _roots(learning_rate, curvature, momentum)
    return np.asarray(np.maximum(np.abs(first), np.abs(second)))


def heavy_ball_iterates(
    steps: int, learning_rate: float, curvature: float, momentum: float = 0.0, start: float = 1.0
) -> Array:
    """Return every iterate of heavy-ball descent on ``curvature / 2 * x**2``, in closed form.

    Parameters
    ----------
    steps
        How many, 0 or more.
    learning_rate, curvature
        Finite numbers, 0 or more.
    momentum
        As in ``torch.optim.SGD``, 0 or more and below 1.
    start
        Where the first step starts, at rest.

    Returns
    -------
    array of shape (steps + 1,)
        ``start`` first. Infinite where it leaves float64.

    Raises
    ------
    ValueError
        If ``steps`` is not a whole number of 0 or more, ``learning_rate`` or ``curvature`` is below
        0 or not finite, or ``momentum`` is not 0 or more and below 1.
    TypeError
        If ``curvature`` or ``momentum`` is no number.

    Notes
    -----
    With the roots r and s of ``z**2 - (1 + m - lr h) z + m`` the iterate is
    ``A r**t + B s**t``; for a double root ``(A + B t) r**t``. Without momentum this is
    ``(1 - lr h)**t``.

    Examples
    --------
    >>> [float(x) for x in heavy_ball_iterates(3, 0.25, 10)]
    [1.0, -1.5, 2.25, -3.375]
    """
    times = np.arange(at_least(0, "steps", steps) + 1)
    r, s = (complex(root) for root in _roots(learning_rate, curvature, momentum))
    first = 1 - learning_rate * curvature
    with np.errstate(over="ignore", invalid="ignore"):
        if abs(r - s) < 1e-7:
            root = (r + s) / 2
            # Both roots are 0 if one step ends at the minimum without momentum.
            slope = first / root - 1 if root else 0.0
            path = (1 + slope * times) * root**times
        else:
            path = ((first - s) * r**times - (first - r) * s**times) / (r - s)
        path = np.where(np.isfinite(path), path.real, np.inf)
        return np.asarray(start * path)


def two_layer_sharpness(target_std: float, activation: str = "linear") -> float:
    """Return the sharpness of the flattest network of two layers that fits a linear target.

    The network is ``a . phi(W x)`` without biases, the loss is the mean squared error, the inputs
    are white (uncorrelated, variance 1) and the target is a linear function of them with standard
    deviation ``target_std``. Its *sharpness*, the largest eigenvalue of the Hessian, grows with the
    target although the inputs stay what they are: to make large outputs the weights must be large.

    Parameters
    ----------
    target_std
        Above 0.
    activation
        ``"linear"``: ``4 target_std``, a bound for every network that fits. ``"relu"``:
        ``2 target_std``, for units that look along the target's direction, half of them each way.

    Raises
    ------
    ValueError
        If ``target_std`` is not finite and above 0, or ``activation`` is neither ``"linear"`` nor
        ``"relu"``.
    TypeError
        If ``target_std`` is no number.

    Notes
    -----
    At a fit the Hessian is ``2 E[J J^T]``. For linear layers and the output direction u of unit
    size, ``J^T u`` has the parts ``W u`` and ``a``, so its squared norm is
    ``|a|**2 + |W u|**2 >= 2 |a| |W u| >= 2 target_std``, by Cauchy-Schwarz with ``W^T a`` the
    target's coefficients. A ReLU passes each input through half of its units only.

    Examples
    --------
    >>> two_layer_sharpness(143)
    572.0
    """
    return _two_layers(activation)[0] * more_than_zero("target_std", target_std)


def two_layer_norm(target_std: float, activation: str = "relu") -> float:
    """Return the smallest norm of all weights with which two layers fit a linear target.

    As in :func:`two_layer_sharpness`: white inputs and no biases. For ReLU it is
    ``sqrt(4 target_std)``: the odd part of the network is ``(sum of a_i w_i) . x / 2``, and
    ``|a_i| |w_i| <= (a_i**2 + |w_i|**2) / 2``. For linear layers it is ``sqrt(2 target_std)``.

    Parameters
    ----------
    target_std
        Standard deviation of the target, above 0.
    activation
        ``"linear"`` or ``"relu"``.

    Raises
    ------
    ValueError
        If ``target_std`` is not finite and above 0, or ``activation`` is neither ``"linear"`` nor
        ``"relu"``.
    TypeError
        If ``target_std`` is no number.

    Examples
    --------
    >>> round(two_layer_norm(143), 2)
    23.92
    """
    return math.sqrt(_two_layers(activation)[1] * more_than_zero("target_std", target_std))


def _two_layers(activation: str) -> tuple[float, float]:
    try:
        return _TWO_LAYERS[activation]
    except (KeyError, TypeError):
        raise ValueError(f"activation must be linear or relu, got {activation!r}") from None


def _momentum(momentum: float) -> float:
    if not at_least_zero("momentum", momentum) < 1:
        raise ValueError(f"momentum must be 0 or more and below 1, got {momentum:g}")
    return float(momentum)


def _roots(learning_rate: ArrayLike, curvature: float, momentum: float) -> tuple[Any, Any]:
    """Return both roots of ``z**2 - (1 + m - lr h) z + m``."""
    rates = all_at_least(0, "learning_rate", learning_rate)
    momentum = _momentum(momentum)
    middle = (1 + momentum - rates * at_least_zero("curvature", curvature)) / 2
    half = np.sqrt(np.asarray(middle**2 - momentum, np.complex128))
    return middle + half, middle - half
