"""The exercises of lesson 06, and the mistakes that are often made in them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from gradcourse.exercises import Verdict, check_function, check_number

__all__ = ["check_leaky_factor", "check_learning_rate_factor"]


def check_leaky_factor(function: Callable[[float], float]) -> Verdict:
    """Check the first exercise: chi of BatchNorm before a leaky ReLU, for large batches."""
    square: Callable[[float], float] = lambda a: (1 + a**2) / 2  # noqa: E731
    mean: Callable[[float], float] = lambda a: (1 - a) / math.sqrt(2 * math.pi)  # noqa: E731
    return check_function(
        function,
        lambda a: square(a) / (square(a) - mean(a) ** 2),
        [(0.0,), (0.2,), (1.0,), (-1.0,)],
        mistakes=[
            (
                lambda _a: 1.0,
                "that is LayerNorm: BatchNorm subtracts the mean of phi too.",
            ),
            (
                lambda a: math.sqrt(square(a) / (square(a) - mean(a) ** 2)),
                "that is the factor of the norm; chi is the factor of its square.",
            ),
            (
                lambda _a: math.pi / (math.pi - 1),
                "that is the plain ReLU, slope 0; both moments depend on the slope.",
            ),
            (
                lambda a: (square(a) - mean(a) ** 2) / square(a),
                "upside down: dividing by a small deviation makes the gradient larger.",
            ),
            (
                lambda a: square(a) / (square(a) - mean(a)),
                "the variance is the mean square minus the *square* of the mean.",
            ),
            (
                lambda a: 1 / (square(a) - mean(a) ** 2),
                "the mean squared slope is not 1: for half of the inputs it is slope**2.",
            ),
        ],
        hint="chi = E[phi'^2] / Var[phi]. A straight line, slope 1, must give 1.",
    )


def check_learning_rate_factor(answer: Any) -> Verdict:
    """Check the second exercise: the learning rate for weights that are 10 times as large."""
    return check_number(
        answer,
        100.0,
        within=1e-3,
        mistakes={
            10.0: "the gradient is 10 times smaller, and the weights to be moved 10 times larger.",
            0.1: "the other way round: larger weights turn less, so they need larger steps.",
            0.01: "the other way round: larger weights turn less, so they need larger steps.",
            1.0: "the function is the same, but its gradient is not: it is 10 times smaller.",
        },
        hint="What counts is the step relative to the weight.",
    )
