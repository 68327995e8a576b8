"""Lesson 12: two players who learn from each other, and a learner who learns from luck."""

from gradcourse.lessons.gans_and_policies.checks import check_largest_stretch, check_policy_loss
from gradcourse.lessons.gans_and_policies.corridor import (
    Corridor,
    Walkers,
    draw_corridor,
    measure_corridor,
)
from gradcourse.lessons.gans_and_policies.critic import Critics, draw_critics, measure_critics
from gradcourse.lessons.gans_and_policies.noise import (
    HORIZONS,
    LOGITS,
    REWARDS,
    Noise,
    draw_noise,
    measure_noise,
)
from gradcourse.lessons.gans_and_policies.plane import (
    Gan,
    Outcome,
    draw_gan,
    measure_gan,
    train_gans,
)
from gradcourse.lessons.gans_and_policies.players import REMEDIES, Duel, Stack
from gradcourse.lessons.gans_and_policies.smallest import (
    LOSSES,
    Spiral,
    draw_spiral,
    measure_spiral,
    play,
)
from gradcourse.lessons.gans_and_policies.spectral import PowerIteration

__all__ = [
    "HORIZONS",
    "LOGITS",
    "LOSSES",
    "REMEDIES",
    "REWARDS",
    "Corridor",
    "Critics",
    "Duel",
    "Gan",
    "Noise",
    "Outcome",
    "PowerIteration",
    "Spiral",
    "Stack",
    "Walkers",
    "check_largest_stretch",
    "check_policy_loss",
    "draw_corridor",
    "draw_critics",
    "draw_gan",
    "draw_noise",
    "draw_spiral",
    "measure_corridor",
    "measure_critics",
    "measure_gan",
    "measure_noise",
    "measure_spiral",
    "play",
    "train_gans",
]
