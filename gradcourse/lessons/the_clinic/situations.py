"""The rows of the decision table: five situations, and the treatments that are advised in them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import SGD, Adam, Optimizer

from gradcourse.initialization import initialize
from gradcourse.lessons.the_clinic.adversaries import Critic, run_adversaries
from gradcourse.lessons.the_clinic.networks import (
    Reverser,
    Rounded,
    Stack,
    StepByStep,
    set_recurrent,
)
from gradcourse.lessons.the_clinic.trials import Classes, Trial, run
from gradcourse.tasks import split_digits, temporal_order

__all__ = ["DEFAULT", "NOTHING", "SITUATIONS", "Situation", "mixed_precision"]

Array = NDArray[Any]

RADIUS = 1.2


def he(model: nn.Module) -> None:
    """Give a network He's weights."""
    initialize(model, "he_normal")


def rotate(model: StepByStep) -> None:
    """Give a recurrent network a recurrent matrix that is a multiple of an orthogonal one."""
    assert isinstance(model.read.layer, nn.RNN)
    set_recurrent(model.read.layer, nn.init.orthogonal_, RADIUS)


NOTHING, DEFAULT = "nothing", "the default line"
# Clip 1.0, He, warmup and a guard against NaN; LayerNorm is part of the network.
LINE: dict[str, Any] = {"first": he, "max_norm": 1.0, "warmup": 0.3, "guard": True}


@dataclass(frozen=True)
class Situation:
    """A row of the decision table.

    Attributes
    ----------
    trials
        Names of the treatments, the first of them nothing.
    run
        ``run(seeds, rate)`` yields the share of work done and the scores so far.
    guess
        Theory: the score of an answer that does not look at the input.
    learned
        The score from which on a network counts as trained.
    """

    trials: tuple[Trial, ...]
    run: Callable[[range, float], Iterator[tuple[float, Array]]]
    guess: float
    learned: float


def _on(task: Callable[[int], Classes], trials: tuple[Trial, ...]) -> Callable[..., Any]:
    def start(seeds: range, rate: float) -> Iterator[tuple[float, Array]]:
        return run(task(seeds.start), trials, seeds, rate)

    return start


def _sgd(parameters: Iterable[Tensor], rate: float, base: float, momentum: float) -> Optimizer:
    return SGD(parameters, lr=base * rate, momentum=momentum)


def _adam(parameters: Iterable[Tensor], rate: float, base: float, eps: float = 1e-8) -> Optimizer:
    return Adam(parameters, lr=base * rate, eps=eps)


def _draws(seed: int, among: int, batch: int, steps: int) -> list[Tensor]:
    source = torch.Generator().manual_seed(seed)
    return [torch.randint(among, (batch,), generator=source) for _ in range(steps)]


def _digits(seed: int, optimizer: Any, batch: int, steps: int, weight: float = 1.0) -> Classes:
    (inputs, labels), (others, answers) = split_digits(1500, seed)
    draws = _draws(seed, 1500, batch, steps)
    every, all_labels = torch.cat([inputs, others]), torch.cat([labels, answers])
    return Classes(every, all_labels, draws, 1500, optimizer, weight)


def _order(seed: int) -> Classes:
    symbols, labels = temporal_order(20 * 150 + 300, 12, seed)
    draws = list(torch.arange(20 * 150).view(-1, 20))
    inputs = functional.one_hot(symbols, 6).float()
    return Classes(inputs, labels, draws, 20 * 150, partial(_sgd, base=0.26, momentum=0.0))


def _reversal(seed: int) -> Classes:
    source = torch.Generator().manual_seed(seed)
    symbols = torch.randint(6, (16 * 80 + 100, 6), generator=source)
    draws = list(torch.arange(16 * 80).view(-1, 16))
    return Classes(symbols, symbols.flip(1), draws, 16 * 80, partial(_adam, base=0.015))


# A deep ReLU network on digits

plain = partial(Stack, 64, 32, 12, 10)
normed = partial(Stack, 64, 32, 12, 10, "layer")
DEEP = (
    Trial(NOTHING, plain),
    Trial("clip 1", plain, max_norm=1.0),
    Trial("He", plain, first=he),
    Trial("LayerNorm", normed),
    Trial("He + clip", plain, first=he, max_norm=1.0),
    Trial("He + clip + LayerNorm", normed, first=he, max_norm=1.0),
    Trial(DEFAULT, normed, **LINE),
)

# A recurrent network that has to remember

recurrent = partial(StepByStep, nn.RNN, 6, 32, 4, radius=RADIUS)
cut = partial(StepByStep, nn.RNN, 6, 32, 4, radius=RADIUS, detach_every=4)
gated = partial(StepByStep, nn.LSTM, 6, 32, 4)
RECURRENT = (
    Trial(NOTHING, recurrent),
    Trial("clip 1", recurrent, max_norm=1.0),
    Trial("orthogonal", recurrent, first=rotate),
    Trial("clip + orthogonal", recurrent, first=rotate, max_norm=1.0),
    Trial("clip + orthogonal + TBPTT", cut, first=rotate, max_norm=1.0),
    Trial("LSTM + clip", gated, max_norm=1.0),
    Trial(DEFAULT, recurrent, **LINE),
)

# A transformer

bare, behind, front = (partial(Reverser, 6, 6, 32, 4, norm) for norm in ("none", "post", "pre"))
TRANSFORMER = (
    Trial(NOTHING, bare),
    Trial("LayerNorm behind", behind),
    Trial("LayerNorm in front", front),
    Trial("warmup", bare, warmup=0.5),
    Trial("LayerNorm behind + warmup", behind, warmup=0.5),
    Trial("LayerNorm in front + warmup", front, warmup=0.5),
    Trial(DEFAULT, front, **LINE),
)

# A GAN

free, bounded, levelled = Critic, partial(Critic, spectral=True), partial(Critic, normed=True)
LOW = 0.05
GAN = (
    Trial(NOTHING, free),
    Trial("clip 1", free, max_norm=1.0),
    Trial("spectral norm", bounded),
    Trial("lower lr", free, rate=LOW),
    Trial("spectral norm + lower lr", bounded, rate=LOW),
    Trial(DEFAULT, levelled, **LINE),
)

# Mixed precision, with a loss that is as small as an auxiliary loss may be

single, half, brain = (
    partial(Rounded, 64, 32, 3, 10, dtype)
    for dtype in (torch.float32, torch.float16, torch.bfloat16)
)
half_normed = partial(Rounded, 64, 32, 3, 10, torch.float16, "layer")
MIXED = (
    Trial("float16, nothing", half),
    Trial("float32, nothing", single),
    Trial("bfloat16, nothing", brain),
    Trial("float16 + clip", half, max_norm=1.0),
    Trial("float16 + loss scale", half, loss_scale=2.0**16),
    Trial("float16, the default line", half_normed, **LINE),
)


def mixed_precision(weight: float) -> Situation:
    """Return the last row of the table, with a loss that is multiplied by ``weight``."""
    optimizer = partial(_adam, base=0.003, eps=1e-15)
    task = partial(_digits, optimizer=optimizer, batch=32, steps=100, weight=weight)
    return Situation(MIXED, _on(task, MIXED), 0.1, 0.8)


SITUATIONS: dict[str, Situation] = {
    "deep ReLU network": Situation(
        DEEP,
        _on(
            partial(_digits, optimizer=partial(_sgd, base=0.02, momentum=0.9), batch=32, steps=120),
            DEEP,
        ),
        0.1,
        0.5,
    ),
    "RNN": Situation(RECURRENT, _on(_order, RECURRENT), 0.25, 0.8),
    "transformer": Situation(TRANSFORMER, _on(_reversal, TRANSFORMER), 1 / 6, 0.7),
    "GAN": Situation(GAN, partial(run_adversaries, GAN), 0.0, 0.7),
    "mixed precision": mixed_precision(1e-6),
}
