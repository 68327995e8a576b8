"""Training with a guard, truncated BPTT, warmup, and many networks trained as one."""

from gradcourse.training.curves import learning_curve
from gradcourse.training.ensemble import Ensemble
from gradcourse.training.guard import NonFiniteError, StepGuard
from gradcourse.training.pace import Pace
from gradcourse.training.schedules import warmup_cosine
from gradcourse.training.step import StepRecord, training_step
from gradcourse.training.threads import one_thread
from gradcourse.training.truncated import Chunk, tbptt

__all__ = [
    "Chunk",
    "Ensemble",
    "NonFiniteError",
    "Pace",
    "StepGuard",
    "StepRecord",
    "learning_curve",
    "one_thread",
    "tbptt",
    "training_step",
    "warmup_cosine",
]
