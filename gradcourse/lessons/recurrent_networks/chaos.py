"""A tanh network with noisy input: the factor per step, and where the edge of chaos lies."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from gradcourse import theory
from gradcourse.checks import between
from gradcourse.exercises import as_prediction
from gradcourse.live import MEASURED, THEORY, Panel
from gradcourse.signals.weights import measuring

__all__ = ["Chaos", "draw_chaos", "measure_chaos"]

Array = NDArray[Any]

WIDTH, SEEDS, SAMPLES = 100, 6, 4
# Steps before the gradient is sent back, and steps that it is sent back.
SETTLE, BACK = 25, 45
# The first steps back and the last ones are left out of the slope.
FIT = slice(4, 42)
GAINS = tuple(np.linspace(0.5, 2.5, 9).round(2).tolist())
CURVE = np.linspace(0.4, 2.6, 56)
ASKED = 0.5


@dataclass(frozen=True)
class Chaos:
    """Gradients of random tanh networks whose input is noise, with what mean field says of them.

    Attributes
    ----------
    gain, noise
        As given.
    log10
        log10 of the gradient's norm at each step back, shape (seeds, steps + 1).
    median, low, high
        The same: median, lowest and highest seed.
    predicted
        Theory, shape (steps + 1,).
    curve, quiet
        Theory: the factor per step for each gain of ``gains``, with this noise and without any.
    gains
        Where the curves are computed.
    found_gains, found, found_low, found_high
        Measured at some gains: the factor per step, median, lowest and highest seed.
    edge
        The gain at which theory has a factor of 1.
    prediction
        The learner's guess of the edge at noise 0.5, if there is one.
    """

    gain: float
    noise: float
    log10: Array
    median: Array
    low: Array
    high: Array
    predicted: Array
    gains: Array
    curve: Array
    quiet: Array
    found_gains: Array
    found: Array
    found_low: Array
    found_high: Array
    edge: float
    prediction: float | None

    @property
    def factors(self) -> Array:
        """The measured factor per step of each seed, shape (seeds,)."""
        return _factors(self.log10)

    @property
    def typical(self) -> float:
        """The measured factor per step of the median seed."""
        return float(np.median(self.factors))

    @property
    def factor(self) -> float:
        """The factor per step that theory predicts: the root of chi."""
        return _root_chi(self.gain, self.noise)

    @property
    def log_chi(self) -> tuple[float, float]:
        """The logarithm of chi: measured, the median network's, and from theory."""
        return 2 * math.log(self.typical), 2 * math.log(self.factor)

    @property
    def found_edge(self) -> float:
        """The gain at which the measured factor passes 1."""
        return float(np.interp(1.0, self.found, self.found_gains))

    def summary(self) -> str:
        """Return the picture in one line."""
        seeds = self.factors
        return (
            f"gain {self.gain:g}, input noise {self.noise:g}: the gradient changes by "
            f"{self.typical:.3f} a step ({seeds.min():.3f} to {seeds.max():.3f} in {SEEDS} "
            f"networks of {WIDTH} units; theory: {self.factor:.3f}); "
            f"the edge of chaos lies at gain {self.edge:.2f}"
        )


def measure_chaos(
    gain: float = 1.3,
    noise: float = 0.2,
    first_seed: int = 0,
    prediction: float | None = None,
) -> Chaos:
    """Send gradients back through random tanh networks whose input is noise (T45).

    Parameters
    ----------
    gain
        Recurrent weights are ``N(0, gain**2 / units)``; 0.5 to 2.5.
    noise
        Standard deviation of what the input adds to every unit at every step, 0 to 2.
    first_seed
        The first seed of six networks.
    prediction
        The gain at which the learner expects the edge with noise 0.5, drawn as a star there.
    """
    gain, noise = between(GAINS[0], GAINS[-1], "gain", gain), between(0, 2, "noise", noise)
    log10 = _sent_back(gain, noise, first_seed)
    found = np.stack([_factors(_sent_back(one, noise, first_seed)) for one in GAINS])
    steps = np.arange(log10.shape[1])
    guess = as_prediction(prediction) if math.isclose(noise, ASKED) else None
    return Chaos(
        gain,
        noise,
        log10,
        np.median(log10, axis=0),
        log10.min(axis=0),
        log10.max(axis=0),
        steps * math.log10(_root_chi(gain, noise)),
        CURVE,
        _curve(noise),
        _curve(0.0),
        np.array(GAINS),
        np.median(found, axis=1),
        found.min(axis=1),
        found.max(axis=1),
        math.sqrt(theory.critical_weight_variance("tanh", noise**2)),
        guess,
    )


@lru_cache(maxsize=512)
def _root_chi(gain: float, noise: float) -> float:
    q = theory.length_fixed_point("tanh", gain**2, noise**2)
    return math.sqrt(theory.chi("tanh", q, gain**2))


@lru_cache(maxsize=64)
def _curve(noise: float) -> Array:
    return np.array([_root_chi(float(gain), noise) for gain in CURVE])


def _factors(log10: Array) -> Array:
    rows = log10[:, FIT]
    steps = np.arange(rows.shape[1]) - (rows.shape[1] - 1) / 2
    return np.asarray(10 ** (rows @ steps / (steps @ steps)))


@lru_cache(maxsize=2)
def _drawn(first_seed: int) -> tuple[torch.Tensor, ...]:
    """Return weights, first states, noise of all steps and cotangents, all standard normal."""
    sources = [np.random.default_rng([first_seed + seed, 10]) for seed in range(SEEDS)]
    shapes = [(WIDTH, WIDTH), (WIDTH, SAMPLES), (SETTLE + BACK, WIDTH, SAMPLES), (WIDTH, SAMPLES)]
    drawn = [[source.standard_normal(shape, np.float32) for shape in shapes] for source in sources]
    weights, states, noise, cotangents = (
        torch.from_numpy(np.stack(one)) for one in zip(*drawn, strict=True)
    )
    return weights / math.sqrt(WIDTH), states, noise.transpose(0, 1).contiguous(), cotangents


@lru_cache(maxsize=256)
def _sent_back(gain: float, noise: float, first_seed: int) -> Array:
    """Return log10 of the gradient's norm at each step back, shape (seeds, steps + 1)."""
    with measuring():
        weights, state, inputs, gradient = _drawn(first_seed)
        weights = gain * weights
        slopes = []
        for step in inputs:
            state = torch.tanh(torch.baddbmm(step, weights, state, beta=noise))
            slopes.append(1 - state.square())
        back = weights.transpose(1, 2)
        gradient = gradient / torch.linalg.vector_norm(gradient, dim=(1, 2), keepdim=True)
        growth = [torch.zeros(SEEDS)]
        for slope in reversed(slopes[SETTLE:]):
            gradient = torch.bmm(back, slope * gradient)
            norm = torch.linalg.vector_norm(gradient, dim=(1, 2), keepdim=True)
            # Kept at length 1: the norm is accumulated in logarithms, and cannot underflow.
            gradient = gradient / norm
            growth.append(norm[:, 0, 0].log10())
        return np.asarray(torch.stack(growth, dim=1).double().cumsum(dim=1))


def draw_chaos(result: Chaos, axes: dict[str, Panel]) -> None:
    """Show the factor per step at each gain, and the gradient on its way back at one of them."""
    factor, norm = axes["factor"], axes["norm"]
    factor.set(
        title="Factor per step, each gain",
        xlabel="gain",
        xlim=(0.4, 2.6),
        ylim=(0.2, 1.5),
    )
    factor.hline("one", 1.0, color="black", lw=1)
    factor.line("quiet", result.gains, result.quiet, color=THEORY, ls=":", label="theory: no noise")
    factor.line(
        "theory", result.gains, result.curve, color=THEORY, ls="--", label="theory: mean field"
    )
    factor.band(
        "band", result.found_gains, result.found_low, result.found_high, color=MEASURED, alpha=0.2
    )
    factor.line(
        "measured", result.found_gains, result.found, color=MEASURED, label="measured: median"
    )
    factor.line(
        "here",
        [result.gain],
        [result.typical],
        color=MEASURED,
        marker="o",
        ms=11,
        ls="",
    )
    factor.vline("edge", result.edge, color=THEORY, lw=1.2)
    factor.text("edge name", result.edge, 0.25, f" edge {result.edge:.2f}", color=THEORY)
    if result.prediction is not None:
        factor.mark("prediction", result.prediction, 1.0, "your prediction")
    steps = np.arange(len(result.median))
    norm.set(title="Gradient at this gain", xlabel="steps back", xlim=(0, BACK))
    shown = np.concatenate([result.low, result.high, result.predicted, [-1.0, 1.0]])
    norm.decades("y", float(shown.min()), float(shown.max()))
    norm.band(
        "band", steps, result.low, result.high, color=MEASURED, alpha=0.2, label="all six networks"
    )
    norm.line("measured", steps, result.median, color=MEASURED, label="measured: median")
    norm.line("theory", steps, result.predicted, color=THEORY, ls="--", label="theory: mean field")
