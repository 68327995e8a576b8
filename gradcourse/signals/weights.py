"""Standard normal base weights, drawn once for each seed and layer and then kept."""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = [
    "CACHE_BYTES",
    "BaseWeights",
    "base_weights",
    "measuring",
    "one_thread_is_best",
    "random_generator",
]

CACHE_BYTES = 200_000_000
"""Peak memory of one set of kept weights, in bytes; two sets are kept.

Depth 200 at width 64 with 8 seeds is 27 MB. Layers beyond the limit are drawn again each time, with
the same numbers.
"""
# The same for each piece of memory to work in.
SCRATCH_BYTES = 30_000_000
# Products of wider layers gain from a second thread.
NARROW = 256

_turn = threading.RLock()


def random_generator(seed: int, layer: int) -> np.random.Generator:
    """Return the source of all random numbers of one layer of one seed; layer 0 is the loss."""
    return np.random.default_rng([seed, layer])


class BaseWeights:
    """Base weights of shape (seeds, width, fan_in) and biases (seeds, 1, width), layer by layer.

    A seed's numbers depend on the seed, the layer and the sizes only: a network of 60 layers is the
    first 60 layers of one of 100, and seed 3 is the same among 4 seeds or 40.
    """

    def __init__(
        self, features: int, width: int, first_seed: int, seeds: int, device: torch.device
    ) -> None:
        self.features = features
        self.width = width
        self.seeds = range(first_seed, first_seed + seeds)
        self.device = device
        self._kept: list[tuple[Tensor, Tensor]] = []
        self._bytes = 0
        self._cotangents: dict[int, Tensor] = {}
        self._scratch: dict[str, Tensor] = {}

    def layer(self, layer: int) -> tuple[Tensor, Tensor]:
        """Return base weights and biases of a layer; the first layer is 1."""
        while len(self._kept) < layer and self._bytes < CACHE_BYTES:
            drawn = self._draw(len(self._kept) + 1)
            self._kept.append(drawn)
            self._bytes += sum(part.nbytes for part in drawn)
        return self._kept[layer - 1] if layer <= len(self._kept) else self._draw(layer)

    def cotangents(self, batch: int) -> Tensor:
        """Return random numbers of unit norm for each seed, shape (seeds, batch, width)."""
        if batch not in self._cotangents:
            draws = [
                random_generator(seed, 0).standard_normal((batch, self.width))
                for seed in self.seeds
            ]
            unit = np.stack([draw / np.linalg.norm(draw) for draw in draws]).astype(np.float32)
            # One batch is looked at again and again; another takes its place.
            self._cotangents = {batch: torch.from_numpy(unit).to(self.device)}
        return self._cotangents[batch]

    def scratch(self, name: str, depth: int, *shape: int) -> Tensor:
        """Return memory of shape (depth, seeds, *shape) to write into, the same as last time.

        Fresh memory costs more than what is computed in it: the system clears each page of it.
        """
        kept = self._scratch.get(name)
        if kept is None or len(kept) < depth or kept.shape[2:] != shape:
            # With room to grow, for a slider that goes on to more layers.
            deeper = 32 * -(-depth // 32)
            sizes = (deeper, len(self.seeds), *shape)
            kept = torch.empty(sizes, dtype=torch.float32, device=self.device)
            if kept.nbytes <= SCRATCH_BYTES:
                self._scratch[name] = kept
        return kept[:depth]

    def _draw(self, layer: int) -> tuple[Tensor, Tensor]:
        fan_in = self.features if layer == 1 else self.width
        weight = np.empty((len(self.seeds), self.width, fan_in), dtype=np.float32)
        bias = np.empty((len(self.seeds), 1, self.width), dtype=np.float32)
        for row, seed in enumerate(self.seeds):
            generator = random_generator(seed, layer)
            generator.standard_normal(out=weight[row], dtype=np.float32)
            generator.standard_normal(out=bias[row], dtype=np.float32)
        return torch.from_numpy(weight).to(self.device), torch.from_numpy(bias).to(self.device)


@functools.lru_cache(maxsize=2)
def base_weights(
    features: int, width: int, first_seed: int, seeds: int, device: torch.device
) -> BaseWeights:
    """Return the kept base weights of these sizes, or begin a new set in place of the oldest."""
    return BaseWeights(features, width, first_seed, seeds, device)


def one_thread_is_best(device: torch.device, width: int) -> bool:
    """Return whether layers are so narrow that a second thread would not help."""
    return device.type == "cpu" and width <= NARROW


@contextlib.contextmanager
def measuring(on_one_thread: bool = True) -> Iterator[None]:
    """Measure inside of a ``with`` block, where no autograd graph is made.

    One measurement at a time: kept weights, memory to work in and torch's number of threads belong
    to the whole process. In torch's inference mode nothing that is kept could be written to later,
    and an activation of one's own would have no slope. On one thread layers this small take less
    time than waking a second one, and on a busy machine the threads wait for each other: up to 20
    times slower was measured.
    """
    with _turn, torch.inference_mode(False), torch.no_grad():
        before = torch.get_num_threads()
        if on_one_thread and before > 1:
            torch.set_num_threads(1)
        try:
            yield
        finally:
            if on_one_thread and before > 1:
                torch.set_num_threads(before)


def log10_of(norms: Tensor) -> NDArray[np.float64]:
    """Return log10 of norms, in float64; -inf for 0."""
    with np.errstate(divide="ignore"):
        return np.asarray(np.log10(norms.cpu().numpy().astype(np.float64)))
