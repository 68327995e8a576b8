"""The exercises of the three causes, and the mistakes that are often made in them."""

from __future__ import annotations

from collections.abc import Callable

from gradcourse.exercises import Verdict, check_function

__all__ = ["check_fewest_steps", "check_largest_rate"]


def check_largest_rate(function: Callable[[float, float], float]) -> Verdict:
    """Check the first exercise: the largest learning rate for two linear layers."""
    return check_function(
        function,
        lambda target_std, momentum: (1 + momentum) / (2 * target_std),
        [(1.0, 0.0), (143.0, 0.9), (20.0, 0.5)],
        mistakes=[
            (
                lambda s, _m: 1 / (2 * s),
                "that is without momentum, which raises the limit: 2(1 + momentum).",
            ),
            (
                lambda s, m: (1 - m) / (2 * s),
                "momentum raises the largest stable rate: it is 1 + momentum, not 1 - momentum.",
            ),
            (
                lambda s, m: (1 + m) / (4 * s),
                "the numerator is 2(1 + momentum), and the sharpness 4 target_std stands below.",
            ),
            (
                lambda s, m: (1 + m) / s,
                "that is the sharpness 2 target_std of ReLU units; linear layers have 4.",
            ),
            (
                lambda _s, m: 1 + m,
                "that is a linear model with white inputs: here the targets' scale matters.",
            ),
            (
                lambda s, m: (1 + m) / (2 * s**2),
                "the sharpness grows like the standard deviation, not like the variance.",
            ),
        ],
        hint="Stable means: learning rate at most 2(1 + momentum)/sharpness.",
    )


def check_fewest_steps(function: Callable[[float, float, float, float], float]) -> Verdict:
    """Check the second exercise: how many clipped steps a distance takes at least."""
    return check_function(
        function,
        lambda distance, learning_rate, max_norm, momentum: (
            distance * (1 - momentum) / (learning_rate * max_norm)
        ),
        [(20.0, 0.01, 1.0, 0.9), (20.0, 0.01, 5.0, 0.9), (3.0, 0.1, 1.0, 0.0)],
        mistakes=[
            (
                lambda d, r, c, _m: d / (r * c),
                "momentum adds up past steps: at full speed a step is 1/(1 - momentum) as long.",
            ),
            (
                lambda d, r, c, m: d / (r * c * (1 + m)),
                "past steps add up to 1 + m + m**2 + ..., which is more than 1 + m.",
            ),
            (
                lambda d, r, c, m: d / (r * c * (1 - m)),
                "momentum makes steps longer, so fewer are needed.",
            ),
            (
                lambda d, _r, c, m: d * (1 - m) / c,
                "the gradient is capped at max_norm; the step is learning_rate times that.",
            ),
            (
                lambda d, r, _c, m: d * (1 - m) / r,
                "max_norm is missing: a larger cap allows longer steps.",
            ),
        ],
        hint="Distance over the longest step.",
    )
