"""The sawtooth of torch's gradient scaler, driven by gradients whose size is known."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from gradcourse import theory
from gradcourse.checks import at_least, at_least_zero
from gradcourse.exercises import as_prediction
from gradcourse.live import MEASURED, PALETTE, THEORY, Panel
from gradcourse.training import one_thread

__all__ = ["Sawtooth", "draw_sawtooth", "measure_sawtooth"]

Array = NDArray[Any]

LONGEST = 50
STEPS = 400


@dataclass(frozen=True)
class Sawtooth:
    """The loss scale of each step.

    Attributes
    ----------
    growth_interval, spread
        The settings.
    log2_scale
        Measured: log2 of the scale that each step used, shape (steps,).
    skipped
        Whether the scaler skipped the step, shape (steps,).
    predicted
        log2 of the scale from theory, for gradients of constant size; shape (steps,).
    log2_ceiling
        log2 of 65520 over the gradient's size: the scale must stay below it; shape (steps,).
    prediction
        The learner's guess of the share of steps that is skipped at growth interval 10.
    """

    growth_interval: int
    spread: float
    log2_scale: Array
    skipped: Array
    predicted: Array
    log2_ceiling: Array
    prediction: float | None

    @property
    def first(self) -> int:
        """How many steps are skipped at the start, before the first one is taken."""
        taken = np.flatnonzero(~self.skipped)
        return int(taken[0]) if taken.size else len(self.skipped)

    @property
    def share(self) -> float:
        """Share of skipped steps over whole teeth, from one skip to another; NaN below two skips.

        The search at the start is left out.
        """
        places = np.flatnonzero(self.skipped[self.first :])
        if places.size < 2:
            return math.nan
        return float((places.size - 1) / (places[-1] - places[0]))

    @property
    def share_theory(self) -> Array:
        """Theory: the share at growth intervals from 1 to 50, shape (50,)."""
        return np.array([theory.skipped_share(interval) for interval in range(1, LONGEST + 1)])

    def summary(self) -> str:
        """Return the picture in one line."""
        words = (
            f"growth interval {self.growth_interval}: {self.first} steps skipped at the start, "
            f"{int(self.skipped.sum())} of {len(self.skipped)} in all; the scale ends at "
            f"2^{self.log2_scale[-1]:g}"
        )
        bound = theory.skipped_share(self.growth_interval)
        if math.isnan(self.share):
            return f"{words}; fewer than two teeth yet (theory: a share of {bound:.4f})"
        return f"{words}; share skipped {self.share:.4f} (theory: {bound:.4f})"


@one_thread()
def measure_sawtooth(
    growth_interval: int = 10,
    log2_init: int = 16,
    log2_gradient: int = -3,
    spread: float = 0.0,
    steps: int = STEPS,
    seed: int = 0,
    prediction: float | None = None,
) -> Sawtooth:
    """Run ``torch.amp.GradScaler`` on one float16 gradient (T29).

    Parameters
    ----------
    growth_interval
        Clean steps before the scale doubles.
    log2_init
        log2 of the first scale.
    log2_gradient
        log2 of the gradient's typical size.
    spread
        Standard deviation of ln of the gradient's size from step to step.
    steps
        How many.
    seed
        Chooses the sizes.
    prediction
        The share of skipped steps that the learner expects at growth interval 10, drawn as a star.
    """
    growth_interval = at_least(1, "growth_interval", growth_interval)
    steps, spread = at_least(1, "steps", steps), at_least_zero("spread", spread)
    noise = np.random.default_rng(seed).standard_normal(steps)
    sizes = 2.0**log2_gradient * np.exp(spread * noise)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**log2_init, growth_interval=growth_interval)
    weight = nn.Parameter(torch.zeros(()))
    optimizer = torch.optim.SGD([weight], lr=0.0)
    scales, skipped = np.empty(steps), np.empty(steps, dtype=bool)
    for step, size in enumerate(sizes):
        scales[step] = scaler.get_scale()
        # On its way back the gradient passes through half(), where it overflows.
        loss = weight.half().float() * float(size)
        optimizer.zero_grad()
        torch.autograd.backward(scaler.scale(loss))
        scaler.step(optimizer)
        scaler.update()
        skipped[step] = scaler.get_scale() < scales[step]
    overflow = theory.float_format("float16").overflow_from
    predicted = theory.loss_scales(
        steps, 2.0**log2_init, np.nextafter(overflow, 0) / 2.0**log2_gradient, growth_interval
    )
    guess = as_prediction(prediction)
    return Sawtooth(
        growth_interval,
        spread,
        np.log2(scales),
        skipped,
        np.log2(predicted),
        np.log2(overflow / sizes),
        guess,
    )


def draw_sawtooth(result: Sawtooth, axes: dict[str, Panel]) -> None:
    """Show the scale step by step, and the share of skipped steps."""
    scale, share = axes["scale"], axes["share"]
    steps = np.arange(len(result.log2_scale))
    seen = np.concatenate([result.log2_scale, result.predicted])
    low, high = 2 * math.floor(seen.min() / 2) - 2, 2 * math.ceil(seen.max() / 2) + 2
    ticks = range(low, high + 1, 2 if high - low <= 16 else 8)
    scale.set(
        title="Loss scale",
        xlabel="step",
        ylabel="loss scale",
        xlim=(0, len(steps)),
        ylim=(low, high),
        yticks=ticks,
        yticklabels=[f"$2^{{{tick}}}$" for tick in ticks],
    )
    scale.line(
        "ceiling", steps, result.log2_ceiling, color="#BBBBBB", lw=1.0, label="overflow above"
    )
    scale.line(
        "measured", steps, result.log2_scale, color=MEASURED, lw=4, label="measured: GradScaler"
    )
    scale.line(
        "theory",
        steps,
        result.predicted,
        color=THEORY,
        ls="--",
        lw=1.8,
        label="theory: constant gradient",
    )
    places = steps[result.skipped]
    scale.line(
        "skipped",
        places,
        result.log2_scale[result.skipped],
        color=PALETTE[6],
        ls="",
        marker="x",
        ms=7,
        mew=2,
        label="skipped",
    )
    intervals = np.arange(1, LONGEST + 1)
    share.set(
        title="Skipped in the long run",
        xlabel="growth interval",
        ylabel="share of the steps",
        xlim=(0, LONGEST + 2),
        ylim=(0, 0.62),
    )
    bound = result.share_theory
    share.line("theory", intervals, bound, color=THEORY, ls="--", label="theory: 1/(interval + 1)")
    share.line(
        "measured",
        [result.growth_interval],
        [result.share],
        color=MEASURED,
        marker="o",
        ms=13,
        ls="",
        label="measured",
    )
    if math.isnan(result.share):
        share.note("fewer than two teeth yet", "center")
    if result.prediction is not None:
        share.mark("prediction", 10, float(np.clip(result.prediction, 0, 0.6)), "your prediction")
