"""A small transformer that learns to reverse a sequence."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from gradcourse.checks import at_least, more_than_zero
from gradcourse.initialization import initialize
from gradcourse.models import TransformerBlock, seeded
from gradcourse.tasks import reversal
from gradcourse.training import Ensemble, one_thread, warmup_cosine

__all__ = ["BLOCKS", "LENGTH", "NORMS", "SYMBOLS", "WIDTH", "Reverser", "Step", "make", "train"]

Array = NDArray[Any]
NORMS = ("post", "pre")
BLOCKS, WIDTH, HEADS, LENGTH, SYMBOLS, BATCH = 8, 32, 1, 6, 8, 16


class Reverser(nn.Module):
    """A transformer that reads symbols and says one for each place.

    Parameters
    ----------
    norm
        ``"pre"``, ``"post"`` or ``"none"``, as for ``TransformerBlock``. Behind the last block
        there is one more norm if it is ``"pre"``.
    blocks
        Number of blocks.

    Shape
    -----
    inputs ``(batch, length)``, whole numbers; outputs ``(batch, length, symbols)`` and, from behind
    the last block, ``(batch, length, width)``.
    """

    def __init__(self, norm: str = "pre", blocks: int = BLOCKS) -> None:
        super().__init__()
        self.embed = nn.Embedding(SYMBOLS, WIDTH)
        self.places = nn.Parameter(torch.randn(LENGTH, WIDTH))
        self.blocks = nn.Sequential(
            *(TransformerBlock(WIDTH, HEADS, norm, activation="relu") for _ in range(blocks))
        )
        self.norm = nn.LayerNorm(WIDTH) if norm == "pre" else nn.Identity()
        self.last = nn.Linear(WIDTH, SYMBOLS)

    def tokens(self, inputs: Tensor) -> Tensor:
        """Return what the first block sees: symbol and place, with mean square 1."""
        tokens: Tensor = (self.embed(inputs) + self.places) / math.sqrt(2)
        return tokens

    def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Return what is said for each place, and the stream behind the last block."""
        stream = self.blocks(self.tokens(inputs))
        return self.last(self.norm(stream)), stream


def make(norm: str = "pre", blocks: int = BLOCKS, seed: int = 0) -> Reverser:
    """Return a transformer whose blocks have Xavier's weights, drawn from a seed."""
    if norm not in NORMS:
        raise ValueError(f"norm must be one of {', '.join(NORMS)}, got {norm!r}")
    blocks = at_least(1, "blocks", blocks)

    def drawn() -> Reverser:
        network = Reverser(norm, blocks)
        initialize(network.blocks, "xavier_normal")
        return network

    return seeded(seed, drawn)


@dataclass(frozen=True)
class Step:
    """One step of several networks, between ``backward`` and the update.

    Attributes
    ----------
    number
        1 for the first.
    ensemble
        The networks, with the gradients that Adam will see.
    stream
        What the last block returned, shape (networks, batch, length, width).
    loss, accuracy, norm
        Of the step's batch, and of the gradient before clipping; shape (networks,).
    """

    number: int
    ensemble: Ensemble
    stream: Tensor
    loss: Array
    accuracy: Array
    norm: Array


def train(
    norm: str,
    warmup: int,
    learning_rate: float,
    steps: int,
    seeds: int,
    first_seed: int,
    max_norm: float = math.inf,
) -> Iterator[Step]:
    """Train networks with Adam and a linear warmup, and yield before each update.

    Parameters
    ----------
    norm
        ``"pre"`` or ``"post"``.
    warmup
        Update n of the warmup has n / warmup of the learning rate; 0 for none. It stays there.
    learning_rate
        The peak.
    steps
        How many updates, each with 16 sequences that no network has seen before.
    seeds, first_seed
        How many networks, and the first of their seeds.
    max_norm
        Each network's gradient is clipped to it.
    """
    warmup, steps = at_least(0, "warmup", warmup), at_least(1, "steps", steps)
    seeds, first_seed = at_least(1, "seeds", seeds), at_least(0, "first_seed", first_seed)
    rate = more_than_zero("learning_rate", learning_rate)
    ensemble = Ensemble([make(norm, BLOCKS, first_seed + seed) for seed in range(seeds)])
    optimizer = torch.optim.Adam(ensemble.parameters(), lr=rate)
    schedule = warmup_cosine(optimizer, warmup, max(warmup, steps), final=1.0)
    shape = (steps, seeds, BATCH, LENGTH)
    data = reversal(steps * seeds * BATCH, LENGTH, SYMBOLS, first_seed)
    inputs, targets = (part.reshape(shape) for part in data)
    for number in range(steps):
        seen = _backward(ensemble, optimizer, inputs[number], targets[number])
        stream, losses, accuracies = seen
        norms = _clip(ensemble, max_norm)
        yield Step(number + 1, ensemble, stream, losses, accuracies, norms)
        _update(optimizer)
        schedule.step()


@one_thread()
def _backward(
    ensemble: Ensemble, optimizer: torch.optim.Optimizer, inputs: Tensor, targets: Tensor
) -> tuple[Tensor, Array, Array]:
    outputs, stream = ensemble(inputs, shared=False)
    each = cross_entropy(outputs.movedim(-1, 1), targets, reduction="none")
    losses = each.mean(dim=(1, 2))
    optimizer.zero_grad()
    torch.autograd.backward(losses.sum())
    right = (outputs.argmax(-1) == targets).double().mean(dim=(1, 2))
    return stream.detach(), np.asarray(losses.detach().double()), np.asarray(right)


@one_thread()
def _clip(ensemble: Ensemble, max_norm: float) -> Array:
    return np.asarray(ensemble.clip_grad_norm_(max_norm))


@one_thread()
def _update(optimizer: torch.optim.Optimizer) -> None:
    optimizer.step()
