"""What a monitor has seen, step by step."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["History", "NonFiniteGradient", "Record", "read"]

# The parameter of a gradient on a step that was not recorded parameter by parameter.
UNKNOWN = "?"

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Record:
    """One step, as it lies on the device: nothing of it has been read by the host.

    Attributes
    ----------
    step
        Counted from 0.
    norm
        Before clipping, shape ``()``.
    max_norm
        The limit of this step.
    scaled
        Whether a gradient scaler was at work, for which an overflow is ordinary.
    each
        The norm of each gradient, shape ``(gradients,)``, on the steps that are measured in full.
    places
        The numbers of their parameters, or None if every parameter has a gradient.
    layers
        By path: the norm of the gradient with respect to a layer's output, shape ``()``.
    units
        By path: the shares of dead and of saturated units of an activation, shape ``(2,)``.
    """

    step: int
    norm: Tensor
    max_norm: float | Tensor
    scaled: bool
    each: Tensor | None
    places: tuple[int, ...] | None
    layers: dict[str, Tensor]
    units: dict[str, Tensor]


class NonFiniteGradient(NamedTuple):
    """A gradient that was not finite: at which step, of which parameter, and NaN or Inf."""

    step: int
    parameter: str
    kind: str

    def __str__(self) -> str:
        return f"step {self.step}: the gradient of {self.parameter} holds {self.kind}"


@dataclass(frozen=True)
class History:
    """What a monitor has seen, as arrays on the host; ``n`` steps, ``m`` of them in full.

    Attributes
    ----------
    steps
        Shape ``(n,)``, counted from 0.
    norm
        Before clipping, shape ``(n,)``.
    max_norm
        The limit on each step, ``inf`` for none; shape ``(n,)``.
    clipped
        Whether a finite norm was above its limit, shape ``(n,)``.
    measured
        The steps at which everything below was measured, shape ``(m,)``.
    parameters
        By name: the norm of its gradient, shape ``(m,)``; NaN also where it had none.
    layers
        By path, in the order of the forward pass: the norm of the gradient with respect to the
        layer's output, shape ``(m,)``. Empty unless the monitor was used as a context manager.
    nonfinite
        The gradients that were NaN or Inf, in the order of the steps and of the parameters.
    dead, saturated
        By the path of an activation: the share of its units that are dead, and of its values that
        are saturated, shape ``(m,)``. Empty unless the monitor was used as a context manager.
    """

    steps: NDArray[np.int64]
    norm: Floats
    max_norm: Floats
    clipped: NDArray[np.bool_]
    measured: NDArray[np.int64]
    nonfinite: tuple[NonFiniteGradient, ...]
    parameters: dict[str, Floats]
    layers: dict[str, Floats]
    dead: dict[str, Floats]
    saturated: dict[str, Floats]

    def __len__(self) -> int:
        return len(self.steps)


def read(records: Sequence[Record], names: Sequence[str]) -> History:
    """Bring records to the host, the numbers of each kind in one transfer."""
    norm = _numbers([record.norm for record in records])
    max_norm = np.array([float(record.max_norm) for record in records], dtype=float)
    full = [record for record in records if record.each is not None]
    by_parameter = np.full((len(full), len(names)), math.nan)
    for row, record in zip(by_parameter, full, strict=True):
        assert record.each is not None
        row[list(record.places) if record.places is not None else slice(None)] = record.each.cpu()
    units = {path: _column(full, path) for path in _paths([record.units for record in full])}
    return History(
        steps=np.array([record.step for record in records], dtype=np.int64),
        norm=norm,
        max_norm=max_norm,
        clipped=np.isfinite(norm) & (norm > max_norm),
        measured=np.array([record.step for record in full], dtype=np.int64),
        nonfinite=tuple(_nonfinite(records, norm, names)),
        parameters={name: by_parameter[:, place] for place, name in enumerate(names)},
        layers={
            path: _numbers([record.layers.get(path, _NOTHING) for record in full])
            for path in _paths([record.layers for record in full])
        },
        dead={path: shares[:, 0] for path, shares in units.items()},
        saturated={path: shares[:, 1] for path, shares in units.items()},
    )


def _nonfinite(
    records: Sequence[Record], norm: Floats, names: Sequence[str]
) -> Iterator[NonFiniteGradient]:
    for record, total in zip(records, norm.tolist(), strict=True):
        if math.isfinite(total):
            continue
        if record.each is None:
            yield NonFiniteGradient(record.step, UNKNOWN, _kind(total))
            continue
        places = range(len(names)) if record.places is None else record.places
        for place, value in zip(places, record.each.tolist(), strict=True):
            if not math.isfinite(value):
                yield NonFiniteGradient(record.step, names[place], _kind(value))


def _kind(norm: float) -> str:
    return "NaN" if math.isnan(norm) else "Inf"


_NOTHING = torch.tensor(math.nan)


def _column(records: Sequence[Record], path: str) -> Floats:
    shares = [record.units.get(path, _NOTHING.expand(2)) for record in records]
    return (
        torch.stack([share.to(shares[0].device, torch.float64) for share in shares]).cpu().numpy()
    )


def _numbers(values: Sequence[Tensor]) -> Floats:
    if not values:
        return np.zeros(0)
    device = values[0].device
    wide = torch.stack([value.to(device) for value in values]).cpu()
    return wide.to(torch.float64).numpy()


def _paths(mappings: Sequence[dict[str, Tensor]]) -> list[str]:
    return list(dict.fromkeys(path for mapping in mappings for path in mapping))
