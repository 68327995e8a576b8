"""A model of real text, character by character, trained in chunks."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.nn.utils import clip_grad_norm_

from gradcourse.checks import at_least
from gradcourse.exercises import as_prediction
from gradcourse.live import MEASURED, PALETTE, THEORY, Panel
from gradcourse.models import seeded
from gradcourse.tasks import ALPHABET, python_text
from gradcourse.training import Pace, learning_curve, one_thread, tbptt

__all__ = [
    "STATES",
    "UPDATES",
    "CharacterModel",
    "Characters",
    "draw_characters",
    "entropies",
    "measure_characters",
    "write",
]

Array = NDArray[Any]

# Characters in a window: what full BPTT goes back through at once.
WINDOW, BATCH, HIDDEN, EMBEDDED = 128, 16, 64, 32
RATE, MAX_NORM = 0.01, 1.0
WINDOWS = 40
SMOOTH = 4
UPDATES = ("after each chunk", "every 128 characters")
STATES = ("carried on", "set to zero")
FULL = PALETTE[2]
# Seconds of work between two pictures.
PAUSE = 0.25


class CharacterModel(nn.Module):
    """An LSTM that guesses the next character; tokens ``(steps, batch)`` in, logits out."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(len(ALPHABET), EMBEDDED)
        self.layer = nn.LSTM(EMBEDDED, HIDDEN)
        self.readout = nn.Linear(HIDDEN, len(ALPHABET))

    def forward(self, tokens: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """Return logits of shape (steps, batch, characters), and the state."""
        outputs, state = self.layer(self.embedding(tokens), state)
        return self.readout(outputs), state


@dataclass(frozen=True)
class Characters:
    """Training so far, in chunks (row 0) and with full BPTT over the window (row 1).

    Attributes
    ----------
    chunk, update, state
        As given.
    bits
        Bits per character, on text not read before, shape (2, seeds, windows so far).
    curves
        Median, lowest and highest seed of means over 4 windows, shape (2, 3, points).
    updates
        Updates in a window, chunked and full.
    unigram, bigram
        Bits per character of the best model that knows how often each character comes, and after
        which.
    models
        The networks, chunked and full, of the first seed.
    progress
        Share of the training that is done.
    prediction
        The learner's guess of the bits with chunks of 16 at the end, if there is one.
    """

    chunk: int
    update: str
    state: str
    bits: Array
    curves: Array
    updates: tuple[int, int]
    unigram: float
    bigram: float
    models: tuple[CharacterModel, CharacterModel]
    progress: float
    prediction: float | None

    @property
    def last_bits(self) -> Array:
        """Mean bits per character over the last 4 windows, shape (2, seeds)."""
        last: Array = self.bits[..., -SMOOTH:].mean(axis=2)
        return last

    def after(self, updates: int) -> Array:
        """Return the bits after so many updates, chunked and full: medians over seeds, (2,)."""
        points = [max(1, updates // (SMOOTH * one)) - 1 for one in self.updates]
        return np.array([self.curves[row, 0, point] for row, point in enumerate(points)])

    def summary(self) -> str:
        """Return the picture in one line."""
        chunked, full = np.median(self.last_bits, axis=1)
        windows = self.bits.shape[2]
        return (
            f"chunk {self.chunk}, update {self.update}, state {self.state}: {chunked:.2f} bits per "
            f"character after {windows * self.updates[0]} updates, full BPTT {full:.2f} after "
            f"{windows * self.updates[1]} (both read {windows * WINDOW * BATCH} characters; pairs "
            f"of characters: {self.bigram:.2f})"
        )


@functools.cache
def entropies() -> tuple[float, float]:
    """Return the bits per character of the text: of single characters, and given the one before.

    What the best model needs that knows nothing but how often each character (each pair) comes.
    """
    size, text = len(ALPHABET), python_text()
    pairs = torch.bincount(text[:-1] * size + text[1:], minlength=size**2).double()
    joint = (pairs / pairs.sum()).view(size, size)
    single, both = (-torch.special.xlogy(one, one).sum() for one in (joint.sum(dim=1), joint))
    return float(single) / math.log(2), float(both - single) / math.log(2)


def measure_characters(
    chunk: int = 16,
    update: str = "after each chunk",
    state: str = "carried on",
    seeds: int = 2,
    first_seed: int = 0,
    prediction: float | None = None,
) -> Iterator[Characters]:
    """Train character models on Python's documentation, in chunks and with full BPTT.

    Sixteen streams of text are read side by side in windows of 128 characters, each of them once.
    So the loss before an update is measured on text that the model has not seen.

    Parameters
    ----------
    chunk
        Characters that a gradient flows back through, a divisor of 128.
    update
        ``"after each chunk"`` or ``"every 128 characters"``, with the gradients of its chunks added
        up. Full BPTT makes an update every 128 characters either way.
    state
        ``"carried on"`` from chunk to chunk, or ``"set to zero"`` before each.
    seeds, first_seed
        Networks of each kind, and the first of their seeds.
    prediction
        The bits per character that the learner expects of chunks of 16 that update after each.

    Yields
    ------
    Characters
        What there is so far, a few times a second, and at last the whole training.
    """
    chunk, seeds = at_least(1, "chunk", chunk), at_least(1, "seeds", seeds)
    if WINDOW % chunk:
        raise ValueError(f"chunk must divide {WINDOW}, got {chunk}")
    for name, value, known in (("update", update, UPDATES), ("state", state, STATES)):
        if value not in known:
            raise ValueError(f"{name} must be one of {', '.join(known)}, got {value!r}")
    often, carried = update == UPDATES[0], state == STATES[0]
    guess = as_prediction(prediction) if chunk == 16 and often and carried else None
    runs = [
        _Training(*cut, carried, seed)
        for cut in ((chunk, often), (WINDOW, True))
        for seed in range(first_seed, first_seed + seeds)
    ]
    unigram, bigram = entropies()

    def so_far(done: int) -> Characters:
        bits = np.array([run.bits for run in runs]).reshape(2, seeds, done)
        return Characters(
            chunk=chunk,
            update=update,
            state=state,
            bits=bits,
            curves=learning_curve(bits, SMOOTH),
            updates=(WINDOW // chunk if often else 1, 1),
            unigram=unigram,
            bigram=bigram,
            models=(runs[0].model, runs[seeds].model),
            progress=done / WINDOWS,
            prediction=guess,
        )

    pace = Pace(PAUSE)
    for window in range(1, WINDOWS + 1):
        for run in runs:
            run.read_window()
        if pace.due() and window < WINDOWS:
            yield so_far(window)
            pace.restart()
    yield so_far(WINDOWS)


class _Training:
    """One model, its streams of text and its optimizer."""

    def __init__(self, chunk: int, often: bool, carried: bool, seed: int) -> None:
        self.chunk, self.often, self.carried = chunk, often, carried
        self.model = seeded(seed, CharacterModel)
        self.optimizer = torch.optim.Adam(self.model.parameters(), RATE)
        text = python_text()
        # Each seed begins somewhere else; streams stand side by side, shape (steps, batch).
        text = text.roll(-997 * seed)
        steps = len(text) // BATCH
        self.streams = text[: steps * BATCH].view(BATCH, steps).t()
        self.at = 0
        self.state: Any = None
        self.bits: list[float] = []

    @one_thread()
    def read_window(self) -> None:
        window = self.streams[self.at : self.at + WINDOW + 1]
        self.at += WINDOW
        nats = 0.0
        self.optimizer.zero_grad()
        for start in range(0, WINDOW, self.chunk):
            part = window[start : start + self.chunk + 1]
            state = self.state if self.carried else None
            (piece,) = tbptt(self.model, part[:-1], part[1:], _nats, self.chunk, state=state)
            share = self.chunk / WINDOW
            torch.autograd.backward(piece.loss if self.often else piece.loss * share)
            nats += share * float(piece.loss.detach())
            self.state = piece.state
            if self.often or start + self.chunk == WINDOW:
                clip_grad_norm_(self.model.parameters(), MAX_NORM)
                self.optimizer.step()
                self.optimizer.zero_grad()
        self.bits.append(nats / math.log(2))


def _nats(logits: Tensor, tokens: Tensor) -> Tensor:
    return cross_entropy(logits.flatten(0, 1), tokens.flatten())


@one_thread()
@torch.no_grad()
def write(
    model: CharacterModel, start: str, length: int, seed: int = 0, temperature: float = 0.7
) -> str:
    """Return what a model writes after ``start``, character by character.

    Parameters
    ----------
    model
        A trained model.
    start
        One or more characters of ``tasks.ALPHABET``.
    length
        How many characters it writes.
    seed
        Chooses the characters, with the probabilities that the model gives them.
    temperature
        Above 0. Divides the logits: below 1 the likely characters become likelier.
    """
    source = torch.Generator().manual_seed(seed)
    tokens = torch.tensor([[ALPHABET.index(one)] for one in start])
    written, state = [], None
    for _ in range(length):
        logits, state = model(tokens, state)
        chances = torch.softmax(logits[-1, 0] / temperature, dim=0)
        tokens = torch.multinomial(chances, 1, generator=source)[None]
        written.append(ALPHABET[int(tokens)])
    return start + "".join(written)


def draw_characters(result: Characters, axes: dict[str, Panel]) -> None:
    """Show the bits per character against the characters read, and against the updates made."""
    windows = SMOOTH * (np.arange(result.curves.shape[2]) + 0.5)
    names = (f"chunk {result.chunk}", MEASURED), ("full: 128", FULL)
    read = WINDOWS * WINDOW * BATCH / 1000
    titles = ("Against the text read", "thousand characters"), ("Against the updates", "updates")
    for name, (title, label) in zip(("read", "updates"), titles, strict=True):
        panel = axes[name]
        panel.set(title=title, xlabel=label, ylim=(2, 6.2))
        if name == "read":
            panel.set(ylabel="bits per character", xlim=(0, read))
        else:
            panel.set(xlim=(0, 3.3), xticks=range(4), xticklabels=["1", "10", "100", "1000"])
        for row, (who, color) in enumerate(names):
            thousands = windows * WINDOW * BATCH / 1000
            x = thousands if name == "read" else np.log10(windows * result.updates[row])
            median, low, high = result.curves[row]
            panel.band(f"{who[:5]} band", x, low, high, color=color, alpha=0.2)
            panel.line(who[:5], x, median, color=color, label=f"measured: {who}")
        for place, (value, words) in enumerate(
            ((result.unigram, "theory: single characters"), (result.bigram, "theory: pairs"))
        ):
            style = ("--", ":")[place]
            panel.hline(words, value, color=THEORY, ls=style, label=words)
    if result.prediction is not None:
        axes["read"].mark("prediction", read, result.prediction, "your prediction")
