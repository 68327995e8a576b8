"""Deep networks learn digits, or do not: with skips, without, and with scaled branches."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from gradcourse.checks import at_least, more_than_zero
from gradcourse.exercises import as_prediction
from gradcourse.initialization import ReZero, fixup_, mean_field_
from gradcourse.live import MEASURED, THEORY, Panel
from gradcourse.models import ResidualMLP, seeded
from gradcourse.tasks import split_digits
from gradcourse.training import Ensemble, one_thread

__all__ = [
    "NETWORKS",
    "TRAINING",
    "Training",
    "accuracy_of",
    "delete_blocks",
    "draw_training",
    "make",
    "measure_training",
    "train_step",
]

Array = NDArray[Any]
NETWORKS = ("plain", "skip", "skip / sqrt(L)", "ReZero", "Fixup")
TRAINING = 1400
WIDTH, BATCH, STEPS, EVERY = 32, 64, 60, 10
MOMENTUM = 0.9
LEARNED = 0.7
SHOWN = (-2.0, 2.0)


@dataclass(frozen=True)
class Training:
    """Some networks of one kind that learn digits, alike but for their seeds.

    Attributes
    ----------
    network, blocks, learning_rate
        As given.
    loss
        Cross-entropy of the batch of each step, shape (seeds, steps so far); NaN from where a
        network is lost.
    accuracy
        On digits that were held out, shape (seeds, evaluations so far), one every 10 steps.
    progress
        Share of the work done, 0 to 1.
    prediction
        The learner's guess of the accuracy of 50 plain blocks, if there is one.
    """

    network: str
    blocks: int
    learning_rate: float
    loss: Array
    accuracy: Array
    progress: float
    prediction: float | None

    @property
    def seeds(self) -> int:
        """Number of networks."""
        return len(self.loss)

    @property
    def learned(self) -> int:
        """How many networks know more than 70 % of the digits that they have not seen."""
        return int((self.accuracy[:, -1] > LEARNED).sum())

    @property
    def lost(self) -> int:
        """How many networks have ended in NaN."""
        return int(np.isnan(self.loss[:, -1]).sum())

    @property
    def nan_step(self) -> int | None:
        """The first step at which a loss was NaN or inf, or None."""
        bad = ~np.isfinite(self.loss).all(axis=0)
        return int(bad.argmax()) + 1 if bad.any() else None

    def summary(self) -> str:
        """Return the picture in one line."""
        line = (
            f"{self.network}, {self.blocks} blocks ({2 * self.blocks + 2} weight layers), "
            f"{self.loss.shape[1]} steps: {self.learned} of {self.seeds} networks learn; "
            f"accuracy {_list(100 * self.accuracy[:, -1])} %"
        )
        if self.nan_step is not None:
            line += f"; {self.lost} of {self.seeds} lost to NaN, the first at step {self.nan_step}"
        return line


def make(network: str, blocks: int, seed: int) -> nn.Module:
    """Return a network for digits whose branches, alone and unscaled, keep the mean square.

    Parameters
    ----------
    network
        ``"plain"`` has no skips, ``"skip"`` adds each branch as it is, ``"skip / sqrt(L)"`` divides
        it by the root of the number of blocks, ``"ReZero"`` multiplies it with a learned number
        that starts at 0, and ``"Fixup"`` sets its last weights to 0.
    blocks
        Number of blocks.
    seed
        Chooses the weights.
    """
    if network not in NETWORKS:
        raise ValueError(f"network must be one of {', '.join(NETWORKS)}, got {network!r}")
    generator = torch.Generator().manual_seed(seed)
    scale = 1 / math.sqrt(blocks) if network == "skip / sqrt(L)" else 1.0
    net = seeded(
        seed, lambda: ResidualMLP(64, WIDTH, blocks, 10, scale, network != "plain", bias=False)
    )
    mean_field_(net, 1.0, generator=generator)
    branches = [block.get_submodule("branch") for block in net.blocks]
    for branch in branches:
        mean_field_(branch.get_submodule("2"), math.sqrt(2), generator=generator)
    if network == "ReZero":
        net.blocks = nn.Sequential(*(ReZero(branch) for branch in branches))
    if network == "Fixup":
        fixup_(branches, head=net.last)
    return net


def measure_training(
    network: str = "plain",
    blocks: int = 50,
    learning_rate: float = 0.01,
    seeds: int = 3,
    first_seed: int = 0,
    prediction: float | None = None,
) -> Iterator[Training]:
    """Train networks on digits with SGD and momentum, and yield what there is so far.

    Parameters
    ----------
    network, blocks
        As for :func:`make`.
    learning_rate
        Of SGD with momentum 0.9, 60 steps of 64 digits.
    seeds, first_seed
        How many networks, and the first of their seeds.
    prediction
        The accuracy in percent that the learner expects of 50 plain blocks at learning rate 0.01,
        drawn as a star.
    """
    asked = (network, blocks) == ("plain", 50) and math.isclose(learning_rate, 0.01)
    guess = as_prediction(prediction) if asked else None
    for _, result in _train(network, blocks, learning_rate, seeds, first_seed):
        yield replace(result, prediction=guess)


@lru_cache(maxsize=8)
def delete_blocks(
    network: str, blocks: int, learning_rate: float = 0.01, seeds: int = 3, first_seed: int = 0
) -> tuple[Array, Array]:
    """Train networks, then leave out one block at a time.

    Returns
    -------
    intact
        Accuracy on held-out digits, shape (seeds,).
    without
        The same without each of the blocks, shape (seeds, blocks).
    """
    for ensemble, _ in _train(network, blocks, learning_rate, seeds, first_seed):
        trained = ensemble
    _, held_out = split_digits(TRAINING, first_seed)
    place = trained.stacked.get_submodule("blocks")
    intact, without = accuracy_of(trained, *held_out), []
    for number in range(blocks):
        block = place.get_submodule(str(number))
        place.register_module(str(number), nn.Identity())
        without.append(accuracy_of(trained, *held_out))
        place.register_module(str(number), block)
    return intact, np.stack(without, axis=1)


def draw_training(result: Training, axes: dict[str, Panel]) -> None:
    """Show loss and accuracy over the steps, beside those of guessing."""
    loss, accuracy = axes["loss"], axes["accuracy"]
    steps = np.arange(1, result.loss.shape[1] + 1)
    seen = np.arange(result.accuracy.shape[1]) * EVERY
    loss.set(title="Loss", xlabel="step", xlim=(0, STEPS), ylim=SHOWN)
    loss.decades("y", *SHOWN)
    accuracy.set(
        title="Accuracy on digits not seen", xlabel="step", xlim=(0, STEPS), ylim=(0.0, 1.0)
    )
    with np.errstate(invalid="ignore", divide="ignore"):
        logs = np.log10(result.loss)
    for seed in range(result.seeds):
        label = {"label": "measured: each network"} if seed == 0 else {}
        style = {"color": MEASURED, "lw": 2, "alpha": 0.8, **label}
        loss.line(f"measured {seed}", steps, logs[seed], **style)
        accuracy.line(f"measured {seed}", seen, result.accuracy[seed], **style)
    guess: dict[str, Any] = {"color": THEORY, "ls": "--", "label": "theory: guessing"}
    ends = [0, STEPS]
    loss.line("theory", ends, [math.log10(math.log(10))] * 2, **guess)
    accuracy.line("theory", ends, [0.1, 0.1], **guess)
    if result.prediction is not None:
        accuracy.mark("prediction", STEPS, result.prediction / 100, "your prediction")
    if result.nan_step is not None:
        loss.vline("event", result.nan_step, color=MEASURED, lw=1.2)
        words = f"NaN in {result.lost} of {result.seeds}, from step {result.nan_step}"
        loss.note(words, "lower left")


def _train(
    network: str, blocks: int, learning_rate: float, seeds: int, first_seed: int
) -> Iterator[tuple[Ensemble, Training]]:
    blocks = at_least(1, "blocks", blocks)
    rate = more_than_zero("learning_rate", learning_rate)
    seeds, first_seed = at_least(1, "seeds", seeds), at_least(0, "first_seed", first_seed)
    (inputs, labels), held_out = split_digits(TRAINING, first_seed)
    ensemble = Ensemble([make(network, blocks, first_seed + seed) for seed in range(seeds)])
    optimizer = torch.optim.SGD(ensemble.parameters(), lr=rate, momentum=MOMENTUM)
    generator = torch.Generator().manual_seed(first_seed)
    losses: list[Array] = []
    accuracies = [accuracy_of(ensemble, *held_out)]
    for step in range(1, STEPS + 1):
        drawn = torch.randint(len(labels), (BATCH,), generator=generator)
        losses.append(train_step(ensemble, optimizer, inputs[drawn], labels[drawn]))
        if step % EVERY == 0:
            accuracies.append(accuracy_of(ensemble, *held_out))
            loss = np.stack(losses, axis=1)
            loss[~np.isfinite(loss)] = np.nan
            yield (
                ensemble,
                Training(
                    network, blocks, rate, loss, np.stack(accuracies, axis=1), step / STEPS, None
                ),
            )


@one_thread()
def train_step(
    ensemble: Ensemble, optimizer: torch.optim.Optimizer, inputs: Tensor, labels: Tensor
) -> Array:
    """Take one step, and return each network's loss before it, shape (seeds,)."""
    outputs = ensemble(inputs)
    losses = torch.stack([cross_entropy(one, labels) for one in outputs])
    optimizer.zero_grad()
    torch.autograd.backward(losses.sum())
    optimizer.step()
    return np.asarray(losses.detach().double())


@one_thread()
@torch.no_grad()
def accuracy_of(ensemble: Ensemble, inputs: Tensor, labels: Tensor) -> Array:
    """Return each network's share of right answers, shape (seeds,); NaN answers nothing."""
    outputs = ensemble(inputs)
    # Of NaN, argmax would make a digit.
    right = (outputs.argmax(-1) == labels) & outputs.isfinite().all(-1)
    return np.asarray(right.double().mean(dim=1))


def _list(values: Array) -> str:
    return ", ".join(f"{value:.0f}" for value in values)
