"""He's experiment in miniature: deep ReLU networks on digits, three first weights."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import cross_entropy

from gradcourse import theory
from gradcourse.checks import at_least
from gradcourse.initialization import initialize
from gradcourse.lessons.first_weights.stacked import StackedMLP, accuracy_on, train_on
from gradcourse.live import MEASURED, PALETTE, THEORY, Panel
from gradcourse.models import MLP
from gradcourse.tasks import digits
from gradcourse.training import one_thread

__all__ = [
    "SCHEMES",
    "Miniature",
    "draw_miniature",
    "first_loss",
    "measure_miniature",
    "ready_networks",
    "train_plain",
]

Array = NDArray[np.float64]

# What a person says, and what gradcourse.initialization calls it.
SCHEMES = {"He": "he_normal", "Xavier": "xavier_normal", "default": "torch"}
WIDTH, BATCH, AT_ONCE = 128, 64, 12
COLORS = {"He": MEASURED, "Xavier": PALETTE[2], "default": PALETTE[3]}
SEEDS = 2


@dataclass(frozen=True, eq=False)
class Miniature:
    """Deep ReLU networks that learn digits from three first weights.

    Attributes
    ----------
    depth
        Hidden layers.
    optimizer
        ``"SGD"`` or ``"Adam"``.
    steps
        Steps so far at which the accuracy was measured, shape (times,).
    progress
        The share of the steps that are done.
    accuracy
        Share of right answers by scheme, each of shape (times, seeds).
    gradient
        log10 of the gradient's norm at the input before the first step, relative to the last hidden
        layer, by scheme: what wide layers do to it.
    guessing
        The accuracy of guessing, which theory expects of a network whose signal is lost.
    """

    depth: int
    optimizer: str
    steps: Array
    progress: float
    accuracy: dict[str, Array]
    gradient: dict[str, float]
    guessing: float = 0.1

    def summary(self) -> str:
        """Return the picture in one line."""
        ends = ", ".join(f"{name} {rows[-1].mean():.0%}" for name, rows in self.accuracy.items())
        lost = ", ".join(
            f"{name} 10^{round(power, 1) + 0.0:.1f}" for name, power in self.gradient.items()
        )
        return (
            f"{self.depth} ReLU layers, {self.optimizer}, step {self.steps[-1]:.0f}: accuracy "
            f"{ends}; theory: the first gradient at the input is {lost} of the last layer's"
        )


def ready_networks(
    scheme: str,
    depth: int,
    seeds: int = SEEDS,
    first_seed: int = 0,
    width: int = WIDTH,
    activation: str = "relu",
) -> list[MLP]:
    """Return networks for digits with the first weights of a scheme, a name in ``SCHEMES``."""
    if scheme not in SCHEMES:
        raise ValueError(f"scheme must be one of {', '.join(SCHEMES)}, got {scheme!r}")
    networks = []
    for seed in range(first_seed, first_seed + seeds):
        network = MLP(64, width, depth, 10, activation)
        initialize(network, SCHEMES[scheme], generator=torch.Generator().manual_seed(seed))
        networks.append(network)
    return networks


@one_thread()
@torch.no_grad()
def first_loss(mode: str, first_seed: int = 0, seeds: int = 16) -> float:
    """Return the mean first loss on digits of three ReLU layers with He's weights in a mode.

    Parameters
    ----------
    mode
        ``"fan_in"`` or ``"fan_out"``.
    first_seed, seeds
        The first of the seeds, and how many.
    """
    images, labels = digits()
    losses = []
    for seed in range(first_seed, first_seed + seeds):
        network = MLP(64, WIDTH, 3, 10, "relu")
        source = torch.Generator().manual_seed(seed)
        initialize(network, "he_normal", mode=mode, generator=source)  # type: ignore[arg-type]
        losses.append(float(cross_entropy(network(images), labels)))
    return float(np.mean(losses))


def measure_miniature(
    depth: int = 30,
    optimizer: str = "SGD",
    steps: int = 300,
    first_seed: int = 0,
) -> Iterator[Miniature]:
    """Train ReLU networks of width 128 on digits, two seeds of each scheme, all in one batch (T36).

    Parameters
    ----------
    depth
        Hidden layers, 1 or more.
    optimizer
        ``"SGD"``, with learning rate 0.002 and momentum 0.9, or ``"Adam"``, with 0.001.
    steps
        On 64 digits each, 1 or more.
    first_seed
        Of weights and batches.

    Yields
    ------
    Miniature
        So far.
    """
    depth, steps = at_least(1, "depth", depth), at_least(1, "steps", steps)
    nets = [net for name in SCHEMES for net in ready_networks(name, depth, SEEDS, first_seed)]
    stack = StackedMLP(nets, "relu")
    chosen = _optimizer(optimizer, stack)
    images, labels = digits()
    order = _order(len(images), steps, first_seed)
    gradient = {name: _lost_in_theory(name, depth) for name in SCHEMES}
    seen, found = [0], [accuracy_on(stack, images[::6], labels[::6])]
    for start in range(0, steps, AT_ONCE):
        rows = order[start : start + AT_ONCE]
        train_on(stack, chosen, [(images[row], labels[row]) for row in rows])
        seen.append(start + len(rows))
        found.append(accuracy_on(stack, images[::6], labels[::6]))
        split = np.stack(found).reshape(len(found), len(SCHEMES), SEEDS)
        accuracy = {name: split[:, place] for place, name in enumerate(SCHEMES)}
        times = np.array(seen, dtype=np.float64)
        yield Miniature(depth, optimizer, times, seen[-1] / steps, accuracy, gradient)


def _optimizer(name: str, stack: StackedMLP, **options: Any) -> torch.optim.Optimizer:
    if name == "SGD":
        return torch.optim.SGD(stack.parameters(), **{"lr": 0.002, "momentum": 0.9, **options})
    if name == "Adam":
        return torch.optim.Adam(stack.parameters(), **{"lr": 0.001, **options})
    raise ValueError(f"optimizer must be one of SGD, Adam, got {name!r}")


def _order(images: int, steps: int, first_seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(first_seed)
    return torch.randint(images, (steps, BATCH), generator=generator)


def train_plain(
    scheme: str,
    depth: int,
    optimizer: str = "SGD",
    first_seed: int = 0,
    *,
    steps: int = 240,
    activation: str = "relu",
    **options: Any,
) -> tuple[float, Array]:
    """Train two networks of one scheme on digits, at any setting of the optimizer.

    Parameters
    ----------
    scheme
        A name in ``SCHEMES``.
    depth, optimizer, steps, first_seed
        As for :func:`measure_miniature`.
    activation
        A name that ``gradcourse.models`` knows.
    **options
        Of the optimizer, in place of those of :func:`measure_miniature`.

    Returns
    -------
    accuracy : float
        The mean share of right answers at the end.
    moved : array of shape (depth + 1,)
        How far the weights of each layer have moved, the norm of the difference; mean of both.
    """
    depth, steps = at_least(1, "depth", depth), at_least(1, "steps", steps)
    nets = ready_networks(scheme, depth, SEEDS, first_seed, activation=activation)
    stack = StackedMLP(nets, activation)
    chosen = _optimizer(optimizer, stack, **options)
    images, labels = digits()
    first = [weight.detach().clone() for weight in stack.weights]
    order = _order(len(images), steps, first_seed)
    train_on(stack, chosen, [(images[rows], labels[rows]) for rows in order])
    pairs = zip(stack.weights, first, strict=True)
    moved = [float((now.detach() - was).flatten(1).norm(dim=1).mean()) for now, was in pairs]
    return float(accuracy_on(stack, images[::6], labels[::6]).mean()), np.array(moved)


def _lost_in_theory(scheme: str, depth: int) -> float:
    # The input has other fans; of the layers between the first and the last, all are square.
    variance = theory.weight_variance_of(scheme.lower())
    return (depth - 1) / 2 * float(np.log10(theory.chi("relu", 1.0, variance)))


def draw_miniature(result: Miniature, axes: Panel) -> None:
    """Show the accuracy of each network as it learns, beside that of guessing."""
    last = float(result.steps[-1]) / result.progress
    axes.set(xlabel="steps", ylabel="accuracy", ylim=(0, 1.02), xlim=(0, last))
    for name, rows in result.accuracy.items():
        for seed, row in enumerate(rows.T):
            label = {"label": f"measured: {name}"} if seed == 0 else {}
            axes.line(f"{name} {seed}", result.steps, row, color=COLORS[name], **label)
    axes.line(
        "guessing",
        [0, last],
        [result.guessing, result.guessing],
        color=THEORY,
        ls="--",
        label="theory: guessing",
    )
