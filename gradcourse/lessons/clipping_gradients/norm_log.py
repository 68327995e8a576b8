"""A log of gradient norms, and how often each cap would clip."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gradcourse import theory
from gradcourse.checks import more_than_zero
from gradcourse.live import MEASURED, PALETTE, THEORY, Panel

__all__ = ["NormLog", "draw_norm_log", "measure_norm_log"]

Array = NDArray[Any]

CAPS = np.logspace(-2, 2, 121)


@dataclass(frozen=True)
class NormLog:
    """Norms of one run, and the share of its steps that a cap clips.

    Attributes
    ----------
    norms
        Shape (steps,).
    caps, rate, predicted
        The share clipped at each cap: counted, and of a log-normal with the same mean and spread.
    band
        Between these norms lie 90 % of that log-normal.
    max_norm
        The cap that is looked at.
    clip_rate
        The share that it clips.
    """

    norms: Array
    caps: Array
    rate: Array
    predicted: Array
    band: tuple[float, float]
    max_norm: float
    clip_rate: float

    def summary(self) -> str:
        """Return the picture in one line."""
        middle, high, most = np.quantile(self.norms, [0.5, 0.99, 1])
        return (
            f"max_norm {self.max_norm:.3g} clips {100 * self.clip_rate:.0f} % of the steps; norms: "
            f"median {middle:.3g}, 99th percentile {high:.3g}, largest {most:.3g}"
        )


def measure_norm_log(norms: ArrayLike, max_norm: float = 1.0) -> NormLog:
    """Count how often a cap clips, and compare with a log-normal.

    Parameters
    ----------
    norms
        Finite gradient norms above 0, before clipping, one for each step; 2 or more.
    max_norm
        The cap, above 0.
    """
    more_than_zero("max_norm", max_norm)
    log = np.asarray(norms, dtype=np.float64)
    if log.ndim != 1 or len(log) < 2 or not ((log > 0) & np.isfinite(log)).all():
        raise ValueError("norms must be 2 or more finite numbers above 0")
    logarithms = np.log(log)
    typical, spread = math.exp(logarithms.mean()), max(float(logarithms.std()), 1e-9)
    rate = (log > CAPS[:, None]).mean(axis=1)
    predicted = theory.lognormal_clip_rate(CAPS, typical, spread)
    reach = math.exp(1.645 * spread)
    band = typical / reach, typical * reach
    return NormLog(log, CAPS, rate, predicted, band, max_norm, float((log > max_norm).mean()))


def draw_norm_log(result: NormLog, axes: dict[str, Panel]) -> None:
    """Show the norm at each step with the cap, and the clip rate against the cap."""
    log, rate = axes["log"], axes["rate"]
    cap = math.log10(result.max_norm)
    steps = len(result.norms)
    log.set(title="The log: norm at each step", xlabel="step", xlim=(0, steps))
    log.decades("y", -2, 2)
    log.line(
        "measured",
        np.arange(steps),
        np.log10(result.norms),
        color=MEASURED,
        lw=1.2,
        label="measured",
    )
    for end, norm in zip(("low", "high"), result.band, strict=True):
        log.line(
            f"theory {end}",
            [0, steps],
            [math.log10(norm)] * 2,
            color=THEORY,
            ls="--",
            label="theory: log-normal",
        )
    log.line(
        "cap",
        [0, steps],
        [cap, cap],
        color=PALETTE[2],
        lw=3,
        label="max_norm",
    )
    rate.set(title="Share of steps clipped", xlabel="max_norm", ylim=(0, 1.05))
    rate.decades("x", -2, 2)
    x = np.log10(result.caps)
    rate.line("measured", x, result.rate, color=MEASURED, lw=4, label="measured")
    rate.line("theory", x, result.predicted, color=THEORY, ls="--", label="theory: log-normal")
    rate.vline("cap", cap, color=PALETTE[2], lw=3)
    right = cap > 0
    rate.note(f"clips {100 * result.clip_rate:.0f} %", "lower left" if right else "upper right")
