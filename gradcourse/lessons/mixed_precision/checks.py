"""The exercises of lesson 11, and the mistakes that are often made in them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import scipy
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from gradcourse import theory
from gradcourse.exercises import Verdict, check_number
from gradcourse.models import MLP, seeded
from gradcourse.tasks import digits
from gradcourse.training import one_thread

__all__ = ["check_amp_step", "check_loss_scale"]

AmpStep = Callable[
    [nn.Module, torch.optim.Optimizer, torch.amp.GradScaler, Tensor, Tensor, float], Any
]

# Below every norm of the check's gradients, so that clipping shows.
MAX_NORM = 0.05
STEPS = 8
# So high that the first steps overflow and must be skipped.
INIT_SCALE = 2.0**15
STD, SHARE = 1e-7, 0.01

HINT = "Five lines in order: scale and backward, unscale_, clip, scaler.step, update."


@one_thread()
def check_amp_step(function: AmpStep) -> Verdict:
    """Check the first exercise: a float16 step with a scaler and clipping.

    It is run for eight steps on a small network, whose first gradients overflow, and compared with
    a right step and wrong ones.
    """
    name = getattr(function, "__name__", "the function")
    try:
        scale, weights = _trace(function)
    except _StepError as error:
        return Verdict(False, error.explain(name))
    right_scale, right_weights = _trace(_right)
    if not weights.isfinite().all():
        return Verdict(
            False,
            "the weights are NaN: optimizer.step() takes every step; scaler.step(optimizer) "
            "skips those whose gradients overflowed.",
        )
    if _same(weights, right_weights):
        if scale == right_scale:
            return Verdict(True, f"{name} skips, clips and steps rightly, {STEPS} times")
        return Verdict(False, f"the weights are right, but not the scale. {HINT}")
    for wrong, why in _MISTAKES:
        if _same(weights, _trace(wrong)[1]):
            return Verdict(False, why)
    return Verdict(False, f"the weights end elsewhere than with a right step. {HINT}")


def check_loss_scale(answer: Any) -> Verdict:
    """Check the second exercise: the scale at which float16 loses 1 % of N(0, 1e-7**2)."""
    threshold = theory.float_format("float16").flush_to
    ratio = 2**0.5 * scipy.special.erfinv(SHARE)
    right = threshold / (STD * ratio)
    return check_number(
        answer,
        right,
        within=0.02,
        mistakes={
            2 * right: "2**-24 is the smallest number; what becomes 0 lies below *half* of it.",
            2**0.5 * right: "the root of 2 is missing below the fraction line.",
            1 / right: "that is upside down: a larger scale loses less.",
            threshold / STD: "there the threshold is one standard deviation: 68 % are lost.",
            threshold / (STD * 2**0.5 * scipy.special.erfinv(1 - SHARE)): (
                "that scale *keeps* 1 %: solve erf(...) = 0.01, not 0.99."
            ),
            2**11 * right: "2**-14 is where numbers lose digits; they become 0 at 2**-25.",
        },
        hint="Solve erf(t / (S s sqrt 2)) = 0.01 for S; scipy.special.erfinv inverts erf.",
    )


class _StepError(Exception):
    """The learner's step raised an error in some call."""

    def __init__(self, call: int, cause: Exception) -> None:
        super().__init__(str(cause))
        self.call = call
        self.cause = cause

    def explain(self, name: str) -> str:
        """Return what went wrong, in words."""
        said = str(self.cause)
        if "unscale_() has already been called" in said and self.call == 0:
            return "unscale_ divides each time it is called, so torch allows it once a step."
        if "_scale is None" in said:
            return "the loss was not scaled: call scaler.scale(loss).backward()."
        if "prior to update" in said:
            return "optimizer.step() knows nothing of the scale: call scaler.step(optimizer)."
        if "last update()" in said or "after step()" in said:
            return "scaler.update() is missing, or it is not the last line: it ends the step."
        return f"{name} raised {type(self.cause).__name__}: {said}"


def _trace(function: AmpStep) -> tuple[float, Tensor]:
    """Return the scale and the weights after a few steps on the check's network."""
    model = seeded(0, lambda: MLP(64, 16, 1, 10, "relu"))
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    scaler = torch.amp.GradScaler("cpu", init_scale=INIT_SCALE, growth_interval=1000)
    inputs, labels = digits(STEPS * 16, seed=7)
    # Large inputs overflow at a small scale, so that gradients clipped under it still show.
    inputs = 64 * inputs
    for call in range(STEPS):
        rows = slice(16 * call, 16 * call + 16)
        try:
            function(model, optimizer, scaler, inputs[rows], labels[rows], MAX_NORM)
        except Exception as error:
            raise _StepError(call, error) from None
    return scaler.get_scale(), nn.utils.parameters_to_vector(model.parameters()).detach()


def _same(weights: Tensor, others: Tensor) -> bool:
    return torch.allclose(weights, others, rtol=0, atol=1e-6)


def _step_with(
    clip: bool = True, clip_first: bool = False, scaled: bool = True, moves: bool = True
) -> AmpStep:
    """Return a float16 step that may leave something out, or do it in another order."""

    def step(
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        scaler: torch.amp.GradScaler,
        inputs: Tensor,
        labels: Tensor,
        max_norm: float,
    ) -> None:
        if not moves:
            return
        optimizer.zero_grad()
        with torch.autocast("cpu", dtype=torch.float16):
            loss = cross_entropy(model(inputs), labels)
        scaled_loss = scaler.scale(loss)
        torch.autograd.backward(scaled_loss if scaled else loss)
        if clip and clip_first:
            nn.utils.clip_grad_norm_(model.parameters(), max_norm)
        scaler.unscale_(optimizer)
        if clip and not clip_first:
            nn.utils.clip_grad_norm_(model.parameters(), max_norm)
        scaler.step(optimizer)
        scaler.update()

    return step


_right = _step_with()

_MISTAKES: tuple[tuple[AmpStep, str], ...] = (
    (_step_with(moves=False), "the weights did not move: replace the dots."),
    (
        _step_with(clip_first=True),
        "the gradients were clipped while they were still scaled: unscale_ comes *before* "
        "clipping, or max_norm is divided by the scale.",
    ),
    (
        _step_with(scaled=False),
        "backward went through the unscaled loss, but unscale_ divides by the scale: call "
        "scaler.scale(loss).backward().",
    ),
    (
        _step_with(clip=False),
        "the step was not clipped: clip between unscale_ and scaler.step, with max_norm.",
    ),
)
