"""What does happen to a signal and its gradient, layer by layer, over many seeds at once.

Layer ``l`` of ``depth`` is ``z = W h + b``, ``h = phi(z)``, and layer 0 is the input. Weights are
``N(0, weight_scale**2 / fan_in)`` and biases ``N(0, bias_scale**2)``, so the ``weight_variance`` of
theory is ``weight_scale**2``.
"""

from gradcourse.signals.mlp import MLPSignal, mlp_signal
from gradcourse.signals.normalized import NormalizedSignal, normalized_signal
from gradcourse.signals.phase import PhaseDiagram, phase_diagram
from gradcourse.signals.products import ProductSignal, product_exponents, product_signal
from gradcourse.signals.residual import ResidualSignal, residual_signal
from gradcourse.signals.saved import SavedTensors
from gradcourse.signals.sharpness import sharpness
from gradcourse.signals.weights import CACHE_BYTES

__all__ = [
    "CACHE_BYTES",
    "MLPSignal",
    "NormalizedSignal",
    "PhaseDiagram",
    "ProductSignal",
    "ResidualSignal",
    "SavedTensors",
    "mlp_signal",
    "normalized_signal",
    "phase_diagram",
    "product_exponents",
    "product_signal",
    "residual_signal",
    "sharpness",
]
