"""Causes two and three in one picture: the gradient's norm against the scale of the targets."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from gradcourse import theory
from gradcourse.checks import more_than_zero
from gradcourse.exercises import as_prediction
from gradcourse.lessons.three_causes.recipes import UNITS, white_regression
from gradcourse.live import MEASURED, PALETTE, THEORY, Panel
from gradcourse.models import MLP, seeded
from gradcourse.training import Ensemble, one_thread

__all__ = ["MODELS", "Scaled", "draw_scale", "measure_scale"]

Array = NDArray[Any]

MODELS = ("linear model", "ReLU network")


@dataclass(frozen=True)
class Scaled:
    """The norm of the first gradient, for targets of many scales.

    Attributes
    ----------
    model, delta, offset
        The settings.
    log10_scales
        log10 of the targets' standard deviation, shape (scales,).
    mse, huber
        log10 of the gradient's norm under either loss, shape (scales, seeds).
    predicted_mse, predicted_huber
        The same from theory, shape (scales,).
    prediction
        The learner's guess of log10 of the norm under MSE at scale 1000, if there is one.
    """

    model: str
    delta: float
    offset: float
    log10_scales: Array
    mse: Array
    huber: Array
    predicted_mse: Array
    predicted_huber: Array
    prediction: float | None

    @staticmethod
    def median(log10_norms: Array) -> Array:
        """Return the median over seeds, shape (scales,)."""
        return np.asarray(np.median(log10_norms, axis=1))

    @staticmethod
    def slope(log10_norms: Array, log10_scales: Array) -> float:
        """Return the slope of the median over the two largest decades."""
        last = log10_scales >= log10_scales[-1] - 2
        median = Scaled.median(log10_norms)[last]
        return float(np.polyfit(log10_scales[last], median, 1)[0])

    @property
    def slopes(self) -> tuple[float, float]:
        """The slopes under MSE and under Huber."""
        return (
            self.slope(self.mse, self.log10_scales),
            self.slope(self.huber, self.log10_scales),
        )

    @property
    def largest(self) -> float:
        """The median norm under MSE at the largest scale."""
        return float(10 ** np.median(self.mse[-1]))

    @property
    def apart(self) -> float:
        """The largest factor between the median norm under Huber and theory."""
        off = np.median(self.huber, axis=1) - self.predicted_huber
        return float(10 ** np.abs(off).max())

    def summary(self) -> str:
        """Return the picture in one line."""
        mse, huber = self.slopes
        top = 10 ** np.median(self.huber[-1])
        return (
            f"{self.model}: targets 10 times larger make the gradient {10**mse:.3g} times longer "
            f"under MSE, {10**huber:.3g} times under Huber (theory: 10 and 1); it "
            f"ends at {top:.3g} under Huber; delta {self.delta:.3g}, mean {self.offset:g} std"
        )


def measure_scale(
    model: str = "ReLU network",
    delta: float = 1.0,
    offset: float = 0.0,
    seeds: int = 8,
    first_seed: int = 0,
    prediction: float | None = None,
) -> Scaled:
    """Measure the first gradient for targets of standard deviation 0.01 to 10000 (T35).

    Parameters
    ----------
    model
        ``"linear model"`` starts at 0; ``"ReLU network"`` as torch initialises it.
    delta
        Of the Huber loss.
    offset
        The mean of the targets, in standard deviations.
    seeds, first_seed
        How many networks, and the first of their seeds; it chooses the data too.
    prediction
        log10 of the norm that the learner expects of the network under MSE with targets of scale
        1000, drawn as a star there.
    """
    more_than_zero("delta", delta)
    if model not in MODELS:
        raise ValueError(f"model must be one of {', '.join(MODELS)}, got {model!r}")
    inputs, targets = white_regression(first_seed)
    logs = np.linspace(-2, 4, 25)
    scales = torch.from_numpy(10**logs).float()
    wanted = scales[:, None, None] * (targets + offset)
    with one_thread():
        ensemble = _networks(model, seeds, first_seed)
        outputs = ensemble(inputs).squeeze(2)
        residuals = outputs.detach() - wanted
        mse = _log10_norms(outputs, list(ensemble.parameters()), 2 * residuals)
        # The slope of Huber's loss is the residual, cut off at delta.
        huber = _log10_norms(outputs, list(ensemble.parameters()), residuals.clamp(-delta, delta))
    if model == "linear model" and offset == 0:
        predicted_mse = logs + math.log10(2)
        predicted_huber = np.log10(theory.huber_gradient(10**logs, delta))
    else:
        # Calculus gives the slopes; the height is that of the largest scale.
        predicted_mse = np.median(mse[-1]) + logs - logs[-1]
        predicted_huber = np.full_like(logs, np.median(huber[-1]))
    asked = model == "ReLU network" and offset == 0
    guess = as_prediction(prediction) if asked else None
    return Scaled(model, delta, offset, logs, mse, huber, predicted_mse, predicted_huber, guess)


@functools.lru_cache(maxsize=4)
def _networks(model: str, seeds: int, first_seed: int) -> Ensemble:
    if model == "ReLU network":
        numbers = range(first_seed, first_seed + seeds)
        return Ensemble(seeded(seed, lambda: MLP(20, UNITS, 1, 1, "relu")) for seed in numbers)
    line = nn.Linear(20, 1, bias=False)
    nn.init.zeros_(line.weight)
    return Ensemble([line])


def _log10_norms(outputs: Tensor, parameters: list[Tensor], slopes: Tensor) -> Array:
    """Return log10 of the gradient's norm for losses with these slopes, (scales, networks).

    ``slopes`` are the derivatives of each row's loss by the output, (scales, networks, rows).
    """
    gradients = torch.autograd.grad(
        outputs,
        parameters,
        slopes.expand(-1, len(outputs), -1) / outputs.shape[1],
        retain_graph=True,
        is_grads_batched=True,
    )
    squares = torch.stack([one.double().flatten(2).square().sum(dim=2) for one in gradients])
    return np.asarray(np.log10(squares.sum(dim=0).sqrt().numpy()))


def draw_scale(result: Scaled, axes: Panel) -> None:
    """Show both norms against the targets' scale, both axes logarithmic."""
    x = result.log10_scales
    axes.set(xlabel="standard deviation of the targets", ylabel="norm of the first gradient")
    axes.decades("x", float(x[0]), float(x[-1]))
    axes.decades("y", -3, 5)
    for name, norms, predicted, colour in (
        ("MSE", result.mse, result.predicted_mse, MEASURED),
        ("Huber", result.huber, result.predicted_huber, PALETTE[2]),
    ):
        axes.band(f"{name} band", x, norms.min(axis=1), norms.max(axis=1), color=colour, alpha=0.2)
        axes.line(name, x, result.median(norms), color=colour, lw=4, label=f"measured: {name}")
        label = "theory: slopes 1 and 0" if name == "MSE" else "_"
        axes.line(f"{name} theory", x, predicted, color=THEORY, ls="--", label=label)
    if result.prediction is not None:
        axes.mark("prediction", 3.0, float(np.clip(result.prediction, -3, 5)), "your prediction")
