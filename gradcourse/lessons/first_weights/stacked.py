"""Many perceptrons of one shape run, and are trained, as one: a matrix product a layer for all."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from gradcourse.models import MLP, activation_module
from gradcourse.training import one_thread

__all__ = ["StackedMLP", "accuracy_on", "train_on"]


class StackedMLP(nn.Module):
    """Copies of perceptrons with their weights stacked, shape (networks, out, in).

    ``gradcourse.training.Ensemble`` runs modules of any kind; for layers as narrow as these, plain
    batched products take half of its time.

    Parameters
    ----------
    networks
        One or more, of one shape.
    activation
        Their activation, a name that ``gradcourse.models`` knows.
    """

    def __init__(self, networks: Sequence[MLP], activation: str) -> None:
        super().__init__()
        self.activation = activation_module(activation)
        layers = [[layer for layer in net if isinstance(layer, nn.Linear)] for net in networks]
        self.weights = nn.ParameterList(
            torch.stack([layer.weight.detach() for layer in same])
            for same in zip(*layers, strict=True)
        )
        self.biases = nn.ParameterList(
            torch.stack([layer.bias.detach() for layer in same])[:, None]
            for same in zip(*layers, strict=True)
        )

    def __len__(self) -> int:
        return len(self.weights[0])

    def forward(self, inputs: Tensor) -> Tensor:
        """Return what each network makes of the same inputs, shape (networks, batch, out)."""
        h = inputs.expand(len(self), -1, -1)
        pairs = list(zip(self.weights, self.biases, strict=True))
        for weight, bias in pairs[:-1]:
            h = self.activation(torch.baddbmm(bias, h, weight.mT))
        weight, bias = pairs[-1]
        return torch.baddbmm(bias, h, weight.mT)


@one_thread()
@torch.no_grad()
def accuracy_on(networks: StackedMLP, inputs: Tensor, labels: Tensor) -> NDArray[np.float64]:
    """Return the share of right answers of each network, shape (networks,)."""
    right = (networks(inputs).argmax(-1) == labels).double()
    return np.asarray(right.mean(1).numpy())


@one_thread()
def train_on(
    networks: StackedMLP, optimizer: torch.optim.Optimizer, batches: Sequence[tuple[Tensor, Tensor]]
) -> None:
    """Take one step on each batch; a network that ends in NaN does not touch the others."""
    for inputs, labels in batches:
        outputs = networks(inputs)
        # The sum over networks hands each of them the gradient of its own mean loss.
        loss = cross_entropy(
            outputs.flatten(0, 1), labels.repeat(len(networks)), reduction="sum"
        ) / len(labels)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
