"""The twelve patients: training runs that are sick, each of one cause."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from gradcourse import theory
from gradcourse.initialization import initialize
from gradcourse.lessons.the_clinic.networks import Reader, Reverser, Stack
from gradcourse.lessons.the_clinic.training import Setup
from gradcourse.models import MLP, seeded
from gradcourse.tasks import large_targets, split_digits, temporal_order

__all__ = [
    "FRONT",
    "ORTHOGONAL",
    "RAISE",
    "SEQUENCES",
    "SKIPS",
    "SOFTPLUS",
    "STANDARD",
    "UNSCALE",
    "batch_norm_at_init",
    "clip_before_unscale",
    "dead_units",
    "default_weights",
    "large_radius",
    "large_rate",
    "log_of_a_negative",
    "no_warmup",
    "post_norm",
    "raw_targets",
    "small_max_norm",
    "wrong_detach",
]

# The treatments that a patient may know.
SKIPS, STANDARD, UNSCALE = "add skips", "standardise the data", "unscale before clipping"
RAISE, SEQUENCES = "raise max_norm to 1", "detach only between sequences"
FRONT, SOFTPLUS = "norm in front of the branch", "softplus inside the logarithm"
ORTHOGONAL = "recurrent matrix of radius 1"

BATCH = 64
DIGITS = 1500


def default_weights(seed: int, treatment: str) -> Setup:
    """Stack thirty layers with the weights that ``nn.Linear`` comes with."""
    model = seeded(seed, lambda: Stack(64, 64, 29, 10, skip=treatment == SKIPS))
    return _on_digits(model, seed, 0.02, momentum=0.9, max_norm=1.0, steps=150)


def raw_targets(seed: int, treatment: str) -> Setup:
    """Fit targets with a standard deviation of 100 to 250."""
    inputs, targets = large_targets(seed)
    if treatment == STANDARD:
        targets = (targets - targets[:500].mean()) / targets[:500].std()
    model = _he(seed, lambda: Stack(20, 25, 1, 1, skip=treatment == SKIPS))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    return _regression(model, optimizer, inputs, targets, _draws(seed, 500, 32, 200))


def clip_before_unscale(seed: int, treatment: str) -> Setup:
    """Clip gradients that still hold the scale of a gradient scaler."""
    model = _he(seed, lambda: Stack(64, 48, 3, 10, skip=treatment == SKIPS))
    setup = _on_digits(model, seed, 0.1, max_norm=1.0)
    scaler = torch.amp.GradScaler("cpu")
    return dataclasses.replace(setup, scaler=scaler, unscale=treatment == UNSCALE)


def small_max_norm(seed: int, treatment: str) -> Setup:
    """Leave SGD a thousandth of the gradient."""
    model = _he(seed, lambda: Stack(64, 48, 3, 10, skip=treatment == SKIPS))
    return _on_digits(model, seed, 0.1, max_norm=1.0 if treatment == RAISE else 1e-3)


def dead_units(seed: int, treatment: str) -> Setup:
    """Give pixels from 0 to 16 to ReLUs, which the first steps push below zero for good."""
    model = _he(seed, lambda: MLP(64, 48, 3, 10, "relu"))
    return _on_digits(model, seed, 0.2, raw=treatment != STANDARD)


def large_rate(seed: int, _treatment: str) -> Setup:
    """Fit a linear model, all rows in each step, with a learning rate of 2.2 over the curvature."""
    inputs, targets = large_targets(seed)
    targets = (targets - targets[:500].mean()) / targets[:500].std()
    model = seeded(seed, lambda: nn.Linear(20, 1))
    with_bias = torch.cat([inputs[:500], torch.ones(500, 1)], dim=1)
    curvature = float(torch.linalg.eigvalsh(2 * with_bias.T @ with_bias / 500)[-1])
    rate = 1.1 * theory.largest_stable_learning_rate(curvature)
    optimizer = torch.optim.SGD(model.parameters(), lr=rate)
    rows = [torch.arange(500)] * 200
    return _regression(model, optimizer, inputs, targets, rows)


def batch_norm_at_init(seed: int, treatment: str) -> Setup:
    """Stack forty layers with a BatchNorm each, and no skip."""
    model = seeded(seed, lambda: Stack(64, 32, 40, 10, "batch", skip=treatment == SKIPS))
    return _on_digits(model, seed, 0.03, momentum=0.9, steps=100)


def log_of_a_negative(seed: int, treatment: str) -> Setup:
    """Fit counts with a Poisson loss whose rate is the bare output of a linear layer."""
    source = torch.Generator().manual_seed(seed)
    inputs = torch.randn(1000, 10, generator=source)
    rates = torch.exp(0.5 + inputs @ (0.3 * torch.randn(10, generator=source)))
    counts = torch.poisson(rates, generator=source)
    model = _he(seed, lambda: Stack(10, 32, 2, 1, skip=treatment == SKIPS))
    with torch.no_grad():
        # A good start: nearly the mean for every row.
        last = model[-1]
        assert isinstance(last, nn.Linear)
        last.weight.mul_(0.1)
        last.bias.fill_(float(counts[:500].mean()))

    def loss(rows: Tensor | slice) -> Tensor:
        output = model(inputs[rows])[:, 0]
        rate = functional.softplus(output) if treatment == SOFTPLUS else output
        count = counts[rows]
        # What the best rate of all, the count itself, would leave is taken off.
        return (rate - count * torch.log(rate) + torch.xlogy(count, count) - count).mean()

    mean, held_out = counts[:500].mean(), counts[500:]

    def flat(rows: Tensor) -> Tensor:
        return (mean - rows * mean.log() + torch.xlogy(rows, rows) - rows).mean()

    def score() -> float:
        with torch.no_grad():
            return float(1 - loss(slice(500, None)) / flat(held_out))

    guess = float(flat(counts[:500]))
    draws = _draws(seed, 500, BATCH, 200)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02)
    return Setup(model, optimizer, lambda step: loss(draws[step]), score, guess, 200)


def large_radius(seed: int, treatment: str) -> Setup:
    """Read a digit in 16 strokes with a ReLU-RNN, whose recurrent matrix has radius 4."""
    radius = 1.0 if treatment == ORTHOGONAL else 4.0
    model = seeded(seed, lambda: Reader(4, 48, 10, radius, "relu"))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    return _on_digits(model, seed, optimizer=optimizer, shape=(16, 4))


def wrong_detach(seed: int, treatment: str) -> Setup:
    """Cut an RNN's state off every eight symbols of a sequence of twenty."""
    every = 0 if treatment == SEQUENCES else 8
    model = seeded(seed, lambda: Reader(6, 32, 4, detach_every=every))
    symbols, labels = temporal_order(20 * 250 + 500, 20, seed)
    inputs = functional.one_hot(symbols, 6).float()
    rows = list(torch.arange(20 * 250).view(-1, 20))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    return _classes(model, optimizer, inputs, labels, rows, 20 * 250, max_norm=1.0)


def no_warmup(seed: int, treatment: str) -> Setup:
    """Start a post-norm transformer at its full learning rate."""
    return _transformer(seed, 0.016, 0, treatment)


def post_norm(seed: int, treatment: str) -> Setup:
    """Give a post-norm transformer a learning rate that only a pre-norm one bears."""
    return _transformer(seed, 0.04, 50, treatment)


# What they have in common


def _he(seed: int, make: Callable[[], nn.Sequential]) -> nn.Sequential:
    model = seeded(seed, make)
    seeded(seed, lambda: initialize(model, "he_normal"))
    return model


def _draws(seed: int, among: int, batch: int, steps: int) -> list[Tensor]:
    source = np.random.default_rng(seed)
    return [torch.from_numpy(source.integers(0, among, batch)) for _ in range(steps)]


def _on_digits(
    model: nn.Module,
    seed: int,
    learning_rate: float = 0.0,
    momentum: float = 0.0,
    optimizer: torch.optim.Optimizer | None = None,
    max_norm: float = math.inf,
    raw: bool = False,
    shape: tuple[int, ...] = (64,),
    steps: int = 200,
) -> Setup:
    (inputs, labels), held_out = split_digits(DIGITS, seed)
    inputs, labels = torch.cat([inputs, held_out[0]]), torch.cat([labels, held_out[1]])
    if raw:
        inputs = _raw_digits(seed)
    if optimizer is None:
        optimizer = torch.optim.SGD(model.parameters(), lr=learning_rate, momentum=momentum)
    draws = _draws(seed, DIGITS, BATCH, steps)
    return _classes(model, optimizer, inputs.reshape(-1, *shape), labels, draws, DIGITS, max_norm)


def _transformer(seed: int, learning_rate: float, warmup: int, treatment: str) -> Setup:
    norm = "pre" if treatment == FRONT else "post"
    model = seeded(seed, lambda: Reverser(6, 6, 32, 4, norm))
    source = torch.Generator().manual_seed(seed)
    symbols = torch.randint(6, (16 * 100 + 200, 6), generator=source)
    rows = list(torch.arange(16 * 100).view(-1, 16))
    optimizer = torch.optim.Adam(model.parameters(), lr=learning_rate)
    setup = _classes(model, optimizer, symbols, symbols.flip(1), rows, 16 * 100)
    return dataclasses.replace(setup, warmup=warmup)


def _classes(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    inputs: Tensor,
    labels: Tensor,
    draws: Sequence[Tensor],
    last: int,
    max_norm: float = math.inf,
) -> Setup:
    """Return a classification; the rows from ``last`` on are held out."""

    def loss(step: int) -> Tensor:
        rows = draws[step]
        return functional.cross_entropy(model(inputs[rows]).flatten(0, -2), labels[rows].flatten())

    def score() -> float:
        model.eval()
        with torch.no_grad():
            outputs = model(inputs[last:])
        right = (outputs.argmax(-1) == labels[last:]).float().mean()
        return float(right) if outputs.isfinite().all() else 0.0

    guess = math.log(int(labels.max()) + 1)
    return Setup(model, optimizer, loss, score, guess, len(draws), max_norm)


def _regression(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    inputs: Tensor,
    targets: Tensor,
    draws: Sequence[Tensor],
) -> Setup:
    """Return a regression on 500 rows; its score is the share of the variance of the others."""

    def loss(step: int) -> Tensor:
        rows = draws[step]
        return functional.mse_loss(model(inputs[rows])[:, 0], targets[rows])

    def score() -> float:
        with torch.no_grad():
            error = functional.mse_loss(model(inputs[500:])[:, 0], targets[500:])
        return float(1 - error / targets[500:].var())

    guess = float(targets[:500].var(correction=0))
    return Setup(model, optimizer, loss, score, guess, len(draws))


def _raw_digits(seed: int) -> Tensor:
    from sklearn.datasets import load_digits

    images, _ = load_digits(return_X_y=True)
    order = np.random.default_rng(seed).permutation(len(images))
    return torch.from_numpy(images[order].astype(np.float32))
