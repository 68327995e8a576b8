"""The first steps of a training: each block's gradient, and how far its weights move."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import normalize

from gradcourse import theory
from gradcourse.exercises import as_prediction
from gradcourse.lessons.transformers_and_warmup.network import BLOCKS, LENGTH, Step, train
from gradcourse.live import PALETTE, THEORY, Panel
from gradcourse.training import Pace, one_thread

__all__ = ["SHOWN", "FirstSteps", "draw_first_steps", "measure_first_steps"]

Array = NDArray[Any]
SHOWN = (1, 2, 3, 10, 30)
# From dark to light, so that the order is seen.
COLOURS = ("#000000", "#003F66", PALETTE[0], PALETTE[5], "#9ECAE1")


@dataclass(frozen=True)
class FirstSteps:
    """Some transformers in their first 30 steps.

    Attributes
    ----------
    norm, warmup, learning_rate
        As given.
    gradient
        log10 of the norm of each block's gradient, median over networks, shape (steps, blocks).
    update
        Root mean square of how far a step moves the weights of the blocks, median over networks,
        shape (steps,).
    cosine
        Mean cosine between what the last block returns for the tokens of a batch, median over
        networks, shape (steps,): at 1 it says the same whatever it reads.
    predicted_gradient
        Theory for step 1, log10, shape (blocks,).
    agree, noise
        Theory for the update if all gradients agree, and if they are coin flips; shape (steps,).
    progress
        Share of the work done, 0 to 1.
    prediction
        The learner's guess of the first block's gradient in step 3, as a share of that in step 1,
        for post-norm without warmup at learning rate 0.003, if there is one.
    """

    norm: str
    warmup: int
    learning_rate: float
    gradient: Array
    update: Array
    cosine: Array
    predicted_gradient: Array
    agree: Array
    noise: Array
    progress: float
    prediction: float | None

    @property
    def steps(self) -> int:
        """How many steps there are so far."""
        return len(self.gradient)

    @property
    def kept(self) -> Array:
        """The first block's gradient, relative to step 1, shape (steps,)."""
        return np.asarray(10 ** (self.gradient[:, 0] - self.gradient[0, 0]))

    @property
    def lowest(self) -> float:
        """The smallest value of ``kept`` in the first ten steps."""
        return float(self.kept[:10].min())

    def summary(self) -> str:
        """Return the picture in one line."""
        first, predicted = self.update[0], self.agree[0]
        return (
            f"{self.norm}-norm, warmup {self.warmup}, learning rate {self.learning_rate:.2g}: "
            f"step 1 moves a weight by {first:.2g} (theory: {predicted:.2g}); block 1's "
            f"gradient falls to {self.lowest:.2g} of what it was; cosine of two tokens "
            f"{self.cosine[0]:.2f} at first, {self.cosine[:10].max():.2f} at most in 10 steps"
        )


def measure_first_steps(
    norm: str = "post",
    warmup: int = 0,
    learning_rate: float = 0.003,
    steps: int = 30,
    seeds: int = 4,
    first_seed: int = 0,
    prediction: float | None = None,
) -> Iterator[FirstSteps]:
    """Watch the blocks of transformers during the first steps with Adam.

    Parameters
    ----------
    norm
        ``"post"`` or ``"pre"``.
    warmup
        Steps in the linear warmup.
    learning_rate
        Its peak.
    steps
        How many to take.
    seeds, first_seed
        How many networks, and the first of their seeds.
    prediction
        As in :class:`FirstSteps`, for example 0.1; drawn as a star.
    """
    asked = (norm, warmup) == ("post", 0) and math.isclose(learning_rate, 0.003)
    guess = as_prediction(prediction) if asked else None
    if guess is not None and not guess > 0:
        raise ValueError(f"prediction must be above 0, got {guess:g}")
    gradients: list[Array] = []
    cosines: list[float] = []
    updates: list[float] = []
    before: list[Tensor] = []
    number = np.arange(1, steps + 1)
    agree = learning_rate * np.minimum(1, number / max(warmup, 1))
    noise = agree * theory.adam_noise_update(number)
    stream = theory.pre_norm_stream(BLOCKS, LENGTH) if norm == "pre" else np.ones(BLOCKS + 1)
    pace = Pace(0.1)
    # One step more, to see how far the last one moved.
    for step in train(norm, warmup, learning_rate, steps + 1, seeds, first_seed):
        after = _weights(step)
        if before:
            updates.append(_moved(before, after))
            done = len(updates)
            if done == steps or pace.due():
                shape = np.array(gradients)
                level = shape[0, -1] + np.log10(stream[-1] / stream[1:])
                yield FirstSteps(
                    norm,
                    warmup,
                    learning_rate,
                    shape,
                    np.array(updates),
                    np.array(cosines),
                    level,
                    agree[:done],
                    noise[:done],
                    done / steps,
                    guess,
                )
                pace.restart()
        before = after
        gradients.append(_block_norms(step))
        cosines.append(_cosine(step.stream))


def draw_first_steps(result: FirstSteps, axes: dict[str, Panel]) -> None:
    """Show the gradient of each block at some steps, and how far a weight moves at each step."""
    blocks, numbers = np.arange(1, BLOCKS + 1), np.arange(1, result.steps + 1)
    gradient, update = axes["gradient"], axes["update"]
    gradient.set(title="Gradient of each block", xlabel="block", ylabel="norm", xlim=(0.8, BLOCKS))
    gradient.decades("y", -2.0, 0.7)
    for step, colour in zip(SHOWN, COLOURS, strict=True):
        if step <= result.steps:
            label = f"measured: step {step}" if step == 1 else f"step {step}"
            row = result.gradient[step - 1]
            gradient.line(f"step {step}", blocks, row, color=colour, label=label)
    gradient.line(
        "theory",
        blocks,
        result.predicted_gradient,
        color=THEORY,
        ls="--",
        label="theory: step 1",
    )
    if result.prediction is not None:
        height = result.gradient[0, 0] + math.log10(result.prediction)
        gradient.mark("prediction", 1, height, "your prediction")
    update.set(title="How far a weight moves", xlabel="step", ylabel="root mean square")
    update.set(xlim=(1, SHOWN[-1]))
    update.decades("y", math.log10(result.agree[0]) - 0.8, math.log10(result.learning_rate) + 0.3)
    update.line(
        "measured", numbers, np.log10(result.update), color=PALETTE[0], lw=4, label="measured"
    )
    for key, values, style, words in (
        ("agree", result.agree, "--", "theory: all agree"),
        ("noise", result.noise, ":", "theory: coin flips"),
    ):
        update.line(key, numbers, np.log10(values), color=THEORY, ls=style, label=words)


def _block_parameters(step: Step) -> list[list[Tensor]]:
    stack = step.ensemble.stacked.get_submodule("blocks")
    return [list(block.parameters()) for block in stack.children()]


@torch.no_grad()
def _weights(step: Step) -> list[Tensor]:
    return [one.flatten(1).clone() for block in _block_parameters(step) for one in block]


@one_thread()
def _moved(before: list[Tensor], after: list[Tensor]) -> float:
    change = torch.cat([new - old for new, old in zip(after, before, strict=True)], dim=1)
    return float(change.double().square().mean(dim=1).sqrt().median())


@one_thread()
def _block_norms(step: Step) -> Array:
    norms = []
    for block in _block_parameters(step):
        gradients = torch.cat([one.grad.flatten(1) for one in block if one.grad is not None], dim=1)
        norms.append(gradients.double().norm(dim=1))
    return np.asarray(np.median(np.log10(torch.stack(norms).numpy()), axis=1))


@one_thread()
def _cosine(stream: Tensor) -> float:
    tokens = normalize(stream.flatten(1, 2), dim=-1)
    count = tokens.shape[1]
    # The sum over all pairs is the square of the sum; each token's pair with itself is left out.
    pairs = tokens.sum(dim=1).square().sum(dim=1) - count
    return float((pairs / (count * (count - 1))).median())
