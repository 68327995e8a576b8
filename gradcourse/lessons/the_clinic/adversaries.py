"""Two networks against each other: a generator learns to copy a Gaussian in the plane."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Adam, Optimizer

from gradcourse.lessons.the_clinic.trials import Trial, Trials
from gradcourse.training import Pace, one_thread

__all__ = ["Critic", "distance_to", "run_adversaries"]

Array = NDArray[Any]

MEAN, STD = (2.0, 1.0), 0.5
STEPS, BATCH = 180, 32
YIELD_EVERY = 0.2
# Training goes round in circles: the score is the mean over the last third of the steps.
LATE, EVERY = 2 * STEPS // 3, 8


class Critic(nn.Module):
    """Tells the real points from the generated ones.

    Parameters
    ----------
    spectral
        Whether every weight matrix is divided by its spectral norm.
    normed
        Whether a LayerNorm stands before each ReLU.
    """

    def __init__(self, spectral: bool = False, normed: bool = False) -> None:
        super().__init__()
        self.linear = nn.ModuleList([nn.Linear(2, 16), nn.Linear(16, 16), nn.Linear(16, 1)])
        self.norms = nn.ModuleList(nn.LayerNorm(16) if normed else nn.Identity() for _ in range(2))
        self.spectral = spectral

    def forward(self, points: Tensor) -> Tensor:
        """Return one number for each point, large for what looks real."""
        for number, layer in enumerate(self.linear):
            assert isinstance(layer, nn.Linear)
            # Not torch's spectral_norm, which changes a buffer and so has no rule for vmap.
            size = torch.linalg.matrix_norm(layer.weight, 2) if self.spectral else 1.0
            points = functional.linear(points, layer.weight / size, layer.bias)
            if number < 2:
                points = torch.relu(self.norms[number](points))
        return points


def make_generator() -> nn.Module:
    """Return the generator: two numbers of noise to a point in the plane."""
    return nn.Sequential(nn.Linear(2, 16), nn.ReLU(), nn.Linear(16, 2))


def distance_to(points: Tensor, mean: Sequence[float] = MEAN, std: float = STD) -> Tensor:
    """Return how far the Gaussian through the points is from the real one.

    The Fréchet distance between ``N(m, C)`` and ``N(mean, std**2 I)``: the root of
    ``|m - mean|**2 + tr (C**(1/2) - std I)**2`` (Dowson & Landau 1982).

    Parameters
    ----------
    points
        Shape (networks, points, 2).

    Returns
    -------
    Tensor
        Shape (networks,).
    """
    centre = points.mean(dim=1)
    around = points - centre[:, None]
    spread = around.mT @ around / points.shape[1]
    # LAPACK refuses what is not finite.
    whole = spread.isfinite().all(dim=2).all(dim=1)
    roots = torch.linalg.eigvalsh(spread[whole]).clamp(min=0).sqrt()
    far = torch.full((len(points),), torch.inf)
    apart = (centre[whole] - torch.tensor(mean)).square().sum(dim=1)
    far[whole] = (apart + (roots - std).square().sum(dim=1)).sqrt()
    return far


def run_adversaries(
    trials: Sequence[Trial], seeds: range, rate: float
) -> Iterator[tuple[float, Array]]:
    """Train a generator and a critic for every trial and seed, as ``trials.run`` does.

    A score is 1 minus the distance to the real Gaussian over that of a generator that always says
    0: 0 to 1.
    """
    makers = list(dict.fromkeys(trial.make for trial in trials))
    scores = np.full((len(trials), len(seeds)), np.nan)
    pace = Pace(YIELD_EVERY)
    zero = float(distance_to(torch.zeros(1, 2, 2)))

    def optimizer(parameters: Iterable[Tensor]) -> Optimizer:
        return Adam(parameters, lr=0.1 * rate, betas=(0.5, 0.999))

    for number, make in enumerate(makers):
        places = [place for place, trial in enumerate(trials) if trial.make is make]
        chosen = [trials[place] for place in places]
        critics = Trials(chosen, seeds, optimizer, STEPS)
        makes = [_generated(trial) for trial in chosen]
        generators = Trials(makes, seeds, optimizer, STEPS)
        source = torch.Generator().manual_seed(seeds.start)
        late: list[Tensor] = []
        for step in range(STEPS):
            with one_thread():
                _step(critics, generators, source)
                if step % EVERY == 0 or step + 1 == STEPS:
                    with torch.no_grad():
                        noise = torch.randn(256, 2, generator=source)
                        late.append(distance_to(generators.ensemble(noise)))
            if pace.due() or step + 1 == STEPS:
                counted = late[-max(1, (STEPS - LATE) // EVERY) :]
                mean = torch.stack(counted).mean(dim=0).double().numpy()
                scores[places] = np.clip(1 - mean / zero, 0, 1).reshape(len(places), -1)
                yield (number + (step + 1) / STEPS) / len(makers), scores.copy()
                pace.restart()


def _generated(trial: Trial) -> Trial:
    return dataclasses.replace(trial, make=make_generator)


def _step(critics: Trials, generators: Trials, source: torch.Generator) -> None:
    shape = (len(critics), BATCH, 2)
    real = torch.tensor(MEAN) + STD * torch.randn(shape, generator=source)
    noise = torch.randn(shape, generator=source)
    judge = functools.partial(critics.ensemble, shared=False)
    made = generators.ensemble(noise, shared=False)
    # The generator's own loss would leave a gradient in the critic, which its next step clears.
    right = functional.softplus(-judge(real)) + functional.softplus(judge(made.detach()))
    critics.step(right.mean(dim=(1, 2)))
    generators.step(functional.softplus(-judge(made)).mean(dim=(1, 2)))
