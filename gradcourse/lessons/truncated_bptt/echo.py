"""A memory that is longer than a chunk, and whether it can be learned."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.nn.utils import clip_grad_norm_

from gradcourse import theory
from gradcourse.checks import at_least
from gradcourse.exercises import as_prediction
from gradcourse.live import MEASURED, PALETTE, THEORY, Panel
from gradcourse.models import seeded
from gradcourse.training import Pace, learning_curve, one_thread, tbptt

__all__ = ["Echo", "EchoNetwork", "draw_echo", "measure_echo", "pairs_seen"]

Array = NDArray[Any]

STEPS, BATCH, HIDDEN, RATE = 32, 64, 32, 0.01
WINDOWS = 110
SMOOTH = 10
# Seconds of work between two pictures.
PAUSE = 0.25
FULL = PALETTE[2]


class EchoNetwork(nn.Module):
    """An LSTM that says at each step what it believes the symbol some steps ago was."""

    def __init__(self, hidden: int = HIDDEN) -> None:
        super().__init__()
        self.layer = nn.LSTM(1, hidden)
        self.readout = nn.Linear(hidden, 1)

    def forward(self, inputs: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """Return logits of shape (steps, batch, 1), and the state."""
        outputs, state = self.layer(inputs, state)
        return self.readout(outputs), state


@dataclass(frozen=True)
class Echo:
    """Training so far, truncated (row 0) and with full BPTT (row 1).

    Attributes
    ----------
    delay, chunk, overlap
        As given.
    accuracy
        Share of right symbols in each window of 32 steps, shape (2, seeds, windows so far).
    curves
        Median, lowest and highest seed of means over 10 windows, shape (2, 3, points).
    seen, predicted
        Share of the losses whose graph holds the step so many steps before, measured in the
        network's own graph and by theory, shape (distances,).
    progress
        Share of the training that is done.
    prediction
        The learner's guess of the accuracy at the end, in percent, if there is one.
    """

    delay: int
    chunk: int
    overlap: int
    accuracy: Array
    curves: Array
    seen: Array
    predicted: Array
    progress: float
    prediction: float | None

    @property
    def last_accuracy(self) -> Array:
        """Mean accuracy over the last 10 windows, shape (2, seeds)."""
        last: Array = self.accuracy[..., -SMOOTH:].mean(axis=2)
        return last

    def summary(self) -> str:
        """Return the picture in one line."""
        truncated, full = np.median(self.last_accuracy, axis=1)
        return (
            f"delay {self.delay}, chunk {self.chunk}, overlap {self.overlap}: "
            f"{self.seen[self.delay]:.0%} of the losses see the bit they ask for; right in "
            f"{truncated:.0%} truncated, {full:.0%} with full BPTT (guessing: 50%), window "
            f"{self.accuracy.shape[2]} of {WINDOWS}"
        )


def measure_echo(
    delay: int = 5,
    chunk: int = 4,
    overlap: int = 0,
    seeds: int = 3,
    first_seed: int = 0,
    prediction: float | None = None,
) -> Iterator[Echo]:
    """Train LSTMs to repeat a random bit ``delay`` steps later, truncated and with full BPTT.

    A window has 32 steps, and the state is carried from window to window. Each window makes one
    update, so the two kinds of training differ in nothing but the gradient.

    Parameters
    ----------
    delay
        1 or more, below 16.
    chunk, overlap
        As for ``training.tbptt``.
    seeds, first_seed
        Networks of each kind, and the first of their seeds.
    prediction
        The accuracy in percent that the learner expects of delay 5 and chunk 4 without overlap.

    Yields
    ------
    Echo
        What there is so far, a few times a second, and at last the whole training.
    """
    delay, chunk = at_least(1, "delay", delay), at_least(1, "chunk", chunk)
    overlap, seeds = at_least(0, "overlap", overlap), at_least(1, "seeds", seeds)
    if delay >= 16:
        raise ValueError(f"delay must be below 16, got {delay}")
    guess = as_prediction(prediction) if (delay, chunk, overlap) == (5, 4, 0) else None
    runs = [
        _Training(delay, *cut, seed)
        for cut in ((chunk, overlap), (STEPS, 0))
        for seed in range(first_seed, first_seed + seeds)
    ]
    seen = pairs_seen(chunk, overlap)[:16]
    predicted = (theory.kept_pairs(STEPS, chunk, overlap) / theory.kept_pairs(STEPS, STEPS))[:16]

    def so_far(done: int) -> Echo:
        accuracy = np.array([run.accuracy for run in runs]).reshape(2, seeds, done)
        return Echo(
            delay=delay,
            chunk=chunk,
            overlap=overlap,
            accuracy=accuracy,
            curves=learning_curve(accuracy, SMOOTH),
            seen=seen,
            predicted=predicted,
            progress=done / WINDOWS,
            prediction=guess,
        )

    pace = Pace(PAUSE)
    for window in range(1, WINDOWS):
        for run in runs:
            run.step()
        if pace.due():
            yield so_far(window)
            pace.restart()
    for run in runs:
        run.step()
    yield so_far(WINDOWS)


class _Training:
    """One network, its stream of bits and its optimizer."""

    def __init__(self, delay: int, chunk: int, overlap: int, seed: int) -> None:
        self.cut = chunk, overlap
        self.model = seeded(seed, EchoNetwork)
        self.optimizer = torch.optim.Adam(self.model.parameters(), RATE)
        self.source = torch.Generator().manual_seed(20_000 + seed)
        self.late = torch.zeros(delay, BATCH, 1)
        self.state: Any = None
        self.accuracy: list[float] = []

    @one_thread()
    def step(self) -> None:
        bits = torch.randint(0, 2, (STEPS, BATCH, 1), generator=self.source).float()
        asked = torch.cat([self.late, bits])
        targets, self.late = asked[:STEPS], asked[STEPS:]
        right = 0.0
        self.optimizer.zero_grad()
        loss_fn = binary_cross_entropy_with_logits
        for piece in tbptt(self.model, 2 * bits - 1, targets, loss_fn, *self.cut, state=self.state):
            torch.autograd.backward(piece.loss)
            wanted = targets[piece.start : piece.stop] > 0.5
            right += piece.weight * float(((piece.outputs > 0) == wanted).float().mean())
            state = piece.state
        self.state = state
        clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.accuracy.append(right)


@one_thread()
def pairs_seen(chunk: int, overlap: int = 0, steps: int = STEPS) -> Array:
    """Return the share of losses whose graph holds the step ``j`` before, for each ``j``.

    Measured in the graph of an LSTM: sequence ``t`` of a batch has a loss at step ``t`` only, so
    its inputs with a gradient are those which that loss sees. Shape (steps,).
    """
    model = seeded(0, EchoNetwork)
    inputs = torch.ones(steps, steps, 1, requires_grad=True)
    alone = torch.eye(steps)[..., None]
    for piece in tbptt(model, inputs, alone, lambda out, one: (out * one).sum(), chunk, overlap):
        torch.autograd.backward(piece.loss)
    assert inputs.grad is not None
    seen = inputs.grad[..., 0].numpy() != 0
    # Row: the step; column: the loss. Pairs at one distance stand on a diagonal.
    return np.array([np.diagonal(seen, distance).mean() for distance in range(steps)])


def draw_echo(result: Echo, axes: dict[str, Panel]) -> None:
    """Show the accuracy during training, and which losses see what they ask for."""
    accuracy, seen = axes["accuracy"], axes["seen"]
    windows = SMOOTH * (np.arange(result.curves.shape[2]) + 0.5)
    accuracy.set(
        title=f"Repeat the bit of {result.delay} steps ago",
        xlabel="updates",
        ylabel="share of bits right",
        xlim=(0, WINDOWS),
        ylim=(0.4, 1.03),
    )
    names = ("truncated", MEASURED), ("full BPTT", FULL)
    for (name, color), (median, low, high) in zip(names, result.curves, strict=True):
        accuracy.band(f"{name} band", windows, low, high, color=color, alpha=0.2)
        accuracy.line(name, windows, median, color=color, label=f"measured: {name}")
    accuracy.hline("guessing", 0.5, color=THEORY, ls="--", label="theory: guessing")
    if result.prediction is not None:
        accuracy.mark("prediction", WINDOWS, result.prediction / 100, "your prediction")
    distance = np.arange(len(result.seen))
    seen.set(
        title=f"Chunk {result.chunk}, overlap {result.overlap}",
        xlabel="steps back",
        ylabel="share of losses that see it",
        xlim=(-0.3, 15.3),
        xticks=range(0, 16, 5),
        ylim=(0, 1.05),
    )
    seen.line(
        "measured",
        distance,
        result.seen,
        color=MEASURED,
        marker="o",
        ms=7,
        ls="",
        label="measured: in the graph",
    )
    seen.line("theory", distance, result.predicted, color=THEORY, ls="--", label="theory: counted")
    seen.vline("delay", result.delay, color="black", lw=1.5, ls=":", label="what is asked for")
