"""Training with a guard: one step in the right order, truncated BPTT, and warmup."""

from gradcourse.training.guard import NonFiniteError, StepGuard
from gradcourse.training.schedules import warmup_cosine
from gradcourse.training.step import StepRecord, training_step
from gradcourse.training.truncated import Chunk, tbptt

__all__ = [
    "Chunk",
    "NonFiniteError",
    "StepGuard",
    "StepRecord",
    "tbptt",
    "training_step",
    "warmup_cosine",
]
