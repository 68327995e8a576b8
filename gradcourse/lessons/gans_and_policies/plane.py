"""A GAN in the plane: eight modes to cover, two learning rates, and what a remedy changes."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gradcourse import theory
from gradcourse.checks import at_least, more_than_zero
from gradcourse.lessons.gans_and_policies.players import MODES, SPREAD, Duel, modes
from gradcourse.live import MEASURED, THEORY, Panel
from gradcourse.tasks import ring
from gradcourse.training import Pace, one_thread

__all__ = ["Gan", "Outcome", "draw_gan", "measure_gan", "train_gans"]

Array = NDArray[Any]

STEPS = 1500
RECORD = 75
PAUSE = 0.25
COUNT = 400
GRID = np.linspace(-1.6, 1.6, 33)
# A mode is covered if it gets a quarter of its share of the samples, near means within so many
# standard deviations.
NEAR, ENOUGH = 3.0, 0.25


@dataclass(frozen=True)
class Outcome:
    """How good samples are, one number for each GAN: arrays of one shape.

    Attributes
    ----------
    covered
        Modes that get samples, 0 to 8.
    near
        Share of the samples within three standard deviations of a mode.
    distance
        Energy distance between samples and data; NaN where the samples are not finite.
    """

    covered: Array
    near: Array
    distance: Array

    @property
    def broken(self) -> Array:
        """Which GANs ended in NaN or inf."""
        return np.isnan(self.distance)

    @property
    def good(self) -> Array:
        """Which GANs cover all modes."""
        return np.asarray(self.covered == MODES)


@dataclass(frozen=True)
class Gan:
    """GANs of several seeds, trained with one setting.

    Attributes
    ----------
    rates
        Learning rates of generator and critic.
    remedy
        As given.
    steps
        When it was measured, shape (records,).
    slope
        log10 of the critic's largest input gradient at data and samples, (records, seeds).
    bound
        log10 of the product of the critic's largest singular values, (records, seeds).
    distance
        log10 of the energy distance, (records, seeds).
    perfect
        log10 of the energy distance that perfect samples have on average, and the ends of the band
        that holds nine of ten.
    outcome
        Of the last record, arrays of shape (seeds,).
    data, samples
        Points of the first seed, shape (points, 2).
    field
        How sure the critic of the first seed is that a place is data, shape (places, places).
    progress
        Share of the steps that are done.
    """

    rates: tuple[float, float]
    remedy: str
    steps: Array
    slope: Array
    bound: Array
    distance: Array
    perfect: tuple[float, float, float]
    outcome: Outcome
    data: Array
    samples: Array
    field: Array
    progress: float

    @property
    def usual_bound(self) -> Array:
        """Median over the seeds that are not broken yet, shape (records,)."""
        kept = [row[np.isfinite(row)] for row in self.bound]
        return np.array([np.median(row) if row.size else np.nan for row in kept])

    def summary(self) -> str:
        """Return the picture in one line."""
        covered = ", ".join(f"{count:.0f}" for count in self.outcome.covered)
        line = f"{self.remedy}, step {self.steps[-1]}: modes covered by each seed: {covered} of 8"
        broken = int(self.outcome.broken.sum())
        if broken:
            return f"{line}; {broken} of {len(self.outcome.broken)} seeds end in NaN"
        return (
            f"{line}; {np.median(self.outcome.near):.0%} of the samples near a mode (theory: "
            f"{_near_share():.1%}); largest input gradient {10 ** np.median(self.slope[-1]):.2g}, "
            f"bound {10 ** np.median(self.bound[-1]):.3g}"
        )


def measure_gan(
    generator_rate: float = 0.3,
    critic_rate: float = 0.3,
    remedy: str = "none",
    seeds: int = 4,
    first_seed: int = 0,
) -> Iterator[Gan]:
    """Train GANs on a ring of eight Gaussians with SGD, and yield what there is so far (T38).

    Parameters
    ----------
    generator_rate, critic_rate
        Learning rates, above 0.
    remedy
        ``"none"``, ``"spectral norm"``, ``"clipping"`` (each network's gradient at norm 0.1) or
        ``"gradient penalty"`` (0.3, on data).
    seeds, first_seed
        How many GANs, and the first of their seeds.
    """
    rates = (
        more_than_zero("generator_rate", generator_rate),
        more_than_zero("critic_rate", critic_rate),
    )
    numbers = range(first_seed, first_seed + at_least(1, "seeds", seeds))
    duel = Duel(numbers, [rates[0]] * seeds, [rates[1]] * seeds, remedy)
    rows: list[tuple[Array, ...]] = []
    outcome, samples, data = _judge(duel)
    rows.append(_record(duel, samples, data, outcome))
    pace = Pace(PAUSE)
    for step in range(1, STEPS + 1):
        duel.step()
        if step % RECORD:
            continue
        outcome, samples, data = _judge(duel)
        rows.append(_record(duel, samples, data, outcome))
        over = step == STEPS or bool(outcome.broken.all())
        if over or pace.due():
            slope, bound, distance = (np.stack(row) for row in zip(*rows, strict=True))
            yield Gan(
                rates,
                remedy,
                RECORD * np.arange(len(rows)),
                slope,
                bound,
                distance,
                _perfect(),
                outcome,
                data[0].numpy(),
                samples[0].numpy(),
                _field(duel),
                1.0 if over else step / STEPS,
            )
            pace.restart()
        if over:
            return


def train_gans(
    remedy: str,
    rates: Sequence[float],
    seeds: int = 3,
    first_seed: int = 0,
    steps: int = STEPS,
    **options: float,
) -> Outcome:
    """Train GANs at several learning rates, the same for both players, all at once.

    Returns
    -------
    Outcome
        Arrays of shape (rates, seeds).
    """
    pairs = list(itertools.product(rates, range(first_seed, first_seed + seeds)))
    each = [rate for rate, _ in pairs]
    duel = Duel([seed for _, seed in pairs], each, each, remedy, **options)
    for _ in range(steps):
        duel.step()
    outcome, _, _ = _judge(duel)
    shape = len(rates), seeds
    return Outcome(
        outcome.covered.reshape(shape),
        outcome.near.reshape(shape),
        outcome.distance.reshape(shape),
    )


@one_thread()
def _judge(duel: Duel) -> tuple[Outcome, Tensor, Tensor]:
    """Return how good the samples are, the samples and fresh data."""
    samples, data = duel.samples(COUNT), duel.data(COUNT)
    gap, mode = torch.cdist(samples, modes().expand(len(samples), -1, -1)).min(dim=2)
    near = gap < NEAR * SPREAD
    counts = torch.stack([((mode == one) & near).float().mean(dim=1) for one in range(MODES)])
    covered = (counts > ENOUGH / MODES).sum(dim=0)
    outcome = Outcome(
        covered.numpy(), near.float().mean(dim=1).numpy(), _energy(samples, data).numpy()
    )
    return outcome, samples, data


@one_thread()
def _record(duel: Duel, samples: Tensor, data: Tensor, outcome: Outcome) -> tuple[Array, ...]:
    """Return log10 of the largest input gradient, of its bound and of the distance."""
    slope = duel.input_gradient(torch.cat([samples, data], dim=1)).norm(dim=2).amax(dim=1)
    rows = slope.double().numpy(), duel.critic.bound().double().numpy(), outcome.distance
    with np.errstate(divide="ignore"):
        return tuple(np.log10(row) for row in rows)


def _energy(samples: Tensor, data: Tensor) -> Tensor:
    """Return the energy distance of each pair of point sets, shape (networks,)."""
    broken = ~samples.isfinite().all(dim=(1, 2))
    samples = samples.nan_to_num()

    def mean(one: Tensor, other: Tensor) -> Tensor:
        return torch.cdist(one, other).double().mean(dim=(1, 2))

    distance = 2 * mean(samples, data) - mean(samples, samples) - mean(data, data)
    # Where nothing is left of the samples but huge numbers, the difference is rounded.
    return distance.clamp(min=1e-6).masked_fill(broken, math.nan)


@functools.cache
def _perfect() -> tuple[float, float, float]:
    """Return log10 of what perfect samples score: the mean, from theory, and nine of ten."""
    mean = 2 * theory.mixture_distance(modes().numpy(), SPREAD) / COUNT
    one, other = (
        ring(60 * COUNT, MODES, SPREAD, seed).view(60, COUNT, 2) for seed in (90_001, 90_002)
    )
    low, high = np.quantile(_energy(one, other).numpy(), (0.05, 0.95))
    return math.log10(mean), math.log10(low), math.log10(high)


def _near_share() -> float:
    return -math.expm1(-(NEAR**2) / 2)


@torch.no_grad()
def _field(duel: Duel) -> Array:
    grid = torch.from_numpy(np.stack(np.meshgrid(GRID, GRID), axis=-1)).float().view(1, -1, 2)
    scores = duel.critic(grid.expand(len(duel.critic.weights[0]), -1, -1))[0, :, 0]
    return torch.sigmoid(scores).view(GRID.size, GRID.size).numpy()


def draw_gan(result: Gan, axes: dict[str, Panel]) -> None:
    """Show points and critic in the plane, the input gradient and the energy distance."""
    plane, slope, distance = axes["plane"], axes["slope"], axes["distance"]
    ends = (float(GRID[0]), float(GRID[-1]))
    plane.set(title="First seed and its critic", xlim=ends, ylim=ends, aspect="equal")
    plane.heatmap(
        "critic",
        GRID,
        GRID,
        result.field,
        (0.0, 1.0),
        cmap="BrBG",
        alpha=0.5,
    )
    dots = {"ls": "", "marker": "o"}
    middles = modes().numpy()
    plane.line(
        "modes", *middles.T, color=THEORY, ms=15, mfc="none", mew=2, label="theory: modes", **dots
    )
    plane.line("data", *result.data[:200].T, color="black", ms=3, label="data", **dots)
    seen = np.where(np.abs(result.samples) <= ends[1], result.samples, np.nan)
    plane.line("samples", *seen.T, color=MEASURED, ms=4, label="measured: samples", **dots)

    for panel, title in (
        (slope, "Critic: largest input gradient"),
        (distance, "Energy distance to the data"),
    ):
        panel.set(title=title, xlabel="step", xlim=(0, STEPS))
    slope.decades("y", *_ends(result.slope, result.bound, [-2.0, 1.0]))
    _draw_seeds(slope, result.steps, result.slope)
    slope.line(
        "theory",
        result.steps,
        result.usual_bound,
        color=THEORY,
        ls="--",
        label="theory: bound",
    )
    perfect, low, high = result.perfect
    distance.decades("y", *_ends(result.distance, [-3.0, 1.0]))
    whole = np.array([0, STEPS])
    distance.band("perfect", whole, np.full(2, low), np.full(2, high), color=THEORY, alpha=0.25)
    distance.hline("theory", perfect, color=THEORY, ls="--", label="theory: perfect")
    _draw_seeds(distance, result.steps, result.distance)
    broken = result.outcome.broken
    if broken.any():
        plane.note(f"NaN in {broken.sum()} of {broken.size} seeds", "lower right")


def _draw_seeds(panel: Panel, steps: Array, values: Array) -> None:
    for seed, row in enumerate(values.T):
        label = "_" if seed else "measured: each seed"
        panel.line(f"seed {seed}", steps, row, color=MEASURED, lw=2, alpha=0.7, label=label)


def _ends(*values: Any) -> tuple[float, float]:
    every = np.concatenate([np.ravel(one) for one in values])
    every = np.clip(every[np.isfinite(every)], -12, 38)
    return float(every.min()), float(every.max())
