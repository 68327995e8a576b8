"""Lesson 10: a small transformer, where its norm sits, and why its learning rate warms up."""

from gradcourse.lessons.transformers_and_warmup.attention import (
    Attention,
    draw_attention,
    measure_attention,
)
from gradcourse.lessons.transformers_and_warmup.checks import check_warmup_cosine, check_way
from gradcourse.lessons.transformers_and_warmup.clipping import (
    RUNS,
    Clipping,
    adam_updates,
    draw_clipping,
    measure_clipping,
)
from gradcourse.lessons.transformers_and_warmup.first_steps import (
    FirstSteps,
    draw_first_steps,
    measure_first_steps,
)
from gradcourse.lessons.transformers_and_warmup.initial import (
    Initial,
    draw_initial,
    measure_initial,
)
from gradcourse.lessons.transformers_and_warmup.network import LENGTH, SYMBOLS, Reverser, make
from gradcourse.lessons.transformers_and_warmup.schedule import (
    Schedule,
    draw_schedule,
    measure_schedule,
    zero_based,
)
from gradcourse.lessons.transformers_and_warmup.training import (
    Training,
    draw_training,
    measure_training,
)

__all__ = [
    "LENGTH",
    "RUNS",
    "SYMBOLS",
    "Attention",
    "Clipping",
    "FirstSteps",
    "Initial",
    "Reverser",
    "Schedule",
    "Training",
    "adam_updates",
    "check_warmup_cosine",
    "check_way",
    "draw_attention",
    "draw_clipping",
    "draw_first_steps",
    "draw_initial",
    "draw_schedule",
    "draw_training",
    "make",
    "measure_attention",
    "measure_clipping",
    "measure_first_steps",
    "measure_initial",
    "measure_schedule",
    "measure_training",
    "zero_based",
]
