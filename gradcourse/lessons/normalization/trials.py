"""Single numbers that the lesson measures beside its figures."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from gradcourse.checks import at_least
from gradcourse.lessons.normalization.networks import Stack, data, run
from gradcourse.models import seeded
from gradcourse.training import one_thread

__all__ = ["loss_after", "modes_disagree", "same_neighbours"]


@one_thread()
def loss_after(factor: float, rate: float, steps: int = 20, first_seed: int = 0) -> float:
    """Return the test loss after training weights that are multiplied by a factor first.

    Three layers of 64 ReLU units with BatchNorm before each, in float64 and with an ``eps`` of
    1e-12, read digits. Only the weights before the norms are trained, by SGD with batches of 64.

    Parameters
    ----------
    factor
        What the weights are multiplied by before training.
    rate
        The learning rate.
    steps
        Steps of SGD, up to 23: each takes digits that are new.
    first_seed
        The seed of the weights and of the order of the digits.
    """
    digits = data(first_seed)
    inputs, labels = digits.inputs.double(), digits.labels
    weights = Stack("BatchNorm", 3, math.sqrt(2), [rate], seeds=1, first_seed=first_seed).weights
    hidden = [(factor * weight[0].detach().double()).requires_grad_() for weight in weights[:-1]]
    last = weights[-1][0].detach().double()

    def loss(inputs: Tensor, labels: Tensor) -> Tensor:
        for weight in hidden:
            z = nn.functional.batch_norm(inputs @ weight, None, None, training=True, eps=1e-12)
            inputs = torch.relu(z)
        return cross_entropy(inputs @ last, labels)

    sgd = torch.optim.SGD(hidden, lr=rate)
    for first in range(0, 64 * steps, 64):
        sgd.zero_grad()
        torch.autograd.backward(loss(inputs[first : first + 64], labels[first : first + 64]))
        sgd.step()
    with torch.no_grad():
        return float(loss(digits.test_inputs.double(), digits.test_labels))


@one_thread()
def modes_disagree(batch: int, steps: int = 200, first_seed: int = 0) -> float:
    """Return the share of digits that a BatchNorm network reads differently in train and eval mode.

    Three layers of ``nn.Linear``, ``nn.BatchNorm1d`` and ReLU are trained with batches of this
    size, and then read 256 test digits: in such batches in train mode, and in eval mode.

    Parameters
    ----------
    batch
        Digits in a batch, 2 or more.
    steps
        Steps of SGD with learning rate 0.1.
    first_seed
        The seed of the weights and of the digits.
    """
    batch = at_least(2, "batch", batch)
    digits = data(first_seed)
    order = np.random.default_rng(first_seed)
    net = seeded(first_seed, _with_batch_norm)
    sgd = torch.optim.SGD(net.parameters(), lr=0.1)
    for _ in range(steps):
        chosen = torch.from_numpy(order.integers(len(digits.labels), size=batch))
        sgd.zero_grad()
        torch.autograd.backward(cross_entropy(net(digits.inputs[chosen]), digits.labels[chosen]))
        sgd.step()
    images = digits.test_inputs[:256]
    with torch.no_grad():
        in_batches = torch.cat([net(some).argmax(1) for some in torch.split(images, batch)])
        alone = net.eval()(images).argmax(1)
    return float((in_batches != alone).float().mean())


@torch.no_grad()
def same_neighbours(norm: str, depth: int, first_seed: int = 0) -> float:
    """Return how often two test digits are the same whose activations are nearest to each other.

    Parameters
    ----------
    norm, depth
        The networks of :class:`Stack`, not trained; the activations of the last hidden layer.
    first_seed
        The seed of the weights and of the digits.
    """
    digits = data(first_seed)
    stack = Stack(norm, depth, math.sqrt(2), [0.0], seeds=1, first_seed=first_seed)
    hidden = run(stack.weights[:-1], digits.test_inputs, norm)[0]
    distances = torch.cdist(hidden, hidden).fill_diagonal_(math.inf)
    same = digits.test_labels[distances.argmin(1)] == digits.test_labels
    return float(same.float().mean())


def _with_batch_norm() -> nn.Sequential:
    layers = [(nn.Linear(64, 64), nn.BatchNorm1d(64), nn.ReLU()) for _ in range(3)]
    return nn.Sequential(*[module for layer in layers for module in layer], nn.Linear(64, 10))
