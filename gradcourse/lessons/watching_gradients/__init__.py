"""Lesson 02: what to log of a training run, and what the log hides."""

from gradcourse.lessons.watching_gradients.checks import check_guard, check_update_ratio
from gradcourse.lessons.watching_gradients.derivative import (
    Derivative,
    draw_derivative,
    measure_derivative,
)
from gradcourse.lessons.watching_gradients.digits_run import batches, cross_entropy
from gradcourse.lessons.watching_gradients.faults import FAULTS, ScaledClassifier, where_born
from gradcourse.lessons.watching_gradients.heard import explosion, losses_with, norms_by_reduction
from gradcourse.lessons.watching_gradients.sick_run import (
    GUARDS,
    SickRun,
    draw_sick_run,
    measure_sick_run,
)
from gradcourse.lessons.watching_gradients.training_log import (
    TrainingLog,
    draw_training_log,
    measure_training_log,
)
from gradcourse.lessons.watching_gradients.two_views import (
    TwoViews,
    draw_two_views,
    measure_two_views,
)

__all__ = [
    "FAULTS",
    "GUARDS",
    "Derivative",
    "ScaledClassifier",
    "SickRun",
    "TrainingLog",
    "TwoViews",
    "batches",
    "check_guard",
    "check_update_ratio",
    "cross_entropy",
    "draw_derivative",
    "draw_sick_run",
    "draw_training_log",
    "draw_two_views",
    "explosion",
    "losses_with",
    "measure_derivative",
    "measure_sick_run",
    "measure_training_log",
    "measure_two_views",
    "norms_by_reduction",
    "where_born",
]
