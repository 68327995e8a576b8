"""Two players who learn from each other: the smallest GAN, and what perfect samples would score."""

from __future__ import annotations

import math

import numpy as np
import scipy
from numpy.typing import ArrayLike

from gradcourse.checks import at_least, at_least_zero, more_than_zero
from gradcourse.theory.activations import Array

__all__ = [
    "dirac_gan_path",
    "dirac_gan_penalties",
    "dirac_gan_rate",
    "dirac_gan_step",
    "mixture_distance",
]


def dirac_gan_step(
    generator_rate: float,
    critic_rate: float,
    slope: float = 1.0,
    penalty: float = 0.0,
    alternating: bool = False,
) -> Array:
    r"""Return the matrix of one step of gradient descent in the smallest GAN, near its equilibrium.

    All data lie at 0. The generator puts all its samples at :math:`\theta`, and the critic scores a
    place :math:`x` with :math:`\psi x`. The critic wants data to score higher than samples, and the
    generator wants its samples to score high:

    .. math:: \theta' = \theta + a s\,\psi, \qquad \psi' = \psi - b s\,\theta - b\gamma\,\psi

    Parameters
    ----------
    generator_rate, critic_rate
        The learning rates a and b, finite, 0 or more.
    slope
        The slope s of the loss at a score of 0: 1 for Wasserstein's, whose steps are linear
        everywhere, and 1/2 for the logistic loss.
    penalty
        The strength :math:`\gamma` of the gradient penalty
        :math:`\tfrac\gamma2 |\nabla_x D|^2 = \tfrac\gamma2\psi^2` on data, 0 or more.
    alternating
        Whether the critic moves first and the generator answers its new score.

    Returns
    -------
    array of shape (2, 2)
        Times :math:`(\theta, \psi)` it gives the next pair.

    Raises
    ------
    ValueError
        If a learning rate or ``penalty`` is below 0 or not finite, or ``slope`` is not finite and
        above 0.
    TypeError
        If one of these is no number.

    References
    ----------
    Mescheder, Geiger & Nowozin 2018, *Which training methods for GANs do actually converge?*

    Examples
    --------
    >>> dirac_gan_step(0.5, 0.5).tolist()
    [[1.0, 0.5], [-0.5, 1.0]]
    """
    push = at_least_zero("generator_rate", generator_rate) * more_than_zero("slope", slope)
    rate = at_least_zero("critic_rate", critic_rate)
    critic = [-rate * slope, 1 - rate * at_least_zero("penalty", penalty)]
    if alternating:
        # The generator adds what the critic's new score pushes it by.
        return np.array([[1 + push * critic[0], push * critic[1]], critic])
    return np.array([[1.0, push], critic])


def dirac_gan_rate(
    generator_rate: float,
    critic_rate: float,
    slope: float = 1.0,
    penalty: float = 0.0,
    alternating: bool = False,
) -> float:
    r"""Return the factor per step by which the smallest GAN leaves or nears its equilibrium.

    It is the size of the larger eigenvalue of :func:`dirac_gan_step`. Without a penalty it is
    :math:`\sqrt{1 + a b s^2}` for simultaneous steps, above 1 for all learning rates; for
    alternating ones it is 1 as long as :math:`a b s^2 \le 4`.

    Parameters
    ----------
    generator_rate, critic_rate, slope, penalty, alternating
        As in :func:`dirac_gan_step`.

    Raises
    ------
    ValueError, TypeError
        As in :func:`dirac_gan_step`.

    Examples
    --------
    >>> round(dirac_gan_rate(0.2, 0.2), 6) == round(math.sqrt(1.04), 6)
    True
    >>> round(dirac_gan_rate(0.2, 0.2, alternating=True), 6)
    1.0
    """
    step = dirac_gan_step(generator_rate, critic_rate, slope, penalty, alternating)
    return float(np.abs(np.linalg.eigvals(step)).max())


def dirac_gan_path(
    steps: int,
    generator_rate: float,
    critic_rate: float,
    slope: float = 1.0,
    penalty: float = 0.0,
    alternating: bool = False,
    start: ArrayLike = (1.0, 0.0),
) -> Array:
    """Return where the smallest GAN is after each step, if its steps are linear.

    Parameters
    ----------
    steps
        How many, 0 or more.
    generator_rate, critic_rate, slope, penalty, alternating
        As in :func:`dirac_gan_step`.
    start
        Generator and critic before the first step.

    Returns
    -------
    array of shape (steps + 1, 2)
        Generator and critic, ``start`` first.

    Raises
    ------
    ValueError
        If ``steps`` is not a whole number of 0 or more, or as in :func:`dirac_gan_step`.
    TypeError
        As in :func:`dirac_gan_step`.

    Examples
    --------
    >>> dirac_gan_path(2, 0.5, 0.5).tolist()
    [[1.0, 0.0], [1.0, -0.5], [0.75, -1.0]]
    """
    step = dirac_gan_step(generator_rate, critic_rate, slope, penalty, alternating)
    path = [np.asarray(start, np.float64)]
    for _ in range(at_least(0, "steps", steps)):
        path.append(step @ path[-1])
    return np.array(path)


def dirac_gan_penalties(
    generator_rate: float, critic_rate: float, slope: float = 1.0, alternating: bool = False
) -> tuple[float, float]:
    r"""Return the gradient penalties between which the smallest GAN converges.

    Simultaneous steps converge for :math:`a s^2 < \gamma < 2/b + a s^2/2`, alternating ones for
    :math:`0 < \gamma < 2/b - a s^2/2`; if the first number is not the smaller one, for no penalty.

    Parameters
    ----------
    generator_rate, slope, alternating
        As in :func:`dirac_gan_step`.
    critic_rate
        The critic's learning rate b, finite, above 0.

    Raises
    ------
    ValueError
        If ``generator_rate`` is below 0 or not finite, or ``critic_rate`` or ``slope`` is not
        finite and above 0.
    TypeError
        If one of these is no number.

    Notes
    -----
    Both eigenvalues lie inside of the unit circle if and only if the determinant is below 1 and
    ``1 + determinant`` exceeds the size of the trace (Jury's criterion).

    Examples
    --------
    >>> dirac_gan_penalties(0.5, 0.5)
    (0.5, 4.25)
    >>> dirac_gan_penalties(0.5, 0.5, alternating=True)
    (0.0, 3.75)
    """
    generator_rate = at_least_zero("generator_rate", generator_rate)
    push = generator_rate * more_than_zero("slope", slope) ** 2
    widest = 2 / more_than_zero("critic_rate", critic_rate)
    return (0.0, widest - push / 2) if alternating else (push, widest + push / 2)


def mixture_distance(centres: ArrayLike, spread: float) -> float:
    """Return the mean distance between two points of a mixture of round Gaussians in the plane.

    Parameters
    ----------
    centres
        Shape (modes, 2); all modes are equally likely.
    spread
        Standard deviation of each in either direction, above 0.

    Raises
    ------
    ValueError
        If ``centres`` do not have shape (modes, 2) or there are none, or ``spread`` is not finite
        and above 0.
    TypeError
        If ``spread`` is no number.

    Notes
    -----
    The difference of two points is Gaussian around the difference of their centres with standard
    deviation ``spread * sqrt(2)``, so its length has Rice's distribution.

    Examples
    --------
    >>> round(mixture_distance([[0.0, 0.0]], 1.0), 6) == round(math.sqrt(math.pi), 6)
    True
    """
    places = np.asarray(centres, np.float64)
    if places.ndim != 2 or places.shape[1] != 2 or places.size == 0:
        raise ValueError(f"centres must have shape (modes, 2), 1 or more, got {places.shape}")
    between = np.linalg.norm(places[:, None] - places[None], axis=-1)
    scale = more_than_zero("spread", spread) * math.sqrt(2)
    return float(scipy.stats.rice.mean(between / scale, scale=scale).mean())
