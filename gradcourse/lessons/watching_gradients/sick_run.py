"""A run that goes bad at a chosen step, under a chosen guard."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor, nn

from gradcourse.checks import at_least
from gradcourse.exercises import as_prediction
from gradcourse.lessons.watching_gradients.digits_run import (
    Array,
    Batch,
    batches,
    cross_entropy,
    in_pieces,
    log10,
)
from gradcourse.lessons.watching_gradients.faults import (
    FAULTS,
    Fault,
    ScaledClassifier,
    where_born,
)
from gradcourse.live import MEASURED, PALETTE, THEORY, Panel
from gradcourse.training import NonFiniteError, StepGuard, one_thread, training_step

__all__ = ["GUARDS", "SickRun", "draw_sick_run", "measure_sick_run"]

# By name: how a step is guarded, and the largest norm that is left.
GUARDS: dict[str, tuple[str, float]] = {
    "none": ("none", math.inf),
    "clip at 1": ("none", 1.0),
    "NaN only": ("NaN only", math.inf),
    "NaN and Inf": ("training_step", math.inf),
    "NaN and Inf, clip at 1": ("training_step", 1.0),
}
LEARNING_RATE = 0.3
ASKED = ("sqrt(0) in the model", "NaN only")


@dataclass(frozen=True)
class SickRun:
    """A run with a fault, beside the same run without it.

    Attributes
    ----------
    step, fault, guard
        As set.
    loss, norm
        The loss, and the norm of all gradients before clipping, of each step that there was; shape
        (steps done,).
    healthy_loss, healthy_norm
        The same of a run that has no fault and leaves out that one step; shape (steps,).
    skipped
        The steps that the guard skipped.
    stopped
        Why the guard stopped the run, or an empty string.
    born
        Where the first number that is not finite was made; empty if all were finite.
    weights_finite
        Whether all weights are finite at the end.
    progress
        The share of the work that is done.
    prediction
        The first step whose loss is NaN, as the learner expects it, if there is a prediction.
    """

    step: int
    fault: str
    guard: str
    loss: Array
    norm: Array
    healthy_loss: Array
    healthy_norm: Array
    skipped: tuple[int, ...]
    stopped: str
    born: str
    weights_finite: bool
    progress: float
    prediction: float | None

    @property
    def first_bad(self) -> int | None:
        """The first step whose *loss* is not finite, or None."""
        bad = ~np.isfinite(self.loss)
        return int(bad.argmax()) if bad.any() else None

    @property
    def final(self) -> tuple[float, float]:
        """The mean loss of the last 20 steps, and that of the run without the fault."""
        return float(self.loss[-20:].mean()), float(self.healthy_loss[-20:].mean())

    @property
    def outcome(self) -> str:
        """``"saved"``, ``"stopped"`` with its weights intact, or ``"lost"``."""
        if self.stopped and self.weights_finite:
            return "stopped"
        own, healthy = self.final
        return "saved" if own < healthy + 0.1 else "lost"

    def summary(self) -> str:
        """Return the picture in one line."""
        line = f"{self.fault} at step {self.step}, guard: {self.guard}: "
        if len(self.loss) <= self.step:
            return f"{line}{len(self.loss)} steps so far"
        line += f"loss {_words(self.loss[self.step])}, norm {_words(self.norm[self.step])}"
        line += f", {self.born or 'all finite'}"
        count = len(self.skipped)
        line += f"; {count} step{'s' * (count != 1)} skipped"
        if self.stopped:
            return f"{line}, then the guard stops the run: {self.stopped}"
        if not self.weights_finite:
            return f"{line}; the weights are NaN"
        own, healthy = self.final
        if not math.isfinite(own):
            return f"{line}; the loss is {_words(own)} to the end"
        return f"{line}; final loss {own:.2g}, without the fault {healthy:.2g}"


def measure_sick_run(
    step: int = 40,
    fault: str = "sqrt(0) in the model",
    guard: str = "NaN only",
    steps: int = 120,
    seed: int = 0,
    prediction: float | None = None,
) -> Iterator[SickRun]:
    """Train on digits with SGD, have a fault happen at one step, and see what a guard does.

    Parameters
    ----------
    step
        When the fault happens, counted from 0.
    fault
        A name from ``FAULTS``.
    guard
        A name from ``GUARDS``.
    steps, seed
        The length of the run, and its seed.
    prediction
        The step at which the learner expects the first loss that is NaN with the default fault and
        guard, drawn as a star there.
    """
    if fault not in FAULTS:
        raise ValueError(f"fault must be one of {', '.join(FAULTS)}, got {fault!r}")
    if guard not in GUARDS:
        raise ValueError(f"guard must be one of {'; '.join(GUARDS)}, got {guard!r}")
    steps = at_least(1, "steps", steps)
    if not at_least(0, "step", step) < steps:
        raise ValueError(f"step must be below steps, {steps}, got {step}")
    kind, max_norm = GUARDS[guard]
    with one_thread():
        healthy = _healthy(step, max_norm, steps, seed)
    guess = as_prediction(prediction) if (fault, guard) == ASKED else None
    run = _Run(seed, kind, max_norm)
    for done in in_pieces(lambda until: run.go_on(until, step, fault), steps):
        losses, norms = (np.array(column) for column in zip(*run.log, strict=True))
        finite = all(bool(weight.isfinite().all()) for weight in run.model.parameters())
        yield SickRun(
            step=step,
            fault=fault,
            guard=guard,
            loss=losses,
            norm=norms,
            healthy_loss=healthy[0],
            healthy_norm=healthy[1],
            skipped=tuple(run.skipped),
            stopped=run.stopped,
            born=run.born,
            weights_finite=finite,
            progress=done / steps,
            prediction=guess,
        )


@lru_cache(maxsize=16)
def _healthy(step: int, max_norm: float, steps: int, seed: int) -> tuple[Array, Array]:
    """Return loss and norm of the run that leaves out a step; NaN at that step."""
    run = _Run(seed, "none", max_norm)
    run.go_on(step, None, "")
    next(run.batches)
    run.log.append((math.nan, math.nan))
    run.go_on(steps, None, "")
    losses, norms = zip(*run.log, strict=True)
    return np.array(losses), np.array(norms)


class _Run:
    """One run and its log."""

    def __init__(self, seed: int, kind: str, max_norm: float) -> None:
        self.model = ScaledClassifier(seed)
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=LEARNING_RATE)
        self.batches = batches(seed)
        self.kind, self.max_norm = kind, max_norm
        self.guard = StepGuard()
        self.log: list[tuple[float, float]] = []
        self.skipped: list[int] = []
        self.stopped = self.born = ""

    def go_on(self, until: int, step: int | None, fault: str) -> None:
        """Train until a step, with a fault at one of them, unless the guard stops the run."""
        while len(self.log) < until and not self.stopped:
            batch = next(self.batches)
            happens = None
            if len(self.log) == step:
                happens = FAULTS[fault]
                self.born = _short(self.model, batch, fault)
            self._step(batch, happens)

    def _step(self, batch: Batch, fault: Fault | None) -> None:
        loss_fn = cross_entropy if fault is None else fault.on
        if self.kind == "training_step":
            self._toolkit_step(batch, loss_fn)
            return
        self.optimizer.zero_grad()
        loss = loss_fn(self.model, batch)
        loss.backward()  # type: ignore[no-untyped-call]
        gradients = [weight.grad for weight in self.model.parameters() if weight.grad is not None]
        bad = bool(loss.isnan()) or any(bool(gradient.isnan().any()) for gradient in gradients)
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), self.max_norm)
        if self.kind == "NaN only" and bad:
            self.skipped.append(len(self.log))
        else:
            self.optimizer.step()
        self.log.append((loss.item(), norm.item()))

    def _toolkit_step(self, batch: Batch, loss_fn: Callable[[nn.Module, Batch], Tensor]) -> None:
        try:
            record = training_step(
                self.model,
                self.optimizer,
                loss_fn,
                batch,
                max_norm=self.max_norm,
                guard=self.guard,
            )
        except NonFiniteError as error:
            self.stopped = str(error)
            self.skipped.append(len(self.log))
        else:
            self.log.append((record.loss, record.norm))
            if record.skipped:
                self.skipped.append(len(self.log) - 1)


def _short(model: nn.Module, batch: Batch, fault: str) -> str:
    """Say in a few words where the first number that is not finite was made."""
    found = where_born(copy.deepcopy(model), batch, fault)
    if found is None:
        return ""
    if found.cause != "operation":
        return f"{'NaN' if found.nans else 'Inf'} came with the {found.cause}"
    made = f"{found.operation} in {found.node or 'the forward pass'}".replace("aten.", "")
    return f"{'NaN' if found.nans else 'Inf'} born in {made}"


def draw_sick_run(result: SickRun, axes: dict[str, Panel]) -> None:
    """Show loss and gradient norm beside those of the run without the fault."""
    for name, title, own, healthy in (
        ("loss", "Loss", result.loss, result.healthy_loss),
        ("norm", "Gradient norm", result.norm, result.healthy_norm),
    ):
        panel, measured, expected = axes[name], log10(own), log10(healthy)
        panel.set(title=title, xlabel="step", xlim=(0, len(healthy)))
        panel.vline("fault", result.step, color=PALETTE[3], lw=1.5)
        panel.line(
            "measured", np.arange(len(own)), measured, color=MEASURED, lw=4, label="measured"
        )
        label = "theory: without the fault"
        panel.line(
            "theory", np.arange(len(healthy)), expected, color=THEORY, ls="--", lw=2, label=label
        )
        ends = log10(np.concatenate([own, healthy]))
        ends = ends[np.isfinite(ends)]
        low, high = float(ends.min()), float(ends.max())
        panel.decades("y", low - 0.3, max(high, 1.0))
        if result.skipped:
            marks = {"color": "black", "marker": "x", "ls": "", "ms": 5}
            height = np.full(len(result.skipped), low - 0.2)
            panel.line("skipped", result.skipped, height, label="skipped", **marks)
    if result.prediction is not None:
        axes["loss"].mark("prediction", result.prediction, 0.0, "your prediction")
    if result.stopped:
        axes["loss"].note(f"stopped at step {result.skipped[-1]}", "upper right")
    elif result.first_bad is not None:
        kind = _words(result.loss[result.first_bad])
        axes["loss"].note(f"loss {kind} at step {result.first_bad}", "upper right")
    if len(result.norm) > result.step:
        words = f"norm {_words(result.norm[result.step])} at step {result.step}"
        axes["norm"].note(words, "upper right")


def _words(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    return "Inf" if math.isinf(value) else f"{value:.2g}"
