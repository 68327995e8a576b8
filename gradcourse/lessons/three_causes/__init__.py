"""Lesson 04: learning rate, data and loss, the three causes of an explosion, and their cures."""

from gradcourse.lessons.three_causes.checks import check_fewest_steps, check_largest_rate
from gradcourse.lessons.three_causes.cures import (
    Cures,
    draw_cures,
    measure_cures,
    reference_error,
)
from gradcourse.lessons.three_causes.edge import Edge, draw_edge, measure_edge
from gradcourse.lessons.three_causes.plane import Plane, draw_plane, measure_plane
from gradcourse.lessons.three_causes.quadratic import Descent, draw_quadratic, measure_quadratic
from gradcourse.lessons.three_causes.recipes import Recipe, Trainer, white_regression
from gradcourse.lessons.three_causes.regression import (
    Regression,
    draw_regression,
    measure_regression,
)
from gradcourse.lessons.three_causes.scale import Scaled, draw_scale, measure_scale

__all__ = [
    "Cures",
    "Descent",
    "Edge",
    "Plane",
    "Recipe",
    "Regression",
    "Scaled",
    "Trainer",
    "check_fewest_steps",
    "check_largest_rate",
    "draw_cures",
    "draw_edge",
    "draw_plane",
    "draw_quadratic",
    "draw_regression",
    "draw_scale",
    "measure_cures",
    "measure_edge",
    "measure_plane",
    "measure_quadratic",
    "measure_regression",
    "measure_scale",
    "reference_error",
    "white_regression",
]
