"""The exercises of lesson 10, and the mistakes that are often made in them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from gradcourse.exercises import Verdict, check_function, check_number

__all__ = ["check_warmup_cosine", "check_way"]

PEAK, WARMUP = 0.003, 100


def _factor(
    step: int,
    warmup: int,
    total: int,
    final: float,
    *,
    start: int = 1,
    late: int = 0,
    turn: float = math.pi,
    stays: bool = True,
    half: bool = True,
    lands: bool = True,
) -> float:
    if step < warmup:
        return (step + start) / warmup
    final = final if lands else 0.0
    progress = (step + late - warmup) / (total - warmup)
    wave = 1 + math.cos(turn * (min(progress, 1.0) if stays else progress))
    return final + (1 - final) * (wave / 2 if half else wave)


def check_warmup_cosine(function: Callable[[int, int, int, float], float]) -> Verdict:
    """Check the first exercise: the share of the peak for the update after ``step`` updates."""

    def linear(step: int, warmup: int, total: int, final: float) -> float:
        progress = min((step - warmup) / (total - warmup), 1.0)
        return _factor(step, warmup, total, final) if step < warmup else 1 - progress * (1 - final)

    def unscaled(step: int, warmup: int, total: int, final: float) -> float:
        return final + _factor(step, warmup, total, 0.0) if step >= warmup else (step + 1) / warmup

    return check_function(
        function,
        _factor,
        [
            (0, 10, 100, 0.1),
            (9, 10, 100, 0.1),
            (10, 10, 100, 0.1),
            (11, 10, 21, 0.2),
            (55, 10, 100, 0.1),
            (77, 10, 100, 0.1),
            (100, 10, 100, 0.1),
            (145, 10, 100, 0.1),
        ],
        within=1e-4,
        mistakes=[
            (
                lambda *case: _factor(*case, start=0),
                "the first update has a learning rate of 0 and is lost: start at 1 / warmup.",
            ),
            (
                lambda *case: _factor(*case, late=1),
                "off by one: the cosine starts at its top, at step == warmup.",
            ),
            (
                lambda *case: _factor(*case, turn=2 * math.pi),
                "a whole cosine comes back up; take half of one, up to pi.",
            ),
            (
                lambda *case: _factor(*case, turn=math.pi / 2),
                "a quarter of a cosine ends half-way: take half of one, up to pi.",
            ),
            (
                lambda *case: _factor(*case, turn=180.0),
                "math.cos takes radians: half a turn is pi and not 180.",
            ),
            (
                lambda *case: _factor(*case, turn=1.0),
                "the cosine needs a pi: cos(progress) ends at 0.54.",
            ),
            (
                lambda *case: _factor(*case, stays=False),
                "after total the cosine rises again: let progress stop at 1.",
            ),
            (
                lambda *case: _factor(*case, half=False),
                "1 + cos goes from 2 to 0: halve it.",
            ),
            (lambda *case: _factor(*case, lands=False), "it must end at final, and not at 0."),
            (unscaled, "the peak must stay 1: the cosine goes down by 1 - final only."),
            (linear, "that is a straight line down; take half a cosine."),
        ],
        hint="Below warmup (step + 1) / warmup, then half a cosine from 1 down to final.",
    )


def check_way(answer: Any) -> Verdict:
    """Check the second exercise: how far Adam can carry a weight during a warmup."""
    return check_number(
        answer,
        PEAK * (WARMUP + 1) / 2,
        within=1e-3,
        mistakes={
            PEAK * WARMUP: "that is without a warmup: update n has only n / 100 of the peak.",
            PEAK * WARMUP / 2: (
                "nearly: 1/100 + 2/100 + ... + 100/100 is 50.5 and not 50. Only a warmup that "
                "starts at 0 has 50."
            ),
            PEAK * (WARMUP - 1) / 2: "the warmup starts at 1/100 of the peak, not at 0.",
            (WARMUP + 1) / 2: "that is in peaks; multiply by the peak, 0.003.",
            PEAK: "that is the last update alone; add up all hundred.",
        },
        hint="Each update moves a weight by the learning rate of that step, if gradients agree.",
    )
