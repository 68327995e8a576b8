"""The exercises of lesson 01, and the mistakes that are often made in them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from gradcourse import theory
from gradcourse.exercises import Verdict, check_function, check_number

__all__ = ["check_gradient_factor", "check_weight_scale"]


def check_gradient_factor(function: Callable[[float], float]) -> Verdict:
    """Check the first exercise: the factor by which a ReLU layer changes the gradient's norm."""
    return check_function(
        function,
        lambda weight_scale: weight_scale / math.sqrt(2),
        [(1.0,), (math.sqrt(2),), (3.0,)],
        mistakes=[
            (lambda s: math.sqrt(s / 2), "chi takes the weight *variance*, weight_scale**2."),
            (lambda s: s**2 / 2, "that is chi, the factor of the *square*; take its root."),
            (lambda s: s, "half of the ReLUs are off: their slope is 0, not 1."),
            (lambda s: s / 2, "the half belongs under the root: half of the *squares* are lost."),
        ],
        hint="A layer multiplies the squared norm by weight_scale**2 times the mean squared slope.",
    )


def check_weight_scale(answer: Any) -> Verdict:
    """Check the second exercise: the weight scale at which tanh with bias scale 0.3 is critical."""
    variance = theory.critical_weight_variance("tanh", 0.3**2)
    return check_number(
        answer,
        math.sqrt(variance),
        within=0.01,
        mistakes={
            theory.critical_weight_variance("tanh", 0.3): (
                "square the bias scale first, and take the root of the result."
            ),
            variance: "that is the weight *variance*; the scale is its root.",
            math.sqrt(theory.critical_weight_variance("tanh", 0.3)): (
                "bias_variance is the square of the bias scale."
            ),
            1.0: "1 is critical without biases; biases push units towards saturation.",
        },
        hint="theory.critical_weight_variance takes the bias variance and returns a variance.",
    )
