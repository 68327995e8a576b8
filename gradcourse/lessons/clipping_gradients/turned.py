"""How far clipping by value turns a long random gradient."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradcourse import theory
from gradcourse.checks import at_least, more_than_zero
from gradcourse.exercises import as_prediction
from gradcourse.live import MEASURED, THEORY, Panel

__all__ = ["Turned", "draw_turned", "measure_turned"]

Array = NDArray[Any]

CLIP_VALUES = np.logspace(-2, 1, 31)
TAILS = ("Gaussian", "heavy tails")


@dataclass(frozen=True)
class Turned:
    """Angle and length of gradients that were clipped by value.

    Attributes
    ----------
    clip_values
        In standard deviations of an element, shape (clip values,).
    angle, length
        Measured, in degrees and as a share: the median over seeds and the ends of the band that
        holds 90 % of them; shape (3, clip values).
    predicted_angle, predicted_length
        Theory, shape (clip values,).
    clip_value
        The one that is looked at.
    at, predicted_at
        Median measured angle there, and theory's.
    elements
        Elements of a gradient.
    largest
        The largest angle of all seeds and clip values.
    prediction
        The learner's guess of the largest angle, if there is one.
    """

    clip_values: Array
    angle: Array
    length: Array
    predicted_angle: Array
    predicted_length: Array
    clip_value: float
    at: float
    predicted_at: float
    elements: int
    largest: float
    prediction: float | None

    def summary(self) -> str:
        """Return the picture in one line."""
        return (
            f"{self.elements} elements clipped at {self.clip_value:.3g} standard deviations: turned"
            f" {self.at:.1f}° (theory: {self.predicted_at:.1f}°), {self.largest:.1f}°"
            " at most"
        )


def measure_turned(
    elements: int = 1000,
    clip_value: float = 0.5,
    tails: str = "Gaussian",
    seeds: int = 32,
    first_seed: int = 0,
    prediction: float | None = None,
) -> Turned:
    """Clip random gradients by value, at many limits at once (T24).

    Parameters
    ----------
    elements
        Elements of a gradient, 1 or more.
    clip_value
        The limit to look at, in standard deviations of an element.
    tails
        ``"Gaussian"``, or ``"heavy tails"``: Student's t with 3 degrees of freedom.
    seeds, first_seed
        How many gradients, and the first of their seeds.
    prediction
        The largest angle, in degrees, that the learner expects of long Gaussian gradients.
    """
    at_least(1, "elements", elements)
    more_than_zero("clip_value", clip_value)
    if tails not in TAILS:
        raise ValueError(f"tails must be one of {', '.join(TAILS)}, got {tails!r}")
    gradients = _gradients(elements, tails, seeds, first_seed)
    limits = np.append(CLIP_VALUES, clip_value)
    angle, length = np.empty((2, seeds, len(limits)))
    norms = np.linalg.norm(gradients, axis=1)
    for place, limit in enumerate(limits):
        clipped = np.clip(gradients, -limit, limit)
        left = np.linalg.norm(clipped, axis=1)
        cosine = np.einsum("se,se->s", clipped, gradients) / (left * norms)
        angle[:, place] = np.degrees(np.arccos(np.clip(cosine, -1, 1)))
        length[:, place] = left / norms
    predicted = np.degrees(np.arccos(np.clip(theory.value_clip_cosine(limits), -1, 1)))
    return Turned(
        CLIP_VALUES,
        _median_and_band(angle[:, :-1]),
        _median_and_band(length[:, :-1]),
        predicted[:-1],
        theory.value_clip_length(CLIP_VALUES),
        clip_value,
        float(np.median(angle[:, -1])),
        float(predicted[-1]),
        elements,
        float(angle.max()),
        as_prediction(prediction) if tails == "Gaussian" and elements >= 100 else None,
    )


def _median_and_band(values: Array) -> Array:
    quantiles: Array = np.quantile(values, [0.5, 0.05, 0.95], axis=0)
    return quantiles


@lru_cache(maxsize=4)
def _gradients(elements: int, tails: str, seeds: int, first_seed: int) -> Array:
    """Return random gradients whose elements have variance 1, shape (seeds, elements)."""
    draws = []
    for seed in range(first_seed, first_seed + seeds):
        source = np.random.default_rng(seed)
        if tails == "Gaussian":
            draws.append(source.standard_normal(elements))
        else:
            draws.append(source.standard_t(3, elements) / math.sqrt(3))
    return np.stack(draws)


def draw_turned(result: Turned, axes: dict[str, Panel]) -> None:
    """Show the angle and the length that is left against the clip value, beside theory."""
    x = np.log10(result.clip_values)
    for name, title, measured, predicted, top in (
        ("angle", "Turned by, in degrees", result.angle, result.predicted_angle, 60),
        ("length", "Share of the length left", result.length, result.predicted_length, 1.05),
    ):
        panel = axes[name]
        panel.set(title=title, xlabel="clip value, in standard deviations", ylim=(0, top))
        panel.decades("x", -2, 1)
        median, low, high = measured
        panel.band("band", x, low, high, color=MEASURED, alpha=0.2, label="5 to 95 % of seeds")
        panel.line("measured", x, median, color=MEASURED, lw=4, label="measured: median")
        panel.line(
            "theory", x, predicted, color=THEORY, ls="--", label="theory: long Gaussian gradient"
        )
        panel.vline("clip value", math.log10(result.clip_value), color="black", lw=1.2)
    # Where neither the curve nor the rule is.
    place = "lower left" if result.clip_value > 0.3 else "upper right"
    axes["angle"].note(f"{result.at:.1f}° (theory: {result.predicted_at:.1f}°)", place)
    if result.prediction is not None:
        axes["angle"].mark("prediction", -2, result.prediction, "your prediction")
