"""Lesson 05: first weights, what they do at once, and what can be learnt from there."""

from gradcourse.lessons.first_weights.batch import digit_batch
from gradcourse.lessons.first_weights.checks import check_deepest, check_leaky_scale
from gradcourse.lessons.first_weights.isometry import Isometry, draw_isometry, measure_isometry
from gradcourse.lessons.first_weights.lottery import (
    Lottery,
    draw_lottery,
    lottery_gains,
    measure_lottery,
)
from gradcourse.lessons.first_weights.miniature import (
    Miniature,
    draw_miniature,
    first_loss,
    measure_miniature,
    ready_networks,
    train_plain,
)
from gradcourse.lessons.first_weights.phase import Phase, draw_phase, measure_phase, wedge
from gradcourse.lessons.first_weights.schemes import (
    Schemes,
    draw_schemes,
    first_layers,
    measure_schemes,
)
from gradcourse.lessons.first_weights.stacked import StackedMLP, accuracy_on, train_on
from gradcourse.lessons.first_weights.trained import (
    Trained,
    draw_trained,
    layers_per_depth_scale,
    measure_trained,
)
from gradcourse.lessons.first_weights.zigzag import zigzag_factors

__all__ = [
    "Isometry",
    "Lottery",
    "Miniature",
    "Phase",
    "Schemes",
    "StackedMLP",
    "Trained",
    "accuracy_on",
    "check_deepest",
    "check_leaky_scale",
    "digit_batch",
    "draw_isometry",
    "draw_lottery",
    "draw_miniature",
    "draw_phase",
    "draw_schemes",
    "draw_trained",
    "first_layers",
    "first_loss",
    "layers_per_depth_scale",
    "lottery_gains",
    "measure_isometry",
    "measure_lottery",
    "measure_miniature",
    "measure_phase",
    "measure_schemes",
    "measure_trained",
    "ready_networks",
    "train_on",
    "train_plain",
    "wedge",
    "zigzag_factors",
]
