"""The networks under study, as plain modules."""

from gradcourse.models.feedforward import (
    ACTIVATION_NAMES,
    MLP,
    ResidualBlock,
    ResidualMLP,
    activation_module,
)
from gradcourse.models.recurrent import Unrolled
from gradcourse.models.seeds import seeded
from gradcourse.models.transformer import TransformerBlock

__all__ = [
    "ACTIVATION_NAMES",
    "MLP",
    "ResidualBlock",
    "ResidualMLP",
    "TransformerBlock",
    "Unrolled",
    "activation_module",
    "seeded",
]
