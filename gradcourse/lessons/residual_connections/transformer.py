"""Transformer blocks at initialisation: what the place of the norm does to the last gradient."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from gradcourse import theory
from gradcourse.checks import at_least
from gradcourse.exercises import as_prediction
from gradcourse.initialization import initialize
from gradcourse.live import MEASURED, THEORY, Panel
from gradcourse.models import TransformerBlock, seeded
from gradcourse.training import Ensemble, one_thread

__all__ = ["Transformer", "draw_transformer", "last_block_gradients", "measure_transformer"]

Array = NDArray[Any]
MOST_BLOCKS = 48
WIDTH, HEADS, TOKENS = 32, 2, 8


@dataclass(frozen=True)
class Transformer:
    """Networks of 1, 2, 3, ... blocks, one point for each depth; arrays of shape (blocks,).

    Attributes
    ----------
    norm
        ``"pre"`` or ``"post"``.
    gradient, low, high
        Norm of the gradient of the last block's weights, relative to a network of one block: the
        median over seeds and the ends of the band over seeds.
    stream, stream_low, stream_high
        Root mean square of what the last block returns.
    predicted, predicted_stream
        Theory.
    prediction
        The learner's guess of the gradient at 32 blocks, if there is one.
    """

    norm: str
    gradient: Array
    low: Array
    high: Array
    stream: Array
    stream_low: Array
    stream_high: Array
    predicted: Array
    predicted_stream: Array
    prediction: float | None

    @property
    def blocks(self) -> int:
        """The largest depth."""
        return len(self.gradient)

    @property
    def slope(self) -> float:
        """The slope of ln(gradient) against ln(depth), from 4 blocks on where there are more."""
        return _slope(self.gradient)

    @property
    def predicted_slope(self) -> float:
        """The same of theory."""
        return _slope(self.predicted)

    def summary(self) -> str:
        """Return the picture in one line."""
        return (
            f"{self.norm}-norm, {self.blocks} blocks: the last block's gradient is "
            f"{self.gradient[-1]:.2f} of a single block's (theory: {self.predicted[-1]:.2f}), "
            f"slope {self.slope:.2f} (theory: {self.predicted_slope:.2f}); "
            f"the stream's size is {self.stream[-1]:.2f} (theory: {self.predicted_stream[-1]:.2f})"
        )


def measure_transformer(
    blocks: int = 32,
    norm: str = "pre",
    seeds: int = 6,
    first_seed: int = 0,
    prediction: float | None = None,
) -> Transformer:
    """Measure the last block's gradient of transformers of every depth, and predict it (T31).

    Parameters
    ----------
    blocks
        The largest depth, 2 to 48.
    norm
        ``"pre"`` or ``"post"``.
    seeds, first_seed
        How many networks, and the first of their seeds.
    prediction
        What the learner expects the gradient of 32 pre-norm blocks to be, relative to that of one,
        drawn as a star.
    """
    blocks = at_least(2, "blocks", blocks)
    if blocks > MOST_BLOCKS:
        raise ValueError(f"blocks must be {MOST_BLOCKS} or less, got {blocks}")
    if norm not in ("pre", "post"):
        raise ValueError(f"norm must be one of pre, post, got {norm!r}")
    # Both at once, so that no later move has to wait.
    known = {
        kind: last_block_gradients(kind, seeds, first_seed, MOST_BLOCKS) for kind in ("pre", "post")
    }
    gradients, streams = (rows[:, :blocks] for rows in known[norm])
    gradients = gradients / np.median(gradients[:, :1], axis=0)
    stream = np.ones(blocks + 1) if norm == "post" else theory.pre_norm_stream(blocks, TOKENS)
    guess = as_prediction(prediction) if norm == "pre" and blocks == 32 else None
    if guess is not None and not guess > 0:
        raise ValueError(f"prediction must be above 0, got {guess:g}")
    return Transformer(
        norm,
        *_band(gradients),
        *_band(streams),
        stream[1] / stream[1:],
        stream[1:],
        guess,
    )


@lru_cache(maxsize=8)
@one_thread()
def last_block_gradients(
    norm: str, seeds: int, first_seed: int, blocks: int
) -> tuple[Array, Array]:
    """Return the last block's gradient and the size of its output for every depth up to ``blocks``.

    A network of 5 blocks is the first five of one of 48, so one pass serves all depths. The loss is
    a random linear function of one token, behind a last norm if the blocks are pre-norm.

    Returns
    -------
    gradients, streams
        Root mean squares, both of shape (seeds, blocks): of the gradient's norm for the last
        weights of the feed-forward layer, over losses on each of the tokens, and of the stream.
    """
    generators = [torch.Generator().manual_seed(first_seed + seed) for seed in range(seeds)]
    tokens = torch.stack([torch.randn(1, TOKENS, WIDTH, generator=one) for one in generators])
    probes = torch.stack([torch.randn(TOKENS, WIDTH, generator=one) for one in generators])
    gradients, streams = [], []
    for _ in range(blocks):
        block = Ensemble([_block(norm, one) for one in generators])
        outputs: Tensor = block(tokens, shared=False)
        seen = nn.functional.layer_norm(outputs, (WIDTH,)) if norm == "pre" else outputs
        losses = (seen[:, 0] * probes).sum(dim=(0, 2))
        weight = block.stacked.get_parameter("feed_forward.2.weight")
        squares = torch.zeros(seeds)
        for loss in losses:
            (gradient,) = torch.autograd.grad(loss, weight, retain_graph=True)
            squares += gradient.square().sum(dim=(1, 2))
        tokens = outputs.detach()
        gradients.append((squares / TOKENS).sqrt())
        streams.append(tokens.square().mean(dim=(1, 2, 3)).sqrt())
    return torch.stack(gradients, 1).numpy(), torch.stack(streams, 1).numpy()


def draw_transformer(result: Transformer, axes: dict[str, Panel]) -> None:
    """Show the gradient and the stream against the depth, both on logarithmic axes."""
    x = np.log2(np.arange(1, result.blocks + 1))
    ticks = range(6)
    powers = range(-4, 5)
    names = [f"1/{2**-power}" if power < 0 else f"{2**power}" for power in powers]
    for panel, title, rows, predicted in (
        (
            axes["gradient"],
            "Gradient of the last block",
            (result.gradient, result.low, result.high),
            result.predicted,
        ),
        (
            axes["stream"],
            "Size of the residual stream",
            (result.stream, result.stream_low, result.stream_high),
            result.predicted_stream,
        ),
    ):
        panel.set(
            title=title,
            xlabel="blocks in the network",
            xticks=list(ticks),
            xticklabels=[str(2**tick) for tick in ticks],
            yticks=list(powers),
            yticklabels=names,
            xlim=(0, math.log2(MOST_BLOCKS)),
            ylim=(-4.2, 4.2),
        )
        middle, low, high = (np.log2(row) for row in rows)
        panel.band("band", x, low, high, color=MEASURED, alpha=0.2, label="range of seeds")
        panel.line("measured", x, middle, color=MEASURED, lw=4, label="measured: median")
        panel.line("theory", x, np.log2(predicted), color=THEORY, ls="--", label="theory")
    axes["gradient"].set(ylabel="relative to one block")
    axes["stream"].set(ylabel="root mean square")
    if result.prediction is not None:
        at = math.log2(result.prediction)
        axes["gradient"].mark("prediction", math.log2(32), at, "your prediction")


def _block(norm: str, generator: torch.Generator) -> TransformerBlock:
    # The seed does not matter: what it draws is replaced.
    block = seeded(0, lambda: TransformerBlock(WIDTH, HEADS, norm, activation="relu"))
    initialize(block, "xavier_normal", generator=generator)
    return block


def _band(rows: Array) -> tuple[Array, Array, Array]:
    low, middle, high = np.quantile(rows, [0.05, 0.5, 0.95], axis=0)
    return middle, low, high


def _slope(values: Array) -> float:
    depths = np.arange(1, len(values) + 1)
    deeper = depths >= min(4, len(values) - 1)
    return float(np.polyfit(np.log(depths[deeper]), np.log(values[deeper]), 1)[0])
