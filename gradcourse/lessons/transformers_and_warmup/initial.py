"""A transformer before its first step: the gradient of each block, and of the last one."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import cross_entropy, layer_norm

from gradcourse import theory
from gradcourse.checks import at_least
from gradcourse.exercises import as_prediction
from gradcourse.lessons.transformers_and_warmup.network import (
    LENGTH,
    NORMS,
    SYMBOLS,
    WIDTH,
    make,
)
from gradcourse.live import MEASURED, THEORY, Panel
from gradcourse.signals.words import quantile
from gradcourse.tasks import reversal
from gradcourse.training import Ensemble, one_thread

__all__ = ["MOST_BLOCKS", "Initial", "draw_initial", "measure_initial"]

Array = NDArray[Any]
MOST_BLOCKS = 32


@dataclass(frozen=True)
class Curve:
    """One quantity over networks, as log2; arrays of one shape.

    Attributes
    ----------
    median, low, high
        Measured: the median over networks, and the ends of the band over networks.
    predicted
        Theory.
    """

    median: Array
    low: Array
    high: Array
    predicted: Array


@dataclass(frozen=True)
class Initial:
    """Gradients of transformers that have not learned yet, as log2.

    Attributes
    ----------
    norm, blocks
        As given.
    profile
        The gradient of each block, relative to the last one's; shape (blocks,).
    last
        The gradient of the last block in networks of 1, 2, ... blocks, relative to one block;
        shape (blocks,).
    prediction
        The learner's guess of the last block's gradient in 32 blocks, relative to one, if there is
        one.
    """

    norm: str
    blocks: int
    profile: Curve
    last: Curve
    prediction: float | None

    @property
    def slope(self) -> float:
        """The slope of ln(last block's gradient) over ln(depth), from 4 blocks on."""
        return _slope(self.last.median)

    @property
    def predicted_slope(self) -> float:
        """The same of theory."""
        return _slope(self.last.predicted)

    def summary(self) -> str:
        """Return the picture in one line."""
        first, last = 2.0 ** self.profile.median[0], 2.0 ** self.last.median[-1]
        return (
            f"{self.norm}-norm, {self.blocks} blocks: block 1 gets {first:.2f} of what the last "
            f"gets (theory: {2.0 ** self.profile.predicted[0]:.2f}); the last gets {last:.2f} of "
            f"what a single block gets (theory: {2.0 ** self.last.predicted[-1]:.2f})"
        )


def measure_initial(
    blocks: int = 32,
    norm: str = "pre",
    seeds: int = 12,
    first_seed: int = 0,
    prediction: float | None = None,
) -> Initial:
    """Measure the gradient of each block before the first step, and predict it (T31).

    The loss looks at the first place of one sequence.

    Parameters
    ----------
    blocks
        Number of blocks, 2 to 32.
    norm
        ``"post"`` or ``"pre"``.
    seeds, first_seed
        How many networks, each with a sequence of its own, and the first of their seeds.
    prediction
        What the learner expects the gradient of the last of 32 pre-norm blocks to be, relative to
        that of a single block; drawn as a star.
    """
    blocks = at_least(2, "blocks", blocks)
    if blocks > MOST_BLOCKS:
        raise ValueError(f"blocks must be {MOST_BLOCKS} or less, got {blocks}")
    if norm not in NORMS:
        raise ValueError(f"norm must be one of {', '.join(NORMS)}, got {norm!r}")
    guess = as_prediction(prediction) if norm == "pre" else None
    if guess is not None and not guess > 0:
        raise ValueError(f"prediction must be above 0, got {guess:g}")
    # Both at once, so that no later move has to wait.
    networks = {kind: _Networks.of(kind, seeds, first_seed) for kind in NORMS}[norm]
    profile, last = networks.profile(blocks), networks.last_block()[:, :blocks]
    stream = np.ones(blocks + 1)
    if norm == "pre":
        stream = theory.pre_norm_stream(blocks, LENGTH)
    return Initial(
        norm,
        blocks,
        _curve(profile / np.median(profile[:, -1]), stream[-1] / stream[1:]),
        _curve(last / np.median(last[:, 0]), stream[1] / stream[1:]),
        guess,
    )


def draw_initial(result: Initial, axes: dict[str, Panel]) -> None:
    """Show the gradient of each block, and of the last block against the depth."""
    numbers = np.arange(1, result.blocks + 1)
    powers = range(-4, 4)
    names = [f"1/{2**-power}" if power < 0 else f"{2**power}" for power in powers]
    ticks = {"yticks": list(powers), "yticklabels": names, "ylim": (-4.0, 3.3)}
    axes["profile"].set(
        title="Gradient of each block",
        xlabel="block",
        ylabel="relative to the last block",
        xlim=(1, MOST_BLOCKS),
        xticks=[1, 8, 16, 24, 32],
        **ticks,
    )
    axes["last"].set(
        title="Gradient of the last block",
        xlabel="blocks in the network",
        ylabel="relative to a single block",
        xlim=(0, math.log2(MOST_BLOCKS)),
        xticks=list(range(6)),
        xticklabels=[str(2**power) for power in range(6)],
        **ticks,
    )
    for panel, curve, x in (
        (axes["profile"], result.profile, numbers),
        (axes["last"], result.last, np.log2(numbers)),
    ):
        panel.band(
            "band", x, curve.low, curve.high, color=MEASURED, alpha=0.2, label="90 % of networks"
        )
        panel.line("measured", x, curve.median, color=MEASURED, lw=4, label="measured: median")
        panel.line("theory", x, curve.predicted, color=THEORY, ls="--", label="theory")
    if result.prediction is not None:
        axes["last"].mark("prediction", 5, math.log2(result.prediction), "your prediction")


class _Networks:
    """Networks of the largest depth; the first blocks of them are the networks of other depths."""

    def __init__(self, norm: str, seeds: int, first_seed: int) -> None:
        networks = [make(norm, MOST_BLOCKS, first_seed + seed) for seed in range(seeds)]
        inputs, targets = reversal(seeds, LENGTH, SYMBOLS, first_seed)
        self.norm, self.targets = norm, targets[:, 0]
        self.blocks = [
            Ensemble([network.blocks[number] for network in networks])
            for number in range(MOST_BLOCKS)
        ]
        tokens = [net.tokens(one) for net, one in zip(networks, inputs, strict=True)]
        self.tokens = torch.stack(tokens)[:, None].detach()
        self.heads = torch.stack([network.last.weight for network in networks]).detach()

    @staticmethod
    @lru_cache(maxsize=4)
    def of(norm: str, seeds: int, first_seed: int) -> _Networks:
        return _Networks(norm, seeds, first_seed)

    @lru_cache(maxsize=2 * MOST_BLOCKS)  # noqa: B019 - the networks are few and stay
    @one_thread()
    def profile(self, blocks: int) -> Array:
        """Return the norm of each block's gradient, shape (networks, blocks)."""
        used = self.blocks[:blocks]
        stream = self.tokens
        for block in used:
            stream = block(stream, shared=False)
        return self._norms(stream, used)

    @lru_cache(maxsize=4)  # noqa: B019
    @one_thread()
    def last_block(self) -> Array:
        """Return the norm of the last block's gradient for every depth, (networks, depths)."""
        stream, columns = self.tokens, []
        for block in self.blocks:
            output = block(stream, shared=False)
            columns.append(self._norms(output, [block]))
            stream = output.detach()
        return np.concatenate(columns, axis=1)

    def _norms(self, stream: Tensor, blocks: list[Ensemble]) -> Array:
        seen = layer_norm(stream, (WIDTH,)) if self.norm == "pre" else stream
        outputs = (seen[:, 0, 0, None] @ self.heads.mT).squeeze(1)
        losses = cross_entropy(outputs, self.targets, reduction="sum")
        parameters = [list(block.parameters()) for block in blocks]
        gradients = iter(torch.autograd.grad(losses, [one for each in parameters for one in each]))
        rows = [torch.cat([next(gradients).flatten(1) for _ in each], dim=1) for each in parameters]
        return np.asarray(torch.stack([row.norm(dim=1) for row in rows], dim=1))


def _curve(values: Array, predicted: Array) -> Curve:
    logs = np.log2(values)
    return Curve(
        np.median(logs, axis=0), quantile(logs, 0.05), quantile(logs, 0.95), np.log2(predicted)
    )


def _slope(logs: Array) -> float:
    depths = np.arange(1, len(logs) + 1)
    deeper = depths >= min(4, len(logs) - 1)
    return float(np.polyfit(np.log2(depths[deeper]), logs[deeper], 1)[0])
