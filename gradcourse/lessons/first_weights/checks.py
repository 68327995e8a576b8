"""The exercises of lesson 05, and the mistakes that are often made in them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from gradcourse import theory
from gradcourse.exercises import Verdict, check_function, check_number

__all__ = ["check_deepest", "check_leaky_scale"]


def check_leaky_scale(function: Callable[[float], float]) -> Verdict:
    """Check the first exercise: the weight scale that keeps a leaky ReLU network at the edge."""
    return check_function(
        function,
        lambda slope: math.sqrt(2 / (1 + slope**2)),
        [(0.0,), (0.2,), (0.5,), (1.0,)],
        mistakes=[
            (lambda a: 2 / (1 + a**2), "that is the weight *variance*; the scale is its root."),
            (
                lambda a: math.sqrt(2 / (1 + a)),
                "chi has the mean of the *squared* slope: half of the time slope**2.",
            ),
            (lambda _a: math.sqrt(2), "that is ReLU, slope 0; with slope 1 the scale must be 1."),
            (lambda a: 2 / (1 + a), "chi has squares: the mean of slope**2, and scale**2."),
            (
                lambda a: math.sqrt((1 + a**2) / 2),
                "upside down: this is the factor at scale 1, which the scale must undo.",
            ),
        ],
        hint="Set 1 = scale**2 times the mean squared slope; half of the units have slope 1.",
    )


def check_deepest(answer: Any) -> Verdict:
    """Check the second exercise: how deep tanh can be trained at weight scale 1.2."""
    length = theory.length_fixed_point("tanh", 1.2**2)
    wrong_length = theory.length_fixed_point("tanh", 1.2)
    chi = theory.chi("tanh", length, 1.2**2)
    return check_number(
        answer,
        6 * theory.depth_scale(chi),
        within=0.02,
        mistakes={
            theory.depth_scale(chi): "that is one depth scale; networks train up to about six.",
            6 * theory.depth_scale(math.sqrt(chi)): (
                "depth_scale takes chi, the factor of the *square*, not its root."
            ),
            6 * theory.depth_scale(theory.chi("tanh", wrong_length, 1.2)): (
                "the functions take weight *variances*: square the scale."
            ),
            6 * theory.depth_scale(theory.chi("tanh", length, 1.2)): (
                "chi, too, takes the weight *variance*."
            ),
            6 * theory.depth_scale(theory.chi("tanh", 1.0, 1.2**2)): (
                "the pre-activations do not keep variance 1: ask theory.length_fixed_point."
            ),
        },
        hint="First length_fixed_point, then chi at that length, then depth_scale.",
    )
