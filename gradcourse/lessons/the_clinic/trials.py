"""Several treatments on several seeds, trained side by side."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Optimizer

from gradcourse.models import seeded
from gradcourse.training import Ensemble, Pace, one_thread

__all__ = ["Classes", "Trial", "Trials", "run"]

Array = NDArray[Any]
MakeOptimizer = Callable[[Iterable[Tensor]], Optimizer]

YIELD_EVERY = 0.2


@dataclass(frozen=True)
class Trial:
    """One treatment.

    Attributes
    ----------
    name
        What the picture and the table call it.
    make
        Returns a network; trials that share the function train in one batch.
    first
        Fills the weights, if they are not to be those that ``make`` gives them.
    max_norm
        The norm that gradients are clipped to.
    warmup
        Share of the steps over which the learning rate grows to its value.
    guard
        Whether a step with a NaN or Inf is skipped.
    loss_scale
        What the loss is multiplied with, and the gradient divided by.
    rate
        What the learning rate is multiplied with.
    """

    name: str
    make: Callable[[], nn.Module]
    first: Callable[[Any], object] | None = None
    max_norm: float = math.inf
    warmup: float = 0.0
    guard: bool = False
    loss_scale: float = 1.0
    rate: float = 1.0

    def network(self, seed: int) -> nn.Module:
        """Return a network with its first weights."""
        model = seeded(seed, self.make)
        fill = self.first
        if fill is not None:
            seeded(seed, lambda: fill(model))
        return model


class Trials:
    """The networks of some trials in one ensemble, each with its own clipping and learning rate.

    Parameters
    ----------
    trials
        With the same ``make``.
    seeds
        Of the networks of each trial.
    optimizer
        Makes the optimizer from the stacked parameters.
    steps
        How many there will be.
    """

    def __init__(
        self, trials: Sequence[Trial], seeds: range, optimizer: MakeOptimizer, steps: int
    ) -> None:
        each = list(itertools.product(trials, seeds))
        self.ensemble = Ensemble(trial.network(seed) for trial, seed in each)
        self.optimizer = optimizer(self.ensemble.parameters())
        self.max_norms = torch.tensor([trial.max_norm for trial, _ in each])
        self.loss_scales = torch.tensor([trial.loss_scale for trial, _ in each])
        self.rates = torch.tensor([trial.rate for trial, _ in each])
        self.warmups = torch.tensor([max(1.0, trial.warmup * steps) for trial, _ in each])
        self.guards = torch.tensor([trial.guard for trial, _ in each])
        self.done = 0

    def __len__(self) -> int:
        return len(self.ensemble)

    def step(self, losses: Tensor) -> None:
        """Take one step down each network's own loss, shape (networks,)."""
        self.optimizer.zero_grad()
        torch.autograd.backward((losses * self.loss_scales).sum())
        self.ensemble.scale_grad_(1 / self.loss_scales)
        norms = self.ensemble.clip_grad_norm_(self.max_norms)
        before = [parameter.detach().clone() for parameter in self.ensemble.parameters()]
        broken = self.guards & ~norms.isfinite()
        if broken.any():
            # Not multiplied by zero: NaN times zero is NaN, and it would stay in the optimizer.
            for parameter in self.ensemble.parameters():
                assert parameter.grad is not None
                parameter.grad[broken] = 0.0
        self.optimizer.step()
        self.done += 1
        # A learning rate for each network, which no optimizer of torch has: part of the way.
        share = self.rates * (self.done / self.warmups).clamp(max=1.0)
        share[broken] = 0.0
        with torch.no_grad():
            for now, then in zip(self.ensemble.parameters(), before, strict=True):
                now.copy_(torch.lerp(then, now, share.reshape(-1, *[1] * (now.dim() - 1))))


@dataclass(frozen=True)
class Classes:
    """A classification that trials are made on.

    Attributes
    ----------
    inputs, labels
        All rows; the first of them are drawn from, the others held out.
    draws
        The rows of each step.
    held_out
        The first row that is held out.
    optimizer
        Makes the optimizer; its learning rate is multiplied by ``run``'s.
    weight
        What the loss is multiplied with.
    """

    inputs: Tensor
    labels: Tensor
    draws: Sequence[Tensor]
    held_out: int
    optimizer: Callable[[Iterable[Tensor], float], Optimizer]
    weight: float = 1.0


def run(
    task: Classes, trials: Sequence[Trial], seeds: range, rate: float
) -> Iterator[tuple[float, Array]]:
    """Train every trial on every seed; yield the share of work done and the scores so far.

    Parameters
    ----------
    task
        What is learned.
    trials, seeds
        The treatments, and the seeds of each.
    rate
        What all learning rates are multiplied with.

    Yields
    ------
    share, scores
        The last share is 1; scores are accuracies on held-out rows, shape (trials, seeds), 0 for
        a network that is lost and NaN for one that has not begun.
    """
    makers = list(dict.fromkeys(trial.make for trial in trials))
    scores = np.full((len(trials), len(seeds)), np.nan)
    pace = Pace(YIELD_EVERY)
    for number, make in enumerate(makers):
        places = [place for place, trial in enumerate(trials) if trial.make is make]
        steps = len(task.draws)
        group = Trials(
            [trials[place] for place in places],
            seeds,
            lambda parameters: task.optimizer(parameters, rate),
            steps,
        )
        for step, rows in enumerate(task.draws):
            with one_thread():
                group.step(task.weight * _losses(group, task.inputs[rows], task.labels[rows]))
            if pace.due() or step + 1 == steps:
                with one_thread():
                    scores[places] = _accuracies(group, task).reshape(len(places), -1)
                yield (number + (step + 1) / steps) / len(makers), scores.copy()
                pace.restart()


def _losses(group: Trials, inputs: Tensor, labels: Tensor) -> Tensor:
    outputs: Tensor = group.ensemble(inputs).flatten(1, -2)
    answers = labels.flatten().expand(len(group), -1)
    each = functional.cross_entropy(outputs.flatten(0, 1), answers.flatten(), reduction="none")
    return each.view(len(group), -1).mean(dim=1)


def _accuracies(group: Trials, task: Classes) -> Array:
    with torch.no_grad():
        outputs = group.ensemble(task.inputs[task.held_out :]).flatten(1, -2)
        right = (outputs.argmax(dim=2) == task.labels[task.held_out :].flatten()).float()
        lost = ~outputs.isfinite().all(dim=(1, 2))
    found: Array = right.mean(dim=1).masked_fill(lost, 0.0).numpy()
    return found
