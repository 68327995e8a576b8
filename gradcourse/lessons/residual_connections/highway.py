"""The highway: a deep stack of blocks with and without its skips, block by block."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradcourse import theory
from gradcourse.exercises import as_prediction
from gradcourse.live import MEASURED, THEORY, Panel, snap_up
from gradcourse.signals import residual_signal
from gradcourse.signals.words import change, median, quantile
from gradcourse.tasks import digits

__all__ = ["Highway", "Profile", "draw_highway", "measure_highway"]

Array = NDArray[Any]
# The branch scale at which nn.Linear's own weights leave this branch, to two digits.
DEFAULT_SCALE = 0.24


@dataclass(frozen=True)
class Profile:
    """One size behind each block, as log10; arrays of shape (blocks + 1,).

    Attributes
    ----------
    median, low, high
        Measured: the median over seeds, and the ends of the band over seeds.
    predicted
        Theory.
    """

    median: Array
    low: Array
    high: Array
    predicted: Array


@dataclass(frozen=True)
class Highway:
    """Signal and gradient behind each block of one kind of network.

    Attributes
    ----------
    branch_scale, skip
        As given.
    gradient
        Relative to the last block.
    activation
        Relative to the input of the first block.
    log10_gradient
        For every seed, shape (seeds, blocks + 1).
    forward_overflow, backward_overflow, underflow
        The block behind which a plain float32 run has its first inf, or the last exact 0 of the
        gradient; None where there is none.
    prediction
        The learner's guess of log10 of the gradient at the input, if there is one.
    """

    branch_scale: float
    skip: bool
    gradient: Profile
    activation: Profile
    log10_gradient: Array
    forward_overflow: int | None
    backward_overflow: int | None
    underflow: int | None
    prediction: float | None

    @property
    def blocks(self) -> int:
        """Number of blocks."""
        return len(self.gradient.median) - 1

    @property
    def per_block(self) -> float:
        """The factor by which the median gradient's norm changes in a block, on its way back."""
        return float(10 ** (self.gradient.median[0] / self.blocks))

    def summary(self) -> str:
        """Return the picture in one line."""
        name = "with skips" if self.skip else "without skips"
        total = self.gradient.median[0]
        words = change(f"{name}, the gradient", self.per_block, total, "block")
        line = f"{words}; theory: 10^{self.gradient.predicted[0]:.1f}"
        if self.forward_overflow is not None:
            line += f"; the signal overflows float32 at block {self.forward_overflow}"
        if self.backward_overflow is not None:
            line += f"; the gradient overflows float32 at block {self.backward_overflow}"
        if self.underflow is not None:
            line += f"; float32 holds a gradient of 0 up to block {self.underflow}"
        return line


def measure_highway(
    blocks: int = 200,
    branch_scale: float = DEFAULT_SCALE,
    skip: bool = False,
    width: int = 64,
    seeds: int = 8,
    first_seed: int = 0,
    prediction: float | None = None,
) -> Highway:
    """Send digits through random blocks and a gradient back, and predict both (T18).

    Parameters
    ----------
    blocks
        Number of blocks ``x + a W2 relu(W1 x)``.
    branch_scale
        a.
    skip
        Whether there is the ``x +``.
    width
        Units of the stream and inside of each branch.
    seeds, first_seed
        How many networks, and the first of their seeds.
    prediction
        log10 of the gradient at the input that the learner expects of 200 blocks with skips at
        branch scale 0.24, drawn as a star.
    """
    inputs, _ = digits(8, first_seed)
    signal = residual_signal(inputs, width, blocks, branch_scale, skip, seeds, first_seed)
    predicted = theory.log10_residual_norm(np.arange(blocks + 1), branch_scale, 1.0, float(skip))
    gradient = signal.log10_gradient[0]
    activation = signal.log10_activation[0]
    asked = blocks == 200 and math.isclose(branch_scale, DEFAULT_SCALE)
    guess = as_prediction(prediction) if asked else None
    return Highway(
        branch_scale,
        skip,
        _profile(gradient, predicted[::-1]),
        _profile(activation - activation[:, :1], predicted),
        gradient,
        signal.forward_overflow[0],
        signal.backward_overflow[0],
        signal.underflow[0],
        guess,
    )


def draw_highway(result: Highway, axes: dict[str, Panel]) -> None:
    """Show the gradient on its way back and the signal on its way forward, beside theory."""
    gradient, signal = axes["gradient"], axes["signal"]
    ends = [-1.0, 1.0] if result.prediction is None else [-1.0, 1.0, result.prediction]
    pairs = ((gradient, result.gradient), (signal, result.activation))
    shown = np.concatenate([ends, *((p.low, p.high, p.predicted) for _, p in pairs)], axis=None)
    shown = shown[np.isfinite(shown)]
    for panel, profile in pairs:
        panel.set(xlabel="block", xlim=(0, snap_up(result.blocks)))
        panel.decades("y", float(shown.min()), float(shown.max()))
        _draw_profile(panel, profile)
    gradient.set(title="Gradient, on its way back", ylabel="norm, relative to where it starts")
    signal.set(title="Signal, on its way forward")
    for panel, block, words, place in (
        (gradient, result.backward_overflow, "inf up to block", "lower left"),
        (gradient, result.underflow, "0 up to block", "upper left"),
        (signal, result.forward_overflow, "inf from block", "lower right"),
    ):
        if block is not None:
            panel.note(f"float32: {words} {block}", place)
    if result.prediction is not None:
        gradient.mark("prediction", 0, result.prediction, "your prediction")


def _profile(rows: Array, predicted: Array) -> Profile:
    return Profile(median(rows), quantile(rows, 0.05), quantile(rows, 0.95), predicted)


def _draw_profile(panel: Panel, profile: Profile) -> None:
    places = np.arange(len(profile.median))
    panel.band(
        "band", places, profile.low, profile.high, color=MEASURED, alpha=0.2, label="range of seeds"
    )
    panel.line("measured", places, profile.median, color=MEASURED, label="measured: median")
    panel.line(
        "theory", places, profile.predicted, color=THEORY, ls="--", label="theory: root mean square"
    )
