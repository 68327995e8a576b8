"""Lesson 07: why a sum lets the gradient pass, and how large a branch may be."""

from gradcourse.lessons.residual_connections.branches import (
    Branches,
    draw_branches,
    measure_branches,
)
from gradcourse.lessons.residual_connections.checks import check_branch_scale, check_square_factor
from gradcourse.lessons.residual_connections.highway import Highway, draw_highway, measure_highway
from gradcourse.lessons.residual_connections.ingredients import RECIPES, train_transformers
from gradcourse.lessons.residual_connections.training import (
    NETWORKS,
    Training,
    delete_blocks,
    draw_training,
    make,
    measure_training,
)
from gradcourse.lessons.residual_connections.transformer import (
    Transformer,
    draw_transformer,
    last_block_gradients,
    measure_transformer,
)

__all__ = [
    "NETWORKS",
    "RECIPES",
    "Branches",
    "Highway",
    "Training",
    "Transformer",
    "check_branch_scale",
    "check_square_factor",
    "delete_blocks",
    "draw_branches",
    "draw_highway",
    "draw_training",
    "draw_transformer",
    "last_block_gradients",
    "make",
    "measure_branches",
    "measure_highway",
    "measure_training",
    "measure_transformer",
    "train_transformers",
]
