"""How noisy a policy's gradient is: exact variances of REINFORCE, and a corridor's exact value."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import ArrayLike

from gradcourse.checks import at_least, at_least_zero, number
from gradcourse.theory.activations import Array
from gradcourse.theory.arrays import numbers

__all__ = [
    "CORRIDOR_BEST",
    "ScoreMoments",
    "corridor_slope",
    "corridor_value",
    "reinforce_variance",
    "score_moments",
]

CORRIDOR_BEST = 2 - math.sqrt(2)
"""The share of steps to the right with which the corridor of `corridor_value` is left soonest."""


@dataclass(frozen=True)
class ScoreMoments:
    """What the variance of REINFORCE depends on, for one choice between some arms.

    The *score* s of the arm that was drawn is the gradient of its log probability with respect to
    the logits.

    Attributes
    ----------
    value
        Mean reward.
    variance
        Variance of the reward.
    gradient
        Gradient of the mean reward, ``E[(r - value) s]``, shape (arms,).
    square
        ``E[|s|**2]``.
    tilt
        ``E[(r - value) |s|**2]``.
    weighted
        ``E[(r - value)**2 |s|**2]``.
    """

    value: float
    variance: float
    gradient: Array
    square: float
    tilt: float
    weighted: float

    @property
    def best_baseline(self) -> float:
        """The baseline with the smallest variance for one choice: ``E[r |s|**2] / E[|s|**2]``.

        Weaver & Tao 2001; Greensmith, Bartlett & Baxter 2004. It may lie far from the mean reward.
        """
        return self.value + self.tilt / self.square if self.square else self.value


def score_moments(logits: ArrayLike, rewards: ArrayLike, reward_std: float = 0.0) -> ScoreMoments:
    r"""Return the moments of reward and score of a softmax policy that draws one of some arms.

    Parameters
    ----------
    logits
        Shape (arms,); the policy is their softmax.
    rewards
        Mean reward of each arm, shape (arms,).
    reward_std
        Standard deviation of noise that is added to each reward, 0 or more.

    Raises
    ------
    ValueError
        If ``logits`` and ``rewards`` do not have one shape (arms,), or ``reward_std`` is below 0 or
        not finite.
    TypeError
        If ``reward_std`` is no number.

    Notes
    -----
    The score of arm k is :math:`e_k - \pi`, with squared length
    :math:`1 - 2\pi_k + |\pi|^2`.

    Examples
    --------
    >>> moments = score_moments([0.0, 0.0], [1.0, 3.0])
    >>> moments.value, moments.gradient.tolist(), moments.best_baseline
    (2.0, [-0.5, 0.5], 2.0)
    """
    means = np.asarray(rewards, np.float64)
    policy = scipy.special.softmax(np.asarray(logits, np.float64))
    if means.shape != policy.shape or means.ndim != 1:
        raise ValueError(
            f"logits and rewards must have one shape (arms,), got {policy.shape} and {means.shape}"
        )
    noise = at_least_zero("reward_std", reward_std) ** 2
    value = float(policy @ means)
    gap = means - value
    lengths = 1 - 2 * policy + policy @ policy
    return ScoreMoments(
        value=value,
        variance=float(policy @ gap**2 + noise),
        gradient=policy * gap,
        square=float(policy @ lengths),
        tilt=float(policy @ (gap * lengths)),
        weighted=float(policy @ ((gap**2 + noise) * lengths)),
    )


def reinforce_variance(
    moments: ScoreMoments, horizon: int = 1, baseline: float = 0.0, to_go: bool = False
) -> float:
    r"""Return the variance of one episode's REINFORCE gradient, summed over its components.

    An episode is ``horizon`` choices, each as ``moments`` describes, all by the same policy; its
    gradient is the sum of the scores, each times a return minus a baseline.

    Parameters
    ----------
    moments
        Of one choice.
    horizon
        Choices in an episode, 1 or more.
    baseline
        Reward per step that is taken as expected; subtracted from each reward of the return.
    to_go
        Whether a score is multiplied by the rewards from its own step on, instead of by all.

    Raises
    ------
    ValueError
        If ``horizon`` is not a whole number of 1 or more.
    TypeError
        If ``baseline`` is no number.

    Notes
    -----
    With the mean excess :math:`\delta` of a reward over the baseline, the gradient c of a step, and
    v, F, d and e for ``variance``, ``square``, ``tilt`` and ``weighted``:

    .. math::
        \text{all: } & Te + T(T-1)(vF + 2|c|^2) + 2T^2\delta d + T^3\delta^2 F - T^2|c|^2 \\
        \text{to go: } & Te + \tfrac{T(T-1)}2 vF + T(T+1)\delta d
            + \tfrac{T(T+1)(2T+1)}6\delta^2 F - T|c|^2

    Scores have mean 0, so of the products of sums only those terms are left in which each step's
    score meets itself or its own reward.

    Examples
    --------
    >>> moments = score_moments([0.0, 0.0], [1.0, 3.0])
    >>> reinforce_variance(moments), reinforce_variance(moments, baseline=2.0)
    (2.0, 0.0)
    """
    steps = at_least(1, "horizon", horizon)
    excess = moments.value - number("baseline", baseline)
    mean = float(moments.gradient @ moments.gradient)
    cross = moments.variance * moments.square
    pairs = steps * (steps - 1)
    if to_go:
        tilts = steps * (steps + 1) * excess * moments.tilt
        squares = steps * (steps + 1) * (2 * steps + 1) / 6 * excess**2 * moments.square
        return float(steps * moments.weighted + pairs / 2 * cross + tilts + squares - steps * mean)
    tilts = 2 * steps**2 * excess * moments.tilt
    squares = steps**3 * excess**2 * moments.square
    return float(
        steps * moments.weighted + pairs * (cross + 2 * mean) + tilts + squares - steps**2 * mean
    )


def corridor_value(right: ArrayLike) -> Array:
    r"""Return the mean return of the short corridor with switched actions.

    Three places in a row and then the exit; each step costs 1. To the left of the first place is a
    wall, and in the second place the two actions are switched. A walker who cannot tell the places
    apart goes right with the same probability p in each:

    .. math:: v(p) = \frac{2(p-2)}{p(1-p)}

    Parameters
    ----------
    right
        Probability of the action "right", any shape, 0 to 1.

    Returns
    -------
    array of the shape of ``right``
        -inf at 0 and 1, where nobody gets out.

    Raises
    ------
    ValueError
        If a probability is not between 0 and 1.
    TypeError
        If one is no number.

    References
    ----------
    Sutton & Barto, *Reinforcement learning*, 2nd edition, example 13.1; the formula is derived:
    three linear equations for the three places.

    Examples
    --------
    >>> round(float(corridor_value(CORRIDOR_BEST)), 3)
    -11.657
    """
    share = _probabilities(right)
    with np.errstate(divide="ignore"):
        return np.asarray(2 * (share - 2) / (share * (1 - share)))


def corridor_slope(right: ArrayLike) -> Array:
    r"""Return the derivative of :func:`corridor_value` with respect to the logit of ``right``.

    :math:`2(p^2 - 4p + 2) / (p(1-p))`; 0 at the best policy, :math:`2 - \sqrt 2`.

    Raises
    ------
    ValueError
        If a probability is not between 0 and 1.
    TypeError
        If one is no number.

    Examples
    --------
    >>> round(float(corridor_slope(0.05)), 2), abs(float(corridor_slope(CORRIDOR_BEST))) < 1e-12
    (75.89, True)
    """
    share = _probabilities(right)
    with np.errstate(divide="ignore"):
        return np.asarray(2 * (share**2 - 4 * share + 2) / (share * (1 - share)))


def _probabilities(right: ArrayLike) -> Array:
    share = numbers("right", right)
    outside = share[~((share >= 0) & (share <= 1))]
    if outside.size:
        raise ValueError(f"right must be between 0 and 1, got {outside[0]:g}")
    return share
