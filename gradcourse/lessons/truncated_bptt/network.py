"""What truncation costs and saves in a real network: bias, memory and time."""

from __future__ import annotations

import functools
import math
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from gradcourse import theory
from gradcourse.checks import at_least, between
from gradcourse.exercises import as_prediction
from gradcourse.live import MEASURED, PALETTE, THEORY, Panel
from gradcourse.signals import SavedTensors
from gradcourse.training import one_thread, tbptt

__all__ = ["CHUNKS", "NETWORKS", "Bias", "draw_bias", "make_layer", "measure_bias", "step_back"]

Array = NDArray[Any]

NETWORKS = ("RNN", "LSTM")
CHUNKS = (1, 2, 4, 8, 16, 32, 64, 128)
STEPS, BATCH, FEATURES, HIDDEN, OUTPUTS = 128, 4, 8, 32, 4
# Standard deviation of what the inputs add to a unit: small, so that tanh is nearly linear.
DRIVE = 0.1
# Outputs are small beside the targets, so that what flows back at one step says nothing of others.
READOUT = 0.1
LENGTH = PALETTE[2]


@dataclass(frozen=True)
class Bias:
    """The truncated gradient beside the full one, for every chunk length.

    Attributes
    ----------
    network, memory, chunk
        As given.
    cosine, length
        Of the truncated gradient relative to the full one, of the layer's weights, shape
        (seeds, chunks).
    predicted
        Theory of both, shape (chunks,).
    held
        Bytes that the graph holds for ``backward``, at most, shape (chunks,).
    seconds
        Forward and backward passes of the whole sequence, for the chunk and for all steps.
    prediction
        The learner's guess of the angle, in degrees, if there is one.
    """

    network: str
    memory: float
    chunk: int
    cosine: Array
    length: Array
    predicted: Array
    held: Array
    seconds: tuple[float, float]
    prediction: float | None

    @property
    def place(self) -> int:
        """Where the present chunk length stands in ``CHUNKS``."""
        return CHUNKS.index(self.chunk)

    @property
    def angle(self) -> float:
        """Median angle between the truncated and the full gradient, in degrees."""
        cosine = float(np.median(self.cosine[:, self.place]))
        return math.degrees(math.acos(min(1.0, cosine)))

    def range_of(self, quantity: str) -> Array:
        """Median, lowest and highest seed for each chunk length, shape (3, chunks)."""
        values = {"cosine": self.cosine, "length": self.length}[quantity]
        return np.stack([np.median(values, axis=0), values.min(axis=0), values.max(axis=0)])

    def summary(self) -> str:
        """Return the picture in one line."""
        predicted = math.degrees(math.acos(min(1.0, float(self.predicted[self.place]))))
        return (
            f"{self.network}, memory {self.memory:.2f}, chunk {self.chunk} of {STEPS}: the "
            f"gradient turns by {self.angle:.0f} degrees (theory {predicted:.0f}) and keeps "
            f"{np.median(self.length[:, self.place]):.0%} of its length; the graph holds "
            f"{self.held[self.place] / 1024:.0f} KiB instead of {self.held[-1] / 1024:.0f}"
        )


def make_layer(network: str, memory: float, seed: int) -> nn.RNN | nn.LSTM:
    """Return a layer of 32 units that keeps about ``memory`` of its state in a step.

    The recurrent matrix of an RNN is ``memory`` times a random rotation. An LSTM has torch's first
    weights, but its forget gate stands at ``memory``: bias ``ln(memory / (1 - memory))``.
    """
    source = torch.Generator().manual_seed(seed)
    layer: nn.RNN | nn.LSTM = (nn.RNN if network == "RNN" else nn.LSTM)(FEATURES, HIDDEN)
    weights = dict(layer.named_parameters())
    with torch.no_grad():
        for weight in weights.values():
            weight.uniform_(-1 / math.sqrt(HIDDEN), 1 / math.sqrt(HIDDEN), generator=source)
        weights["bias_ih_l0"].zero_()
        weights["bias_hh_l0"].zero_()
        if network == "LSTM":
            weights["bias_ih_l0"][HIDDEN : 2 * HIDDEN] = math.log(memory / (1 - memory))
        else:
            turned, upper = torch.linalg.qr(torch.randn(HIDDEN, HIDDEN, generator=source))
            weights["weight_hh_l0"].copy_(memory * turned * upper.diagonal().sign())
            weights["weight_ih_l0"].normal_(0, DRIVE / math.sqrt(FEATURES), generator=source)
    return layer


def measure_bias(
    network: str = "RNN",
    memory: float = 0.95,
    chunk: int = 16,
    seeds: int = 6,
    first_seed: int = 0,
    prediction: float | None = None,
) -> Bias:
    """Compare truncated gradients with full ones: direction, length, memory and time.

    A layer at its first weights, 128 steps of random inputs, random targets at each step.

    Parameters
    ----------
    network
        ``"RNN"`` or ``"LSTM"``.
    memory
        What a step keeps of the state, between 0.5 and 0.99.
    chunk
        A power of two, 1 to 128.
    seeds, first_seed
        How many networks, and the first of their seeds.
    prediction
        The angle in degrees that the learner expects of an RNN with memory 0.95 and chunk 16.
    """
    if network not in NETWORKS:
        raise ValueError(f"network must be one of {', '.join(NETWORKS)}, got {network!r}")
    if chunk not in CHUNKS:
        raise ValueError(f"chunk must be one of {', '.join(map(str, CHUNKS))}, got {chunk!r}")
    memory = between(0.5, 0.99, "memory", memory)
    seeds = at_least(1, "seeds", seeds)
    cosine, length = _compared(network, memory, seeds, first_seed)
    runs = [_Run(network, memory, first_seed, one) for one in (chunk, STEPS)]
    seconds = [min(run.seconds() for _ in range(3)) for run in runs]
    asked = (network, chunk) == ("RNN", 16) and math.isclose(memory, 0.95)
    guess = as_prediction(prediction) if asked else None
    if guess is not None:
        guess = between(0, 180, "prediction", guess)
    squares = _squared_memory(network, memory)
    shares = [theory.mean_truncated_share(squares, STEPS, one) for one in CHUNKS]
    held = _held(network)
    return Bias(
        network=network,
        memory=memory,
        chunk=chunk,
        cosine=cosine,
        length=length,
        predicted=np.sqrt(shares),
        held=held,
        seconds=(seconds[0], seconds[1]),
        prediction=guess,
    )


@one_thread()
def step_back(network: str, memory: float, seeds: int = 6, first_seed: int = 0) -> Array:
    """Measure by which factor one step changes the gradient that flows back, shape (seeds,).

    The loss is the last output. Of its gradient at the inputs, the sizes 7 and 71 steps before the
    end are compared: a mean over 64 steps, away from the one where the gradient enters.
    """
    factors = []
    for seed in range(first_seed, first_seed + seeds):
        data = _Data(network, memory, seed)
        inputs = data.inputs.requires_grad_()
        outputs, _ = data.layer(inputs)
        (gradient,) = torch.autograd.grad(outputs[-1].sum(), inputs)
        sizes = gradient.flatten(1).norm(dim=1)
        factors.append(float(sizes[-72] / sizes[-8]) ** (1 / 64))
    return np.array(factors)


def _squared_memory(network: str, memory: float) -> float:
    """Return the factor by which a step changes the square of what flows back."""
    if network == "LSTM":
        return memory**2
    # The mean field of lesson 01, where inputs play the part of the biases.
    variance = theory.length_fixed_point("tanh", memory**2, DRIVE**2)
    return theory.chi("tanh", variance, memory**2)


class _Data:
    """Layer, inputs, targets and readout of one seed."""

    def __init__(self, network: str, memory: float, seed: int) -> None:
        source = torch.Generator().manual_seed(10_000 + seed)
        self.layer = make_layer(network, memory, seed)
        self.weights = list(self.layer.parameters())
        self.readout = READOUT / math.sqrt(HIDDEN) * torch.randn(HIDDEN, OUTPUTS, generator=source)
        self.inputs = torch.randn(STEPS, BATCH, FEATURES, generator=source)
        self.targets = torch.randn(STEPS, BATCH, OUTPUTS, generator=source)

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return mse_loss(outputs @ self.readout, targets)


class _Run:
    """One pass of truncated BPTT over the whole sequence, as a user of the library writes it."""

    def __init__(self, network: str, memory: float, seed: int, chunk: int) -> None:
        self.data = _Data(network, memory, seed)
        self.chunk = chunk

    @one_thread()
    def seconds(self) -> float:
        data = self.data
        started = time.perf_counter()
        for piece in tbptt(data.layer, data.inputs, data.targets, data.loss, self.chunk):
            torch.autograd.backward(piece.loss)
        return time.perf_counter() - started

    def held(self) -> int:
        data, most = self.data, 0
        # Inputs, targets and readout are there anyway, whatever the graph holds.
        known = [*data.weights, data.inputs, data.targets, data.readout]
        with SavedTensors(known) as saved:
            for piece in tbptt(data.layer, data.inputs, data.targets, data.loss, self.chunk):
                most = max(most, saved.bytes)
                torch.autograd.backward(piece.loss)
        return most


@functools.lru_cache(maxsize=2)
def _held(network: str) -> Array:
    return np.array([_Run(network, 0.9, 0, chunk).held() for chunk in CHUNKS])


@functools.lru_cache(maxsize=16)
@one_thread()
def _compared(network: str, memory: float, seeds: int, first_seed: int) -> tuple[Array, Array]:
    """Return cosines and length ratios, each of shape (seeds, chunks)."""
    rows = []
    for seed in range(first_seed, first_seed + seeds):
        data = _Data(network, memory, seed)
        states = _states_before(data)
        gradients = torch.stack([_truncated(data, states, chunk) for chunk in CHUNKS])
        full = gradients[-1]
        norms = gradients.norm(dim=1)
        rows.append(torch.stack([gradients @ full / (norms * full.norm()), norms / full.norm()]))
    cosine, length = torch.stack(rows, dim=1).numpy()
    return cosine, length


def _states_before(data: _Data) -> list[Tensor]:
    """Return the parts of the state before each step, each of shape (steps, batch, hidden)."""
    state: Any = None
    parts = [[torch.zeros(BATCH, HIDDEN)] for _ in range(1 + isinstance(data.layer, nn.LSTM))]
    with torch.no_grad():
        for step in range(STEPS - 1):
            _, state = data.layer(data.inputs[step : step + 1], state)
            for kept, part in zip(parts, state if len(parts) == 2 else [state], strict=True):
                kept.append(part[0])
    return [torch.stack(kept) for kept in parts]


def _truncated(data: _Data, states: list[Tensor], chunk: int) -> Tensor:
    """Return the truncated gradient of the layer's weights as one vector.

    Once the states are known, chunks do not depend on one another: all of them run as one batch.
    """

    def folded(sequence: Tensor) -> Tensor:
        split = sequence.view(STEPS // chunk, chunk, BATCH, -1).transpose(0, 1)
        return split.reshape(chunk, -1, sequence.shape[-1])

    starts = [part[::chunk].reshape(1, -1, HIDDEN) for part in states]
    state: Any = tuple(starts) if len(starts) == 2 else starts[0]
    outputs, _ = data.layer(folded(data.inputs), state)
    loss = data.loss(outputs, folded(data.targets))
    gradients = torch.autograd.grad(loss, data.weights)
    return torch.cat([one.flatten() for one in gradients]).double()


def draw_bias(result: Bias, axes: dict[str, Panel]) -> None:
    """Show direction and length against the chunk length, and the memory that the graph holds."""
    bias, held = axes["bias"], axes["memory"]
    places = np.arange(len(CHUNKS))
    bias.set(
        title=f"Truncated against full: {result.network}",
        xlabel="chunk length",
        ylabel="1 = as with full BPTT",
        xlim=(-0.2, 7.2),
        xticks=places,
        xticklabels=[str(chunk) for chunk in CHUNKS],
        ylim=(0, 1.05),
    )
    bias.vline("chunk", result.place, color="#777777", lw=1.2)
    held.set(
        title="Memory of the graph",
        xlabel="chunk length",
        ylabel="KiB held for backward",
        xlim=(0, 130),
        xticks=[1, 16, 32, 64, 128],
    )
    held.vline("chunk", result.chunk, color="#777777", lw=1.2)
    cut, full = result.seconds
    held.note(f"time: {cut / full:.1f} times full BPTT", "upper left")
    for name, color in (("cosine", MEASURED), ("length", LENGTH)):
        median, low, high = result.range_of(name)
        bias.band(f"{name} band", places, low, high, color=color, alpha=0.2)
        bias.line(name, places, median, color=color, label=f"measured: {name}")
    bias.line("theory", places, result.predicted, color=THEORY, ls="--", label="theory: both")
    size = result.held / 1024
    held.set(ylim=(0, 1.15 * size[-1]))
    held.line("measured", CHUNKS, size, color=MEASURED, marker="o", label="measured: bytes saved")
    in_proportion = np.array(CHUNKS) / STEPS * size[-1]
    held.line("theory", CHUNKS, in_proportion, color=THEORY, ls="--", label="theory: in proportion")
    if result.prediction is not None:
        cosine = math.cos(math.radians(result.prediction))
        bias.mark("prediction", CHUNKS.index(16), max(cosine, 0.0), "your prediction")
