"""The exercises of lesson 07, and the mistakes that are often made in them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from gradcourse.exercises import Verdict, check_function, check_number

__all__ = ["check_branch_scale", "check_square_factor"]

# What nn.Linear's own weights, twice 1/3, leave of the mean square behind a ReLU.
DEFAULT_GAIN = 1 / 18


def check_square_factor(function: Callable[[float, float, float], float]) -> Verdict:
    """Check the first exercise: the factor by which a block multiplies the mean square."""
    return check_function(
        function,
        lambda first, second, scale: 1 + scale**2 * first * second / 2,
        [(1.0, 2.0, 1.0), (2.0, 2.0, 0.5), (1 / 3, 1 / 3, 2.0)],
        mistakes=[
            (lambda v, w, a: a**2 * v * w / 2, "that is the branch alone; the skip adds 1."),
            (lambda v, w, a: 1 + a**2 * v * w, "half of the ReLUs are off: halve the branch."),
            (lambda v, w, a: 1 + a * v * w / 2, "scale multiplies numbers; squares get scale**2."),
            (
                lambda v, w, a: (1 + a * math.sqrt(v * w / 2)) ** 2,
                "skip and branch are uncorrelated: their squares add, not their sizes.",
            ),
            (
                lambda v, w, a: math.sqrt(1 + a**2 * v * w / 2),
                "that is the factor of the norm; leave out the root.",
            ),
        ],
        hint="The branch multiplies the square by its two variances and its scale squared, over 2.",
    )


def check_branch_scale(answer: Any) -> Verdict:
    """Check the second exercise: where 100 blocks with torch's weights grow a gradient tenfold."""
    excess = 10 ** (2 / 100) - 1
    return check_number(
        answer,
        math.sqrt(excess / DEFAULT_GAIN),
        within=0.01,
        mistakes={
            excess / DEFAULT_GAIN: "that is the square of the scale; take its root.",
            math.sqrt((10 ** (1 / 100) - 1) / DEFAULT_GAIN): (
                "the *norm* grows ten times, so the mean square grows a hundred times."
            ),
            math.sqrt(excess): "that is for a branch of gain 1; torch's default has gain 1/18.",
            math.sqrt(excess * DEFAULT_GAIN): "divide by the gain: a weak branch may be scaled up.",
            0.1: "1/sqrt(L) is the rule for a branch of gain 1 and growth up to sqrt(e).",
        },
        hint="Solve (1 + a**2 * gain)**(100 / 2) = 10 for a; the gain is 1/3 * 1/3 / 2.",
    )
