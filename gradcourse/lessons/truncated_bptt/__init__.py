"""Lesson 09: what truncated back-propagation through time keeps, saves and loses."""

from gradcourse.lessons.truncated_bptt.characters import (
    STATES,
    UPDATES,
    CharacterModel,
    Characters,
    draw_characters,
    entropies,
    measure_characters,
    write,
)
from gradcourse.lessons.truncated_bptt.checks import check_chunk_length, check_truncated
from gradcourse.lessons.truncated_bptt.echo import (
    Echo,
    EchoNetwork,
    draw_echo,
    measure_echo,
    pairs_seen,
)
from gradcourse.lessons.truncated_bptt.network import (
    CHUNKS,
    NETWORKS,
    Bias,
    draw_bias,
    make_layer,
    measure_bias,
    step_back,
)
from gradcourse.lessons.truncated_bptt.places import PLACES, Place, draw_place, measure_place
from gradcourse.lessons.truncated_bptt.recurrence import (
    LOSSES,
    Cut,
    Recurrence,
    draw_cut,
    measure_cut,
)

__all__ = [
    "CHUNKS",
    "LOSSES",
    "NETWORKS",
    "PLACES",
    "STATES",
    "UPDATES",
    "Bias",
    "CharacterModel",
    "Characters",
    "Cut",
    "Echo",
    "EchoNetwork",
    "Place",
    "Recurrence",
    "check_chunk_length",
    "check_truncated",
    "draw_bias",
    "draw_characters",
    "draw_cut",
    "draw_echo",
    "draw_place",
    "entropies",
    "make_layer",
    "measure_bias",
    "measure_characters",
    "measure_cut",
    "measure_echo",
    "measure_place",
    "pairs_seen",
    "step_back",
    "write",
]
