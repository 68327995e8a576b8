"""Weight schemes by name, in the style of ``torch.nn.init``.

``initialize(model, "he_normal")`` fills a whole model and returns a report of what it set;
functions with an underscore set one thing in place, as those of ``torch.nn.init`` do.
"""

from gradcourse.initialization.by_name import initialize
from gradcourse.initialization.gates import chrono_, forget_gate_bias_, update_gate_bias_
from gradcourse.initialization.mean_field import mean_field_
from gradcourse.initialization.report import InitRecord, InitReport
from gradcourse.initialization.residual import ReZero, fixup_
from gradcourse.initialization.schemes import SCHEME_NAMES

__all__ = [
    "SCHEME_NAMES",
    "InitRecord",
    "InitReport",
    "ReZero",
    "chrono_",
    "fixup_",
    "forget_gate_bias_",
    "initialize",
    "mean_field_",
    "update_gate_bias_",
]
