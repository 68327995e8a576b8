"""One matrix many times, and what gates keep: closed forms for recurrent networks."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy
from numpy.typing import ArrayLike, NDArray

from gradcourse.checks import at_least_zero, more_than_zero
from gradcourse.theory.arrays import all_at_least

__all__ = ["chrono_memory", "gate_memory", "gaussian_power_norm", "jordan_power_norm"]

Array = NDArray[Any]

# Enough for the mean over units of a memory of thousands of steps, to ten digits.
NODES = 400


def jordan_power_norm(steps: ArrayLike, radius: float, shear: float) -> tuple[Array, Array]:
    r"""Return how far powers of a 2 by 2 Jordan block can stretch a vector.

    .. math:: J = \begin{pmatrix}\rho & k\\ 0 & \rho\end{pmatrix}, \quad
              J^t = \rho^t \begin{pmatrix}1 & c\\ 0 & 1\end{pmatrix}, \quad c = \frac{tk}{\rho}

    The largest singular value is :math:`\rho^t (c + \sqrt{c^2 + 4}) / 2`. The spectral radius
    :math:`\rho` alone says where it ends, not how high it gets on the way: below 1, too, it can
    grow a thousandfold first.

    Parameters
    ----------
    steps
        The exponents t, 0 or more.
    radius
        Both eigenvalues, above 0.
    shear
        The number k above the diagonal, 0 or more.

    Returns
    -------
    largest, mean_square
        Of the shape of ``steps``: the largest singular value, and the root mean square over all
        directions.

    Raises
    ------
    ValueError
        If one of ``steps``, or ``shear``, is below 0 or not finite, or ``radius`` is not finite and
        above 0.
    TypeError
        If one of ``steps``, ``radius`` or ``shear`` is no number.

    References
    ----------
    Pascanu, Mikolov & Bengio 2013, *On the difficulty of training recurrent neural networks*, has
    the linear network; the block is textbook linear algebra (Trefethen & Embree 2005, *Spectra and
    pseudospectra*).

    Examples
    --------
    >>> largest, _ = jordan_power_norm(np.arange(60), radius=0.9, shear=5.0)
    >>> int(largest.argmax()), round(float(largest.max()), 2)
    (9, 19.38)
    """
    t = all_at_least(0, "steps", steps)
    radius, shear = more_than_zero("radius", radius), at_least_zero("shear", shear)
    c = t * shear / radius
    power = radius**t
    return power * (c + np.sqrt(c**2 + 4)) / 2, power * np.sqrt(1 + c**2 / 2)


def gaussian_power_norm(steps: ArrayLike) -> Array:
    r"""Return the largest singular value of powers of a large Gaussian matrix.

    .. math:: \lim_{n\to\infty} \lVert W^t \rVert = \sqrt{(t+1)^{t+1} / t^t}

    for entries of variance ``1/n``, whose spectral radius is 1: 2 for the matrix itself, and about
    ``sqrt(e (t + 1))`` for later powers. The root mean square over directions stays 1.

    Parameters
    ----------
    steps
        The exponents t, 0 or more, and much smaller than the width.

    Raises
    ------
    ValueError
        If one of ``steps`` is below 0 or not finite.
    TypeError
        If one of ``steps`` is no number.

    References
    ----------
    The law of the singular values of a power (Fuss and Catalan's) is by Alexeev, Goetze &
    Tikhomirov 2010, *Asymptotic distribution of singular values of powers of random matrices*.

    Examples
    --------
    >>> gaussian_power_norm([0, 1, 2]).round(4)
    array([1.    , 2.    , 2.5981])
    """
    t = all_at_least(0, "steps", steps)
    return np.asarray(np.exp((scipy.special.xlogy(t + 1, t + 1) - scipy.special.xlogy(t, t)) / 2))


def gate_memory(steps: ArrayLike, bias: ArrayLike) -> Array:
    """Return what a gate with this bias, and weights of 0, keeps of a memory: ``sigmoid(b)**t``.

    So does the forget gate of an LSTM to its cell, and the update gate of a GRU (in torch's
    convention) to its state. With other weights a gradient has more ways back than this one, and
    gates that move: it decays at another rate.

    Parameters
    ----------
    steps
        How many steps, 0 or more.
    bias
        The sum of torch's two biases; it broadcasts with ``steps``.

    Raises
    ------
    ValueError
        If one of ``steps`` is below 0 or not finite.
    TypeError
        If one of ``steps`` is no number.

    References
    ----------
    Gers, Schmidhuber & Cummins 2000, *Learning to forget*.

    Examples
    --------
    >>> f"{gate_memory(50, 1.0):.4g}"
    '1.576e-07'
    """
    t = all_at_least(0, "steps", steps)
    return np.asarray(np.exp(t * scipy.special.log_expit(np.asarray(bias, np.float64))))


def chrono_memory(steps: ArrayLike, max_time: float) -> Array:
    """Return what units with chrono biases, and weights of 0, keep: the root mean square over them.

    Each unit has the bias ``ln(u)``, with ``u`` uniform between 1 and ``max_time - 1``, and keeps
    ``(u / (1 + u))**t``. The mean falls like a power of ``t`` and not like an exponential.

    Parameters
    ----------
    steps
        How many steps t, 0 or more.
    max_time
        As for ``gradcourse.initialization.chrono_``, 2 or more.

    Raises
    ------
    ValueError
        If one of ``steps`` is below 0, ``max_time`` below 2, or one of them not finite.
    TypeError
        If one of ``steps`` is no number.

    References
    ----------
    Tallec & Ollivier 2018, *Can recurrent neural networks warp time?*

    Examples
    --------
    >>> chrono_memory([0, 100], max_time=101).round(2)
    array([1. , 0.2])
    """
    t = all_at_least(0, "steps", steps)
    if not 2 <= max_time < np.inf:
        raise ValueError(f"max_time must be a finite number, 2 or more, got {max_time:g}")
    nodes, weights = np.polynomial.legendre.leggauss(NODES)
    u = 1 + (max_time - 2) * (nodes + 1) / 2
    kept = gate_memory(2 * t[..., None], np.log(u))
    return np.asarray(np.sqrt(kept @ weights / 2))
