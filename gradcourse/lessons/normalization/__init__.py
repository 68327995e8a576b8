"""Lesson 06: normalisation, and the gradient that BatchNorm makes explode."""

from gradcourse.lessons.normalization.checks import (
    check_leaky_factor,
    check_learning_rate_factor,
)
from gradcourse.lessons.normalization.explosion import (
    PLACES,
    Explosion,
    digit_batch,
    draw_explosion,
    measure_explosion,
)
from gradcourse.lessons.normalization.networks import Data, Stack, data, run
from gradcourse.lessons.normalization.projection import (
    Projection,
    draw_projection,
    measure_projection,
)
from gradcourse.lessons.normalization.training import Training, draw_training, measure_training
from gradcourse.lessons.normalization.trials import (
    loss_after,
    modes_disagree,
    same_neighbours,
)

__all__ = [
    "PLACES",
    "Data",
    "Explosion",
    "Projection",
    "Stack",
    "Training",
    "check_leaky_factor",
    "check_learning_rate_factor",
    "data",
    "digit_batch",
    "draw_explosion",
    "draw_projection",
    "draw_training",
    "loss_after",
    "measure_explosion",
    "measure_projection",
    "measure_training",
    "modes_disagree",
    "run",
    "same_neighbours",
]
