"""What depth does to wide random layers besides chi: the spread of gains and of singular values."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from gradcourse.checks import at_least
from gradcourse.theory.activations import Activation, Array, ArrayFunction
from gradcourse.theory.activations import activation as as_activation
from gradcourse.theory.arrays import all_at_least
from gradcourse.theory.mean_field import length_fixed_point
from gradcourse.theory.moments import gaussian_mean

__all__ = ["jacobian_spread", "relu_log_gain"]


def relu_log_gain(width: int, depth: ArrayLike = 1) -> tuple[Array, Array]:
    r"""Return mean and variance of ln of the squared gain of a He-initialised ReLU network.

    The gain is what the network does to the norm of one input, or of one gradient; both have the
    same law. With :math:`\beta = 5 L / n`, its logarithm is about normal with mean
    :math:`-\beta/2` and variance :math:`\beta`, so that the mean of the squared gain itself is 1.

    Parameters
    ----------
    width
        Units in each layer, ``n``.
    depth
        Layers, ``L``, 0 or more, of any shape.

    Returns
    -------
    mean, variance : arrays of that shape

    Raises
    ------
    ValueError
        If ``width`` is not a whole number of 1 or more, or a depth is below 0 or not
        finite.
    TypeError
        If a depth is no number.

    Notes
    -----
    Hanin & Nica 2020, *Products of many large random matrices and gradients in deep neural
    networks*. One layer multiplies the square by a mean of ``n`` numbers ``2 max(z, 0)**2``, of
    mean 1 and variance 5. Terms of order ``L / n**2`` are left out.

    Examples
    --------
    >>> [float(number) for number in relu_log_gain(width=50, depth=40)]
    [-2.0, 4.0]
    """
    width = at_least(1, "width", width)
    beta = 5 * all_at_least(0, "depth", depth) / width
    return -beta / 2, beta


def jacobian_spread(
    activation: str | Activation | ArrayFunction,
    depth: ArrayLike,
    weight_variance: float,
    bias_variance: float = 0.0,
    orthogonal: bool = False,
) -> Array:
    r"""Return the variance of a Jacobian's squared singular values, divided by their mean squared.

    .. math:: L \left(\frac{\mu_2}{\mu_1^2} - 1 - s_1\right), \qquad
        \mu_k = \mathbb E\big[\phi'(\sqrt{q^*}\,z)^{2k}\big]

    with :math:`s_1 = -1` for Gaussian weights and 0 for orthogonal ones. 0 is an isometry.

    Parameters
    ----------
    activation
        A name, an ``Activation`` or a function of an array.
    depth
        Layers, 0 or more, of any shape.
    weight_variance, bias_variance
        Weights have variance ``weight_variance / fan_in``; they set the length ``q*``.
    orthogonal
        Whether the weights are orthogonal matrices times ``sqrt(weight_variance)``.

    Returns
    -------
    array of the shape of ``depth``

    Raises
    ------
    ValueError
        If ``activation`` is neither a known name nor a function; if a depth or a variance of
        weights or biases is below 0 or not finite; or if the signal dies out or grows
        without end, so that there is no ``q*``. ReLU and straight lines need none, because their
        slopes do not depend on it.
    TypeError
        If a depth or a variance is no number.

    Notes
    -----
    Pennington, Schoenholz & Ganguli 2017, *Resurrecting the sigmoid in deep learning through
    dynamical isometry*; for layers much wider than deep.

    Examples
    --------
    >>> kinds = [jacobian_spread("relu", 10, 2.0, orthogonal=kind) for kind in (False, True)]
    >>> [round(float(spread), 9) for spread in kinds]
    [20.0, 10.0]
    """
    phi = as_activation(activation)
    depths = all_at_least(0, "depth", depth)
    q = length_fixed_point(phi, weight_variance, bias_variance)
    if phi.name in ("relu", "leaky_relu", "linear", "identity"):
        q = 1.0
    if not 0 < q < math.inf:
        raise ValueError(
            f"a signal through {phi.name} at weight variance {weight_variance:g} settles on no "
            "length, so its slopes have no spread of their own"
        )
    first = gaussian_mean(lambda x: phi.derivative(x) ** 2, q)
    second = gaussian_mean(lambda x: phi.derivative(x) ** 4, q)
    per_layer = second / first**2 - (1 if orthogonal else 0)
    return np.asarray(depths * per_layer)
