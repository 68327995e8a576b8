"""One network in five precisions: what range costs, and what digits cost."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import cross_entropy

from gradcourse import theory
from gradcourse.checks import at_least, more_than_zero
from gradcourse.exercises import as_prediction
from gradcourse.live import MEASURED, PALETTE, THEORY, Panel
from gradcourse.models import MLP, seeded
from gradcourse.tasks import split_digits
from gradcourse.training import Pace, learning_curve, one_thread

__all__ = ["WAYS", "Trained", "draw_training", "measure_training"]

Array = NDArray[Any]

WAYS = ("float32", "float16", "float16 + scaler", "bfloat16", "bfloat16 weights")
COLOURS = ("black", "#D62728", PALETTE[2], MEASURED, PALETTE[3])
STEPS = 200
WINDOW = 10
BATCH = 64
GROWTH_INTERVAL = 20


@dataclass(frozen=True)
class Trained:
    """Networks on digits, each trained from the same weights on the same batches in five ways.

    Attributes
    ----------
    log2_weight, learning_rate
        The settings: the loss is multiplied by ``2**log2_weight`` and the learning rate divided by
        it, which leaves nothing changed where numbers have enough range.
    losses
        Unweighted, mean over windows of 10 steps; shape (windows, ways, seeds).
    log2_scale
        log2 of the scaler's scale, of the first seed, shape (steps,).
    log2_ceiling
        log2 of 65520 over the largest gradient of a weight that float32 has, of the first seed;
        shape (steps,).
    skipped
        Whether the scaler skipped a step, shape (steps, seeds).
    accuracy
        On held-out digits, shape (ways, seeds); NaN until the end.
    progress
        Share of the steps that are done.
    prediction
        The learner's guess of the float16 loss in the end at weight 2^-20.
    """

    log2_weight: int
    learning_rate: float
    losses: Array
    log2_scale: Array
    log2_ceiling: Array
    skipped: Array
    accuracy: Array
    progress: float
    prediction: float | None

    @property
    def final(self) -> dict[str, float]:
        """Median loss of the last windows, by way; NaN counts as infinite."""
        late = np.nan_to_num(self.losses[-3:].mean(axis=0), nan=np.inf)
        return dict(zip(WAYS, np.median(late, axis=1).tolist(), strict=True))

    @property
    def curves(self) -> Array:
        """The losses' median, lowest and highest seed, shape (ways, 3, windows)."""
        return learning_curve(self.losses.transpose(1, 2, 0), 1)

    def summary(self) -> str:
        """Return the picture in one line."""
        words = ", ".join(f"{way} {_words(loss)}" for way, loss in self.final.items())
        return (
            f"loss weight 2^{self.log2_weight}, learning rate {self.learning_rate:.3g} over it: "
            f"loss {words}; the scale is 2^{self.log2_scale[-1]:g} at step {len(self.log2_scale)}, "
            f"{int(self.skipped[:, 0].sum())} steps skipped"
        )


def _words(loss: float) -> str:
    return f"{loss:.3g}" if math.isfinite(loss) else "lost"


class _Run:
    """One network that is trained in one way."""

    def __init__(self, way: str, seed: int, learning_rate: float) -> None:
        self.way = way
        self.network = seeded(seed, lambda: MLP(64, 32, 2, 10))
        if way == "bfloat16 weights":
            self.network.bfloat16()
        self.optimizer = torch.optim.SGD(self.network.parameters(), lr=learning_rate)
        scaled = way == "float16 + scaler"
        self.scaler = torch.amp.GradScaler("cpu", growth_interval=GROWTH_INTERVAL, enabled=scaled)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the outputs in float32."""
        if self.way == "bfloat16 weights":
            inputs = inputs.bfloat16()
        with self._autocast():
            outputs: Tensor = self.network(inputs)
        return outputs.float()

    def _autocast(self) -> contextlib.AbstractContextManager[object]:
        for dtype in (torch.float16, torch.bfloat16):
            if self.way.removesuffix(" + scaler") == str(dtype).removeprefix("torch."):
                return torch.autocast("cpu", dtype=dtype)
        return contextlib.nullcontext()

    def step(self, inputs: Tensor, labels: Tensor, weight: float) -> float:
        """Train on one batch and return the loss before."""
        loss = cross_entropy(self.forward(inputs), labels)
        self.optimizer.zero_grad()
        torch.autograd.backward(self.scaler.scale(weight * loss))
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return loss.item()

    def largest_gradient(self) -> float:
        """Return the size of the largest element of the last gradient."""
        gradients = [each.grad for each in self.network.parameters() if each.grad is not None]
        return max(gradient.abs().max().item() for gradient in gradients)

    @torch.no_grad()
    def accuracy(self, inputs: Tensor, labels: Tensor) -> float:
        """Return the share of digits that are named rightly."""
        return (self.forward(inputs).argmax(dim=1) == labels).double().mean().item()


def measure_training(
    log2_weight: int = 0,
    learning_rate: float = 0.1,
    seeds: int = 3,
    first_seed: int = 0,
    steps: int = STEPS,
    prediction: float | None = None,
) -> Iterator[Trained]:
    """Train on digits in float32, float16 and bfloat16, with and without what each needs.

    Parameters
    ----------
    log2_weight
        log2 of what the loss is multiplied by; the learning rate is divided by it.
    learning_rate
        Of SGD, at a weight of 1.
    seeds, first_seed
        How many networks, and the first of their seeds; it chooses the digits too.
    steps
        Of 64 digits each, 10 or more.
    prediction
        The float16 loss that the learner expects at a weight of 2^-20, drawn as a star there.

    Yields
    ------
    Trained
        What there is so far; the last one is whole.
    """
    rate, steps = more_than_zero("learning_rate", learning_rate), at_least(WINDOW, "steps", steps)
    weight = 2.0**log2_weight
    (inputs, labels), held_out = split_digits(1500, first_seed)
    runs = [
        [_Run(way, seed, rate / weight) for seed in range(first_seed, first_seed + seeds)]
        for way in WAYS
    ]
    generator = torch.Generator().manual_seed(first_seed)
    losses = np.full((steps, len(WAYS), seeds), np.nan)
    skipped = np.zeros((steps, seeds), dtype=bool)
    scales, ceilings = np.full(steps, np.nan), np.full(steps, np.nan)
    accuracy = np.full((len(WAYS), seeds), np.nan)
    guess = as_prediction(prediction) if log2_weight == -20 else None
    overflow = math.log2(theory.float_format("float16").overflow_from)
    pace = Pace(0.15)
    for step in range(steps):
        rows = torch.randint(0, len(inputs), (BATCH,), generator=generator)
        with one_thread():
            before = [run.scaler.get_scale() for run in runs[2]]
            scales[step] = math.log2(before[0])
            for place, way in enumerate(runs):
                losses[step, place] = [run.step(inputs[rows], labels[rows], weight) for run in way]
            skipped[step] = [
                run.scaler.get_scale() < scale for run, scale in zip(runs[2], before, strict=True)
            ]
            ceilings[step] = overflow - math.log2(runs[0][0].largest_gradient())
            over = step == steps - 1
            if over:
                accuracy = np.array([[run.accuracy(*held_out) for run in way] for way in runs])
        if over or (step >= WINDOW - 1 and pace.due()):
            done = step + 1
            whole = losses[: done - done % WINDOW].reshape(-1, WINDOW, len(WAYS), seeds)
            yield Trained(
                log2_weight,
                learning_rate,
                whole.mean(axis=1),
                scales[:done].copy(),
                ceilings[:done].copy(),
                skipped[:done].copy(),
                accuracy.copy(),
                done / steps,
                guess,
            )
            pace.restart()


def draw_training(result: Trained, axes: dict[str, Panel]) -> None:
    """Show the five losses, and the scale that the scaler found."""
    loss, scale = axes["loss"], axes["scale"]
    x, curves = WINDOW * (np.arange(len(result.losses)) + 0.5), result.curves
    loss.set(title="Loss", xlabel="step", ylabel="training loss", xlim=(0, STEPS), ylim=(0, 4.6))
    for way in (1, 2, 3, 4):
        middle, low, high = curves[way]
        name, colour = WAYS[way], COLOURS[way]
        loss.band(f"{name} band", x, low, high, color=colour, alpha=0.15)
        label = f"measured: {name}" if way == 1 else name
        loss.line(name, x, middle, color=colour, lw=5 - 0.7 * way, label=label)
    loss.line("theory", x, curves[0, 0], color=THEORY, ls="--", lw=2, label="theory: float32")
    steps = np.arange(len(result.log2_scale))
    shown = np.concatenate([result.log2_scale, result.log2_ceiling])
    low, high = 8 * math.floor(shown.min() / 8), 8 * math.ceil(shown.max() / 8)
    ticks = range(low, high + 1, 4 if high - low <= 24 else 8)
    scale.set(
        title="Loss scale",
        xlabel="step",
        xlim=(0, STEPS),
        ylim=(low, high),
        yticks=ticks,
        yticklabels=[f"$2^{{{tick}}}$" for tick in ticks],
    )
    scale.line(
        "measured",
        steps,
        result.log2_scale,
        color=PALETTE[2],
        lw=4,
        label="measured: GradScaler",
    )
    scale.line(
        "theory",
        steps,
        result.log2_ceiling,
        color=THEORY,
        ls="--",
        lw=1.5,
        label="theory: 65520 / largest",
    )
    places = np.flatnonzero(result.skipped[:, 0])
    scale.line(
        "skipped",
        places,
        result.log2_scale[places],
        color="black",
        ls="",
        marker="x",
        ms=7,
        mew=2,
        label="skipped",
    )
    if result.prediction is not None:
        guess = float(np.clip(result.prediction, 0, 4.6))
        loss.mark("prediction", STEPS, guess, "your prediction")
