"""Lesson 11: 16-bit numbers, what gradients lose in them, and what loss scaling repairs."""

from gradcourse.lessons.mixed_precision.checks import check_amp_step, check_loss_scale
from gradcourse.lessons.mixed_precision.gradients import (
    Gradients,
    draw_gradients,
    hidden_gradients,
    measure_gradients,
)
from gradcourse.lessons.mixed_precision.numbers import (
    Numbers,
    bits_left,
    draw_numbers,
    measure_numbers,
)
from gradcourse.lessons.mixed_precision.order import Order, draw_order, measure_order
from gradcourse.lessons.mixed_precision.sawtooth import Sawtooth, draw_sawtooth, measure_sawtooth
from gradcourse.lessons.mixed_precision.speed import Speed, measure_speed
from gradcourse.lessons.mixed_precision.swallowed import (
    Swallowed,
    draw_swallowed,
    measure_swallowed,
)
from gradcourse.lessons.mixed_precision.training import Trained, draw_training, measure_training

__all__ = [
    "Gradients",
    "Numbers",
    "Order",
    "Sawtooth",
    "Speed",
    "Swallowed",
    "Trained",
    "bits_left",
    "check_amp_step",
    "check_loss_scale",
    "draw_gradients",
    "draw_numbers",
    "draw_order",
    "draw_sawtooth",
    "draw_swallowed",
    "draw_training",
    "hidden_gradients",
    "measure_gradients",
    "measure_numbers",
    "measure_order",
    "measure_sawtooth",
    "measure_speed",
    "measure_swallowed",
    "measure_training",
]
