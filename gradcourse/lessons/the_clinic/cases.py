"""The twelve cases: complaint, cause and cure of each, and the treatments that can be tried."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

from gradcourse.initialization import initialize
from gradcourse.lessons.the_clinic.patients import (
    FRONT,
    ORTHOGONAL,
    RAISE,
    SEQUENCES,
    SKIPS,
    SOFTPLUS,
    STANDARD,
    UNSCALE,
    batch_norm_at_init,
    clip_before_unscale,
    dead_units,
    default_weights,
    large_radius,
    large_rate,
    log_of_a_negative,
    no_warmup,
    post_norm,
    raw_targets,
    small_max_norm,
    wrong_detach,
)
from gradcourse.lessons.the_clinic.training import Setup
from gradcourse.models import seeded

__all__ = ["CASES", "CAUSES", "TREATMENTS", "Case", "NothingToTreatError", "prepare"]

CLIP, SLOWER = "clip the norm at 1", "a tenth of the learning rate"
WARMUP, HE = "warm up the learning rate", "He initialisation"

# Each treatment, and what is said where a run has nothing that it could change.
TREATMENTS = {
    CLIP: "this run clips at 1 or below already",
    SLOWER: "",
    WARMUP: "this run warms up already",
    UNSCALE: "this run has no gradient scaler",
    RAISE: "no max_norm below 1 holds this run back",
    STANDARD: "its data are of scale 1 already",
    SEQUENCES: "this run cuts no state off",
    ORTHOGONAL: "this run has no recurrent matrix that could be changed so",
    FRONT: "this run has no branch with a norm behind it",
    SOFTPLUS: "no output of this run is inside a logarithm",
    SKIPS: "this run has no plain stack of layers",
    HE: "",
}


class NothingToTreatError(ValueError):
    """A run has nothing that the treatment could change; the message says so."""


@dataclass(frozen=True)
class Case:
    """A sick run.

    Attributes
    ----------
    complaint
        What its owner says.
    make
        ``make(seed, treatment)`` returns the run.
    cause, cure
        One of ``CAUSES`` and one of ``TREATMENTS``.
    special
        The treatments that ``make`` knows; the general ones need nothing of it.
    has
        The treatments that the run has in place already.
    lesson
        Where the cure is measured.
    told
        The cause in one sentence, for who has found it.
    cured
        The score from which on the run is called cured; 0.3 below it is still sick.
    """

    complaint: str
    make: Callable[[int, str], Setup]
    cause: str
    cure: str
    lesson: str
    told: str
    special: frozenset[str]
    has: frozenset[str] = frozenset()
    cured: float = 0.9


def prepare(case: Case, seed: int, treatment: str = "") -> Setup:
    """Return a case's run, treated or (with an empty treatment) as it came.

    Raises
    ------
    NothingToTreatError
        If the run has nothing that the treatment could change.
    ValueError
        If there is no such treatment.
    """
    if treatment and treatment not in TREATMENTS:
        raise ValueError(f"treatment must be one of {', '.join(TREATMENTS)}, got {treatment!r}")
    setup = case.make(seed, treatment)
    if not treatment or treatment in case.special:
        return setup
    if treatment in case.has:
        raise NothingToTreatError("this run has that already")
    if treatment == HE:
        seeded(seed, lambda: initialize(setup.model, "he_normal"))
        return setup
    if treatment == SLOWER:
        for group in setup.optimizer.param_groups:
            group["lr"] /= 10
        return setup
    if treatment == CLIP and setup.max_norm > 1:
        return dataclasses.replace(setup, max_norm=1.0)
    if treatment == WARMUP and not setup.warmup:
        return dataclasses.replace(setup, warmup=setup.steps // 2)
    raise NothingToTreatError(TREATMENTS[treatment])


# Each cause, and the sign on the chart that it would change.
CAUSES = {
    "the default weights of a deep ReLU network": "layers",
    "targets that nobody standardised": "steps",
    "gradients clipped before they are unscaled": "clipping",
    "a max_norm that is too small": "clipping",
    "ReLUs that died in a long step": "dead",
    "a learning rate beyond 2 / curvature": "steps",
    "BatchNorm in a deep network without skips": "steps",
    "the logarithm of a negative number": "number",
    "a recurrent matrix that is too large": "start",
    "a state detached in the middle of a sequence": "code",
    "a full learning rate from the first step": "layers",
    "norms behind the branches (post-LN)": "code",
}
(INIT, TARGETS, UNSCALED, SMALL, DEAD, RATE, BATCHNORM, LOG, RADIUS, CUT, COLD, POST) = CAUSES

CASES = (
    Case(
        "Thirty layers on digits, clipped at 1 as one should. The loss does not move.",
        default_weights,
        INIT,
        HE,
        "05",
        "Each layer with the default weights keeps a sixth of the squared gradient.",
        frozenset({SKIPS}),
        cured=0.5,
    ),
    Case(
        "My pixels run from 0 to 16. The loss fell to 2.3 at once and stayed there.",
        dead_units,
        DEAD,
        STANDARD,
        "04",
        "Large inputs make long first steps, and a unit that is pushed below zero stays there.",
        frozenset({STANDARD}),
        frozenset({HE}),
    ),
    Case(
        "One linear layer, all rows in each step, clean data. How can the loss grow?",
        large_rate,
        RATE,
        SLOWER,
        "04",
        "Each step overshoots by more than the last one.",
        frozenset(),
        cured=0.95,
    ),
    Case(
        "I have just switched on mixed precision. Since then the loss does not move.",
        clip_before_unscale,
        UNSCALED,
        UNSCALE,
        "11",
        "The scale of 65536 was still in the gradient: max_norm was 1/65536 in truth.",
        frozenset({UNSCALE, SKIPS}),
        frozenset({HE}),
    ),
    Case(
        "My RNN has to remember two symbols of twenty. I save memory where I can.",
        wrong_detach,
        CUT,
        SEQUENCES,
        "09",
        "No gradient comes back beyond the last cut, and the symbols lie before it.",
        frozenset({SEQUENCES}),
        frozenset({ORTHOGONAL}),
    ),
    Case(
        "A small transformer has to reverse six symbols. The recipe is from a smaller one.",
        no_warmup,
        COLD,
        WARMUP,
        "10",
        "Adam's first steps are as long as its later ones, and at first they point nowhere.",
        frozenset({FRONT}),
        cured=0.7,
    ),
    Case(
        "Counts, a Poisson loss, a small network. All is well, and suddenly NaN.",
        log_of_a_negative,
        LOG,
        SOFTPLUS,
        "02",
        "The rate is a bare output: one below zero has no logarithm.",
        frozenset({SOFTPLUS, SKIPS}),
        frozenset({HE}),
        cured=0.4,
    ),
    Case(
        "Forty layers, a BatchNorm in each, so the weights cannot matter. It guesses.",
        batch_norm_at_init,
        BATCHNORM,
        SKIPS,
        "07",
        "BatchNorm and ReLU multiply the squared gradient by 1.47 or more in every layer.",
        frozenset({SKIPS}),
        cured=0.75,
    ),
    Case(
        "Not one spike in the gradient, ever. A colleague's run is done; mine has hardly begun.",
        small_max_norm,
        SMALL,
        RAISE,
        "03",
        "No step of SGD is longer than the learning rate times max_norm.",
        frozenset({RAISE, SKIPS}),
        frozenset({HE}),
    ),
    Case(
        "My RNN reads a digit in 16 strokes. Its first loss is enormous.",
        large_radius,
        RADIUS,
        ORTHOGONAL,
        "08",
        "Each of 16 steps multiplies state and gradient by up to 4.",
        frozenset({ORTHOGONAL}),
        cured=0.8,
    ),
    Case(
        "House prices, one hidden layer, the learning rate that I always take. NaN.",
        raw_targets,
        TARGETS,
        STANDARD,
        "04",
        "Large targets need large weights, and large weights make the loss too steep for the step.",
        frozenset({STANDARD, SKIPS}),
        frozenset({HE}),
    ),
    Case(
        "The same transformer, faster, and this time with a warmup. Still nothing.",
        post_norm,
        POST,
        FRONT,
        "10",
        "A norm behind each branch rescales the skip too, so that no path back is left untouched.",
        frozenset({FRONT}),
        frozenset({WARMUP}),
    ),
)
