"""Look at the gradients of a model: their size, how depth changes it, and where a NaN was born."""

from gradcourse.diagnosis.history import History, NonFinite
from gradcourse.diagnosis.monitor import GradMonitor
from gradcourse.diagnosis.norms import (
    global_grad_norm,
    grad_norms,
    layer_grad_norms,
    update_ratios,
)
from gradcourse.diagnosis.verdict import Advice, Diagnosis

__all__ = [
    "Advice",
    "Diagnosis",
    "GradMonitor",
    "History",
    "NonFinite",
    "global_grad_norm",
    "grad_norms",
    "layer_grad_norms",
    "update_ratios",
]
