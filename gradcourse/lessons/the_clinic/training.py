"""One loop that trains every patient of the clinic, and what it writes down."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from gradcourse.diagnosis import Diagnosis, GradMonitor
from gradcourse.training import Pace, one_thread, warmup_cosine

__all__ = ["Chart", "Setup", "train"]

Array = NDArray[Any]

# Seconds of work between two pictures, and steps between two full records of the monitor.
YIELD_EVERY = 0.2
EVERY = 5


@dataclass
class Setup:
    """All that a training run is made of; a treatment changes one part of it.

    Attributes
    ----------
    model, optimizer
        What is trained, and by what.
    loss
        ``loss(step)`` is the loss of that step's batch.
    score
        How well the model does on data that were held out: 0 (guessing or lost) to 1.
    guess
        The loss of the best answer that does not look at the input.
    steps
        How many of them.
    max_norm
        The norm that gradients are clipped to, ``inf`` for none.
    warmup
        Steps over which the learning rate grows to its value.
    scaler
        A gradient scaler, if the run has one.
    unscale
        Whether the scaler's scale is taken out before gradients are clipped.
    guard
        Whether a step whose loss or gradient is not finite is skipped.
    """

    model: nn.Module
    optimizer: torch.optim.Optimizer
    loss: Callable[[int], Tensor]
    score: Callable[[], float]
    guess: float
    steps: int
    max_norm: float = math.inf
    warmup: int = 0
    scaler: torch.amp.GradScaler | None = None
    unscale: bool = True
    guard: bool = False


@dataclass(frozen=True)
class Chart:
    """What was seen of one run.

    Attributes
    ----------
    losses, norms
        By step: the loss, and the gradient's norm before clipping, shape (steps done,).
    dead
        The largest share of dead units of any activation, median over steps.
    diagnosis
        GradMonitor's verdict on the last hundred steps.
    score
        0 to 1; 0 as long as the run goes on.
    guess, max_norm
        As in the setup.
    total
        How many steps there will be.
    """

    losses: Array
    norms: Array
    dead: float
    diagnosis: Diagnosis
    score: float
    guess: float
    max_norm: float
    total: int

    @property
    def progress(self) -> float:
        """Share of the steps that are done."""
        return len(self.losses) / self.total


def train(setup: Setup) -> Iterator[Chart]:
    """Train, watched by GradMonitor; yield what there is so far, and at last the whole chart."""
    schedule = warmup_cosine(
        setup.optimizer, setup.warmup, max(setup.warmup, setup.steps), final=1.0
    )
    losses: list[float] = []
    pace = Pace(YIELD_EVERY)
    with GradMonitor(setup.model, every=EVERY) as monitor:
        for step in range(setup.steps):
            with one_thread():
                losses.append(_step(setup, monitor, step))
                schedule.step()
            if pace.due() and step + 1 < setup.steps:
                yield _chart(setup, monitor, losses, 0.0)
                pace.restart()
    with one_thread():
        score = setup.score()
    yield _chart(setup, monitor, losses, min(1.0, max(0.0, score)) if score == score else 0.0)


def _step(setup: Setup, monitor: GradMonitor, step: int) -> float:
    setup.optimizer.zero_grad()
    loss = setup.loss(step)
    if setup.scaler is None:
        torch.autograd.backward(loss)
        norm = monitor.step(setup.max_norm)
        if not setup.guard or bool((loss + norm).isfinite()):
            setup.optimizer.step()
    else:
        torch.autograd.backward(setup.scaler.scale(loss))
        if setup.unscale:
            setup.scaler.unscale_(setup.optimizer)
        monitor.step(setup.max_norm)
        setup.scaler.step(setup.optimizer)
        setup.scaler.update()
    return float(loss.detach())


def _chart(setup: Setup, monitor: GradMonitor, losses: list[float], score: float) -> Chart:
    history = monitor.history
    dead = [float(np.nanmedian(share)) for share in history.dead.values()]
    return Chart(
        np.array(losses),
        history.norm,
        max(dead, default=0.0),
        monitor.diagnose(),
        score,
        setup.guess,
        setup.max_norm,
        setup.steps,
    )
