"""Where the graph is cut, and what the wrong places do."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from gradcourse.checks import at_least
from gradcourse.live import MEASURED, THEORY, Panel
from gradcourse.models import Unrolled, seeded
from gradcourse.signals import SavedTensors
from gradcourse.training import one_thread, tbptt

__all__ = ["PLACES", "Place", "draw_place", "measure_place"]

Array = NDArray[Any]

STEPS, BATCH, HIDDEN = 48, 8, 16
CHUNKS = (8, 12, 16, 24)


@dataclass(frozen=True)
class Place:
    """What one way to cut does, chunk by chunk.

    Attributes
    ----------
    place, chunk
        As given.
    arrived
        log10 of the norm of the gradient at each step's input; -inf where none arrives, NaN where
        the loop did not get to; shape (seeds, steps).
    predicted
        Theory: the same, with nothing but the paths inside of each chunk, mean over seeds.
    held
        Bytes of the graph before each ``backward``, NaN where the loop did not get to, (chunks,).
    error
        What torch said, if it raised, and at which chunk, counted from 1.
    cosine, length
        Of the layer's weight gradient relative to the right one, median over seeds; 0 if there is
        none.
    """

    place: str
    chunk: int
    arrived: Array
    predicted: Array
    held: Array
    error: tuple[str, int] | None
    cosine: float
    length: float

    @property
    def bands(self) -> Array:
        """Mean, lowest and highest seed at each step, shape (3, steps)."""
        return np.stack([f(self.arrived, axis=0) for f in (np.mean, np.min, np.max)])

    @property
    def growth(self) -> float:
        """What the last graph holds, against the first."""
        return float(self.held[np.isfinite(self.held)][-1] / self.held[0])

    def summary(self) -> str:
        """Return the picture in one line."""
        words = f"cut: {self.place}, chunk {self.chunk}: "
        memory = f"the last graph holds {self.growth:.1f} times the first"
        if self.error is not None:
            said, chunk = self.error
            return f"{words}torch stops at chunk {chunk}: {said}"
        if self.length == 0:
            return f"{words}no error, but no gradient reaches the LSTM; {memory}"
        angle = math.degrees(math.acos(min(1.0, self.cosine)))
        return (
            f"{words}the gradient turns by {angle:.0f} degrees and has {self.length:.0%} of the "
            f"length; {memory}"
        )


def _nothing(state: Any) -> Any:
    return state


def _both(state: Any) -> Any:
    return state[0].detach(), state[1].detach()


def _hidden_only(state: Any) -> Any:
    return state[0].detach(), state[1]


def _zeros(_state: Any) -> Any:
    return None


@dataclass(frozen=True)
class _Way:
    """What happens to the state after a chunk, and what else is done differently."""

    after: Callable[[Any], Any]
    every_step: bool = False
    outputs: bool = False
    retain: bool = False


WAYS = {
    "between chunks (right)": _Way(_both),
    "at every step": _Way(_both, every_step=True),
    "nowhere": _Way(_nothing),
    "nowhere, retain_graph=True": _Way(_nothing, retain=True),
    "h, but not c": _Way(_hidden_only),
    "the outputs": _Way(_nothing, outputs=True),
    "a new state of zeros": _Way(_zeros),
}
PLACES = tuple(WAYS)


class _Sequence:
    """One network with its data."""

    def __init__(self, seed: int) -> None:
        lstm = seeded(seed, lambda: nn.LSTM(4, HIDDEN))
        # A network that remembers: what is cut is seen.
        with torch.no_grad():
            dict(lstm.named_parameters())["bias_ih_l0"][HIDDEN : 2 * HIDDEN] = 2.0
        self.layer = Unrolled(lstm)
        source = torch.Generator().manual_seed(30_000 + seed)
        self.readout = torch.randn(HIDDEN, 4, generator=source) / math.sqrt(HIDDEN)
        self.inputs = torch.randn(STEPS, BATCH, 4, generator=source)
        self.targets = torch.randn(STEPS, BATCH, 4, generator=source)
        self.weights = list(self.layer.parameters())

    def gradient(self) -> Tensor:
        """Return what ``backward`` left at the weights as one vector, and clear it."""
        found = [one.new_zeros(one.shape) if one.grad is None else one.grad for one in self.weights]
        for one in self.weights:
            one.grad = None
        return torch.cat([one.flatten() for one in found])

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return mse_loss(outputs @ self.readout, targets)


def measure_place(
    place: str = "between chunks (right)", chunk: int = 12, seeds: int = 3, first_seed: int = 0
) -> Place:
    """Run the loop of truncated BPTT with the cut in a place of choice.

    An LSTM with forget bias 2, 48 steps of random inputs and targets; no update between chunks.

    Parameters
    ----------
    place
        A name in ``PLACES``.
    chunk
        A divisor of 48.
    seeds, first_seed
        How many networks, and the first of their seeds.
    """
    if place not in WAYS:
        raise ValueError(f"place must be one of {', '.join(PLACES)}, got {place!r}")
    chunk, seeds = at_least(1, "chunk", chunk), at_least(1, "seeds", seeds)
    if STEPS % chunk:
        raise ValueError(f"chunk must divide {STEPS}, got {chunk}")
    rows = [_one_network(WAYS[place], chunk, first_seed + seed) for seed in range(seeds)]
    columns = zip(*(row[:5] for row in rows), strict=True)
    arrived, predicted, held, cosine, length = map(np.array, columns)
    return Place(
        place=place,
        chunk=chunk,
        arrived=arrived,
        predicted=predicted.mean(axis=0),
        held=held[0],
        error=rows[0][5],
        cosine=float(np.median(cosine)),
        length=float(np.median(length)),
    )


@one_thread()
def _one_network(way: _Way, chunk: int, seed: int) -> tuple[Any, ...]:
    one = _Sequence(seed)
    for piece in tbptt(one.layer, one.inputs, one.targets, one.loss, chunk):
        torch.autograd.backward(piece.loss)
    right = one.gradient()
    predicted = _within_chunks(one, chunk)
    inputs = one.inputs.clone().requires_grad_()
    held, error = _loop(one, way, chunk, inputs)
    found = one.gradient()
    norms = _log10_norms(torch.zeros_like(inputs) if inputs.grad is None else inputs.grad)
    norms[np.isfinite(held).sum() * chunk :] = np.nan
    if error is not None:
        # The loss of the chunk that raised has sent nothing back.
        norms[(error[1] - 1) * chunk :] = np.nan
    length = float(found.norm() / right.norm())
    cosine = float(found @ right / (found.norm() * right.norm())) if length else 0.0
    return norms, predicted, held, cosine, length, error


def _loop(
    one: _Sequence, way: _Way, chunk: int, inputs: Tensor
) -> tuple[Array, tuple[str, int] | None]:
    """Return the bytes that the graph holds before each ``backward``, and torch's error if any."""
    state: Any = None
    held = np.full(STEPS // chunk, np.nan)
    with SavedTensors([*one.weights, one.inputs, one.targets, one.readout, inputs]) as saved:
        for number, start in enumerate(range(0, STEPS, chunk)):
            outputs, state = _forward(one, way, inputs[start : start + chunk], state)
            targets = one.targets[start : start + chunk]
            if way.outputs:
                # The readout would still learn; here it is the only thing that could.
                readout = one.readout.clone().requires_grad_()
                loss = mse_loss(outputs.detach() @ readout, targets)
            else:
                loss = one.loss(outputs, targets)
            held[number] = saved.bytes
            try:
                torch.autograd.backward(loss * chunk / STEPS, retain_graph=way.retain)
            except RuntimeError as raised:
                return held, (f"{str(raised).split('(')[0].strip()}", number + 1)
            state = way.after(state)
            del outputs, loss
    return held, None


def _forward(one: _Sequence, way: _Way, inputs: Tensor, state: Any) -> tuple[Tensor, Any]:
    if not way.every_step:
        outputs: tuple[Tensor, Any] = one.layer(inputs, state)
        return outputs
    steps = []
    for now in torch.split(inputs, 1):
        output, state = one.layer(now, state)
        state = way.after(state)
        steps.append(output)
    return torch.cat(steps), state


def _within_chunks(one: _Sequence, chunk: int) -> Array:
    """Return log10 of what arrives at each input by the paths that stay inside of a chunk.

    From the whole graph: each chunk's loss, and of its gradient the steps of that chunk.
    """
    inputs = one.inputs.clone().requires_grad_()
    outputs, _ = one.layer(inputs)
    parts = []
    for start in range(0, STEPS, chunk):
        span = slice(start, start + chunk)
        loss = one.loss(outputs[span], one.targets[span]) * chunk / STEPS
        (gradient,) = torch.autograd.grad(loss, inputs, retain_graph=True)
        parts.append(gradient[span])
    return _log10_norms(torch.cat(parts))


def _log10_norms(gradient: Tensor) -> Array:
    with np.errstate(divide="ignore"):
        return np.asarray(np.log10(gradient.flatten(1).norm(dim=1).double().numpy()))


def draw_place(result: Place, axes: dict[str, Panel]) -> None:
    """Show what arrives at each step's input, and what the graph holds, chunk by chunk."""
    arrived, held = axes["arrived"], axes["held"]
    step = np.arange(1, STEPS + 1)
    arrived.set(
        title=f"Cut: {result.place}",
        xlabel="step",
        ylabel="gradient at its input",
        xlim=(0, STEPS + 1),
    )
    mean, low, high = result.bands
    arrived.decades("y", -4, -2)
    arrived.band("band", step, low, high, color=MEASURED, alpha=0.2)
    arrived.line("measured", step, mean, color=MEASURED, label="measured")
    arrived.line(
        "theory", step, result.predicted, color=THEORY, ls="--", label="theory: inside the chunk"
    )
    for start in range(result.chunk, STEPS, result.chunk):
        arrived.vline(f"border {start}", start + 0.5, color="#777777", lw=1, ls=":")
    chunks = np.arange(1, len(result.held) + 1)
    size = result.held / 1024
    held.set(
        title="Memory of the graph",
        xlabel="chunk",
        ylabel="KiB before backward",
        xticks=chunks,
        xlim=(0.8, len(chunks) + 0.2),
    )
    held.set(ylim=(0, 1.1 * max(len(chunks), 1) * size[0]))
    held.line("measured", chunks, size, color=MEASURED, marker="o", label="measured")
    flat = np.full(len(chunks), size[0])
    held.line("theory", chunks, flat, color=THEORY, ls="--", label="theory: one chunk")
    if result.error is not None:
        arrived.note(f"torch raises at chunk {result.error[1]}", "upper right")
    elif result.length == 0:
        arrived.note("no gradient arrives", "upper right")
