"""Two causes at once: which learning rates survive which scales of the targets."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from gradcourse import theory
from gradcourse.checks import at_least
from gradcourse.exercises import as_prediction
from gradcourse.lessons.three_causes.recipes import UNITS, YIELD_EVERY, white_regression
from gradcourse.live import PALETTE, THEORY, Panel
from gradcourse.models import seeded
from gradcourse.training import Ensemble, Pace, one_thread

__all__ = ["MODELS", "Plane", "draw_plane", "measure_plane"]

Array = NDArray[Any]

MODELS = ("linear model", "two linear layers", "ReLU network")
RATES = np.linspace(-5, 1, 25)
SCALES = np.linspace(-1, 3, 17)
ROWS = 100
STEPS = 200
# log10 of the error over the targets' standard deviation, where the colours end.
BEST, WORST = -2.0, 0.5


@dataclass(frozen=True)
class Plane:
    """One network for every learning rate and every scale of the targets.

    Attributes
    ----------
    model, momentum
        The settings.
    log10_rates, log10_scales
        log10 of the learning rates (columns) and of the targets' standard deviations (rows).
    errors
        log10 of the training error over the targets' standard deviation, shape (rows, columns);
        NaN where the network is lost.
    predicted
        log10 of the largest stable learning rate for each row, from theory.
    progress
        Share of the steps that are done.
    prediction
        The learner's guess of log10 of the largest good learning rate for a ReLU network with
        momentum 0.9 and targets of scale 1000, if there is one.
    """

    model: str
    momentum: float
    log10_rates: Array
    log10_scales: Array
    errors: Array
    predicted: Array
    progress: float
    prediction: float | None

    @property
    def edges(self) -> Array:
        """log10 of the learning rate between the last survivor and the first NaN of each row.

        NaN where a whole row survives; shape (rows,).
        """
        lost = np.isnan(self.errors)
        first = lost.argmax(axis=1)
        half = (self.log10_rates[1] - self.log10_rates[0]) / 2
        return np.where(lost.any(axis=1), self.log10_rates[first] - half, np.nan)

    @property
    def slope(self) -> float:
        """The slope of log10(edge) against log10(scale), over scales of 10 and more."""
        large = (self.log10_scales >= 1) & np.isfinite(self.edges)
        if large.sum() < 2:
            return math.nan
        return float(np.polyfit(self.log10_scales[large], self.edges[large], 1)[0])

    @property
    def learned_beyond(self) -> int:
        """How many networks came below a tenth of the spread beyond theory's largest rate."""
        beyond = self.log10_rates > self.predicted[:, None]
        return int(((self.errors < -1) & beyond).sum())

    @property
    def apart(self) -> float:
        """The largest factor between the edge and theory, over scales of 10 and more."""
        off = np.abs(self.edges - self.predicted)[self.log10_scales >= 1]
        return float(10 ** off.max())

    def summary(self) -> str:
        """Return the picture in one line."""
        lost = int(np.isnan(self.errors).sum())
        line = f"{self.model}, momentum {self.momentum:g}: {lost} of {self.errors.size} lost"
        if not math.isfinite(self.slope):
            return f"{line} so far"
        return (
            f"{line}; targets 10 times larger: learning rate {10**-self.slope:.3g} times smaller; "
            f"at scale 1000 NaN begins at {10 ** self.edges[-1]:.2g} "
            f"(theory: {10 ** self.predicted[-1]:.2g})"
        )


def measure_plane(
    model: str = "ReLU network",
    momentum: float = 0.9,
    first_seed: int = 0,
    steps: int = STEPS,
    prediction: float | None = None,
) -> Iterator[Plane]:
    """Train a network for each of 25 learning rates and 17 scales of the targets, in one batch.

    All start alike and take 200 steps on the same 100 rows of white inputs.

    Parameters
    ----------
    model
        ``"linear model"``, ``"two linear layers"`` or ``"ReLU network"``.
    momentum
        Of SGD.
    first_seed
        Chooses data and weights.
    steps
        How many of them.
    prediction
        log10 of the largest learning rate that the learner expects to survive, for a ReLU network
        with momentum 0.9 and targets of scale 1000, drawn as a star there.

    Yields
    ------
    Plane
        What there is so far; the last one is whole.
    """
    if model not in MODELS:
        raise ValueError(f"model must be one of {', '.join(MODELS)}, got {model!r}")
    inputs, targets = white_regression(first_seed, ROWS)
    rates, scales = (torch.from_numpy(10**logs).float() for logs in (RATES, SCALES))
    all_rates, all_scales = rates.repeat(len(scales)), scales.repeat_interleave(len(rates))
    network = seeded(first_seed, lambda: _network(model))
    ensemble = Ensemble([copy.deepcopy(network) for _ in all_rates])
    optimizer = torch.optim.SGD(ensemble.parameters(), lr=1.0, momentum=momentum)
    wanted = all_scales[:, None] * targets
    asked = model == "ReLU network" and math.isclose(momentum, 0.9)
    guess = as_prediction(prediction) if asked else None
    pace = Pace(YIELD_EVERY)
    for step in range(at_least(1, "steps", steps) + 1):
        with one_thread():
            optimizer.zero_grad()
            losses = (ensemble(inputs).squeeze(2) - wanted).square().mean(dim=1)
            torch.autograd.backward(losses.sum())
            ensemble.scale_grad_(all_rates)
            optimizer.step()
        if step == steps or pace.due():
            errors = (losses.detach().double().sqrt() / all_scales).view(len(scales), len(rates))
            yield Plane(
                model,
                momentum,
                RATES,
                SCALES,
                np.log10(errors.where(errors.isfinite(), torch.nan).numpy()),
                _predicted(model, momentum),
                step / steps,
                guess,
            )
            pace.restart()


def _network(model: str) -> nn.Module:
    if model == "linear model":
        return nn.Linear(20, 1, bias=False)
    between = [nn.ReLU()] if model == "ReLU network" else []
    first, second = nn.Linear(20, UNITS, bias=False), nn.Linear(UNITS, 1, bias=False)
    return nn.Sequential(first, *between, second)


def _predicted(model: str, momentum: float) -> Array:
    if model == "linear model":
        # The Hessian of the mean squared error is twice the inputs' covariance, here 2.
        curvatures = np.full_like(SCALES, 2.0)
    else:
        activation = "relu" if model == "ReLU network" else "linear"
        curvatures = np.array([theory.two_layer_sharpness(10**s, activation) for s in SCALES])
    rates = [theory.largest_stable_learning_rate(each, momentum) for each in curvatures]
    return np.log10(rates)


def draw_plane(result: Plane, axes: Panel) -> None:
    """Show the error as a colour in the plane of both causes, and where theory draws the line."""
    x, y = result.log10_rates, result.log10_scales
    axes.set(
        xlabel="learning rate",
        ylabel="standard deviation of the targets",
    )
    axes.decades("x", float(x[0]), float(x[-1]))
    axes.decades("y", float(y[0]), float(y[-1]))
    axes.heatmap(
        "errors", x, y, result.errors, (BEST, WORST), label="log10(error / std); grey: NaN"
    )
    axes.line("theory", result.predicted, y, color=THEORY, ls="--", lw=3, label="theory: the edge")
    axes.line("edge", result.edges, y, color="black", lw=2, label="measured: the edge")
    axes.line(
        "regression",
        [-2.0],
        [math.log10(143)],
        color=PALETTE[3],
        marker="o",
        ms=10,
        ls="",
        label="the regression above",
    )
    if result.prediction is not None:
        axes.mark("prediction", float(np.clip(result.prediction, -5, 1)), 3.0, "your prediction")
