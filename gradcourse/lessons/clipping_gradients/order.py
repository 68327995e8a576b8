"""A recurrent network learns the order of two symbols, or does not: free and clipped."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import cross_entropy, one_hot

from gradcourse.checks import at_least, more_than_zero
from gradcourse.exercises import as_prediction
from gradcourse.lessons.clipping_gradients.cliff import CLIPPED, FREE
from gradcourse.live import THEORY, Panel
from gradcourse.tasks import temporal_order
from gradcourse.training import Pace, learning_curve, one_thread

__all__ = ["Order", "draw_order", "first_weights", "measure_order", "network_losses"]

Array = NDArray[Any]

HIDDEN, LENGTH, BATCH, RADIUS = 50, 20, 20, 1.2
SYMBOLS, CLASSES = 6, 4
# A picture's point is the mean over so many steps: a batch of 20 alone is mostly chance.
SMOOTH = 25
LEARNED = 0.9
# Over how many steps it is judged.
SPAN = 50
# Seconds of work between two pictures.
PAUSE = 0.25


@dataclass(frozen=True)
class Order:
    """Training so far; row 0 of an array is free, row 1 is clipped.

    Attributes
    ----------
    accuracy, norm, loss
        Of each step's batch, before the step; the norm before clipping. Shape (2, seeds, steps).
    max_norm
        The limit of row 1.
    progress
        Share of the training that is done.
    steps
        Steps of the whole training.
    curves
        Accuracy and log10 of the norm, as they are drawn: means over 25 steps, then median, lowest
        and highest seed. Shape (2, 2, 3, points).
    prediction
        The learner's guess of the free networks' accuracy at the end, if there is one.
    """

    accuracy: Array
    norm: Array
    loss: Array
    max_norm: float
    progress: float
    steps: int
    curves: Array
    prediction: float | None

    @property
    def last_accuracy(self) -> Array:
        """Mean accuracy over the last ``SPAN`` steps, shape (2, seeds)."""
        last: Array = self.accuracy[..., -SPAN:].mean(axis=2)
        return last

    @property
    def learned(self) -> Array:
        """How many seeds are right in more than 90 % at the end: free and clipped."""
        count: Array = (self.last_accuracy > LEARNED).sum(axis=1)
        return count

    @property
    def half_learned(self) -> tuple[int | None, int | None]:
        """After how many steps half of the networks had learned, free and clipped, or None."""
        if self.accuracy.shape[2] < SPAN:
            return None, None
        spans = sliding_window_view(self.accuracy, SPAN, axis=2).mean(axis=3)
        done = (np.maximum.accumulate(spans > LEARNED, axis=2).mean(axis=1)) >= 0.5
        free, clipped = (SPAN + int(one.argmax()) if one.any() else None for one in done)
        return free, clipped

    @property
    def nonfinite(self) -> int:
        """How many losses were NaN or Inf."""
        return int((~np.isfinite(self.loss)).sum())

    def summary(self) -> str:
        """Return the picture in one line."""
        seeds = self.accuracy.shape[1]
        middle = np.median(self.last_accuracy, axis=1)
        # A network that broke has no longest gradient; the others still do.
        free, clipped = np.where(np.isfinite(self.norm), self.norm, 0).max(axis=(1, 2))
        half = [f"by step {step}" if step else "never" for step in self.half_learned]
        broken = f"{self.nonfinite} losses not finite" if self.nonfinite else "every loss finite"
        return (
            f"step {self.accuracy.shape[2]} of {self.steps}: learned by {self.learned[0]} of "
            f"{seeds} free and {self.learned[1]} of {seeds} clipped at {self.max_norm:.3g} "
            f"(half of them: {half[0]} and {half[1]}; median accuracy {middle[0]:.2f} and "
            f"{middle[1]:.2f}, longest gradients {free:.3g} and {clipped:.3g}); {broken}"
        )


def measure_order(
    max_norm: float = 1.0,
    learning_rate: float = 0.1,
    seeds: int = 6,
    steps: int = 500,
    first_seed: int = 0,
    prediction: float | None = None,
) -> Iterator[Order]:
    """Train networks with plain SGD, each twice: free, and with its gradient clipped (T47).

    Both start from the same weights and see the same batches of the temporal order task: 20
    sequences of 20 symbols, a tanh network of 50 units whose recurrent matrix has spectral radius
    1.2. All are trained at once, in stacked tensors.

    Parameters
    ----------
    max_norm, learning_rate
        Above 0.
    seeds, first_seed
        How many networks, and the first of their seeds.
    steps
        Steps of training.
    prediction
        The accuracy, from 0 to 1, that the learner expects of the free networks.

    Yields
    ------
    Order
        What there is so far, a few times a second, and at last the whole training.
    """
    more_than_zero("max_norm", max_norm)
    more_than_zero("learning_rate", learning_rate)
    at_least(1, "seeds", seeds)
    at_least(1, "steps", steps)
    numbers = range(first_seed, first_seed + seeds)
    data = [temporal_order(steps * BATCH, LENGTH, seed) for seed in numbers]
    symbols = torch.stack([one.view(steps, BATCH, LENGTH) for one, _ in data], dim=1)
    labels = torch.stack([one.view(steps, BATCH) for _, one in data], dim=1)
    weights = [weight.repeat(2, 1, 1) for weight in first_weights(numbers)]
    limits = torch.tensor([math.inf, max_norm]).repeat_interleave(seeds)
    log = np.full((3, 2, seeds, steps), np.nan, dtype=np.float32)
    asked = math.isclose(learning_rate, 0.1)
    guess = as_prediction(prediction) if asked else None

    def so_far(done: int) -> Order:
        accuracy, norm, loss = log[..., :done].copy()
        curves = np.stack([learning_curve(one, SMOOTH) for one in (accuracy, _log10(norm))], axis=1)
        return Order(accuracy, norm, loss, max_norm, done / steps, steps, curves, guess)

    pace = Pace(PAUSE)
    for step in range(steps):
        batch = symbols[step].repeat(2, 1, 1), labels[step].repeat(2, 1)
        weights, *rows = _descend(weights, batch, learning_rate, limits)
        for place, row in enumerate(rows):
            log[place, ..., step] = row.view(2, seeds).numpy()
        if pace.due() and step + 1 < steps:
            yield so_far(step + 1)
            pace.restart()
    yield so_far(steps)


@one_thread()
def _descend(
    weights: list[Tensor], batch: tuple[Tensor, Tensor], learning_rate: float, limits: Tensor
) -> tuple[Any, ...]:
    """Return new weights, and accuracies, norms and losses before the step, each (networks,)."""
    for weight in weights:
        weight.requires_grad_()
    losses, right = network_losses(weights, *batch)
    gradients = torch.autograd.grad(losses.sum(), weights)
    norms = torch.stack([one.flatten(1).norm(dim=1) for one in gradients]).norm(dim=0)
    factor = learning_rate * (limits / norms).clamp(max=1)
    pairs = zip(weights, gradients, strict=True)
    moved = [weight.detach() - factor[:, None, None] * one for weight, one in pairs]
    return moved, right, norms, losses.detach()


def first_weights(seeds: range) -> list[Tensor]:
    """Return what training starts from, each of shape (seeds, rows, columns).

    Recurrent (hidden, hidden), input (symbols, hidden), bias (1, hidden), output (hidden, classes)
    and its bias (1, classes).
    """
    recurrent, inputs, outputs = [], [], []
    for seed in seeds:
        source = torch.Generator().manual_seed(seed)
        drawn = torch.randn(HIDDEN, HIDDEN, generator=source)
        recurrent.append(drawn * RADIUS / torch.linalg.eigvals(drawn).abs().max())
        inputs.append(torch.randn(SYMBOLS, HIDDEN, generator=source) / math.sqrt(SYMBOLS))
        outputs.append(torch.randn(HIDDEN, CLASSES, generator=source) / math.sqrt(HIDDEN))
    count = len(seeds)
    biases = torch.zeros(count, 1, HIDDEN), torch.zeros(count, 1, CLASSES)
    stacked = [torch.stack(one) for one in (recurrent, inputs, outputs)]
    return [stacked[0], stacked[1], biases[0], stacked[2], biases[1]]


def network_losses(weights: list[Tensor], symbols: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean loss and the accuracy of each network, both of shape (networks,).

    ``symbols`` has shape (networks, batch, length) and ``labels`` (networks, batch).
    """
    recurrent, inputs, bias, outputs, output_bias = weights
    networks, batch, length = symbols.shape
    code = one_hot(symbols.transpose(1, 2).reshape(networks, -1), SYMBOLS).float()
    drive = torch.baddbmm(bias, code, inputs).view(networks, length, batch, -1)
    state = torch.zeros(networks, batch, recurrent.shape[1])
    for step in range(length):
        state = torch.tanh(torch.baddbmm(drive[:, step], state, recurrent))
    logits = torch.baddbmm(output_bias, state, outputs)
    losses = cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none")
    right = (logits.argmax(dim=2) == labels).float().mean(dim=1)
    return losses.view(networks, batch).mean(dim=1), right


def _log10(norm: Array) -> Array:
    with np.errstate(divide="ignore"):
        logarithm: Array = np.log10(norm)
    return logarithm


def draw_order(result: Order, axes: dict[str, Panel]) -> None:
    """Show accuracy and gradient norm during training, free and clipped."""
    accuracy, norm = axes["accuracy"], axes["norm"]
    accuracy.set(title="Accuracy", ylim=(0, 1.05))
    norm.set(title="Gradient norm, before clipping")
    norm.decades("y", -3, 3)
    ends = 0, result.steps
    chance, limit = 1 / CLASSES, math.log10(result.max_norm)
    steps = SMOOTH * (np.arange(result.curves.shape[3]) + 0.5)
    for panel, place, theory, label in (
        (accuracy, 0, chance, "theory: guessing"),
        (norm, 1, limit, "theory: clipped above max_norm"),
    ):
        panel.set(xlabel="step", xlim=ends)
        for row, name, color in ((0, "free", FREE), (1, "clipped", CLIPPED)):
            median, low, high = result.curves[row, place]
            panel.band(f"{name} band", steps, low, high, color=color, alpha=0.15)
            panel.line(name, steps, median, color=color, lw=3.5, label=f"measured: {name}")
        panel.line("theory", ends, [theory, theory], color=THEORY, ls="--", label=label)
    if result.prediction is not None:
        accuracy.mark("prediction", result.steps, result.prediction, "your prediction")
