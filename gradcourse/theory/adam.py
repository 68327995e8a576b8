"""How far Adam moves a weight, in closed form."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gradcourse.checks import at_least, number
from gradcourse.theory.arrays import all_at_least

__all__ = ["adam_noise_update", "adam_spike_update"]

Array = NDArray[Any]


def adam_noise_update(step: ArrayLike, beta1: float = 0.9) -> Array:
    r"""Return the root mean square of Adam's update, in learning rates, for coin-flip gradients.

    .. math:: \sqrt{\frac{1-\beta_1}{1+\beta_1}\cdot\frac{1+\beta_1^t}{1-\beta_1^t}}

    The gradients are +1 or -1, each as likely, and independent: noise alone. Their squares are all
    1, so the second moment is exactly 1 at each step, and only the first one averages. A gradient
    that is always the same gives 1 instead, at every step.

    Parameters
    ----------
    step
        t, counted from 1.
    beta1
        Decay of the first moment, 0 or more and below 1.

    Raises
    ------
    ValueError
        If one of ``step`` is below 1 or not finite, or ``beta1`` is not 0 or more and below 1.
    TypeError
        If one of ``step``, or ``beta1``, is no number.

    References
    ----------
    Derived. Kingma & Ba 2015, *Adam*; Liu et al. 2020, *On the variance of the adaptive learning
    rate and beyond*, on what is special about the first steps.

    Examples
    --------
    The first step has the full learning rate, a late one a quarter of it:

    >>> adam_noise_update([1, 10, 1000]).round(3).tolist()
    [1.0, 0.33, 0.229]
    """
    steps = all_at_least(1, "step", step)
    beta = _beta("beta1", beta1)
    kept = beta**steps
    return np.asarray(np.sqrt((1 - beta) / (1 + beta) * (1 + kept) / (1 - kept)))


def adam_spike_update(
    steps: int, spike_at: int, size: float, betas: tuple[float, float] = (0.9, 0.999)
) -> Array:
    r"""Return Adam's updates, in learning rates, for gradients that are 1 but for one spike.

    With the spike s at step k, the moments of step t are

    .. math:: \hat m_t = 1 + \frac{(1-\beta_1)\beta_1^{t-k}}{1-\beta_1^t}(s-1), \qquad
              \hat v_t = 1 + \frac{(1-\beta_2)\beta_2^{t-k}}{1-\beta_2^t}(s^2-1)

    from t = k on, and 1 before; the update is :math:`\hat m_t / \sqrt{\hat v_t}`.

    Parameters
    ----------
    steps
        How many steps to return, 1 or more.
    spike_at
        k, counted from 1.
    size
        The spike s, relative to the other gradients.
    betas
        Adam's two decays.

    Returns
    -------
    array of shape (steps,)
        The limit of Adam's ``eps`` going to 0.

    Raises
    ------
    ValueError
        If ``steps`` or ``spike_at`` is not a whole number of 1 or more, or a decay is not 0 or more
        and below 1.
    TypeError
        If ``size`` or a decay is no number.

    References
    ----------
    Derived from Kingma & Ba 2015, *Adam*, algorithm 1.

    Examples
    --------
    Late in a run a huge spike moves the weight ``(1 - 0.9) / sqrt(1 - 0.999)`` learning rates, and
    then the weight almost stands still:

    >>> adam_spike_update(10_200, spike_at=10_000, size=1e6)[[9_998, 9_999, 10_100]].round(3)
    array([1.   , 3.162, 0.   ])
    """
    count, place = at_least(1, "steps", steps), at_least(1, "spike_at", spike_at)
    spike = number("size", size)
    first, second = (_beta(f"beta{n}", beta) for n, beta in enumerate(betas, 1))
    t = np.arange(1, count + 1)
    since = np.maximum(t - place, 0)
    struck = t >= place
    mean = 1 + struck * (1 - first) * first**since / (1 - first**t) * (spike - 1)
    square = 1 + struck * (1 - second) * second**since / (1 - second**t) * (spike**2 - 1)
    return np.asarray(mean / np.sqrt(square))


def _beta(name: str, value: float) -> float:
    beta = number(name, value)
    if not 0 <= beta < 1:
        raise ValueError(f"{name} must be 0 or more and below 1, got {beta:g}")
    return beta
