"""Cause one on a quadratic: how large a learning rate may be, with and without momentum."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from gradcourse import theory
from gradcourse.checks import at_least
from gradcourse.exercises import as_prediction
from gradcourse.live import MEASURED, PALETTE, THEORY, Panel

__all__ = ["Descent", "draw_quadratic", "measure_quadratic"]

Array = NDArray[Any]

FLAT = 1.0
LARGEST_RATE = 0.6
# The rate in the long run is measured over the second half of this many steps.
LONG_RUN = 600


@dataclass(frozen=True)
class Descent:
    """Gradient descent on ``(curvature * x**2 + y**2) / 2``, beside its closed form.

    Attributes
    ----------
    learning_rate, momentum, curvature
        The settings; the other direction has curvature 1.
    steep, flat
        log10 of the measured distance from the minimum in either direction, shape (steps + 1,).
    predicted_steep, predicted_flat
        The same from the closed form.
    rates
        The learning rates of the second picture, shape (rates,).
    measured, predicted
        By what factor a step changes the distance in the steep direction in the long run, for each
        of them: measured, and the spectral radius. The same shape.
    here, predicted_here
        The same at the present learning rate.
    edge
        The largest stable learning rate.
    prediction
        The learner's guess of the edge at curvature 10 with momentum 0.9, if there is one.
    """

    learning_rate: float
    momentum: float
    curvature: float
    steep: Array
    flat: Array
    predicted_steep: Array
    predicted_flat: Array
    rates: Array
    measured: Array
    predicted: Array
    here: float
    predicted_here: float
    edge: float
    prediction: float | None

    @property
    def stable(self) -> bool:
        """Whether theory says that the distance shrinks."""
        return self.learning_rate < self.edge

    def summary(self) -> str:
        """Return the picture in one line."""
        verdict = "stable" if self.stable else "unstable"
        return (
            f"learning rate {self.learning_rate:.3g}, momentum {self.momentum:.3g}: {verdict}; a "
            f"step changes the distance by {self.here:.3f} (theory: {self.predicted_here:.3f}); "
            f"the edge is 2(1 + {self.momentum:.3g})/{self.curvature:.3g} = {self.edge:.3g}"
        )


def measure_quadratic(
    learning_rate: float = 0.15,
    momentum: float = 0.0,
    curvature: float = 10.0,
    steps: int = 60,
    prediction: float | None = None,
) -> Descent:
    """Run ``torch.optim.SGD`` on a quadratic of two directions, and predict it (T32).

    Parameters
    ----------
    learning_rate, momentum
        Of the optimizer.
    curvature
        Of the steep direction.
    steps
        How many of them.
    prediction
        The largest stable learning rate that the learner expects at curvature 10 with momentum
        0.9, drawn as a star there.
    """
    at_least(1, "steps", steps)
    paths = [
        theory.heavy_ball_iterates(steps, learning_rate, each, momentum)
        for each in (curvature, FLAT)
    ]
    walked = _walk(steps, learning_rate, np.array([curvature, FLAT]), momentum)
    rates = np.linspace(0.0, LARGEST_RATE, 121)
    asked = math.isclose(curvature, 10) and math.isclose(momentum, 0.9)
    return Descent(
        learning_rate,
        momentum,
        curvature,
        _log10(walked[:, 0]),
        _log10(walked[:, 1]),
        _log10(paths[0]),
        _log10(paths[1]),
        rates,
        _long_run(rates, curvature, momentum),
        theory.heavy_ball_rate(rates, curvature, momentum),
        float(_long_run(np.array([learning_rate]), curvature, momentum)[0]),
        float(theory.heavy_ball_rate(learning_rate, curvature, momentum)),
        theory.largest_stable_learning_rate(curvature, momentum),
        as_prediction(prediction) if asked else None,
    )


def _walk(steps: int, learning_rate: float, curvatures: Array, momentum: float) -> Array:
    """Let torch descend from 1 in each direction; shape (steps + 1, directions)."""
    place = torch.ones(len(curvatures), dtype=torch.float64)
    slopes = torch.from_numpy(curvatures)
    optimizer = torch.optim.SGD([place], lr=learning_rate, momentum=momentum)
    walked = [place.numpy().copy()]
    for _ in range(steps):
        place.grad = slopes * place
        optimizer.step()
        walked.append(place.numpy().copy())
    return np.array(walked)


def _long_run(rates: Array, curvature: float, momentum: float) -> Array:
    """Return the measured factor per step for each learning rate."""
    place, velocity = np.ones_like(rates), np.zeros_like(rates)
    logs = np.zeros((2, len(rates)))
    for half in range(2):
        for _ in range(LONG_RUN // 2):
            velocity = momentum * velocity + curvature * place
            place = place - rates * velocity
            # Only the direction of the pair matters; its size is kept as a logarithm.
            size = np.hypot(place, rates * velocity)
            size = np.where(size > 0, size, 1.0)
            logs[half] += np.log(size)
            place, velocity = place / size, velocity / size
    at_minimum = (place == 0) & (velocity == 0)
    return np.asarray(np.where(at_minimum, 0.0, np.exp(logs[1] / (LONG_RUN // 2))))


def _log10(distances: Array) -> Array:
    with np.errstate(divide="ignore"):
        return np.asarray(np.log10(np.abs(distances)))


def draw_quadratic(result: Descent, axes: dict[str, Panel]) -> None:
    """Show the distance step by step, and the factor per step against the learning rate."""
    distance, rate = axes["distance"], axes["rate"]
    steps = np.arange(len(result.steep))
    ends = np.concatenate([result.steep, result.flat, [-2.0, 0.5]])
    ends = np.clip(ends[np.isfinite(ends)], -12, 60)
    distance.set(title="Distance from the minimum", xlabel="step", xlim=(0, len(steps) - 1))
    distance.decades("y", float(ends.min()), float(ends.max()))
    for name, measured, predicted, colour in (
        ("steep", result.steep, result.predicted_steep, MEASURED),
        ("flat", result.flat, result.predicted_flat, PALETTE[5]),
    ):
        distance.line(name, steps, measured, color=colour, lw=4, label=f"measured: {name}")
        label = "theory: closed form" if name == "flat" else "_"
        distance.line(
            f"{name} theory", steps, predicted, color=THEORY, ls="--", lw=1.8, label=label
        )
    rate.set(
        title="Factor per step, steep direction",
        xlabel="learning rate",
        xlim=(0, LARGEST_RATE + 0.02),
        ylim=(0, 2),
    )
    rate.line("measured", result.rates, result.measured, color=MEASURED, lw=4, label="measured")
    rate.line(
        "theory",
        result.rates,
        result.predicted,
        color=THEORY,
        ls="--",
        label="theory: |eigenvalue|",
    )
    rate.hline("one", 1.0, color="black", lw=1)
    rate.vline("edge", result.edge, color=THEORY, ls=":", lw=2)
    rate.line(
        "here",
        [result.learning_rate],
        [min(result.here, 1.95)],
        color="black",
        marker="o",
        ms=9,
        ls="",
        label="here",
    )
    if result.prediction is not None:
        rate.mark("prediction", min(result.prediction, LARGEST_RATE), 1.0, "your prediction")
