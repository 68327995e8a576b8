"""One matrix many times: a linear recurrent network, backwards."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradcourse import theory
from gradcourse.checks import at_least, at_least_zero, between
from gradcourse.exercises import as_prediction
from gradcourse.live import MEASURED, PALETTE, THEORY, Panel, snap_up
from gradcourse.signals.words import median, quantile

__all__ = ["KINDS", "Powers", "draw_powers", "matrix", "measure_powers"]

Array = NDArray[Any]

KINDS = ("Jordan", "Gaussian", "orthogonal")
WIDTH, LONGEST, DIRECTIONS, SEEDS = 64, 100, 32, 4
LOWEST, HIGHEST = -8.0, 6.0


@dataclass(frozen=True)
class Powers:
    """What the same matrix does to a gradient, again and again; arrays of shape (steps + 1,).

    Attributes
    ----------
    kind, radius, shear
        As given.
    largest
        Measured: log10 of the norm in the worst direction, the median over seeds.
    median, low, high
        Measured: log10 of the norm in random directions, with the band of 90 % of them.
    predicted, predicted_mean
        Theory: log10 of the worst direction and of the root mean square over directions.
    end
        Theory: log10 of ``radius**t``.
    prediction
        The learner's guess of the largest norm on the way, if there is one.
    """

    kind: str
    radius: float
    shear: float
    largest: Array
    median: Array
    low: Array
    high: Array
    predicted: Array
    predicted_mean: Array
    end: Array
    prediction: float | None

    @property
    def steps(self) -> int:
        """Number of steps back."""
        return len(self.largest) - 1

    @property
    def peak(self) -> tuple[int, float]:
        """At which step back the worst direction is longest, and its norm there."""
        # The first of several that are equal but for rounding.
        place = int((self.largest > self.largest.max() - 1e-9).argmax())
        return place, float(10 ** self.largest[place])

    def summary(self) -> str:
        """Return the picture in one line."""
        place, norm = self.peak
        shear = f", shear {self.shear:g}" if self.kind == "Jordan" else ""
        where = f"step {place}" if place else "the start"
        return (
            f"{self.kind}{shear}, spectral radius {self.radius:g}: the longest gradient is "
            f"{norm:.3g}, at {where} (theory: {10 ** self.predicted.max():.3g}); after "
            f"{self.steps} steps 10^{self.largest[-1]:.1f} (radius^t: 10^{self.end[-1]:.1f})"
        )


def matrix(kind: str, seed: int = 0, width: int = WIDTH) -> Array:
    """Return a Gaussian or an orthogonal matrix of spectral radius 1, shape (width, width)."""
    drawn = np.random.default_rng([seed, 8]).standard_normal((width, width))
    if kind == "Gaussian":
        return np.asarray(drawn / np.abs(np.linalg.eigvals(drawn)).max())
    turned, triangle = np.linalg.qr(drawn)
    # With the signs of the diagonal, all rotations and reflections are equally likely.
    return np.asarray(turned * np.sign(np.diag(triangle)))


def measure_powers(
    radius: float = 0.9,
    shear: float = 5.0,
    kind: str = "Jordan",
    steps: int = 50,
    first_seed: int = 0,
    prediction: float | None = None,
) -> Powers:
    """Send gradients back through a linear recurrent network ``h = W h`` (T19).

    Parameters
    ----------
    radius
        The spectral radius of W: the size of its largest eigenvalue. Above 0.
    shear
        The number above the diagonal of the 2 by 2 Jordan block; the other kinds have none.
    kind
        ``"Jordan"``, or ``"Gaussian"`` or ``"orthogonal"`` of width 64, four matrices of each.
    steps
        How many steps back, 1 to 100.
    first_seed
        Chooses matrices and directions.
    prediction
        The longest gradient on the way that the learner expects of the Jordan block of radius 0.9
        and shear 5, drawn as a star there.
    """
    radius, shear = between(1e-3, 1e3, "radius", radius), at_least_zero("shear", shear)
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}, got {kind!r}")
    steps = at_least(1, "steps", steps)
    if steps > LONGEST:
        raise ValueError(f"steps must be {LONGEST} or fewer, got {steps}")
    t = np.arange(steps + 1)
    end = t * math.log10(radius)
    if kind == "Jordan":
        block = np.array([[1.0, shear / radius], [0.0, 1.0]])
        largest, random = _sent_back(block[None], LONGEST, first_seed)
        predicted, mean = (
            np.log10(norm) - end for norm in theory.jordan_power_norm(t, radius, shear)
        )
    else:
        largest, random = _large(kind, first_seed)
        spread = theory.gaussian_power_norm(t) if kind == "Gaussian" else np.ones(steps + 1)
        predicted, mean = np.log10(spread), np.zeros(steps + 1)
    random = random[:, : steps + 1]
    asked = (radius, shear, kind) == (0.9, 5.0, "Jordan")
    return Powers(
        kind,
        radius,
        shear,
        np.median(largest, axis=0)[: steps + 1] + end,
        median(random) + end,
        quantile(random, 0.05) + end,
        quantile(random, 0.95) + end,
        predicted + end,
        mean + end,
        end,
        as_prediction(prediction) if asked else None,
    )


@lru_cache(maxsize=4)
def _large(kind: str, first_seed: int) -> tuple[Array, Array]:
    matrices = np.stack([matrix(kind, first_seed + seed) for seed in range(SEEDS)])
    return _sent_back(matrices, LONGEST, first_seed)


def _sent_back(matrices: Array, steps: int, seed: int) -> tuple[Array, Array]:
    """Backpropagate through ``h = W h`` for each matrix.

    Returns log10 of the norms after each step: of the worst direction, (matrices, steps + 1), and
    of random directions, (matrices * directions, steps + 1).
    """
    count, width, _ = matrices.shape
    back = matrices.transpose(0, 2, 1)
    random = np.random.default_rng([seed, 9]).standard_normal((count, width, DIRECTIONS))
    random /= np.linalg.norm(random, axis=1, keepdims=True)
    # The gradients of all elements of the last state, and those of random directions of it.
    gradients = np.concatenate([np.broadcast_to(np.eye(width), matrices.shape), random], axis=2)
    worst, norms = np.ones((count, steps + 1)), np.ones((count, DIRECTIONS, steps + 1))
    for step in range(1, steps + 1):
        gradients = back @ gradients
        worst[:, step] = np.linalg.norm(gradients[:, :, :width], 2, axis=(1, 2))
        norms[:, :, step] = np.linalg.norm(gradients[:, :, width:], axis=1)
    return np.log10(worst), np.log10(norms.reshape(-1, steps + 1))


def draw_powers(result: Powers, axes: Panel) -> None:
    """Show the gradient's norm at each step back, beside theory and the power of the radius."""
    t = np.arange(result.steps + 1)
    axes.set(xlabel="steps back", ylabel="gradient norm", xlim=(0, snap_up(result.steps)))
    shown = np.clip(
        np.concatenate([result.low, result.largest, result.end, [-1.0, 0.5]]), LOWEST, HIGHEST
    )
    axes.decades("y", float(shown.min()), float(shown.max()))
    axes.band(
        "band", t, result.low, result.high, color=MEASURED, alpha=0.2, label="90 % of directions"
    )
    axes.line("median", t, result.median, color=MEASURED, lw=2, label="measured: median direction")
    axes.line("largest", t, result.largest, color=PALETTE[2], lw=4, label="measured: worst one")
    axes.line("worst theory", t, result.predicted, color=THEORY, ls="--", label="theory: worst")
    axes.line(
        "mean theory",
        t,
        result.predicted_mean,
        color=THEORY,
        ls=":",
        label="theory: root mean square",
    )
    axes.line("end", t, result.end, color="black", ls="-.", lw=1.5, label="radius$^t$")
    if result.prediction is not None and result.prediction > 0:
        axes.mark("prediction", result.peak[0], math.log10(result.prediction), "your prediction")
