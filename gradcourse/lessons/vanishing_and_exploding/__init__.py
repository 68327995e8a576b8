"""Lesson 01: the chain rule multiplies, in numbers, in matrices and in a real network."""

from gradcourse.lessons.vanishing_and_exploding.chain import Chain, draw_chain, measure_chain
from gradcourse.lessons.vanishing_and_exploding.checks import (
    check_gradient_factor,
    check_weight_scale,
)
from gradcourse.lessons.vanishing_and_exploding.matrices import (
    Matrices,
    draw_matrices,
    measure_matrices,
)
from gradcourse.lessons.vanishing_and_exploding.network import (
    Network,
    digit_batch,
    draw_network,
    measure_network,
)

__all__ = [
    "Chain",
    "Matrices",
    "Network",
    "check_gradient_factor",
    "check_weight_scale",
    "digit_batch",
    "draw_chain",
    "draw_matrices",
    "draw_network",
    "measure_chain",
    "measure_matrices",
    "measure_network",
]
