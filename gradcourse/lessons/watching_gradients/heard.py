"""Experiments on what people say about watching gradients."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from gradcourse.checks import at_least
from gradcourse.diagnosis import GradMonitor
from gradcourse.initialization import initialize
from gradcourse.lessons.watching_gradients.digits_run import Array, Batch, batches
from gradcourse.models import MLP
from gradcourse.training import one_thread, training_step

__all__ = ["explosion", "losses_with", "norms_by_reduction"]


@one_thread()
def explosion(seed: int = 0, alert: float = 100.0) -> tuple[int, float]:
    """Return how long before its end an explosion's gradient passes a limit, and how weights grow.

    Linear regression of the digits' labels, by full-batch gradient descent with a learning rate of
    3 over the largest curvature, where 2 is the most that is stable.

    Parameters
    ----------
    seed
        Of the batch and of the weights.
    alert
        The limit, above the norm at the start.

    Returns
    -------
    warning
        Steps from the first norm above the limit to the first loss that is not finite.
    growth
        The factor by which a step makes the weights longer, over the last ten.
    """
    inputs, labels = next(batches(seed))
    targets = labels[:, None].float()
    weight = torch.zeros(64, 1, requires_grad=True)
    curvature = float(torch.linalg.eigvalsh(2 * inputs.T @ inputs / len(inputs))[-1])
    norms: list[float] = []
    lengths: list[float] = []
    while not norms or math.isfinite(norms[-1]):
        loss = nn.functional.mse_loss(inputs @ weight, targets)
        (gradient,) = torch.autograd.grad(loss, weight)
        norms.append(float(gradient.norm()) if loss.isfinite() else math.nan)
        lengths.append(float(weight.detach().norm()))
        with torch.no_grad():
            weight -= 3 / curvature * gradient
    passed = int(np.argmax(np.array(norms) > alert))
    return len(norms) - 1 - passed, (lengths[-1] / lengths[-11]) ** 0.1


@one_thread()
def norms_by_reduction(reduction: str, steps: int = 60, seed: int = 0) -> Array:
    """Return the gradient's norm at each step of one and the same healthy run on digits.

    Parameters
    ----------
    reduction
        ``"mean"`` or ``"sum"`` over the 256 images of a batch; the learning rate makes up for it,
        so that the weights are the same in both.
    steps, seed
        The length of the run, and its seed.

    Returns
    -------
    NDArray of shape (steps,)
    """
    if reduction not in ("mean", "sum"):
        raise ValueError(f"reduction must be one of mean, sum, got {reduction!r}")
    size = 256

    def loss_fn(model: nn.Module, batch: Batch) -> Tensor:
        inputs, labels = batch
        return nn.functional.cross_entropy(model(inputs), labels, reduction=reduction)

    model = MLP(64, 64, 2, out_features=10, activation="relu")
    initialize(model, "he_normal", generator=torch.Generator().manual_seed(seed))
    rate = 0.1 if reduction == "mean" else 0.1 / size
    optimizer = torch.optim.SGD(model.parameters(), lr=rate)
    monitor, drawn = GradMonitor(model), batches(seed, size)
    for _ in range(at_least(1, "steps", steps)):
        training_step(model, optimizer, loss_fn, next(drawn), monitor=monitor)
    return monitor.history.norm


@one_thread()
def losses_with(activation: Callable[[Tensor], Tensor], steps: int = 100, seed: int = 0) -> Array:
    """Return the losses of a network of one hidden layer that learns digits with an activation.

    Parameters
    ----------
    activation
        Of tensors of any shape, with a backward pass that need not be right.
    steps, seed
        The length of the run, and its seed.

    Returns
    -------
    NDArray of shape (steps,)
    """

    def loss_fn(model: nn.Module, batch: Batch) -> Tensor:
        inputs, labels = batch
        first, last = model.children()
        return nn.functional.cross_entropy(last(activation(first(inputs))), labels)

    model = nn.Sequential(nn.Linear(64, 64), nn.Linear(64, 10))
    initialize(model, "xavier_normal", generator=torch.Generator().manual_seed(seed))
    optimizer, drawn = torch.optim.SGD(model.parameters(), lr=0.3), batches(seed)
    count = at_least(1, "steps", steps)
    return np.array(
        [training_step(model, optimizer, loss_fn, next(drawn)).loss for _ in range(count)]
    )
