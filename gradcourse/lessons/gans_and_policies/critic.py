"""What a generator learns from: the gradient of a critic with respect to its input."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gradcourse import theory
from gradcourse.checks import at_least, more_than_zero
from gradcourse.exercises import as_prediction
from gradcourse.lessons.gans_and_policies.spectral import PowerIteration, random_directions
from gradcourse.live import MEASURED, PALETTE, THEORY, Panel
from gradcourse.signals.activations import ValueAndSlope, value_and_slope
from gradcourse.signals.weights import base_weights, measuring, random_generator

__all__ = ["DEPTH", "Critics", "InputGradient", "draw_critics", "measure_critics"]

Array = NDArray[Any]

DEPTH = 12
POINTS = 100
PLANE = 2
# Where the learner is asked for a prediction.
ASKED_DEPTH = 8


@dataclass(frozen=True)
class InputGradient:
    """Input gradients of critics with 1, 2, ... hidden layers, as log10; arrays (depths,).

    Attributes
    ----------
    largest, low, high
        The largest over all points: the median over seeds, the smallest and the largest seed.
    usual
        Root mean square over points and seeds.
    bound
        The product of the layers' largest singular values and of the activations' largest slopes:
        the median over seeds.
    predicted
        What ``usual`` is for wide layers.
    excess
        By how much, at most, a seed's largest gradient exceeds its own bound.
    """

    largest: Array
    low: Array
    high: Array
    usual: Array
    bound: Array
    predicted: Array
    excess: float


@dataclass(frozen=True)
class Critics:
    """The same critics with plain weights and with spectral normalisation.

    Attributes
    ----------
    activation, width, iterations
        As given.
    plain, spectral
        Their input gradients.
    prediction
        The learner's guess of log10 of the input gradient with spectral normalisation after 8
        hidden layers, if there is one.
    """

    activation: str
    width: int
    iterations: int
    plain: InputGradient
    spectral: InputGradient
    prediction: float | None

    def summary(self) -> str:
        """Return the picture in one line."""
        plain, normed, asked = self.plain, self.spectral, ASKED_DEPTH - 1
        return (
            f"{DEPTH} hidden layers ({self.activation}), largest input gradient: plain "
            f"10^{plain.largest[-1]:.1f} (bound 10^{plain.bound[-1]:.1f}); with spectral norm "
            f"10^{normed.largest[-1]:.1f} (bound {10 ** normed.bound[-1]:.3g}), and "
            f"10^{normed.largest[asked]:.1f} with {ASKED_DEPTH} layers"
        )


def measure_critics(
    weight_scale: float = 1.4,
    width: int = 64,
    activation: str = "relu",
    iterations: int = 15,
    seeds: int = 8,
    first_seed: int = 0,
    prediction: float | None = None,
) -> Critics:
    """Measure input gradients of random critics on points of a circle, and bound them (T38).

    Parameters
    ----------
    weight_scale
        Weights are ``N(0, weight_scale**2 / fan_in)``, biases 0.
    width
        Units in each hidden layer.
    activation
        A name that ``gradcourse.theory`` and ``gradcourse.signals`` know.
    iterations
        Of the power method that finds the largest singular values, 1 or more.
    seeds, first_seed
        How many critics, and the first of their seeds.
    prediction
        log10 of the input gradient that the learner expects of 8 hidden ReLU layers of 64 units
        with spectral normalisation, drawn as a star there.
    """
    scale = more_than_zero("weight_scale", weight_scale)
    at_least(1, "width", width)
    at_least(1, "iterations", iterations)
    at_least(1, "seeds", seeds)
    _, both = value_and_slope(activation)
    steepest = math.log10(_largest_slope(activation)) * np.arange(1, DEPTH + 1)
    with measuring():
        weights, exact = _stacks(width, seeds, first_seed)
        weights, exact = ([scale * one for one in each] for each in (weights, exact))
        guessed = [_estimate(stack, iterations, first_seed) for stack in weights]
        results = []
        for normed in (False, True):
            divide = guessed if normed else [torch.ones_like(one) for one in exact]
            largest, usual = _gradients(weights, divide, both)
            sizes = [(one / by).double().numpy() for one, by in zip(exact, divide, strict=True)]
            sizes = [np.log10(one.reshape(-1, seeds)) for one in sizes]
            bounds = (sizes[0] + np.cumsum(sizes[1], axis=0) - sizes[1][:1]) + sizes[2]
            bounds = bounds + steepest[:, None]
            results.append(
                InputGradient(
                    np.median(largest, axis=1),
                    largest.min(axis=1),
                    largest.max(axis=1),
                    usual,
                    np.median(bounds, axis=1),
                    _predicted(activation, width, None if normed else scale),
                    float((largest - bounds).max()),
                )
            )
    asked = (width, activation) == (64, "relu")
    guess = as_prediction(prediction) if asked else None
    return Critics(activation, width, iterations, results[0], results[1], guess)


@lru_cache(maxsize=4)
def _stacks(width: int, seeds: int, first_seed: int) -> tuple[list[Tensor], list[Tensor]]:
    """Return weights of scale 1 and their largest singular values.

    First layers (1, seeds, width, 2), a place for hidden ones (DEPTH, seeds, width, width), the
    first of which is not used, and last layers (1, seeds, 1, width).
    """
    base = base_weights(PLANE, width, first_seed, seeds, torch.device("cpu"))
    layers = [base.layer(number)[0] for number in range(1, DEPTH + 1)]
    first = layers[0][None] / math.sqrt(PLANE)
    hidden = torch.stack([torch.eye(width).expand(seeds, -1, -1), *layers[1:]])
    hidden[1:] /= math.sqrt(width)
    drawn = [
        random_generator(seed, 0).standard_normal(width)
        for seed in range(first_seed, first_seed + seeds)
    ]
    last = torch.from_numpy(np.stack(drawn)).float()[None, :, None] / math.sqrt(width)
    weights = [first, hidden, last]
    return weights, [torch.linalg.matrix_norm(one, ord=2) for one in weights]


def _estimate(stack: Tensor, iterations: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    power = PowerIteration(stack, random_directions(stack, generator))
    power.step(stack, iterations)
    return power.norms(stack)


def _gradients(
    weights: list[Tensor], divide: list[Tensor], both: ValueAndSlope
) -> tuple[Array, Array]:
    """Return log10 of the largest (depths, seeds) and of the usual input gradient (depths,)."""
    first, hidden, last = (
        weight / by[..., None, None] for weight, by in zip(weights, divide, strict=True)
    )
    angle = torch.arange(POINTS) * (2 * math.pi / POINTS)
    points = math.sqrt(2) * torch.stack([angle.cos(), angle.sin()])
    seeds = first.shape[1]
    # Derivatives with respect to both coordinates travel forward beside the values.
    value, slope = both(first[0] @ points)
    moved = slope[..., None] * first[0][:, :, None]
    log10 = []
    for layer in range(DEPTH):
        if layer:
            value, slope = both(hidden[layer] @ value)
            moved = (hidden[layer] @ moved.flatten(2)).view_as(moved) * slope[..., None]
        gradient = (last[0] @ moved.flatten(2)).view(seeds, POINTS, PLANE)
        log10.append(gradient.double().norm(dim=-1).log10().numpy())
    norms = np.stack(log10)
    return norms.max(axis=2), np.log10((100**norms).mean(axis=(1, 2))) / 2


@lru_cache(maxsize=32)
def _predicted(activation: str, width: int, scale: float | None) -> Array:
    """Return log10 of the usual input gradient of wide layers, shape (depths,).

    ``scale`` is None for spectral normalisation: the largest singular value of a matrix of
    variance 1/columns is ``1 + sqrt(rows / columns)`` for large ones (Geman 1980).
    """
    scales = [scale or 1 / (1 + math.sqrt(width / PLANE))] + [scale or 0.5] * (DEPTH - 1)
    q, total, squares = scales[0] ** 2, 2 * math.log(scale or 1.0), []
    for layer, each in enumerate(scales):
        if layer:
            q = theory.length_map(activation, q, each**2)
        total += math.log(theory.chi(activation, q, each**2))
        squares.append(total)
    return np.array(squares) / (2 * math.log(10))


@lru_cache(maxsize=16)
def _largest_slope(activation: str) -> float:
    derivative = theory.activation(activation).derivative
    return float(np.abs(derivative(np.linspace(-8.0, 8.0, 16_001))).max())


def draw_critics(result: Critics, axes: dict[str, Panel]) -> None:
    """Show the input gradient against the number of hidden layers, beside its bound."""
    shown = [-3.0, 1.0, *([] if result.prediction is None else [result.prediction])]
    for one in (result.plain, result.spectral):
        shown += [*one.bound, *one.predicted, *one.low]
    layers = np.arange(1, DEPTH + 1)
    for name, title, one in (
        ("plain", "Plain weights", result.plain),
        ("spectral", "With spectral norm", result.spectral),
    ):
        panel = axes[name]
        panel.set(title=title, xlabel="hidden layers", xlim=(0.8, DEPTH + 0.2))
        panel.decades("y", min(shown), max(shown))
        panel.band("band", layers, one.low, one.high, color=MEASURED, alpha=0.2)
        panel.line("bound", layers, one.bound, color=THEORY, ls="--", label="theory: bound")
        panel.line("largest", layers, one.largest, color=MEASURED, label="measured: largest")
        panel.line(
            "usual", layers, one.usual, color=PALETTE[5], lw=4, label="measured: usual (rms)"
        )
        panel.line("predicted", layers, one.predicted, color=THEORY, ls=":", label="theory: usual")
    axes["plain"].set(ylabel="size of the input gradient")
    if result.prediction is not None:
        axes["spectral"].mark("prediction", ASKED_DEPTH, result.prediction, "your prediction")
