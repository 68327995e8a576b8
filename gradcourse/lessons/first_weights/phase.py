"""The phase diagram: the gradient of a network at every weight scale and depth, in one run."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray

from gradcourse import theory
from gradcourse.checks import between
from gradcourse.exercises import as_prediction
from gradcourse.lessons.first_weights.batch import digit_batch
from gradcourse.live import MEASURED, Panel
from gradcourse.signals import PhaseDiagram, phase_diagram

__all__ = ["SIX_DEPTH_SCALES", "Phase", "draw_phase", "measure_phase", "wedge"]

Array = NDArray[np.float64]

# The norm changes by e**(L / (2 xi)), which is e**3, about 20, after 6 depth scales.
SIX_DEPTH_SCALES = 3 / math.log(10)
DEPTH, BATCH = 60, 4
SCALES = np.linspace(0.5, 3.0, 51)
MOST = 6.0
ASKED_BIAS = 0.5
SHADE = withStroke(linewidth=3, foreground="#333333")
# Weight scales that a word takes.
ROOM = 0.45
OUTLINE = {"path_effects": [withStroke(linewidth=6, foreground="white")]}


@dataclass(frozen=True, eq=False)
class Phase:
    """The gradient of networks at every weight scale and depth, with what theory says of it.

    Attributes
    ----------
    diagram
        The measurement.
    predicted
        log10 of the gradient at the input from theory, shape (scales, depth).
    measured_edge, predicted_edge
        The depth at which the norm has changed by e**3, about 20; shape (scales,). Where that is
        deeper than the picture, NaN and what the last layer's rate would make of it.
    critical
        The weight scale at which theory says the gradient neither vanishes nor explodes, or NaN if
        it lies outside of the picture.
    prediction
        The learner's guess of it for tanh at bias scale 0.5, if there is one.
    """

    diagram: PhaseDiagram
    predicted: Array
    measured_edge: Array
    predicted_edge: Array
    critical: float
    prediction: float | None

    @property
    def off(self) -> float:
        """The median distance between measurement and theory, in powers of ten."""
        away = np.abs(self.diagram.log10_gradient - self.predicted)
        return float(np.median(away[np.isfinite(away)]))

    def summary(self) -> str:
        """Return the picture in one line."""
        edge = f"{self.critical:.3f}" if math.isfinite(self.critical) else "outside"
        return (
            f"{self.diagram.summary()}, bias scale {self.diagram.bias_scale:g}; theory: edge "
            f"{edge}, median distance 10^{self.off:.2f}"
        )


def measure_phase(
    bias_scale: float = 0.0,
    activation: str = "tanh",
    width: int = 32,
    first_seed: int = 0,
    prediction: float | None = None,
) -> Phase:
    """Measure networks of 1 to 60 layers at 51 weight scales on digits, and predict them (T05-T08).

    Parameters
    ----------
    bias_scale
        Biases are ``N(0, bias_scale**2)``.
    activation
        A name that ``gradcourse.theory`` and ``gradcourse.signals`` know.
    width
        Units in each layer.
    first_seed
        Of weights and digits.
    prediction
        The weight scale at which the learner expects the edge of tanh at bias scale 0.5, drawn as a
        star there.
    """
    bias_scale = between(0, 1e6, "bias_scale", bias_scale)
    inputs = digit_batch(BATCH, first_seed)
    diagram = phase_diagram(inputs, activation, width, DEPTH, SCALES, bias_scale, first_seed)
    predicted = theory.gradient_map(activation, DEPTH, SCALES**2, bias_scale**2)
    critical = math.sqrt(theory.critical_weight_variance(activation, bias_scale**2))
    asked = activation == "tanh" and math.isclose(bias_scale, ASKED_BIAS)
    return Phase(
        diagram,
        predicted,
        theory.crossing_depths(diagram.log10_gradient, SIX_DEPTH_SCALES),
        _with_arms(predicted),
        critical if SCALES[0] <= critical <= SCALES[-1] else math.nan,
        as_prediction(prediction) if asked else None,
    )


def wedge(activation: str, depth: int = DEPTH, bias_scale: float = 0.0) -> tuple[float, float]:
    """Return the weight scales between which theory keeps the norm within a factor e**3, about 20.

    Looked for from 0.5 to 3 in steps of 0.005, for networks of exactly ``depth`` layers; NaN twice
    if there are none.
    """
    grid = np.linspace(SCALES[0], SCALES[-1], 501)
    change = theory.gradient_map(activation, depth, grid**2, bias_scale**2)[:, -1]
    kept = grid[np.abs(change) <= SIX_DEPTH_SCALES]
    return (float(kept[0]), float(kept[-1])) if kept.size else (math.nan, math.nan)


def _with_arms(predicted: Array) -> Array:
    """Return the edge of theory, carried on above the picture at the rate of the last layer."""
    edge = theory.crossing_depths(predicted, SIX_DEPTH_SCALES)
    rate = np.abs(predicted[:, -1] - predicted[:, -2])
    with np.errstate(divide="ignore"):
        above = DEPTH + (SIX_DEPTH_SCALES - np.abs(predicted[:, -1])) / rate
    return np.where(np.isnan(edge), np.minimum(above, 100 * DEPTH), edge)


def draw_phase(result: Phase, axes: Panel) -> None:
    """Show the gradient of every network as a colour, with the edge that theory draws."""
    depths = np.arange(1, DEPTH + 1)
    axes.set(xlabel="weight scale", ylabel="depth", xlim=(0.475, 3.025), ylim=(0.5, DEPTH + 0.5))
    axes.axes.grid(False)
    axes.heatmap(
        "gradient",
        SCALES,
        depths,
        result.diagram.log10_gradient.T,
        (-MOST, MOST),
        "gradient at the input, powers of 10",
        cmap="PuOr_r",
    )
    left, right = (SCALES[0], SCALES[-1])
    middle = right if math.isnan(result.critical) else result.critical
    for words, low, high in (("vanishes", left, middle), ("explodes", middle, right)):
        if high - low > ROOM:
            style: dict[str, Any] = {"ha": "center", "va": "center", "color": "white"}
            style |= {"fontsize": 15, "fontweight": "bold", "path_effects": [SHADE]}
            axes.text(words, (low + high) / 2, 0.93 * DEPTH, words, **style)
    axes.line(
        "measured",
        SCALES,
        result.measured_edge,
        color=MEASURED,
        marker="o",
        ms=7,
        ls="",
        label="measured: factor 20",
    )
    line: dict[str, Any] = {"color": "black", **OUTLINE}
    label = "theory: factor 20"
    axes.line("theory", SCALES, result.predicted_edge, label=label, lw=3.5, **line)
    axes.vline("edge", result.critical, label="theory: edge", ls="--", **line)
    if result.prediction is not None:
        axes.mark("prediction", result.prediction, DEPTH - 2, "your prediction")
