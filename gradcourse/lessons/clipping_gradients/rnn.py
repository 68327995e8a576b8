"""The exercise's network, its task and its training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import one_hot

from gradcourse.checks import at_least
from gradcourse.models import seeded
from gradcourse.tasks import temporal_order
from gradcourse.training import one_thread

__all__ = ["SmallRNN", "TrainStep", "TrainingRun", "train_rnn"]

Array = NDArray[Any]
# (model, optimizer, inputs, targets, max_norm) -> norm before clipping
TrainStep = Callable[[nn.Module, torch.optim.Optimizer, Tensor, Tensor, float], Any]

EPOCHS, BATCHES, BATCH, LENGTH = 5, 40, 20, 20


class SmallRNN(nn.Module):
    """A tanh ``nn.RNN`` of 32 units and a linear layer on its last state.

    Shape
    -----
    inputs ``(batch, length)``, symbols 0 to 5; outputs ``(batch, 4)``.
    """

    def __init__(self, hidden: int = 32, radius: float = 1.4) -> None:
        super().__init__()
        self.rnn = nn.RNN(6, hidden, batch_first=True)
        self.output = nn.Linear(hidden, 4)
        recurrent = self.rnn.get_parameter("weight_hh_l0")
        with torch.no_grad():
            nn.init.normal_(recurrent)
            recurrent.mul_(radius / torch.linalg.eigvals(recurrent).abs().max())

    def forward(self, symbols: Tensor) -> Tensor:
        """Return the logits of the four classes."""
        states, _ = self.rnn(one_hot(symbols, 6).float())
        logits: Tensor = self.output(states[:, -1])
        return logits


@dataclass(frozen=True)
class TrainingRun:
    """Loss on a fixed set before each step, and the norm that the learner's step returned."""

    losses: Array
    norms: Array
    max_norm: float

    @property
    def roughness(self) -> float:
        """By how much the loss changes from one step to the next, on average."""
        return float(np.abs(np.diff(self.losses)).mean())

    def summary(self) -> str:
        """Return the run in one line."""
        return (
            f"max_norm {self.max_norm:g}: loss {self.losses[-20:].mean():.2f} at the end, moves by "
            f"{self.roughness:.3f} a step; norms: median {np.median(self.norms):.2f}, largest "
            f"{self.norms.max():.1f}"
        )


@one_thread()
def train_rnn(train_step: TrainStep, max_norm: float, seed: int = 0) -> TrainingRun:
    """Train a small network for five epochs of 40 batches with the learner's own step.

    Parameters
    ----------
    train_step
        ``train_step(model, optimizer, inputs, targets, max_norm)`` returns the norm before
        clipping.
    max_norm
        Handed to it; ``inf`` for none.
    seed
        Draws weights and data.
    """
    at_least(0, "seed", seed)
    model = seeded(seed, SmallRNN)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    symbols, labels = temporal_order(BATCHES * BATCH, LENGTH, seed)
    batches = list(zip(torch.split(symbols, BATCH), torch.split(labels, BATCH), strict=True))
    seen, wanted = symbols[:200], labels[:200]
    losses, norms = [], []
    for _ in range(EPOCHS):
        for inputs, targets in batches:
            with torch.no_grad():
                losses.append(float(nn.functional.cross_entropy(model(seen), wanted)))
            norms.append(float(train_step(model, optimizer, inputs, targets, max_norm)))
    return TrainingRun(np.array(losses), np.array(norms), max_norm)
