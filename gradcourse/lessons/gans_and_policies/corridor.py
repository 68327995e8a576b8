"""REINFORCE in a corridor: walkers who learn from whole episodes, free and clipped."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy
from numpy.typing import NDArray

from gradcourse import theory
from gradcourse.checks import at_least, more_than_zero
from gradcourse.live import MEASURED, PALETTE, THEORY, Panel

__all__ = ["ESTIMATORS", "LOST", "Corridor", "Walkers", "draw_corridor", "measure_corridor"]

Array = NDArray[Any]

ESTIMATORS = ("whole return", "reward to go", "to go, baseline")
FIRST_SHARE = 0.05
STEPS = 12_000
RECORDS = 60
CHUNK = 3000
# A policy that needs more steps than this has lost its way.
LOST = 100.0
FREE, CLIPPED = PALETTE[3], MEASURED
# How much of the running mean of the returns is kept after each episode.
KEEP = 0.9


class Walkers:
    """Walkers of the corridor with switched actions, each with a policy of one number.

    The logit of going right is learned by REINFORCE, once after each episode.

    Parameters
    ----------
    count
        How many.
    estimator
        One of ``ESTIMATORS``.
    learning_rate
        Above 0.
    max_norm
        A limit for the gradient of each, shape (count,) or one number.
    cost
        What a step costs.
    share
        How often a walker goes right before he has learned anything.
    """

    def __init__(
        self,
        count: int,
        estimator: str = "reward to go",
        learning_rate: float = 0.01,
        max_norm: Any = math.inf,
        cost: float = 1.0,
        share: float = FIRST_SHARE,
    ) -> None:
        if estimator not in ESTIMATORS:
            raise ValueError(f"estimator must be one of {', '.join(ESTIMATORS)}, got {estimator!r}")
        self.logit = np.full(count, scipy.special.logit(share))
        # Gradients of the episodes that just ended; NaN where none did.
        self.gradient = np.full(count, np.nan)
        self._to_go = estimator != "whole return"
        self._uses_baseline = estimator == "to go, baseline"
        self._settings = learning_rate, max_norm, cost
        self._place = np.zeros(count, np.int64)
        self._length = np.zeros(count)
        self._score = np.zeros(count)
        self._early = np.zeros(count)
        self._baseline = np.full(count, np.nan)

    def step(self, chance: Array) -> None:
        """Let everybody take one step, by random numbers between 0 and 1, shape (count,)."""
        rate, max_norm, cost = self._settings
        share = scipy.special.expit(self.logit)
        right = chance < share
        score = right - share
        self._score += score
        # Scores times the steps before them: what the reward to go leaves out.
        self._early += self._length * score
        self._length += 1
        # The second place takes right for left.
        self._place = np.maximum(self._place + np.where(right != (self._place == 1), 1, -1), 0)
        out = self._place == 3
        self.gradient = np.full(len(out), np.nan)
        if not out.any():
            return
        steps = self._length * self._score - (self._early if self._to_go else 0.0)
        if self._uses_baseline:
            steps = steps - np.nan_to_num(self._baseline) * self._score
            mean = KEEP * self._baseline + (1 - KEEP) * self._length
            latest = np.where(np.isnan(self._baseline), self._length, mean)
            self._baseline = np.where(out, latest, self._baseline)
        self.gradient[out] = -cost * steps[out]
        move = rate * np.clip(self.gradient, -max_norm, max_norm)
        self.logit = np.where(out, self.logit + np.nan_to_num(move), self.logit)
        for number in (self._place, self._length, self._score, self._early):
            number[out] = 0


@dataclass(frozen=True)
class Corridor:
    """Walkers who learned for a while: row 0 of each pair is free, row 1 clipped.

    Attributes
    ----------
    steps
        Steps taken, shape (records,).
    exits
        log10 of the mean steps to the exit of the policy at that time, from its exact value: the
        median walker, the 5 and the 95 % quantile; shape (2, 3, records).
    predicted
        log10 of the same if every episode's gradient were its exact mean, shape (records,).
    norms
        log10 of the sizes of the free walkers' gradients in the time before: the median, and what
        one in twenty exceeds; shape (2, records).
    mean_norm
        log10 of the size of the exact mean gradient of the median free walker, shape (records,).
    lost
        Share of the walkers who need more than 100 steps, shape (2,).
    acted
        Share of the clipped walkers' gradients that were clipped.
    max_norm
        As given.
    progress
        Share of the steps that are done.
    """

    steps: Array
    exits: Array
    predicted: Array
    norms: Array
    mean_norm: Array
    lost: Array
    acted: float
    max_norm: float
    progress: float

    @property
    def best(self) -> float:
        """Theory: the mean steps to the exit of the best policy."""
        return -float(theory.corridor_value(theory.CORRIDOR_BEST))

    def summary(self) -> str:
        """Return the picture in one line."""
        free, clipped = 10 ** self.exits[:, 0, -1]
        return (
            f"after {self.steps[-1]:.0f} steps, steps to the exit: free {_number(free)} "
            f"({self.lost[0]:.0%} of the walkers lost), clipped {_number(clipped)} "
            f"({self.lost[1]:.0%} lost); best possible {self.best:.2f}; {self.acted:.0%} of the "
            "gradients were clipped"
        )


def measure_corridor(
    learning_rate: float = 0.01,
    max_norm: float = 10.0,
    estimator: str = "reward to go",
    cost: float = 1.0,
    walkers: int = 64,
    steps: int = STEPS,
    first_seed: int = 0,
) -> Iterator[Corridor]:
    """Let walkers learn in the corridor, each twice with the same luck: free, and clipped.

    Parameters
    ----------
    learning_rate, max_norm, cost
        Above 0; ``cost`` is what each step costs.
    estimator
        One of ``ESTIMATORS``.
    walkers, first_seed
        How many, and the seed of their random numbers.
    steps
        Of each walker, over all of his episodes; at least 60.
    """
    for name, value in (("learning_rate", learning_rate), ("max_norm", max_norm), ("cost", cost)):
        more_than_zero(name, value)
    at_least(RECORDS, "steps", steps)
    limits = np.repeat([math.inf, max_norm], at_least(1, "walkers", walkers))
    everybody = Walkers(2 * walkers, estimator, learning_rate, limits, cost)
    chances = np.random.default_rng(first_seed)
    every = max(1, steps // RECORDS)
    times, exits, norms, middles = [0], [_exits(everybody.logit)], [np.full(2, np.nan)], []
    middles.append(float(np.median(everybody.logit[:walkers])))
    predicted = _exact_path(learning_rate * cost, steps)
    seen: list[Array] = []
    clipped, ended = 0, 0
    for step in range(1, steps + 1):
        chance = chances.random(walkers)
        everybody.step(np.concatenate([chance, chance]))
        size = np.abs(everybody.gradient)
        seen.append(size[:walkers])
        clipped += int((size[walkers:] > max_norm).sum())
        ended += int(np.isfinite(size[walkers:]).sum())
        if step % every == 0:
            times.append(step)
            exits.append(_exits(everybody.logit))
            norms.append(_norms(np.concatenate(seen)))
            middles.append(float(np.median(everybody.logit[:walkers])))
            seen = []
        if step % CHUNK == 0 or step == steps:
            share = scipy.special.expit(np.array(middles))
            with np.errstate(divide="ignore", over="ignore"):
                mean_norm = np.log10(np.abs(cost * theory.corridor_slope(share)))
            yield Corridor(
                np.array(times),
                np.stack(exits, axis=-1),
                predicted[times],
                np.stack(norms, axis=-1),
                mean_norm,
                _lost(everybody.logit),
                clipped / max(1, ended),
                max_norm,
                step / steps,
            )


def _steps_to_exit(logit: Array) -> Array:
    """Return log10 of the mean steps to the exit; beyond the range of a float it is inf."""
    share = scipy.special.expit(logit)
    with np.errstate(over="ignore", divide="ignore"):
        return np.asarray(np.log10(-theory.corridor_value(share)))


def _exits(logit: Array) -> Array:
    """Return the median and the ends of the band, free and clipped, shape (2, 3)."""
    each = np.minimum(_steps_to_exit(logit), 300.0).reshape(2, -1)
    return np.asarray(np.quantile(each, (0.5, 0.05, 0.95), axis=1).T)


def _lost(logit: Array) -> Array:
    return np.asarray((_steps_to_exit(logit).reshape(2, -1) > math.log10(LOST)).mean(axis=1))


def _norms(sizes: Array) -> Array:
    """Return log10 of the median size and of what one in twenty exceeds."""
    sizes = sizes[np.isfinite(sizes) & (sizes > 0)]
    if not sizes.size:
        return np.full(2, np.nan)
    return np.asarray(np.log10(np.quantile(sizes, (0.5, 0.95))))


def _exact_path(rate: float, steps: int) -> Array:
    """Return log10 of the steps to the exit after each step of exact gradient ascent.

    One update in as many steps as an episode takes on average.
    """
    logit, path = float(scipy.special.logit(FIRST_SHARE)), []
    for _ in range(steps + 1):
        share = 1 / (1 + math.exp(-logit))
        length = 2 * (2 - share) / (share * (1 - share))
        path.append(math.log10(length))
        slope = 2 * (share**2 - 4 * share + 2) / (share * (1 - share))
        logit = min(max(logit + rate * slope / length, -30.0), 30.0)
    return np.array(path)


def _number(value: float) -> str:
    return f"{value:.2f}" if value < 1000 else f"{value:.0e}"


def draw_corridor(result: Corridor, axes: dict[str, Panel]) -> None:
    """Show how long the way out is while the walkers learn, and how large their gradients are."""
    exits, norms = axes["exits"], axes["norms"]
    end = max(STEPS, int(result.steps[-1]))
    exits.set(title="Steps to the exit", xlabel="steps walked so far", xlim=(0, end))
    shown = np.concatenate([result.exits[:, 0].ravel(), result.exits[:, 2].ravel(), [0.9, 2.2]])
    exits.decades("y", float(shown.min()), float(min(shown.max(), 4.0)))
    for row, (name, colour) in enumerate((("free", FREE), ("clipped", CLIPPED))):
        middle, low, high = result.exits[row]
        exits.band(f"band {name}", result.steps, low, high, color=colour, alpha=0.2)
        exits.line(name, result.steps, middle, color=colour, label=f"measured: {name}")
    exits.line(
        "exact",
        result.steps,
        result.predicted,
        color=THEORY,
        ls="--",
        lw=2,
        label="theory: exact gradient",
    )
    exits.hline("best", math.log10(result.best), color=THEORY, ls=":", lw=2.5, label="theory: best")
    norms.set(title="One episode's gradient, free", xlabel="steps walked so far", xlim=(0, end))
    limit = math.log10(result.max_norm)
    finite = np.concatenate([result.norms.ravel(), result.mean_norm, [limit, 0.0, 2.5]])
    finite = np.clip(finite[np.isfinite(finite)], -3, 12)
    norms.decades("y", float(finite.min()), float(finite.max()))
    for key, row, colour, name in (
        ("large", 1, PALETTE[5], "one in twenty is larger"),
        ("usual", 0, FREE, "measured: median size"),
    ):
        norms.line(key, result.steps, result.norms[row], color=colour, label=name)
    norms.line(
        "mean",
        result.steps,
        result.mean_norm,
        color=THEORY,
        ls="--",
        lw=2,
        label="theory: size of the mean",
    )
    norms.hline("limit", limit, color="black", lw=2, label="max_norm")
