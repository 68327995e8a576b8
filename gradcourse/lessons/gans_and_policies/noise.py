"""How noisy the gradient of a policy is: measured over many episodes, beside its exact variance."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import scipy
from numpy.typing import NDArray

from gradcourse import theory
from gradcourse.checks import at_least, at_least_zero, number
from gradcourse.exercises import as_prediction
from gradcourse.live import MEASURED, PALETTE, THEORY, Panel

__all__ = ["HORIZONS", "LOGITS", "REWARDS", "Noise", "draw_noise", "measure_noise"]

Array = NDArray[Any]

LOGITS = np.array([0.5, 0.0, -0.5])
REWARDS = np.array([0.0, 1.0, 2.0])
HORIZONS = (1, 2, 4, 8, 16, 32)
SEEDS, EPISODES = 8, 1000
BASELINES = np.linspace(-8.0, 8.0, 65)
# The ways to estimate: whether a baseline is used, and whether rewards of the past are left out.
WAYS = {"no baseline": (False, False), "baseline": (True, False), "baseline, to go": (True, True)}
COLOURS = {"no baseline": PALETTE[3], "baseline": MEASURED, "baseline, to go": PALETTE[2]}
# Where the learner is asked for a prediction.
ASKED = (3.0, 8, 1.0, 1)


@dataclass(frozen=True)
class Noise:
    """The standard deviation of REINFORCE's gradient, measured and exact.

    Attributes
    ----------
    moments
        Theory of one choice.
    horizon
        The present one.
    against_baseline, predicted_against_baseline
        At the present horizon for each of ``BASELINES``: shape (3, baselines), the median over
        seeds, the smallest and the largest; and theory, shape (baselines,).
    against_horizon, predicted_against_horizon
        log10 by the name of the way, for each of ``HORIZONS``: shapes (3, horizons), (horizons,).
    signal
        log10 of the length of the mean gradient from theory, shape (horizons,).
    best
        The best baseline at the present horizon.
    needed
        Episodes to average until the noise is as long as the mean gradient, by the name of the way.
    prediction
        The learner's guess of the factor by which a baseline divides the noise, if there is one.
    """

    moments: theory.ScoreMoments
    horizon: int
    against_baseline: Array
    predicted_against_baseline: Array
    against_horizon: dict[str, Array]
    predicted_against_horizon: dict[str, Array]
    signal: Array
    best: float
    needed: dict[str, float]
    prediction: float | None

    @property
    def here(self) -> dict[str, tuple[float, float]]:
        """Measured and exact standard deviation at the present horizon, by the name of the way."""
        place = HORIZONS.index(self.horizon)
        return {
            way: (
                float(10 ** self.against_horizon[way][0, place]),
                float(10 ** self.predicted_against_horizon[way][place]),
            )
            for way in WAYS
        }

    def summary(self) -> str:
        """Return the picture in one line."""
        parts = [
            f"{way} {measured:.3g} (theory: {exact:.3g}; {self.needed[way]:.3g} episodes)"
            for way, (measured, exact) in self.here.items()
        ]
        return (
            f"{self.horizon} steps, noise (and episodes to average until it is as long as the mean "
            f"gradient): {'; '.join(parts)}"
        )


def measure_noise(
    offset: float = 3.0,
    horizon: int = 8,
    reward_std: float = 1.0,
    batch: int = 1,
    first_seed: int = 0,
    prediction: float | None = None,
) -> Noise:
    """Measure the noise of REINFORCE on episodes of independent choices between three arms.

    Parameters
    ----------
    offset
        What every arm pays on top of its own 0, 1 or 2.
    horizon
        Choices in an episode, one of ``HORIZONS``.
    reward_std
        Standard deviation of the noise on each reward.
    batch
        Episodes whose gradients are averaged, at most 100.
    first_seed
        The first of eight seeds, each of a thousand episodes.
    prediction
        The factor by which the learner expects a baseline to divide the noise of the first setting,
        drawn as a star there.
    """
    number("offset", offset)
    at_least_zero("reward_std", reward_std)
    if horizon not in HORIZONS:
        known = ", ".join(str(one) for one in HORIZONS)
        raise ValueError(f"horizon must be one of {known}, got {horizon!r}")
    if not at_least(1, "batch", batch) <= EPISODES // 10:
        raise ValueError(f"batch must be at most {EPISODES // 10}, got {batch}")
    moments = theory.score_moments(LOGITS, REWARDS + offset, reward_std)
    episodes = _episodes(first_seed)
    paid = REWARDS[episodes.arms] - moments.value + offset + reward_std * episodes.noise
    past = np.cumsum(paid, axis=0) - paid
    # Score times all rewards before it: what the reward to go leaves out.
    left_out = np.cumsum(episodes.scores * past[..., None], axis=0)
    measured: dict[str, list[Array]] = {way: [] for way in WAYS}
    exact: dict[str, list[float]] = {way: [] for way in WAYS}
    for steps in HORIZONS:
        total = episodes.sums[steps - 1]
        whole = (past[steps - 1] + paid[steps - 1])[..., None] * total
        gradients = {
            "no baseline": whole + steps * moments.value * total,
            "baseline": whole,
            "baseline, to go": whole - left_out[steps - 1],
        }
        for way, (uses_baseline, to_go) in WAYS.items():
            subtracted = moments.value if uses_baseline else 0.0
            measured[way].append(_spread(_deviation(gradients[way], batch)))
            variance = theory.reinforce_variance(moments, steps, subtracted, to_go)
            exact[way].append(math.sqrt(variance / batch))
        if steps == horizon:
            # The gradient is linear in the baseline, and its variance a parabola.
            shifts = steps * (moments.value - BASELINES)
            here = _parabola(whole, total, shifts, batch)
    predicted = [theory.reinforce_variance(moments, horizon, one) / batch for one in BASELINES]
    lengths = np.array(HORIZONS) * np.linalg.norm(moments.gradient)
    place = HORIZONS.index(horizon)
    with np.errstate(divide="ignore"):
        logs = {way: np.log10(np.stack(rows, axis=1)) for way, rows in measured.items()}
        exact_logs = {way: np.log10(rows) for way, rows in exact.items()}
    asked = (offset, horizon, reward_std, batch) == ASKED
    guess = as_prediction(prediction) if asked else None
    return Noise(
        moments,
        horizon,
        here,
        np.sqrt(predicted),
        logs,
        exact_logs,
        np.log10(lengths),
        moments.value + moments.tilt / (horizon * moments.square),
        {way: batch * (exact[way][place] / lengths[place]) ** 2 for way in WAYS},
        guess if guess is None or guess > 0 else None,
    )


@dataclass(frozen=True)
class _Episodes:
    """Choices (steps, seeds, episodes), their scores (..., arms) and sums so far, and noise."""

    arms: NDArray[np.int64]
    scores: Array
    sums: Array
    noise: Array


@lru_cache(maxsize=2)
def _episodes(first_seed: int) -> _Episodes:
    policy = scipy.special.softmax(LOGITS)
    shape = (HORIZONS[-1], EPISODES)
    sources = [np.random.default_rng(seed) for seed in range(first_seed, first_seed + SEEDS)]
    arms = np.stack([one.choice(len(policy), shape, p=policy) for one in sources], axis=1)
    noise = np.stack([one.standard_normal(shape) for one in sources], axis=1)
    scores = np.eye(len(policy))[arms] - policy
    return _Episodes(arms, scores, np.cumsum(scores, axis=0), noise)


def _batches(gradients: Array, batch: int) -> Array:
    """Return the means of batches, shape (seeds, batches, arms)."""
    count = EPISODES // batch
    kept = gradients[:, : count * batch]
    return np.asarray(kept.reshape(SEEDS, count, batch, -1).mean(axis=2))


def _deviation(gradients: Array, batch: int) -> Array:
    """Return the root of the variance, summed over components, of each seed; shape (seeds,)."""
    return np.asarray(np.sqrt(_batches(gradients, batch).var(axis=1, ddof=1).sum(axis=1)))


def _parabola(gradients: Array, by: Array, shifts: Array, batch: int) -> Array:
    """Return the deviation of ``gradients + shift * by`` for each shift, shape (3, shifts)."""
    fixed, moving = (_batches(one, batch) for one in (gradients, by))
    fixed, moving = (one - one.mean(axis=1, keepdims=True) for one in (fixed, moving))
    freedom = fixed.shape[1] - 1
    a, b, c = (
        (one * other).sum(axis=(1, 2))[:, None] / freedom
        for one, other in ((fixed, fixed), (fixed, moving), (moving, moving))
    )
    return _spread(np.sqrt(a + 2 * shifts * b + shifts**2 * c))


def _spread(values: Array) -> Array:
    """Return the median over seeds, the smallest and the largest."""
    return np.stack([np.median(values, axis=0), values.min(axis=0), values.max(axis=0)])


def draw_noise(result: Noise, axes: dict[str, Panel]) -> None:
    """Show the noise against the baseline, and against the length of an episode."""
    baseline, horizon = axes["baseline"], axes["horizon"]
    middle, low, high = result.against_baseline
    top = 1.15 * max(float(high.max()), float(result.predicted_against_baseline.max()))
    baseline.set(
        title=f"Noise at {result.horizon} steps",
        xlabel="baseline, per step",
        ylabel="standard deviation",
        xlim=(BASELINES[0], BASELINES[-1]),
        ylim=(0, _round_up(top)),
    )
    baseline.band("band", BASELINES, low, high, color=MEASURED, alpha=0.2)
    baseline.line("measured", BASELINES, middle, color=MEASURED, lw=4, label="measured")
    baseline.line(
        "theory",
        BASELINES,
        result.predicted_against_baseline,
        color=THEORY,
        ls="--",
        label="theory: exact",
    )
    baseline.vline("mean", result.moments.value, color="black", lw=1.5, label="mean reward")
    baseline.vline("best", result.best, color=THEORY, ls=":", lw=2.5, label="theory: best")
    if result.prediction is not None:
        place = result.here["no baseline"][1] / result.prediction
        baseline.mark("prediction", result.moments.value, place, "your prediction")

    steps = np.log10(HORIZONS)
    horizon.set(
        title="Noise against the horizon",
        xlabel="steps in an episode",
        xlim=(-0.05, steps[-1] + 0.05),
        xticks=steps,
        xticklabels=[str(one) for one in HORIZONS],
    )
    every = np.concatenate([*(row.ravel() for row in result.against_horizon.values())])
    every = np.concatenate([every[np.isfinite(every)], result.signal])
    horizon.decades("y", float(every.min()), float(every.max()))
    for way, colour in COLOURS.items():
        middle, low, high = result.against_horizon[way]
        exact = result.predicted_against_horizon[way]
        horizon.band(f"band {way}", steps, low, high, color=colour, alpha=0.2)
        name = f"measured: {way}" if way == "no baseline" else way
        horizon.line(way, steps, middle, color=colour, lw=4, marker="o", ms=6, label=name)
        horizon.line(f"theory {way}", steps, exact, color=THEORY, ls="--", lw=1.8, label="_")
    horizon.line(
        "signal", steps, result.signal, color="black", ls="-.", lw=2, label="theory: mean gradient"
    )
    horizon.vline("here", math.log10(result.horizon), color="black", lw=1, alpha=0.5)


def _round_up(value: float) -> float:
    """Return a round number not below ``value``, so that the axis seldom moves."""
    decade = 10.0 ** math.floor(math.log10(max(value, 1e-6)))
    return next(step * decade for step in (1, 2, 3, 5, 10) if step * decade >= value)
