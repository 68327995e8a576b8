"""A numerical derivative against the backward pass, over all step sizes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from gradcourse import theory
from gradcourse.checks import at_least, at_least_zero
from gradcourse.exercises import as_prediction
from gradcourse.lessons.watching_gradients.digits_run import Array, log10
from gradcourse.live import MEASURED, THEORY, Panel
from gradcourse.training import one_thread

__all__ = ["Derivative", "TanhOffBy", "draw_derivative", "measure_derivative"]

DTYPES = {"float32": torch.float32, "float64": torch.float64}
LOG10_STEPS = np.linspace(-14, 0, 57)
# check_gradients uses this step and calls this relative error wrong.
USED_STEP, TOLERATED = -6.0, -3.0
WIDTH = 32
WHITE = {"facecolor": "white", "alpha": 0.8, "edgecolor": "none", "pad": 1}
LABEL: dict[str, Any] = {"va": "bottom", "bbox": WHITE}
ASKED = ("float64", "central")
SMALLEST_MISTAKE = 1e-12


class TanhOffBy(torch.autograd.Function):
    """A tanh whose backward pass is too large by the factor ``1 + mistake``."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, mistake: float) -> Tensor:
        """Apply tanh."""
        outputs = inputs.tanh()
        ctx.save_for_backward(outputs)
        ctx.mistake = mistake
        return outputs

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        """Multiply by the slope, and by the mistake."""
        (outputs,) = ctx.saved_tensors
        return gradients[0] * (1 - outputs.square()) * (1 + ctx.mistake), None


@dataclass(frozen=True)
class Derivative:
    """By how much a numerical derivative and the backward pass disagree.

    Attributes
    ----------
    mistake, dtype, kind
        As set.
    log10_steps
        log10 of the step sizes, shape (steps,).
    error
        The disagreement relative to the true slope, shape (seeds, steps).
    median, low, high
        log10 of it: the median seed, and the ends of the band of 90 % of the seeds; shape (steps,).
    predicted
        log10 of what theory says, median seed, shape (steps,).
    best
        log10 of the step at which theory expects the smallest error, median seed.
    prediction
        log10 of the best step as the learner expects it, if there is a prediction.
    """

    mistake: float
    dtype: str
    kind: str
    log10_steps: Array
    error: Array
    median: Array
    low: Array
    high: Array
    predicted: Array
    best: float
    prediction: float | None

    @property
    def measured_best(self) -> float:
        """log10 of the step with the smallest error."""
        return float(self.log10_steps[np.argmin(self.median)])

    @property
    def caught(self) -> bool:
        """Whether the disagreement at a step of 1e-6 is above one in a thousand."""
        return bool(np.interp(USED_STEP, self.log10_steps, self.median) > TOLERATED)

    def summary(self) -> str:
        """Return the picture in one line."""
        verdict = "wrong" if self.caught else "right"
        return (
            f"backward off by {self.mistake:.1g}, {self.kind} differences in {self.dtype}: "
            f"smallest disagreement 10^{self.median.min():.1f} (theory: "
            f"10^{self.predicted.min():.1f}) at step 10^{self.measured_best:.1f} (theory: "
            f"10^{self.best:.1f}); with step 1e-6 and tolerance 1e-3 the backward is called "
            f"{verdict}"
        )


class _Point(NamedTuple):
    """Functions ``f(t) = a . tanh(W tanh(x + t v))`` near 0.

    ``start`` and ``direction`` have shape (seeds, width), ``matrix`` (seeds, width, width) and
    ``readout`` (seeds, width); the value and three derivatives at 0 have shape (seeds, 1).
    """

    start: Tensor
    direction: Tensor
    matrix: Tensor
    readout: Tensor
    value: Tensor
    slope: Tensor
    second: Tensor
    third: Tensor


def measure_derivative(
    mistake: float = SMALLEST_MISTAKE,
    dtype: str = "float64",
    kind: str = "central",
    seeds: int = 32,
    first_seed: int = 0,
    prediction: float | None = None,
) -> Derivative:
    """Compare the slope of small tanh networks along a line with the slope by differences.

    Parameters
    ----------
    mistake
        The backward pass of the last tanh is too large by the factor ``1 + mistake``.
    dtype
        ``"float32"`` or ``"float64"``: what the differences are computed in.
    kind
        ``"central"`` or ``"forward"`` differences.
    seeds, first_seed
        How many networks, and the first of their seeds.
    prediction
        log10 of the best step for central differences in float64 as the learner expects it, drawn
        as a star where the backward pass is right.
    """
    mistake = at_least_zero("mistake", mistake)
    if dtype not in DTYPES:
        raise ValueError(f"dtype must be one of {', '.join(DTYPES)}, got {dtype!r}")
    if kind not in ("central", "forward"):
        raise ValueError(f"kind must be one of central, forward, got {kind!r}")
    central = kind == "central"
    with one_thread():
        point = _points(at_least(1, "seeds", seeds), first_seed)
        at = torch.zeros_like(point.value, requires_grad=True)
        (backward,) = torch.autograd.grad(_along(point, at, mistake).sum(), at)
        coarse = _Point(*(part.to(DTYPES[dtype]) for part in point))
        steps = torch.as_tensor(10**LOG10_STEPS, dtype=DTYPES[dtype])
        ahead = _along(coarse, steps.expand(seeds, -1), None)
        behind = _along(coarse, (-steps if central else 0 * steps).expand(seeds, -1), None)
        numerical = ((ahead - behind) / ((2 if central else 1) * steps)).double()
    error = ((backward - numerical).abs() / point.slope.abs()).numpy()
    value, slope = point.value.numpy(), point.slope.numpy()
    bend = (point.third if central else point.second).numpy()
    roundoff = torch.finfo(DTYPES[dtype]).eps / 2
    expected = theory.difference_error(10**LOG10_STEPS, value, bend, roundoff, kind)
    relative = expected / np.abs(slope) + mistake
    best = [
        theory.best_difference_step(*pair, roundoff, kind)
        for pair in zip(value[:, 0], bend[:, 0], strict=True)
    ]
    low, median, high = log10(np.quantile(error, [0.05, 0.5, 0.95], axis=0))
    asked = (dtype, kind) == ASKED and mistake < 2 * SMALLEST_MISTAKE
    return Derivative(
        mistake,
        dtype,
        kind,
        LOG10_STEPS,
        error,
        median,
        low,
        high,
        log10(np.median(relative, axis=0)),
        float(np.median(np.log10(best))),
        as_prediction(prediction) if asked else None,
    )


@lru_cache(maxsize=4)
def _points(seeds: int, first_seed: int) -> _Point:
    """Draw networks ``f(t) = a . tanh(W tanh(x + t v))`` and take three derivatives at 0."""
    drawn = []
    for seed in range(first_seed, first_seed + seeds):
        generator = np.random.default_rng(seed)
        x, v, a = generator.standard_normal((3, WIDTH))
        drawn.append((x, v, generator.standard_normal((WIDTH, WIDTH)), a))
    x, v, matrix, a = (torch.from_numpy(np.stack(part)) for part in zip(*drawn, strict=True))
    scale = 1 / math.sqrt(WIDTH)
    empty = torch.zeros(seeds, 1, dtype=torch.float64)
    point = _Point(x, v, matrix * scale, a * scale, empty, empty, empty, empty)
    at = empty.clone().requires_grad_()
    derivatives = [_along(point, at, None)]
    for _ in range(3):
        (higher,) = torch.autograd.grad(derivatives[-1].sum(), at, create_graph=True)
        derivatives.append(higher)
    return _Point(x, v, matrix * scale, a * scale, *(part.detach() for part in derivatives))


def _tanh_off_by(inputs: Tensor, mistake: float) -> Tensor:
    return torch.as_tensor(TanhOffBy.apply(inputs, mistake))  # type: ignore[no-untyped-call]


def _along(point: _Point, at: Tensor, mistake: float | None) -> Tensor:
    """Return the functions at places of shape (seeds, places)."""
    inputs = point.start[:, None] + at[..., None] * point.direction[:, None]
    hidden = inputs.tanh() @ point.matrix
    last = hidden.tanh() if mistake is None else _tanh_off_by(hidden, mistake)
    return torch.as_tensor((last @ point.readout[..., None])[..., 0])


def draw_derivative(result: Derivative, axes: Panel) -> None:
    """Show the disagreement over the step size, beside theory and the tolerance of a check."""
    x = result.log10_steps
    axes.set(xlabel="step size", ylabel="relative disagreement")
    axes.decades("x", float(x[0]), float(x[-1]))
    axes.decades("y", -13.0, 1.0)
    style: dict[str, Any] = {"color": MEASURED, "alpha": 0.2, "label": "5 to 95 % of seeds"}
    axes.band("band", x, result.low, result.high, **style)
    axes.line("measured", x, result.median, color=MEASURED, label="measured: median")
    axes.line("theory", x, result.predicted, color=THEORY, ls="--", label="theory")
    axes.hline("tolerance", TOLERATED, color="black", ls=":", lw=2)
    axes.text("its name", USED_STEP, TOLERATED, " tolerance of check_gradients", **LABEL)
    axes.vline("step", USED_STEP, color="black", ls=":", lw=2)
    axes.text("name of the step", USED_STEP, -12.8, " its step", **LABEL)
    if result.caught:
        axes.note("caught: the backward pass is called wrong", "lower left")
    if result.prediction is not None:
        axes.mark("prediction", result.prediction, -8.0, "your prediction")
