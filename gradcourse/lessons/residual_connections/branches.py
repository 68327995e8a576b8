"""How large may a branch be: end-to-end gain against the branch scale, with skips and without."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradcourse import theory
from gradcourse.exercises import as_prediction
from gradcourse.live import MEASURED, PALETTE, THEORY, Panel
from gradcourse.signals import residual_signal
from gradcourse.signals.words import median, quantile
from gradcourse.tasks import digits

__all__ = ["Branches", "draw_branches", "measure_branches"]

Array = NDArray[Any]
LOG10_SCALES = np.linspace(-2, 0.5, 26)
FLOOR, CEILING = -15.0, 15.0


@dataclass(frozen=True)
class Branches:
    """What all blocks together do to the norm of a gradient, at each branch scale; log10.

    Attributes
    ----------
    blocks
        Number of blocks.
    with_skip, low, high
        Measured: the median over seeds and the ends of the band over seeds, shape (scales,).
    plain
        The median of the same branches without skips, shape (scales,).
    predicted, predicted_plain
        Theory, shape (scales,).
    prediction
        The branch scale at which the learner expects growth by a factor ten, if there is one.
    """

    blocks: int
    with_skip: Array
    low: Array
    high: Array
    plain: Array
    predicted: Array
    predicted_plain: Array
    prediction: float | None

    @property
    def cap(self) -> float:
        """The branch scale ``1 / sqrt(blocks)``."""
        return 1 / math.sqrt(self.blocks)

    @property
    def tenfold(self) -> float:
        """The branch scale at which the measured gradient of the residual network is tenfold."""
        return float(10 ** np.interp(1.0, self.with_skip, LOG10_SCALES, right=math.nan))

    def summary(self) -> str:
        """Return the picture in one line."""
        at_cap = np.interp(math.log10(self.cap), LOG10_SCALES, self.with_skip)
        full = float(np.interp(0.0, LOG10_SCALES, self.with_skip))
        where = f"at {self.tenfold:.2g}" if math.isfinite(self.tenfold) else "nowhere shown"
        name = "1 block" if self.blocks == 1 else f"{self.blocks} blocks"
        predicted = 10 ** float(theory.log10_residual_norm(self.blocks, self.cap))
        doubled = float(theory.log10_residual_norm(self.blocks))
        return (
            f"{name} with skips: the gradient grows {10**at_cap:.2f} times at branch "
            f"scale 1/sqrt(L) = {self.cap:.2g} (theory: {predicted:.2f}), tenfold {where}, "
            f"and to 10^{full:.1f} at 1 (theory: 10^{doubled:.1f})"
        )


def measure_branches(
    blocks: int = 100,
    width: int = 32,
    seeds: int = 4,
    first_seed: int = 0,
    prediction: float | None = None,
) -> Branches:
    """Measure residual and plain networks at 26 branch scales, and predict them (T18).

    Parameters
    ----------
    blocks, width
        Size of the networks.
    seeds, first_seed
        How many networks, and the first of their seeds.
    prediction
        The branch scale at which the learner expects the gradient of 100 blocks with skips to grow
        ten times, drawn as a star.
    """
    inputs, _ = digits(2, first_seed)
    scales = 10**LOG10_SCALES
    rows = {
        skip: residual_signal(
            inputs, width, blocks, scales.tolist(), skip, seeds, first_seed
        ).log10_gradient[:, :, 0]
        for skip in (True, False)
    }
    guess = as_prediction(prediction) if blocks == 100 else None
    if guess is not None and not guess > 0:
        raise ValueError(f"prediction must be a branch scale above 0, got {guess:g}")
    return Branches(
        blocks,
        median(rows[True].T),
        quantile(rows[True].T, 0.05),
        quantile(rows[True].T, 0.95),
        median(rows[False].T),
        theory.log10_residual_norm(blocks, scales),
        theory.log10_residual_norm(blocks, scales, skip_scale=0.0),
        guess,
    )


def draw_branches(result: Branches, axes: Panel) -> None:
    """Show the gain of both kinds of network against the branch scale, beside theory."""
    x = LOG10_SCALES
    axes.set(
        xlabel="branch scale a",
        ylabel="gradient, input / output",
        ylim=(FLOOR, CEILING),
    )
    axes.decades("x", x[0], x[-1])
    axes.decades("y", FLOOR, CEILING)
    axes.band("band", x, result.low, result.high, color=MEASURED, alpha=0.2)
    axes.line("skip", x, result.with_skip, color=MEASURED, lw=4, label="measured: with skips")
    axes.line(
        "plain", x, result.plain, color=PALETTE[2], lw=4, label="measured: the same without skips"
    )
    style: dict[str, Any] = {"color": THEORY, "ls": "--"}
    axes.line("theory", x, result.predicted, label="theory: root mean square", **style)
    axes.line("theory plain", x, result.predicted_plain, **style)
    axes.vline("cap", math.log10(result.cap), color="black", ls=":", lw=1.5)
    axes.text(
        "cap in words",
        math.log10(result.cap),
        FLOOR + 1,
        r" $1/\sqrt{L}$",
        fontsize=14,
        color="black",
    )
    if result.prediction is not None:
        axes.mark("prediction", math.log10(result.prediction), 1.0, "your prediction")
