"""Many ReLU networks with a norm in every layer, trained at once: a learning rate for each."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from gradcourse.tasks import split_digits
from gradcourse.training import one_thread

__all__ = ["NORMS", "Data", "Stack", "data", "run"]

NORMS = ("no norm", "BatchNorm", "LayerNorm")
TRAINING = 1500


@dataclass(frozen=True)
class Data:
    """Digits to train with and digits to test with, in an order that a seed chooses."""

    inputs: Tensor
    labels: Tensor
    test_inputs: Tensor
    test_labels: Tensor


@lru_cache(maxsize=8)
def data(seed: int = 0) -> Data:
    """Return 1500 digits to train with and 297 to test with."""
    training, held_out = split_digits(TRAINING, seed)
    return Data(*training, *held_out)


def run(
    weights: Sequence[Tensor],
    inputs: Tensor,
    norm: str,
    shifts: torch.Generator | None = None,
) -> Tensor:
    """Return the hidden activations of the last layer of stacked networks.

    Parameters
    ----------
    weights
        One tensor for each layer, of shape (networks, fan_in, units).
    inputs
        Shape (batch, features); every network gets the same.
    norm
        ``"no norm"``, or what comes before each ReLU, with gain 1 and shift 0. BatchNorm takes its
        statistics from the batch.
    shifts
        If given, what the norm puts out is spoilt again: each unit is multiplied by a random number
        between 0.5 and 1.5, and another one between -0.5 and 0.5 is added to it.

    Returns
    -------
    Tensor
        Shape (networks, batch, units).
    """
    hidden = inputs.expand(len(weights[0]), -1, -1)
    for weight in weights:
        z = _normalised(torch.bmm(hidden, weight), norm)
        if shifts is not None:
            factor, shift = torch.rand(2, 1, 1, z.shape[2], generator=shifts) - 0.5
            z = z * (1 + factor) + shift
        hidden = torch.relu(z)
    return hidden


def _normalised(z: Tensor, norm: str) -> Tensor:
    if norm == "BatchNorm":
        networks, batch, units = z.shape
        # torch's BatchNorm knows channels, and the units of all networks are channels to it.
        channels = z.transpose(0, 1).reshape(batch, networks * units)
        one = functional.batch_norm(channels, None, None, training=True)
        return one.view(batch, networks, units).transpose(0, 1)
    return functional.layer_norm(z, z.shape[2:]) if norm == "LayerNorm" else z


class Stack:
    """Networks of one shape and one norm, trained by SGD with a learning rate for each.

    Parameters
    ----------
    norm
        One of ``NORMS``.
    depth, width
        Hidden layers, and units in each.
    weight_scale
        Hidden weights are ``N(0, weight_scale**2 / fan_in)``; those of the last, linear layer have
        scale 1.
    learning_rates, seeds, first_seed
        Every rate is tried with every seed: networks ``rate * seeds + seed``.
    batch
        Digits in a step. The first seed chooses them, the same for every norm and every rate.
    equal_steps
        Every layer moves by the learning rate times its own length: the direction of the gradient
        counts, and its length does not.
    shifted
        Behind every norm, units are scaled and shifted at random, by new numbers in each step. Test
        digits are read without this.
    """

    def __init__(
        self,
        norm: str,
        depth: int,
        weight_scale: float,
        learning_rates: Sequence[float],
        *,
        width: int = 64,
        batch: int = 64,
        seeds: int = 3,
        first_seed: int = 0,
        equal_steps: bool = False,
        shifted: bool = False,
    ) -> None:
        self.norm = norm
        self.batch = batch
        self.equal_steps = equal_steps
        self.shape = (len(learning_rates), seeds)
        self.data = data(first_seed)
        sizes = [self.data.inputs.shape[1], *[width] * depth, 10]
        scales = [weight_scale] * depth + [1.0]
        self.weights = [
            torch.stack(
                [_draw(first_seed + s, layer, *sizes[layer : layer + 2]) for s in range(seeds)]
            )
            .mul_(scale / math.sqrt(sizes[layer]))
            .repeat(len(learning_rates), 1, 1)
            .requires_grad_()
            for layer, scale in enumerate(scales)
        ]
        rates = torch.tensor(learning_rates, dtype=torch.float32)
        self.rates = rates.repeat_interleave(seeds).view(-1, 1, 1)
        self._shifts = torch.Generator().manual_seed(first_seed + 1) if shifted else None
        self._order = torch.Generator().manual_seed(first_seed)

    def step(self) -> Tensor:
        """Take one step; return the norms of the hidden layers' gradients, (networks, depth)."""
        chosen = torch.randint(len(self.data.labels), (self.batch,), generator=self._order)
        with torch.enable_grad():
            outputs = self.outputs(self.data.inputs[chosen], self._shifts)
            labels = self.data.labels[chosen].repeat(len(outputs))
            loss = functional.cross_entropy(outputs.flatten(0, 1), labels, reduction="sum")
            gradients = torch.autograd.grad(loss / self.batch, self.weights)
        norms = [torch.linalg.vector_norm(one, dim=(1, 2)) for one in gradients]
        with torch.no_grad():
            for weight, gradient, norm in zip(self.weights, gradients, norms, strict=True):
                rates = self.rates
                if self.equal_steps:
                    length = torch.linalg.vector_norm(weight, dim=(1, 2), keepdim=True)
                    rates = rates * length / (norm[:, None, None] + 1e-30)
                weight.sub_(rates * gradient)
        return torch.stack(norms[:-1], dim=1)

    def outputs(self, inputs: Tensor, shifts: torch.Generator | None = None) -> Tensor:
        """Return the scores of the classes, shape (networks, batch, 10); shifts as for ``run``."""
        hidden = run(self.weights[:-1], inputs, self.norm, shifts)
        return torch.bmm(hidden, self.weights[-1])

    @one_thread()
    def train(self, steps: int) -> Tensor:
        """Take many steps; return the accuracy, shape (rates, seeds)."""
        for _ in range(steps):
            self.step()
        return self.accuracy()

    @torch.no_grad()
    def accuracy(self) -> Tensor:
        """Return the share of test digits that are read right, shape (rates, seeds)."""
        right = self.outputs(self.data.test_inputs).argmax(2) == self.data.test_labels
        return right.float().mean(1).view(self.shape)

    @torch.no_grad()
    def broken(self) -> Tensor:
        """Return which networks hold a weight that is not finite, shape (rates, seeds)."""
        finite = torch.stack([one.isfinite().all(2).all(1) for one in self.weights]).all(0)
        return ~finite.view(self.shape)


def _draw(seed: int, layer: int, fan_in: int, units: int) -> Tensor:
    source = np.random.default_rng([seed, layer])
    return torch.from_numpy(source.standard_normal((fan_in, units), dtype=np.float32))
