"""Lesson 03: what clipping does to a gradient, and what it does to training."""

from gradcourse.lessons.clipping_gradients.checks import check_cap, check_train_step
from gradcourse.lessons.clipping_gradients.cliff import Cliff, draw_cliff, measure_cliff
from gradcourse.lessons.clipping_gradients.norm_log import (
    NormLog,
    draw_norm_log,
    measure_norm_log,
)
from gradcourse.lessons.clipping_gradients.order import Order, draw_order, measure_order
from gradcourse.lessons.clipping_gradients.percentile import percentile_per_tensor
from gradcourse.lessons.clipping_gradients.remedies import (
    Remedies,
    draw_remedies,
    measure_remedies,
)
from gradcourse.lessons.clipping_gradients.rnn import SmallRNN, TrainingRun, train_rnn
from gradcourse.lessons.clipping_gradients.spikes import angle_after_spike, distance_after_spike
from gradcourse.lessons.clipping_gradients.starts import Starts, draw_starts, measure_starts
from gradcourse.lessons.clipping_gradients.turned import Turned, draw_turned, measure_turned
from gradcourse.lessons.clipping_gradients.unit import unit_gradient, walk

__all__ = [
    "Cliff",
    "NormLog",
    "Order",
    "Remedies",
    "SmallRNN",
    "Starts",
    "TrainingRun",
    "Turned",
    "angle_after_spike",
    "check_cap",
    "check_train_step",
    "distance_after_spike",
    "draw_cliff",
    "draw_norm_log",
    "draw_order",
    "draw_remedies",
    "draw_starts",
    "draw_turned",
    "measure_cliff",
    "measure_norm_log",
    "measure_order",
    "measure_remedies",
    "measure_starts",
    "measure_turned",
    "percentile_per_tensor",
    "train_rnn",
    "unit_gradient",
    "walk",
]
