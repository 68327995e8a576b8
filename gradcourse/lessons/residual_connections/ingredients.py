"""A deep transformer on digits, with one of its four ingredients left out."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from gradcourse.checks import at_least, more_than_zero
from gradcourse.initialization import initialize
from gradcourse.lessons.residual_connections.training import TRAINING, accuracy_of, train_step
from gradcourse.models import TransformerBlock, seeded
from gradcourse.tasks import split_digits
from gradcourse.training import Ensemble

__all__ = ["RECIPES", "RowTransformer", "train_transformers"]

Array = NDArray[Any]
# What differs from Xavier's weights, pre-norm, skips and GELU.
RECIPES: dict[str, dict[str, Any]] = {
    "all four": {},
    "no skips": {"skip": False},
    "no norm": {"norm": "none"},
    "sigmoid": {"activation": "sigmoid"},
    "torch's weights": {"scheme": "torch"},
}
WIDTH, HEADS, BLOCKS, STEPS, BATCH, RATE = 16, 2, 12, 50, 32, 3e-3


class RowTransformer(nn.Module):
    """A transformer that reads a digit as eight tokens, its rows.

    Parameters
    ----------
    blocks
        Number of blocks.
    norm, skip, activation
        As for ``TransformerBlock``.

    Shape
    -----
    inputs ``(batch, 64)``, outputs ``(batch, 10)``.
    """

    def __init__(
        self, blocks: int, norm: str = "pre", skip: bool = True, activation: str = "gelu"
    ) -> None:
        super().__init__()
        self.first = nn.Linear(8, WIDTH)
        self.places = nn.Parameter(torch.randn(8, WIDTH))
        self.blocks = nn.Sequential(
            *(TransformerBlock(WIDTH, HEADS, norm, skip, activation) for _ in range(blocks))
        )
        self.norm = nn.Identity() if norm == "none" else nn.LayerNorm(WIDTH)
        self.last = nn.Linear(WIDTH, 10)

    def forward(self, inputs: Tensor) -> Tensor:
        """Run all layers, and take the mean over the tokens."""
        tokens = self.first(inputs.unflatten(-1, (8, 8))) + self.places  # type: ignore[no-untyped-call]
        outputs: Tensor = self.last(self.norm(self.blocks(tokens)).mean(dim=-2))
        return outputs


@lru_cache(maxsize=16)
def train_transformers(
    recipe: str, seeds: int = 2, first_seed: int = 0, *, steps: int = STEPS, rate: float = RATE
) -> Array:
    """Train transformers of 12 blocks with Adam on batches of 32 digits.

    Parameters
    ----------
    recipe
        A name from ``RECIPES``.
    seeds, first_seed
        How many networks, and the first of their seeds.
    steps, rate
        Steps and learning rate of Adam.

    Returns
    -------
    array of shape (seeds,)
        Accuracy on digits that were held out.
    """
    if recipe not in RECIPES:
        raise ValueError(f"recipe must be one of {', '.join(RECIPES)}, got {recipe!r}")
    steps, rate = at_least(1, "steps", steps), more_than_zero("rate", rate)
    options = dict(RECIPES[recipe])
    scheme = options.pop("scheme", "xavier_normal")

    def make() -> RowTransformer:
        network = RowTransformer(BLOCKS, **options)
        initialize(network.blocks, scheme)
        return network

    ensemble = Ensemble(seeded(seed, make) for seed in range(first_seed, first_seed + seeds))
    optimizer = torch.optim.Adam(ensemble.parameters(), lr=rate)
    (inputs, labels), held_out = split_digits(TRAINING, first_seed)
    generator = torch.Generator().manual_seed(first_seed)
    for _ in range(steps):
        drawn = torch.randint(len(labels), (BATCH,), generator=generator)
        train_step(ensemble, optimizer, inputs[drawn], labels[drawn])
    return np.asarray(accuracy_of(ensemble, *held_out))
