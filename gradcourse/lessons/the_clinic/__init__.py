"""Lesson 13: twelve sick runs, what a monitor sees of them, and a decision table by measurement."""

from gradcourse.lessons.the_clinic.cases import (
    CASES,
    CAUSES,
    TREATMENTS,
    Case,
    NothingToTreatError,
    prepare,
)
from gradcourse.lessons.the_clinic.checks import check_share_left, check_step, patient, share_left
from gradcourse.lessons.the_clinic.consultation import (
    CURES,
    NAMES,
    SUSPECTS,
    Consultation,
    chart_of,
    draw_case,
    measure_case,
    outcome,
    signs_of,
)
from gradcourse.lessons.the_clinic.decisions import (
    Decision,
    decision_for,
    draw_decision,
    measure_decision,
)
from gradcourse.lessons.the_clinic.scoring import (
    REFLEXES,
    Scored,
    Scores,
    measure_scores,
    reflexes,
)
from gradcourse.lessons.the_clinic.situations import SITUATIONS, Situation, mixed_precision
from gradcourse.lessons.the_clinic.training import Chart, Setup, train

__all__ = [
    "CASES",
    "CAUSES",
    "CURES",
    "NAMES",
    "REFLEXES",
    "SITUATIONS",
    "SUSPECTS",
    "TREATMENTS",
    "Case",
    "Chart",
    "Consultation",
    "Decision",
    "NothingToTreatError",
    "Scored",
    "Scores",
    "Setup",
    "Situation",
    "chart_of",
    "check_share_left",
    "check_step",
    "decision_for",
    "draw_case",
    "draw_decision",
    "measure_case",
    "measure_decision",
    "measure_scores",
    "mixed_precision",
    "outcome",
    "patient",
    "prepare",
    "reflexes",
    "share_left",
    "signs_of",
    "train",
]
