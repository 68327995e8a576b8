"""What the runs of this lesson share: batches of digits, their loss, and rows of numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from gradcourse.tasks import digits
from gradcourse.training import Pace, one_thread

__all__ = ["Array", "Batch", "Rows", "batches", "cross_entropy", "in_pieces", "log10"]

Array = NDArray[Any]
Batch = tuple[Tensor, Tensor]

# So many seconds of work go by before a picture shows how far a run is.
PIECE = 0.15


@dataclass(frozen=True)
class Rows:
    """One quantity of several runs over the steps, as log10; arrays of shape (steps,).

    Attributes
    ----------
    median, low, high
        Over the runs in which it was finite; NaN where there was none.
    """

    median: Array
    low: Array
    high: Array

    @classmethod
    def of(cls, values: Array) -> Rows:
        """Sum up values of shape (runs, steps)."""
        values = np.where(np.isfinite(values), values, np.nan)
        empty = np.isnan(values).all(axis=0)
        filled = np.where(empty, 1.0, values)
        found = (np.nanmedian(filled, 0), np.nanmin(filled, 0), np.nanmax(filled, 0))
        return cls(*(log10(np.where(empty, np.nan, one)) for one in found))

    def ends(self) -> list[float]:
        """Return the lowest and the highest finite number, or nothing."""
        shown = np.concatenate([self.low, self.high])
        shown = shown[np.isfinite(shown)]
        return [float(shown.min()), float(shown.max())] if shown.size else []


def batches(seed: int, size: int = 64) -> Iterator[Batch]:
    """Yield batches of digits for ever, drawn with repetition."""
    inputs, labels = digits()
    generator = torch.Generator().manual_seed(seed)
    while True:
        drawn = torch.randint(len(labels), (size,), generator=generator)
        yield inputs[drawn], labels[drawn]


def cross_entropy(model: nn.Module, batch: Batch) -> Tensor:
    """Return the mean cross-entropy of a model's answers to a batch."""
    inputs, labels = batch
    return nn.functional.cross_entropy(model(inputs), labels)


def in_pieces(go_on: Callable[[int], None], steps: int) -> Iterator[int]:
    """Call ``go_on`` with 1, 2, ... ``steps``, and yield the latest of these from time to time."""
    pace = Pace(PIECE)
    for done in range(1, steps + 1):
        with one_thread():
            go_on(done)
        if done == steps or pace.due():
            yield done
            pace.restart()


def log10(values: Array) -> Array:
    """Return log10, NaN where a value is not finite and -inf where it is 0."""
    with np.errstate(divide="ignore"):
        return np.asarray(np.log10(np.where(np.isfinite(values), values, np.nan)))
