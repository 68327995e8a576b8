"""Lesson 08: the same weights at every step, and gates that let a gradient through."""

from gradcourse.lessons.recurrent_networks.adding import Adding, draw_adding, measure_adding
from gradcourse.lessons.recurrent_networks.chaos import Chaos, draw_chaos, measure_chaos
from gradcourse.lessons.recurrent_networks.checks import check_forget_bias, check_reach, try_reach
from gradcourse.lessons.recurrent_networks.heard import first_nonfinite_step, measure_grown
from gradcourse.lessons.recurrent_networks.memory import Memory, draw_memory, measure_memory
from gradcourse.lessons.recurrent_networks.order import Order, draw_order, measure_order
from gradcourse.lessons.recurrent_networks.powers import (
    Powers,
    draw_powers,
    matrix,
    measure_powers,
)
from gradcourse.lessons.recurrent_networks.reach import (
    Reach,
    draw_reach,
    measure_reach,
    reached_back,
)

__all__ = [
    "Adding",
    "Chaos",
    "Memory",
    "Order",
    "Powers",
    "Reach",
    "check_forget_bias",
    "check_reach",
    "draw_adding",
    "draw_chaos",
    "draw_memory",
    "draw_order",
    "draw_powers",
    "draw_reach",
    "first_nonfinite_step",
    "matrix",
    "measure_adding",
    "measure_chaos",
    "measure_grown",
    "measure_memory",
    "measure_order",
    "measure_powers",
    "measure_reach",
    "reached_back",
    "try_reach",
]
