"""What normalising does to a gradient: the factor per layer of BatchNorm, LayerNorm and RMSNorm."""

from __future__ import annotations

import functools
import math

import numpy as np
import scipy

from gradcourse.checks import at_least, more_than_zero, number
from gradcourse.theory.activations import Activation, Array, ArrayFunction
from gradcourse.theory.activations import activation as as_activation
from gradcourse.theory.moments import gaussian_mean

__all__ = ["NORMS", "batch_norm_chi", "norm_chi", "surviving_share"]

NORMS = ("BatchNorm", "LayerNorm", "RMSNorm")
"""The norms whose theory is known here."""
SMALLEST_BATCH = 4


def norm_chi(
    norm: str,
    activation: str | Activation | ArrayFunction,
    weight_variance: float = 1.0,
    *,
    after: bool = False,
) -> float:
    """Return ``chi`` of a layer that normalises: wide layers, and for BatchNorm a large batch.

    Before the activation, every unit has variance 1 when it meets ``phi``, whatever the weights::

        chi = E[phi'(z)**2] / D,    z ~ N(0, 1)

    Behind it, pre-activations have the variance of the weights, ``sw2``::

        chi = sw2 E[phi'(sqrt(sw2) z)**2] / D

    ``D`` is the square of what the layer divides by, in units of the weights: the mean square of
    ``phi``, or its *variance* where the mean is subtracted first. BatchNorm subtracts the mean over
    the batch in either place. LayerNorm subtracts the mean over the units, which is 0 before the
    activation. RMSNorm subtracts nothing.

    Parameters
    ----------
    norm
        ``"BatchNorm"``, ``"LayerNorm"`` or ``"RMSNorm"``.
    activation
        A name, an ``Activation`` or a function of an array.
    weight_variance
        Weights have variance ``weight_variance / fan_in``. It counts behind an activation only.
    after
        Whether the norm comes after the activation.

    Returns
    -------
    float
        The factor of the squared gradient. Never below 1 where the mean is subtracted, and 1 for a
        straight line only: the Poincare inequality, ``Var[phi] <= sw2 E[phi'**2]``.

    Raises
    ------
    ValueError
        If the norm is unknown, ``activation`` is neither a known name nor a function, or
        ``weight_variance`` is not finite and above 0.
    TypeError
        If ``weight_variance`` is no number.

    Notes
    -----
    BatchNorm: Yang et al. 2019, *A mean field theory of batch normalization*. The others are
    derived in the same way. For BatchNorm the samples of a batch are taken to be uncorrelated,
    which deep layers make true.

    Examples
    --------
    >>> round(norm_chi("BatchNorm", "relu"), 4)  # pi / (pi - 1)
    1.4669
    >>> round(norm_chi("LayerNorm", "relu"), 12)
    1.0
    """
    if norm not in NORMS:
        raise ValueError(f"norm must be one of {', '.join(NORMS)}, got {norm!r}")
    phi = as_activation(activation)
    weight = more_than_zero("weight_variance", weight_variance)
    variance = weight if after else 1.0
    slope = gaussian_mean(lambda x: np.square(phi.derivative(x)), variance)
    square = gaussian_mean(lambda x: np.square(phi.function(x)), variance)
    mean = gaussian_mean(phi.function, variance)
    if norm == "BatchNorm" or (norm == "LayerNorm" and after):
        square -= mean**2
    return variance * slope / square


def batch_norm_chi(activation: str | Activation | ArrayFunction, batch: float = math.inf) -> float:
    """Return ``chi`` of a wide layer with BatchNorm before its activation, for any batch size.

    In deep layers no sample of a batch is closer to another than the rest, so the ``batch``
    normalised values of a unit lie anywhere on a sphere, at right angles to ``(1, ..., 1)``. With
    ``z1`` and ``z2`` two of them::

        chi = (B A - (A - p) - (Z - r)) / ((a - b) (B - 3))

        A = E[phi'(z1)**2]         p = E[phi'(z1) phi'(z2)]
        Z = E[(z1 phi'(z1))**2]    r = E[z1 phi'(z1) z2 phi'(z2)]
        a = E[phi(z1)**2]          b = E[phi(z1) phi(z2)]

    ``A - p`` and ``Z - r`` are what the two projections take away, and ``B / (B - 3)`` is the mean
    of one over a sample variance, which for 3 samples has no end.

    Parameters
    ----------
    activation
        A name, an ``Activation`` or a function of an array.
    batch
        The number of samples, 4 or more, or ``inf``.

    Returns
    -------
    float
        The factor of the mean squared gradient. The typical one is below it for the smallest
        batches, where few units carry the mean.

    Raises
    ------
    ValueError
        If ``activation`` is neither a known name nor a function, or ``batch`` is neither a whole
        number of 4 or more nor ``inf``.
    TypeError
        If ``batch`` is no number.

    Notes
    -----
    Yang et al. 2019, *A mean field theory of batch normalization*, for ReLU in closed form.

    Examples
    --------
    >>> round(batch_norm_chi("relu", 16), 4)
    1.59
    >>> round(batch_norm_chi("linear", 16), 4)  # (B - 2) / (B - 3)
    1.0769
    """
    samples = number("batch", batch)
    if samples == math.inf:
        return norm_chi("BatchNorm", activation)
    if not samples.is_integer():
        raise ValueError(f"batch must be a whole number, {SMALLEST_BATCH} or more, got {samples:g}")
    size = at_least(SMALLEST_BATCH, "batch", int(samples))
    phi = as_activation(activation)
    one, two, mass = _pairs_of_batch(size)

    def means(first: Array, second: Array) -> float:
        return float((np.square(first) - first * second) @ mass)

    value, slope = phi.function, phi.derivative
    slopes, others = slope(one), slope(two)
    kept = size * float(np.square(slopes) @ mass)
    kept -= means(slopes, others) + means(one * slopes, two * others)
    return kept / (means(value(one), value(two)) * (size - 3))


def surviving_share(norm: str, size: int) -> float:
    """Return the share of a random gradient's squared length that a norm lets through.

    Normalising ``size`` numbers takes away the part of the gradient along ``(1, ..., 1)``, because
    of the mean, and the part along the normalised numbers, because of the deviation: 2 of ``size``
    directions, or 1 of them for RMSNorm, which subtracts no mean.

    Parameters
    ----------
    norm
        ``"BatchNorm"``, ``"LayerNorm"`` or ``"RMSNorm"``.
    size
        How many numbers are normalised together: the batch for BatchNorm, the units for the others.

    Raises
    ------
    ValueError
        If the norm is unknown or ``size`` is not a whole number of 1 or more.

    Examples
    --------
    >>> surviving_share("BatchNorm", 4)
    0.5
    """
    if norm not in NORMS:
        raise ValueError(f"norm must be one of {', '.join(NORMS)}, got {norm!r}")
    size = at_least(1, "size", size)
    return max(0.0, 1 - (1 if norm == "RMSNorm" else 2) / size)


@functools.lru_cache(maxsize=64)
def _pairs_of_batch(batch: int) -> tuple[Array, Array, Array]:
    """Return pairs of normalised values of one unit, and their probabilities, which sum to 1.

    Two coordinates of a point on a sphere in ``batch - 1`` dimensions, in polar form: the square of
    the radius has a Beta distribution, and every angle is as likely as another. Panels of the angle
    end where one of the two values is 0, so that a kink there does no harm.
    """
    cosine = -1 / (batch - 1)
    sine = math.sqrt(1 - cosine**2)
    turn = math.atan2(-cosine, sine)
    edges = np.sort(np.mod([math.pi / 2, 3 * math.pi / 2, turn, turn + math.pi], 2 * math.pi))
    edges = np.append(edges, edges[0] + 2 * math.pi)
    point, weight = np.polynomial.legendre.leggauss(32)
    half = np.diff(edges)[:, None] / 2
    angle = (edges[:-1, None] + half * (point + 1)).ravel()
    angle_mass = (half * weight).ravel() / (2 * math.pi)
    node, node_mass = scipy.special.roots_jacobi(32, (batch - 5) / 2, 0.0)
    radius = np.sqrt((batch - 1) * (1 + node) / 2)
    first = np.outer(radius, np.cos(angle))
    second = np.outer(radius, cosine * np.cos(angle) + sine * np.sin(angle))
    mass = np.outer(node_mass / node_mass.sum(), angle_mass)
    return first.ravel(), second.ravel(), mass.ravel()
