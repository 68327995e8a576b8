"""Clipping before ``unscale_`` and after it, side by side."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import cross_entropy

from gradcourse.checks import more_than_zero
from gradcourse.exercises import as_prediction
from gradcourse.live import MEASURED, PALETTE, THEORY, Panel
from gradcourse.models import MLP, seeded
from gradcourse.tasks import split_digits
from gradcourse.training import Ensemble, Pace, learning_curve, one_thread

__all__ = ["OPTIMIZERS", "Order", "draw_order", "measure_order"]

Array = NDArray[Any]

OPTIMIZERS = {"SGD": 0.5, "Adam": 0.003}
STEPS = 150
EVERY = 2
BATCH = 64


@dataclass(frozen=True)
class Order:
    """Networks trained with a loss scale, and clipped in three ways.

    The ways are the right order, the wrong one (clip first, then ``unscale_``), and what theory
    says the wrong one is: the right order with ``max_norm / scale``.

    Attributes
    ----------
    log2_scale, max_norm, optimizer
        The settings.
    steps
        When it was measured, shape (times,).
    losses
        Of the ways, shape (times, 3, seeds).
    norms
        What the optimizer gets: the gradient's norm after clipping and unscaling, same shape.
    free
        The norm before clipping in the right order, shape (times, seeds).
    progress
        Share of the steps that are done.
    prediction
        The learner's guess of the wrong order's loss in the end.
    """

    log2_scale: int
    max_norm: float
    optimizer: str
    steps: Array
    losses: Array
    norms: Array
    free: Array
    progress: float
    prediction: float | None

    @property
    def limit(self) -> float:
        """The ``max_norm`` that the wrong order has in effect."""
        return float(self.max_norm * 2.0**-self.log2_scale)

    @property
    def final(self) -> Array:
        """Median loss over seeds and over the last fifth of the steps, for each way, shape (3,)."""
        late = self.losses[-max(1, len(self.losses) // 5) :]
        return np.asarray(np.median(late, axis=(0, 2)))

    @property
    def loss_curves(self) -> Array:
        """The losses' median, lowest and highest seed, shape (ways, 3, times)."""
        return learning_curve(self.losses.transpose(1, 2, 0), 1)

    @property
    def norm_curves(self) -> Array:
        """The same of log10 of the norms, and in a last row of ``free``: shape (4, 3, times)."""
        every = np.concatenate([self.norms, self.free[:, None]], axis=1)
        with np.errstate(divide="ignore"):
            return learning_curve(np.log10(every).transpose(1, 2, 0), 1)

    @property
    def apart(self) -> float:
        """The largest relative difference between the wrong order's losses and theory's."""
        return float(np.abs(self.losses[:, 1] / self.losses[:, 2] - 1).max())

    def summary(self) -> str:
        """Return the picture in one line."""
        right, wrong, theory = self.final
        return (
            f"{self.optimizer}, max_norm {self.max_norm:.3g}, scale 2^{self.log2_scale}, step "
            f"{self.steps[-1]}: loss {right:.3g} in the right order, {wrong:.3g} in the wrong one "
            f"(theory: max_norm {self.limit:.3g}, loss {theory:.3g})"
        )


class _Way:
    """Networks that are trained in one way, with a real scaler."""

    def __init__(self, optimizer: str, scale: float, seeds: range) -> None:
        self.networks = Ensemble(seeded(seed, lambda: MLP(64, 32, 2, 10)) for seed in seeds)
        make = torch.optim.SGD if optimizer == "SGD" else torch.optim.Adam
        self.optimizer = make(self.networks.parameters(), lr=OPTIMIZERS[optimizer])
        # It never grows, so that theory has one scale to speak of.
        self.scaler = torch.amp.GradScaler("cpu", init_scale=scale, growth_interval=10**9)

    def step(
        self, inputs: torch.Tensor, labels: torch.Tensor, max_norm: float, clip_first: bool
    ) -> tuple[Array, Array, Array]:
        """Return losses, and norms before and after clipping, each of shape (networks,)."""
        count = len(self.networks)
        outputs = self.networks(inputs).flatten(0, 1)
        each = cross_entropy(outputs, labels.repeat(count), reduction="none")
        losses = each.reshape(count, -1).mean(dim=1)
        self.optimizer.zero_grad()
        torch.autograd.backward(self.scaler.scale(losses.sum()))
        if not clip_first:
            self.scaler.unscale_(self.optimizer)
        before = self.networks.clip_grad_norm_(max_norm)
        if clip_first:
            self.scaler.unscale_(self.optimizer)
        after = self.networks.grad_norms()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        found = losses.detach(), before, after
        return tuple(np.asarray(one.double().numpy()) for one in found)  # type: ignore[return-value]


def measure_order(
    log2_scale: int = 10,
    max_norm: float = 1.0,
    optimizer: str = "SGD",
    seeds: int = 4,
    first_seed: int = 0,
    steps: int = STEPS,
    prediction: float | None = None,
) -> Iterator[Order]:
    """Train on digits in both orders, and with the ``max_norm`` that theory predicts (T30).

    Parameters
    ----------
    log2_scale
        log2 of the loss scale, which stays as it is.
    max_norm
        Above 0.
    optimizer
        ``"SGD"`` or ``"Adam"``.
    seeds, first_seed
        How many networks, and the first of their seeds; it chooses the digits too.
    steps
        Of 64 digits each.
    prediction
        The loss that the learner expects of the wrong order with SGD at max_norm 1, scale 2^10.

    Yields
    ------
    Order
        What there is so far; the last one is whole.
    """
    if optimizer not in OPTIMIZERS:
        raise ValueError(f"optimizer must be one of {', '.join(OPTIMIZERS)}, got {optimizer!r}")
    more_than_zero("max_norm", max_norm)
    (inputs, labels), _ = split_digits(1500, first_seed)
    numbers = range(first_seed, first_seed + seeds)
    ways = [_Way(optimizer, 2.0**log2_scale, numbers) for _ in range(3)]
    plans = [(max_norm, False), (max_norm, True), (max_norm * 2.0**-log2_scale, False)]
    generator = torch.Generator().manual_seed(first_seed)
    asked = optimizer == "SGD" and math.isclose(max_norm, 1) and log2_scale == 10
    guess = as_prediction(prediction) if asked else None
    done: list[int] = []
    losses: list[Array] = []
    norms: list[Array] = []
    free: list[Array] = []
    pace = Pace(0.15)
    for step in range(1, steps + 1):
        rows = torch.randint(0, len(inputs), (BATCH,), generator=generator)
        with one_thread():
            found = [
                way.step(inputs[rows], labels[rows], limit, clip_first)
                for way, (limit, clip_first) in zip(ways, plans, strict=True)
            ]
        over = step == steps
        if step % EVERY == 1 or over:
            done.append(step)
            losses.append(np.array([each[0] for each in found]))
            norms.append(np.array([each[2] for each in found]))
            free.append(found[0][1])
        if over or pace.due():
            yield Order(
                log2_scale,
                max_norm,
                optimizer,
                np.array(done),
                np.array(losses),
                np.array(norms),
                np.array(free),
                step / steps,
                guess,
            )
            pace.restart()


def draw_order(result: Order, axes: dict[str, Panel]) -> None:
    """Show the loss in both orders, and the norm that reaches the optimizer."""
    loss, norm = axes["loss"], axes["norm"]
    x = result.steps
    loss.set(title="Loss", xlabel="step", ylabel="training loss", xlim=(0, STEPS), ylim=(0, 3.6))
    norm.set(title="Norm that reaches the optimizer", xlabel="step", xlim=(0, STEPS))
    norm.decades("y", -8, 3)
    losses, norms = result.loss_curves, result.norm_curves
    for panel, curves in ((loss, losses), (norm, norms)):
        for way, colour, words in ((0, PALETTE[2], "right order"), (1, MEASURED, "clip first")):
            middle, low, high = curves[way]
            panel.band(f"{words} band", x, low, high, color=colour, alpha=0.2)
            panel.line(words, x, middle, color=colour, lw=4, label=f"measured: {words}")
    expected, free = losses[2, 0], norms[3, 0]
    loss.line("theory", x, expected, color=THEORY, ls="--", label="theory: right, max_norm / scale")
    norm.line("free", x, free, color="#888888", lw=1.5, label="before clipping")
    norm.hline(
        "limit", math.log10(result.limit), color=THEORY, ls="--", label="theory: max_norm / scale"
    )
    if result.prediction is not None:
        guess = float(np.clip(result.prediction, 0, 3.6))
        loss.mark("prediction", STEPS, guess, "your prediction")
