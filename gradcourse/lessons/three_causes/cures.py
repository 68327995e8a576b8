"""What each cure costs: all of them at once, from the same start and on the same rows."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from gradcourse import theory
from gradcourse.lessons.three_causes.recipes import (
    NOISE,
    YIELD_EVERY,
    Recipe,
    Trainer,
    step_axis,
    times,
)
from gradcourse.lessons.three_causes.regression import STEPS, spread
from gradcourse.live import PALETTE, THEORY, Panel
from gradcourse.training import Pace, one_thread

__all__ = ["Cures", "draw_cures", "measure_cures", "reference_error"]

Array = NDArray[Any]

REFERENCE_STEPS = 4800


@dataclass(frozen=True)
class Cures:
    """The same regression under every cure.

    Attributes
    ----------
    names
        Of the cures, in the order of the arrays.
    steps
        When the error was measured, shape (times,).
    errors
        Root mean square error on held-out rows in units of the targets, (times, cures, seeds).
    broken
        The step at which a loss was first not finite, else NaN; shape (cures, seeds).
    fewest
        Theory: with the norm clipped no network fits sooner than this.
    target_std
        The error of guessing the mean.
    reference
        The median error of a fully trained network, see :func:`reference_error`.
    progress
        Share of the steps that are done.
    total
        How many steps there will be.
    """

    names: tuple[str, ...]
    steps: Array
    errors: Array
    broken: Array
    fewest: float
    target_std: float
    reference: float
    progress: float
    total: int

    @property
    def medians(self) -> Array:
        """The median error of each cure, shape (times, cures); infinite if most seeds are lost."""
        return spread(self.errors)[0]

    @property
    def final(self) -> dict[str, float]:
        """The median error of each cure at the end; infinite if most seeds are lost."""
        return dict(zip(self.names, self.medians[-1].tolist(), strict=True))

    @property
    def lost(self) -> dict[str, int]:
        """How many seeds each cure lost."""
        lost = np.isfinite(self.broken).sum(axis=1)
        return dict(zip(self.names, lost.tolist(), strict=True))

    @property
    def worse(self) -> dict[str, float]:
        """How many times the fully trained error each cure ends with."""
        return {name: error / self.reference for name, error in self.final.items()}

    def steps_to(self, share: float) -> dict[str, float]:
        """Return when the median error first was below a share of the targets' spread.

        Infinite for a cure that never came so far.
        """
        reached = self.medians < share * self.target_std
        first = np.where(reached.any(axis=0), self.steps[reached.argmax(axis=0)], np.inf)
        return dict(zip(self.names, first.tolist(), strict=True))

    def summary(self) -> str:
        """Return the picture in one line."""
        words = [
            f"{name} NaN in {self.lost[name]} seeds" if self.lost[name] else f"{name} {error:.3g}"
            for name, error in self.final.items()
        ]
        return (
            f"error after {self.steps[-1]} steps: {', '.join(words)}; "
            f"fully trained {self.reference:.2g}"
        )


def measure_cures(
    learning_rate: float = 0.01,
    momentum: float = 0.9,
    seeds: int = 5,
    first_seed: int = 0,
    steps: int = STEPS,
) -> Iterator[Cures]:
    """Train the regression with large targets under each cure, all in one batch (T34).

    Parameters
    ----------
    learning_rate, momentum
        Of SGD; one cure takes a hundredth of the learning rate, another ten times as much.
    seeds, first_seed
        How many networks for each cure, and the first of their seeds; it chooses the data too.
    steps
        Of 32 rows each.

    Yields
    ------
    Cures
        What there is so far; the last one is whole.
    """
    recipes = {
        "clip norm 1": Recipe(learning_rate, max_norm=1.0),
        "clip value 5": Recipe(learning_rate, clip_value=5.0),
        "standardised": Recipe(learning_rate, standardise=True),
        "standardised, lr x 10": Recipe(10 * learning_rate, standardise=True),
        "Huber": Recipe(learning_rate, loss="Huber"),
        "lr / 100": Recipe(learning_rate / 100),
    }
    trainer = Trainer(list(recipes.values()), seeds, first_seed, momentum)
    needed = theory.two_layer_norm(trainer.target_std) - float(trainer.norms().mean())
    fewest = needed / (learning_rate / (1 - momentum))
    reference = float(np.median(reference_error(first_seed, seeds)))
    done: list[int] = []
    errors: list[Array] = []
    pace = Pace(YIELD_EVERY)
    for step in times(steps):
        with one_thread():
            trainer.train(step - trainer.done)
            done.append(step)
            errors.append(trainer.errors())
        if step == steps or pace.due():
            yield Cures(
                tuple(recipes),
                np.array(done),
                np.array(errors),
                trainer.broken.copy(),
                fewest,
                trainer.target_std,
                reference,
                step / steps,
                steps,
            )
            pace.restart()


@functools.lru_cache(maxsize=4)
def reference_error(first_seed: int = 0, seeds: int = 5) -> tuple[float, ...]:
    """Return what the network can reach: the error of each seed when nothing is in the way.

    Targets are standardised, and the learning rate falls from 0.1 to 0 along a cosine, over three
    times as many steps as the cures get.
    """
    trainer = Trainer([Recipe(0.1, standardise=True)], seeds, first_seed)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(trainer.optimizer, REFERENCE_STEPS)
    with one_thread():
        for _ in range(REFERENCE_STEPS):
            trainer.train(1)
            schedule.step()
    return tuple(trainer.errors()[0].tolist())


def draw_cures(result: Cures, axes: Panel) -> None:
    """Show the median error of each cure against the steps, both on logarithmic axes."""
    x = np.log10(result.steps + 1)
    axes.set(ylabel="RMSE, units of the target")
    step_axis(axes, result.total)
    axes.decades("y", -2, 3)
    with np.errstate(invalid="ignore"):
        medians = np.log10(result.medians)
    colours = (PALETTE[0], *PALETTE[2:])
    for number, name in enumerate(result.names):
        lost = result.lost[name]
        label = f"measured: {name}" + (f" (NaN: {lost})" if lost else "")
        axes.line(name, x, medians[:, number], color=colours[number], label=label)
    axes.hline(
        "reference",
        float(np.log10(result.reference)),
        color="#777777",
        ls="-.",
        lw=1.5,
        label="fully trained",
    )
    axes.hline("theory", float(np.log10(NOISE)), color=THEORY, ls="--", label="theory: noise alone")
    if result.fewest > 1:
        axes.vline(
            "fewest",
            float(np.log10(result.fewest)),
            color=THEORY,
            ls=":",
            lw=2,
            label="theory: clip norm 1 has arrived",
        )
