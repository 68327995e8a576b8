"""Sentences on trial: what breaks a network with a large radius, and what an LSTM."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn.functional import mse_loss

from gradcourse.lessons.recurrent_networks.reach import NETWORKS, reached_back
from gradcourse.models import seeded
from gradcourse.tasks import adding_problem
from gradcourse.training import one_thread

__all__ = ["first_nonfinite_step", "measure_grown"]

Array = NDArray[Any]

LENGTH, HIDDEN, BATCH = 100, 32, 8


@one_thread()
def first_nonfinite_step(
    nonlinearity: str,
    radius: float,
    steps: int = 10,
    seeds: int = 5,
    first_seed: int = 0,
    *,
    length: int = LENGTH,
) -> Array:
    """Train recurrent networks on the adding problem with SGD, never clipped, until a loss breaks.

    Parameters
    ----------
    nonlinearity
        ``"tanh"`` or ``"relu"``.
    radius
        Spectral radius of the recurrent matrix.
    steps
        Steps at learning rate 0.1.
    seeds, first_seed
        How many networks, and the first of their seeds.
    length
        Of the sequences, 2 or more.

    Returns
    -------
    array of shape (seeds,)
        The first step whose loss is NaN or Inf, counted from 1, or inf.
    """
    inputs, targets = adding_problem(steps * BATCH, length, first_seed)
    broken = np.full(seeds, np.inf)
    for seed in range(seeds):
        layer = seeded(
            first_seed + seed,
            lambda: nn.RNN(2, HIDDEN, nonlinearity=nonlinearity, batch_first=True),
        )
        output = seeded(first_seed + seed, lambda: nn.Linear(HIDDEN, 1))
        recurrent = layer.get_parameter("weight_hh_l0")
        with torch.no_grad():
            recurrent.mul_(radius / torch.linalg.eigvals(recurrent).abs().max())
        optimizer = torch.optim.SGD([*layer.parameters(), *output.parameters()], lr=0.1)
        pairs = zip(torch.split(inputs, BATCH), torch.split(targets, BATCH), strict=True)
        for step, (batch, target) in enumerate(pairs, start=1):
            loss = mse_loss(output(layer(batch)[0][:, -1])[:, 0], target)
            if not bool(loss.isfinite()):
                broken[seed] = step
                break
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
    return broken


def measure_grown(network: str, factor: float, seeds: int = 6, first_seed: int = 0) -> Array:
    """Measure what is left of a gradient when recurrent weights are larger than torch's.

    Parameters
    ----------
    network
        ``"tanh RNN"``, ``"LSTM"`` or ``"GRU"``, of 32 units.
    factor
        Multiplies its recurrent weights.
    seeds, first_seed
        How many networks, and the first of their seeds.

    Returns
    -------
    array of shape (seeds,)
        log10 of the gradient's norm 99 steps back, relative to the last of 100 steps.
    """

    def make() -> nn.RNN | nn.LSTM | nn.GRU:
        layer = NETWORKS[network](8, HIDDEN).double()
        with torch.no_grad():
            layer.get_parameter("weight_hh_l0").mul_(factor)
        return layer

    layers = [seeded(first_seed + seed, make) for seed in range(seeds)]
    source = torch.Generator().manual_seed(first_seed)
    inputs = torch.randn(seeds, LENGTH, BATCH, 8, generator=source, dtype=torch.float64)
    return np.asarray(reached_back(layers, inputs, first_seed)[:, -1])
