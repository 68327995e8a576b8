"""The exercises of lesson 03, and the mistakes that are often made in them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from gradcourse.exercises import Verdict, check_number
from gradcourse.lessons.clipping_gradients.rnn import SmallRNN, TrainStep
from gradcourse.models import seeded
from gradcourse.tasks import temporal_order

__all__ = ["check_cap", "check_train_step"]

# Below every norm and most elements of the check's gradients, so that every way of clipping shows.
MAX_NORM = 0.05
# Above every norm, so that nothing may be clipped.
NO_LIMIT = 1e3
STEPS = 3

Trace = tuple[list[float], Tensor]


def check_train_step(function: TrainStep) -> Verdict:
    """Check the first exercise: a training step that clips and returns the norm before.

    It is run for three steps on a small network, and compared with a right step and wrong ones;
    once with every gradient above ``max_norm``, once with none.
    """
    name = getattr(function, "__name__", "the function")
    hint = "Four lines in order: zero_grad, backward, clip, step. Then return the norm."
    try:
        traced, untouched = (_trace(function, cap) for cap in (MAX_NORM, NO_LIMIT))
    except _NoNumberError as error:
        return Verdict(False, f"{error} {hint}")
    except Exception as error:
        return Verdict(False, f"{name} raised {type(error).__name__}: {error}")
    norms, weights = traced
    right_norms, right_weights = _trace(_right, MAX_NORM)
    same_norms = np.allclose(norms, right_norms, rtol=1e-3)
    if torch.allclose(weights, right_weights, atol=1e-6):
        if not torch.allclose(untouched[1], _trace(_right, NO_LIMIT)[1], atol=1e-6):
            return Verdict(
                False,
                "a gradient shorter than max_norm was changed: multiply by "
                "min(1, max_norm / norm).",
            )
        if same_norms:
            return Verdict(True, f"{name} moves the weights and returns the norm, {STEPS} times")
        if np.allclose(norms, MAX_NORM, rtol=1e-3):
            return Verdict(False, "the weights are right; return the norm *before* clipping.")
        return Verdict(
            False,
            f"the weights are right; the norm should be {right_norms[0]:.4g}, got {norms[0]:.4g}.",
        )
    for wrong, why in _MISTAKES:
        if torch.allclose(weights, _trace(wrong, MAX_NORM)[1], atol=1e-6):
            return Verdict(False, why)
    return Verdict(False, f"the weights end elsewhere than with a right step. {hint}")


def check_cap(answer: Any, norms: ArrayLike) -> Verdict:
    """Check the second exercise: the ``max_norm`` that would have clipped one step in ten.

    ``norms`` has shape (runs, steps).
    """
    runs = np.asarray(norms, dtype=np.float64)
    log = runs.ravel()
    return check_number(
        answer,
        float(np.quantile(log, 0.9)),
        within=0.01,
        mistakes={
            float(np.quantile(log, 0.1)): "that cap clips *nine* steps in ten.",
            float(log.max()): "that cap clips nothing: it is the largest norm.",
            float(log.max() * 0.9): "a tenth of the *steps*, not a tenth off the largest norm.",
            float(log.mean()): "that is the mean; spikes pull it up, and it knows no share.",
            float(np.median(log)): "that is the median: it clips every second step.",
            float(np.quantile(runs[0], 0.9)): "that is one run; take all six.",
        },
        hint="Sort the norms: which one do a tenth of them exceed?",
    )


class _NoNumberError(Exception):
    """The learner's step returned no number."""


def _trace(function: TrainStep, max_norm: float) -> Trace:
    """Return the norms and the last weights of a few steps on the check's network."""
    model = seeded(0, lambda: SmallRNN(hidden=8))
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    symbols, labels = temporal_order(STEPS * 10, 20, seed=7)
    norms = []
    for inputs, targets in zip(torch.split(symbols, 10), torch.split(labels, 10), strict=True):
        norm = function(model, optimizer, inputs, targets, max_norm)
        if norm is None or norm is ...:
            raise _NoNumberError("the step returns nothing.")
        try:
            norms.append(float(norm))
        except (TypeError, ValueError):
            raise _NoNumberError(
                f"the step must return one number, got {repr(norm)[:60]}."
            ) from None
    return norms, nn.utils.parameters_to_vector(model.parameters()).detach()


def _backward(model: nn.Module, inputs: Tensor, targets: Tensor) -> None:
    torch.autograd.backward(cross_entropy(model(inputs), targets))


def _step_with(clip: Callable[[nn.Module, float], Any], clear: bool = True) -> TrainStep:
    """Return a training step that clips in some way, and may keep the gradients of earlier ones."""

    def step(
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        inputs: Tensor,
        targets: Tensor,
        max_norm: float,
    ) -> Any:
        if clear:
            optimizer.zero_grad()
        torch.autograd.backward(cross_entropy(model(inputs), targets))
        norm = clip(model, max_norm)
        optimizer.step()
        return norm

    return step


def _clip(model: nn.Module, max_norm: float) -> Tensor:
    return nn.utils.clip_grad_norm_(model.parameters(), max_norm)


def _clip_each_alone(model: nn.Module, max_norm: float) -> float:
    for parameter in model.parameters():
        nn.utils.clip_grad_norm_(parameter, max_norm)
    return 0.0


def _clip_by_value(model: nn.Module, max_norm: float) -> float:
    nn.utils.clip_grad_value_(model.parameters(), max_norm)
    return 0.0


_right = _step_with(_clip)

_MISTAKES: tuple[tuple[TrainStep, str], ...] = (
    (
        _step_with(lambda _model, _max_norm: 0.0),
        "the step was not clipped: clip *between* backward() and step(); before there is no "
        "gradient, after it is too late.",
    ),
    (
        _step_with(_clip, clear=False),
        "gradients of earlier steps are still in it: call optimizer.zero_grad() first.",
    ),
    (
        _step_with(_clip_each_alone),
        "each tensor was clipped alone, which turns the step: pass all parameters at once.",
    ),
    (_step_with(_clip_by_value), "that clips each element; clip_grad_norm_ keeps the direction."),
    (
        lambda *_arguments: 0.0,
        "the weights did not move: is optimizer.step() missing, or zero_grad() after backward()?",
    ),
)
