"""The exercises of lesson 02, and the mistakes that are often made in them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from gradcourse import theory
from gradcourse.exercises import Verdict, check_function

__all__ = ["check_guard", "check_update_ratio"]

NAN, INF = math.nan, math.inf

# What a step may look like: the loss, the gradients, whether it is safe, and what to say.
STEPS: tuple[tuple[str, float, tuple[tuple[float, ...], ...], bool, str], ...] = (
    ("all is finite", 0.5, ((1.0, -2.0), (3.0,)), True, "this one is safe."),
    ("the loss is NaN", NAN, ((NAN,), (NAN, 1.0)), False, "look at the loss and the gradients."),
    (
        "the loss is 0.5, a gradient holds NaN",
        0.5,
        ((1.0, NAN), (3.0,)),
        False,
        "a finite loss says nothing of its gradient.",
    ),
    (
        "the last gradient holds NaN",
        0.5,
        ((1.0, 2.0), (3.0, NAN)),
        False,
        "look at *all* gradients before you return.",
    ),
    (
        "a gradient holds Inf",
        0.5,
        ((1.0, INF), (3.0,)),
        False,
        "isnan lets Inf pass; isfinite does not.",
    ),
    (
        "a gradient holds -Inf",
        0.5,
        ((1.0, 2.0), (-INF,)),
        False,
        "-Inf is below any limit: compare sizes, or use isfinite.",
    ),
    ("gradients hold Inf and -Inf", 0.5, ((INF,), (-INF,)), False, "isfinite refuses both."),
    (
        "the loss is Inf, the gradients are finite",
        INF,
        ((1.0,), (2.0,)),
        False,
        "look at the loss as well.",
    ),
    (
        "the loss is NaN, the gradients are finite",
        NAN,
        ((1.0, -2.0), (3.0,)),
        False,
        "a NaN in the loss is enough.",
    ),
    ("the loss is -Inf", -INF, ((1.0,), (2.0,)), False, "-Inf is not finite either."),
    (
        "-Inf stands beside a larger number",
        0.5,
        ((-INF, 1.0), (3.0,)),
        False,
        "look at every number of every gradient.",
    ),
    (
        "a gradient is large, 1e20",
        0.5,
        ((1e20, 1.0), (3.0,)),
        True,
        "large is not broken: leave that to clipping.",
    ),
    ("a gradient is exactly 0", 0.5, ((0.0, 0.0), (3.0,)), True, "0 is finite."),
)


def check_guard(function: Callable[[Tensor, Sequence[Tensor]], Any]) -> Verdict:
    """Check the first exercise: whether a step with this loss and these gradients is safe."""
    name = getattr(function, "__name__", "the function")
    for words, loss, gradients, safe, why in STEPS:
        tensors = [torch.tensor(values) for values in gradients]
        try:
            answer = function(torch.tensor(loss), tensors)
        except Exception as error:
            return Verdict(False, f"{name} raised {type(error).__name__}: {error}")
        if answer is None or answer is ...:
            return Verdict(False, f"{name} returns nothing. Return True or False.")
        try:
            said = bool(answer)
        except (RuntimeError, ValueError, TypeError):
            return Verdict(False, f"{name} must return one True or False, got {answer!r}"[:120])
        if said is not safe:
            return Verdict(False, f"{words}: should be {safe}, got {said}; {why}")
    return Verdict(True, f"{name} agrees on all {len(STEPS)} steps")


def check_update_ratio(function: Callable[[float, float, float, float, float], float]) -> Verdict:
    """Check the second exercise: the update:weight ratio of one layer under clipped SGD."""
    return check_function(
        function,
        theory.sgd_update_ratio,
        [(0.1, 0.5, 8.0, 0.9, 1.0), (0.1, 3.0, 8.0, 5.0, 1.0), (0.01, 0.5, 4.0, 20.0, 2.0)],
        mistakes=[
            (lambda lr, g, w, _total, _cap: lr * g / w, "what does clipping do to this layer?"),
            (
                lambda lr, g, w, _total, cap: lr * min(g, cap) / w,
                "clipping compares the norm of *all* gradients with max_norm, not the layer's.",
            ),
            (
                lambda lr, g, w, total, cap: lr * g / w * cap / total,
                "a norm below max_norm is left alone: the factor is 1 at most.",
            ),
            (
                lambda lr, _g, w, total, cap: lr * min(total, cap) / w,
                "that is the step of all layers together; this layer has its own share.",
            ),
            (
                lambda _lr, g, w, total, cap: g / w * min(1.0, cap / total),
                "that is gradient to weight; the step is learning_rate times as long.",
            ),
        ],
        hint="First the factor of clipping, then the step, then its size against the weights.",
    )
