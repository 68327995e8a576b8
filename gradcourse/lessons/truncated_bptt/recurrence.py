"""What a cut keeps in a recurrence of one number, where theory is exact."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from gradcourse import theory
from gradcourse.checks import at_least, at_least_zero
from gradcourse.exercises import as_prediction
from gradcourse.live import MEASURED, PALETTE, THEORY, Panel
from gradcourse.training import tbptt

__all__ = ["LOSSES", "Cut", "Recurrence", "draw_cut", "measure_cut"]

Array = NDArray[Any]

LOSSES = ("last step", "every step")
FULL = PALETTE[6]
# Of the gradient: what the horizon is asked for.
MOST = 0.9


class Recurrence(nn.Module):
    """``h = memory * h + weight * x``, called as ``nn.RNN`` is.

    All steps at once, by the matrix of the powers of ``memory``; inputs ``(steps, batch, 1)``.
    """

    def __init__(self, memory: float, weight: float = 1.0) -> None:
        super().__init__()
        self.memory = memory
        self.weight = nn.Parameter(torch.tensor(weight, dtype=torch.float64))

    def forward(self, inputs: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the states after each step, and the last one."""
        steps = np.arange(len(inputs))
        apart = steps[:, None] - steps
        powers = np.where(apart >= 0, self.memory ** np.maximum(apart, 0), 0.0)
        states = torch.einsum("ts,sbf->tbf", torch.from_numpy(powers), self.weight * inputs)
        if state is not None:
            states = states + torch.from_numpy(self.memory ** (steps + 1.0))[:, None, None] * state
        return states, states[-1]


@dataclass(frozen=True)
class Cut:
    """A recurrence of one number whose graph is cut between chunks.

    Attributes
    ----------
    memory, steps, chunk, overlap, loss
        As given.
    arrived
        Measured: the gradient that arrives at the input of each step, shape (steps,).
    full
        Theory: what arrives there without a cut, shape (steps,).
    share
        Measured: the truncated ``dL/dw`` over the full one.
    predicted
        Theory of the same.
    chunks, shares
        The divisors of ``steps``, and the share measured with chunks of so many steps.
    curve
        Theory: the share with chunks of 1, 2, ..., ``steps`` steps, shape (steps,).
    horizon
        Theory: how many steps hold 90 % of the last step's gradient.
    prediction
        The learner's guess of the share, in percent, if there is one.
    """

    memory: float
    steps: int
    chunk: int
    overlap: int
    loss: str
    arrived: Array
    full: Array
    share: float
    predicted: float
    chunks: Array
    shares: Array
    curve: Array
    horizon: float
    prediction: float | None

    def summary(self) -> str:
        """Return the picture in one line."""
        what = "the last step's gradient" if self.loss == LOSSES[0] else "the gradient"
        words = (
            f"memory {self.memory:.2f}, {self.steps} steps, chunk {self.chunk}, overlap "
            f"{self.overlap}: {100 * self.share:.3g} % of {what} is kept (theory "
            f"{100 * self.predicted:.3g} %); "
            f"{math.ceil(self.horizon)} steps hold 90 % of the last step's gradient"
        )
        last = (self.steps - 1) % self.chunk + 1
        short = self.loss == LOSSES[0] and last < min(self.chunk, self.steps)
        return f"{words}. The last chunk has only {last} steps" if short else words


def measure_cut(
    memory: float = 0.9,
    steps: int = 100,
    chunk: int = 10,
    overlap: int = 0,
    loss: str = "last step",
    prediction: float | None = None,
) -> Cut:
    """Measure with autograd what truncated BPTT keeps of a gradient, beside theory (T23).

    Parameters
    ----------
    memory
        What one step keeps of the state, 0 or more.
    steps, chunk, overlap
        As for ``training.tbptt``.
    loss
        ``"last step"``: the loss is the last state; ``"every step"``: the mean of all states.
    prediction
        The share in percent that the learner expects of memory 0.9, 100 steps, chunks of 10 and a
        loss at the last step, drawn as a star there.
    """
    memory = at_least_zero("memory", memory)
    steps, chunk = at_least(1, "steps", steps), at_least(1, "chunk", chunk)
    overlap = at_least(0, "overlap", overlap)
    if loss not in LOSSES:
        raise ValueError(f"loss must be one of {', '.join(LOSSES)}, got {loss!r}")
    last = loss == LOSSES[0]
    whole, _ = _gradient(memory, steps, steps, 0, last)
    kept, arrived = _gradient(memory, steps, chunk, overlap, last)
    chunks = np.array([one for one in range(1, steps + 1) if steps % one == 0])
    measured = [_gradient(memory, steps, int(one), overlap, last)[0] for one in chunks]
    asked = (steps, chunk, overlap, last) == (100, 10, 0, True) and math.isclose(memory, 0.9)
    share = _last_share if last else theory.mean_truncated_share
    return Cut(
        memory=memory,
        steps=steps,
        chunk=chunk,
        overlap=overlap,
        loss=loss,
        arrived=arrived,
        full=_full(memory, steps, last),
        share=kept / whole,
        predicted=share(memory, steps, chunk, overlap),
        chunks=chunks,
        shares=np.array(measured) / whole,
        curve=_curve(memory, steps, overlap, share),
        horizon=theory.truncation_horizon(memory, MOST, steps) if memory > 0 else 1.0,
        prediction=as_prediction(prediction) if asked else None,
    )


def _gradient(
    memory: float, steps: int, chunk: int, overlap: int, last: bool
) -> tuple[float, Array]:
    """Return dL/dw and what arrives at each step's input."""
    model = Recurrence(memory)
    inputs = torch.ones(steps, 1, 1, dtype=torch.float64, requires_grad=True)

    def of_chunk(states: Tensor, _targets: Tensor) -> Tensor:
        return states[-1].sum() if last else states.mean()

    for piece in tbptt(model, inputs, inputs.detach(), of_chunk, chunk, overlap):
        if not last:
            torch.autograd.backward(piece.loss)
        elif piece.stop == steps:
            torch.autograd.backward(piece.loss / piece.weight)
    assert model.weight.grad is not None
    assert inputs.grad is not None
    return float(model.weight.grad), inputs.grad.numpy().ravel()


def _full(memory: float, steps: int, last: bool) -> Array:
    """Return what arrives at each step's input without a cut, from the powers of ``memory``."""
    powers = memory ** np.arange(steps, dtype=np.float64)[::-1]
    return powers if last else np.cumsum(powers[::-1])[::-1] / steps


def _last_share(memory: float, steps: int, chunk: int, overlap: int) -> float:
    reach = min((steps - 1) % chunk + 1 + overlap, steps)
    return theory.truncated_share(memory, steps, reach)


def _curve(
    memory: float, steps: int, overlap: int, share: Callable[[float, int, int, int], float]
) -> Array:
    """Return theory for every chunk length; a last step is taken to end a whole chunk."""
    lengths = range(1, steps + 1)
    if share is _last_share:
        reaches = [min(length + overlap, steps) for length in lengths]
        return np.array([theory.truncated_share(memory, steps, reach) for reach in reaches])
    return np.array([share(memory, steps, length, overlap) for length in lengths])


def draw_cut(result: Cut, axes: dict[str, Panel]) -> None:
    """Show what arrives at each step, and the share that is kept against the chunk length."""
    steps, share = axes["steps"], axes["share"]
    number = np.arange(1, result.steps + 1)
    steps.set(
        title="What reaches each step",
        xlabel="step",
        ylabel="gradient at its input",
        xlim=(0, result.steps + 1),
    )
    steps.line("theory", number, result.full, color=THEORY, ls="--", label="theory: without a cut")
    # A line would join what lies on the two sides of a cut.
    arrived = np.where(result.arrived == 0, np.nan, result.arrived)
    steps.line(
        "measured",
        number,
        arrived,
        color=MEASURED,
        marker="o",
        ms=4,
        ls="",
        label="measured: truncated",
    )
    share.set(
        title=f"Share kept, loss at {result.loss}",
        xlabel="chunk length",
        ylabel="share of dL/dw",
        xlim=(0, result.steps * 1.02),
        ylim=(0, 1.05),
    )
    share.line("theory", number, result.curve, color=THEORY, ls="--", label="theory")
    share.line(
        "measured",
        result.chunks,
        result.shares,
        color=MEASURED,
        marker="o",
        ms=7,
        ls="",
        label="measured: divisors",
    )
    if result.loss == LOSSES[0]:
        style = {"color": THEORY, "ls": ":", "label": "theory: 90 %"}
        share.line("horizon", [result.horizon] * 2, [0, MOST], **style)
    if result.chunk <= result.steps:
        share.vline("chunk", result.chunk, color=MEASURED, lw=1.2)
        share.line(
            "now",
            [result.chunk],
            [result.share],
            color="black",
            marker="o",
            ms=10,
            ls="",
            label="measured: this chunk",
        )
    if result.prediction is not None:
        share.mark("prediction", 10, result.prediction / 100, "your prediction")
