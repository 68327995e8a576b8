"""The regression whose targets nobody has scaled, trained by several recipes at once."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from gradcourse.checks import at_least, at_least_zero, more_than_zero
from gradcourse.live import Panel
from gradcourse.models import MLP, seeded
from gradcourse.signals import sharpness
from gradcourse.tasks import large_targets
from gradcourse.training import Ensemble

__all__ = [
    "BATCH",
    "NOISE",
    "ROWS",
    "YIELD_EVERY",
    "Recipe",
    "Trainer",
    "step_axis",
    "times",
    "white_regression",
]

Array = NDArray[Any]

# Rows to train on, of 1000; the others measure the error.
ROWS = 500
BATCH = 32
UNITS = 25
# The noise in the targets, which no network can learn.
NOISE = 0.1
# Seconds of work between two pictures.
YIELD_EVERY = 0.2


@dataclass(frozen=True)
class Recipe:
    """One way to train.

    Attributes
    ----------
    learning_rate
        Of SGD.
    loss
        ``"MSE"`` or ``"Huber"``, the latter with delta 1.
    max_norm, clip_value
        The caps on the gradient's norm and on each of its elements.
    standardise
        Whether targets are shifted and divided, to mean 0 and variance 1 over the training rows.
    """

    learning_rate: float = 0.01
    loss: str = "MSE"
    max_norm: float = math.inf
    clip_value: float = math.inf
    standardise: bool = False

    def __post_init__(self) -> None:
        more_than_zero("learning_rate", self.learning_rate)
        if self.loss not in ("MSE", "Huber"):
            raise ValueError(f"loss must be one of MSE, Huber, got {self.loss!r}")


class Trainer:
    """Trains one network for each recipe and seed, all in one batch.

    Networks of one seed start alike and see the same rows in the same order, whatever the recipe.

    Attributes
    ----------
    ensemble
        The networks, recipe after recipe.
    target_std
        Standard deviation of the training targets.
    done
        Steps so far.
    broken
        The step at which the loss of a network was first not finite, NaN if it never was; shape
        (recipes, seeds).
    """

    def __init__(
        self, recipes: Sequence[Recipe], seeds: int = 5, first_seed: int = 0, momentum: float = 0.9
    ) -> None:
        at_least(1, "seeds", seeds)
        at_least_zero("momentum", momentum)
        inputs, targets = large_targets(at_least(0, "first_seed", first_seed) + 1)
        self.inputs, self.targets = inputs[:ROWS], targets[:ROWS]
        self._held_out = inputs[ROWS:], targets[ROWS:].double()
        self.target_std = float(self.targets.std())
        self._shape = (len(recipes), seeds)
        numbers = range(first_seed, first_seed + seeds)
        networks = [seeded(seed, lambda: MLP(20, UNITS, 1, 1, "relu")) for seed in numbers]
        self.ensemble = Ensemble(networks * len(recipes))
        # The learning rates are factors on the gradients.
        self.optimizer = torch.optim.SGD(self.ensemble.parameters(), lr=1.0, momentum=momentum)
        self._orders = [torch.Generator().manual_seed(seed) for seed in numbers]
        self._batches = self._all_batches()

        def each(value: Callable[[Recipe], float]) -> Tensor:
            return torch.tensor([value(r) for r in recipes]).repeat_interleave(seeds)

        self._rates = each(lambda r: r.learning_rate)
        self._max_norms = each(lambda r: r.max_norm)
        self._clip_values = each(lambda r: r.clip_value)
        self._huber = each(lambda r: float(r.loss == "Huber")).bool()
        mean, std = float(self.targets.mean()), self.target_std
        self._shift = each(lambda r: mean if r.standardise else 0.0)
        self._scale = each(lambda r: std if r.standardise else 1.0)
        self.done = 0
        self.broken = np.full(self._shape, np.nan)

    def train(self, steps: int) -> None:
        """Do some steps."""
        for _ in range(steps):
            rows = next(self._batches)
            self.optimizer.zero_grad()
            losses = self._losses(
                self.ensemble(self.inputs[rows], shared=False), self.targets[rows]
            )
            torch.autograd.backward(losses.sum())
            self.ensemble.clip_grad_norm_(self._max_norms)
            self._clip_elements()
            self.ensemble.scale_grad_(self._rates)
            self.optimizer.step()
            self.done += 1
            finite = losses.detach().isfinite().numpy().reshape(self._shape)
            self.broken[~finite & np.isnan(self.broken)] = self.done

    @torch.no_grad()
    def errors(self) -> Array:
        """Return the root mean square error on held-out rows, in units of the targets.

        Shape (recipes, seeds); inf or NaN where a network is lost.
        """
        inputs, targets = self._held_out
        outputs = self.ensemble(inputs).squeeze(2).double()
        outputs = outputs * self._scale[:, None] + self._shift[:, None]
        errors: Tensor = (outputs - targets).square().mean(dim=1).sqrt()
        return np.asarray(errors.numpy().reshape(self._shape))

    def sharpness(self) -> Array:
        """Return the sharpness of each network's loss on all training rows, (recipes, seeds)."""
        losses = self._losses(self.ensemble(self.inputs), self.targets)
        found = sharpness(losses, self.ensemble.parameters())
        return found.numpy().reshape(self._shape)

    @torch.no_grad()
    def norms(self) -> Array:
        """Return the norm of all parameters of each network, shape (recipes, seeds)."""
        squares = [one.flatten(1).square().sum(dim=1) for one in self.ensemble.parameters()]
        return torch.stack(squares).sum(dim=0).sqrt().numpy().reshape(self._shape)

    def _losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return each network's loss; outputs (networks, rows, 1), targets (rows,) or with each."""
        wanted = (targets - self._shift[:, None]) / self._scale[:, None]
        residuals = outputs.squeeze(2) - wanted
        losses = residuals.square().mean(dim=1)
        if not self._huber.any():
            return losses
        zeros = torch.zeros_like(residuals)
        robust = nn.functional.huber_loss(residuals, zeros, reduction="none").mean(dim=1)
        return torch.where(self._huber, robust, losses)

    def _clip_elements(self) -> None:
        if self._clip_values.isinf().all():
            return
        for one in self.ensemble.parameters():
            assert one.grad is not None
            limit = self._clip_values.view(-1, *[1] * (one.dim() - 1))
            one.grad.clamp_(-limit, limit)

    def _all_batches(self) -> Iterator[Tensor]:
        """Yield rows of shape (networks, batch), in a new order for each epoch and seed."""
        while True:
            orders = [torch.randperm(ROWS, generator=order) for order in self._orders]
            together = torch.stack(orders).repeat(self._shape[0], 1)
            yield from torch.split(together, BATCH, dim=1)


@functools.lru_cache(maxsize=4)
def white_regression(first_seed: int = 0, rows: int = ROWS) -> tuple[Tensor, Tensor]:
    """Return the first rows as theory wants them, shapes (rows, 20) and (rows,).

    The inputs are made *white*: mean 0, variance 1 and uncorrelated, exactly. The targets are the
    part that is linear in them, with standard deviation 1.
    """
    inputs, targets = (each[:rows].double().numpy() for each in large_targets(first_seed + 1))
    inputs = inputs - inputs.mean(axis=0)
    root = np.linalg.cholesky(inputs.T @ inputs / rows)
    white = np.linalg.solve(root, inputs.T).T
    line = white @ (white.T @ targets / rows)
    return torch.from_numpy(white).float(), torch.from_numpy(line / line.std()).float()


def step_axis(panel: Panel, steps: int) -> None:
    """Give a panel a logarithmic axis for log10(steps + 1), up to ``steps``."""
    ticks = range(int(np.log10(steps + 1)) + 1)
    panel.set(
        xlabel="step",
        xlim=(0.0, float(np.log10(steps + 1))),
        xticks=list(ticks),
        xticklabels=[f"{10**tick}" for tick in ticks],
    )


def times(steps: int, count: int = 40) -> list[int]:
    """Return steps to measure at, from 0 to ``steps``, evenly spread on a logarithmic axis."""
    spread = np.geomspace(1, steps + 1, count).round().astype(int) - 1
    return [time for time, _ in itertools.groupby(spread.tolist())]
