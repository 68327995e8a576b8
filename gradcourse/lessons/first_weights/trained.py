"""A phase diagram of training: each cell is a tanh network that learns digits."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from matplotlib.patheffects import withStroke
from numpy.typing import ArrayLike, NDArray

from gradcourse import theory
from gradcourse.checks import between
from gradcourse.initialization import initialize
from gradcourse.lessons.first_weights.stacked import StackedMLP, accuracy_on, train_on
from gradcourse.live import MEASURED, THEORY, Panel
from gradcourse.models import MLP
from gradcourse.tasks import digits

__all__ = ["Trained", "draw_trained", "layers_per_depth_scale", "measure_trained"]

Array = NDArray[np.float64]

SCALES = np.linspace(0.6, 3.0, 11)
DEPTHS = (4, 10, 16, 22, 28)
WIDTH, BATCH, STEPS, AT_ONCE = 64, 32, 120, 6
# Between one in ten, which is guessing, and all.
HALF = 0.5
OUTLINE = {"path_effects": [withStroke(linewidth=7, foreground="white")]}


@dataclass(frozen=True, eq=False)
class Trained:
    """Tanh networks of several depths and weight scales after some steps on digits.

    Attributes
    ----------
    bias_scale
        Standard deviation of the biases at the start.
    step
        Steps so far.
    progress
        The share of the steps that are done.
    accuracy
        Share of right answers on digits, shape (depths, scales).
    edge
        The depth at which the accuracy falls to one half, shape (scales,); NaN where it does not.
    grid
        Weight scales of the curves of theory, shape (points,).
    trains, dead
        6 and 11 depth scales at each of them.
    """

    bias_scale: float
    step: int
    progress: float
    accuracy: Array
    edge: Array
    grid: Array
    trains: Array
    dead: Array

    @property
    def depth_scales(self) -> Array:
        """The depth of each network in depth scales, shape (depths, scales)."""
        return np.array(DEPTHS)[:, None] / layers_per_depth_scale(SCALES, self.bias_scale)

    def accuracy_by_depth(self, side: str) -> tuple[float, float]:
        """Return the mean accuracy below 6 depth scales and beyond 11, on one side of the edge.

        Parameters
        ----------
        side
            ``"vanishing"`` or ``"exploding"``.
        """
        if side not in ("vanishing", "exploding"):
            raise ValueError(f"side must be one of vanishing, exploding, got {side!r}")
        edge = math.sqrt(theory.critical_weight_variance("tanh", self.bias_scale**2))
        here = (edge > SCALES) == (side == "vanishing")
        ratio, accuracy = self.depth_scales[:, here], self.accuracy[:, here]
        return float(accuracy[ratio < 6].mean()), float(accuracy[ratio > 11].mean())

    def summary(self) -> str:
        """Return the picture in one line."""
        ratio = self.depth_scales
        shallow, deep = self.accuracy[ratio < 6].mean(), self.accuracy[ratio > 11].mean()
        return (
            f"{self.accuracy.size} tanh networks, bias scale {self.bias_scale:g}, step {self.step} "
            f"of {STEPS}: mean accuracy {shallow:.0%} below 6 depth scales, {deep:.0%} beyond 11"
        )


def layers_per_depth_scale(weight_scales: ArrayLike, bias_scale: float) -> Array:
    """Return the depth scale of tanh networks at each weight scale, in layers."""
    return np.array([_depth_scale(float(scale), bias_scale) for scale in np.ravel(weight_scales)])


def _depth_scale(weight_scale: float, bias_scale: float) -> float:
    variance = weight_scale**2
    length = theory.length_fixed_point("tanh", variance, bias_scale**2)
    return theory.depth_scale(theory.chi("tanh", length, variance))


def measure_trained(bias_scale: float = 0.2, first_seed: int = 0) -> Iterator[Trained]:
    """Train tanh networks at 11 weight scales and 5 depths, one batch for each depth (T42).

    The networks are 64 wide. They take 120 steps of SGD with momentum 0.9 on 32 digits each; the
    learning rate is 0.2 divided by the depth.

    Parameters
    ----------
    bias_scale
        Standard deviation of the biases at the start, 0 to 10.
    first_seed
        Of weights and batches.

    Yields
    ------
    Trained
        So far.
    """
    bias_scale = between(0, 10, "bias_scale", bias_scale)
    generator = torch.Generator().manual_seed(first_seed)
    stacks = [_stack(depth, bias_scale, generator) for depth in DEPTHS]
    optimizers = [
        torch.optim.SGD(stack.parameters(), lr=0.2 / depth, momentum=0.9)
        for stack, depth in zip(stacks, DEPTHS, strict=True)
    ]
    images, labels = digits()
    order = torch.randint(len(images), (STEPS, BATCH), generator=generator)
    grid = np.linspace(SCALES[0], SCALES[-1], 61)
    depth_scales = layers_per_depth_scale(grid, bias_scale)
    for step in range(AT_ONCE, STEPS + 1, AT_ONCE):
        batches = [(images[rows], labels[rows]) for rows in order[step - AT_ONCE : step]]
        for stack, optimizer in zip(stacks, optimizers, strict=True):
            train_on(stack, optimizer, batches)
        rows = slice(0, None, 9 if step < STEPS else 2)
        found = [accuracy_on(stack, images[rows], labels[rows]) for stack in stacks]
        accuracy = np.stack(found)
        edge = _depth_of_half(accuracy)
        yield Trained(
            bias_scale,
            step,
            step / STEPS,
            accuracy,
            edge,
            grid,
            6 * depth_scales,
            11 * depth_scales,
        )


def _stack(depth: int, bias_scale: float, generator: torch.Generator) -> StackedMLP:
    networks = []
    for scale in SCALES:
        network = MLP(64, WIDTH, depth, 10, "tanh")
        initialize(
            network,
            "mean_field",
            weight_variance=float(scale**2),
            bias_variance=bias_scale**2,
            generator=generator,
        )
        # The last layer is the same everywhere, so that only the hidden ones differ.
        initialize(network[-1], "lecun_normal", generator=generator)
        networks.append(network)
    return StackedMLP(networks, "tanh")


def _depth_of_half(accuracy: Array) -> Array:
    """Return where a straight line between two depths falls to one half; NaN where none does."""
    falls = (accuracy[:-1] >= HALF) & (accuracy[1:] < HALF)
    first = falls.argmax(axis=0)
    each = np.arange(accuracy.shape[1])
    above, below = accuracy[first, each], accuracy[first + 1, each]
    depths = np.array(DEPTHS, dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        share = (above - HALF) / (above - below)
    crossing = depths[first] + share * (depths[first + 1] - depths[first])
    return np.where(falls.any(axis=0), crossing, np.nan)


def draw_trained(result: Trained, axes: Panel) -> None:
    """Show the accuracy of each network, where it falls to one half, and 6 and 11 depth scales."""
    depths = np.array(DEPTHS, dtype=np.float64)
    axes.set(
        xlabel="weight scale",
        ylabel="depth",
        xlim=(0.48, 3.12),
        ylim=(1, 31),
        yticks=DEPTHS,
    )
    axes.axes.grid(False)
    axes.heatmap(
        "accuracy", SCALES, depths, result.accuracy, (0.1, 1.0), "accuracy", cmap="cividis"
    )
    line: dict[str, Any] = {"color": THEORY, "lw": 3.5, **OUTLINE}
    axes.line("trains", result.grid, result.trains, label="theory: 6 depth scales", ls="--", **line)
    axes.line("dead", result.grid, result.dead, label="theory: 11 depth scales", ls=":", **line)
    axes.line(
        "edge",
        SCALES,
        result.edge,
        color=MEASURED,
        marker="o",
        ms=9,
        label="measured: accuracy 1/2",
        **OUTLINE,
    )
    if not math.isclose(result.progress, 1.0):
        axes.text("step", 1.8, 29.5, f"step {result.step}", ha="center", va="center", fontsize=15)
