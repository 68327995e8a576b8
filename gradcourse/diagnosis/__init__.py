"""Look at the gradients of a model: their size, how depth changes it, and where a NaN was born."""

from gradcourse.diagnosis.activations import (
    ActivationReport,
    ActivationStatistics,
    activation_statistics,
)
from gradcourse.diagnosis.history import History, NonFiniteGradient
from gradcourse.diagnosis.monitor import GradMonitor
from gradcourse.diagnosis.nonfinite import FirstNonFinite, TensorSummary, find_nonfinite
from gradcourse.diagnosis.norms import (
    global_grad_norm,
    grad_norms,
    layer_grad_norms,
    update_ratios,
)
from gradcourse.diagnosis.numerical import GradientCheck, Mismatch, check_gradients
from gradcourse.diagnosis.verdict import Advice, Diagnosis, Verdict

__all__ = [
    "ActivationReport",
    "ActivationStatistics",
    "Advice",
    "Diagnosis",
    "FirstNonFinite",
    "GradMonitor",
    "GradientCheck",
    "History",
    "Mismatch",
    "NonFiniteGradient",
    "TensorSummary",
    "Verdict",
    "activation_statistics",
    "check_gradients",
    "find_nonfinite",
    "global_grad_norm",
    "grad_norms",
    "layer_grad_norms",
    "update_ratios",
]
