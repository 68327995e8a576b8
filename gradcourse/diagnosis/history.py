"""What a monitor has seen, step by step."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gradcourse.clipping.nonfinite import kind_of
from gradcourse.diagnosis.layers import Noted

__all__ = ["History", "NonFiniteGradient", "Record", "over_steps", "read", "totals"]

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
    names
        Of all parameters that the model has.
    places
        The places in ``names`` of those with a gradient, or None if all have one.
    each
        The norm of each gradient, shape ``(gradients,)``, on steps that are recorded in full.
    noted
        What the hooks have noted of the layers.
    """

    step: int
    norm: Tensor
    max_norm: float | Tensor
    scaled: bool
    names: tuple[str, ...]
    places: tuple[int, ...] | None
    each: Tensor | None
    noted: Noted

    def with_gradient(self) -> tuple[str, ...]:
        """Return the names of the parameters that have a gradient."""
        return self.names if self.places is None else tuple(self.names[k] for k in self.places)


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


def over_steps(columns: dict[str, Floats], *shares: float) -> Floats:
    """Return quantiles of each column's positive numbers, shape ``(shares, columns)``."""
    table = np.full((len(shares), len(columns)), math.nan)
    for place, norms in enumerate(columns.values()):
        usable = norms[np.isfinite(norms) & (norms > 0)]
        if len(usable):
            table[:, place] = np.quantile(usable, shares)
    return table


def read(records: Sequence[Record]) -> History:
    """Bring records to the host, the numbers of each kind in as few transfers as can be."""
    norm, max_norm = totals(records)
    full = [record for record in records if record.each is not None]
    parameters = _table(
        [(record.with_gradient(), record.each) for record in full if record.each is not None],
        known=[name for record in full[:1] for name in record.names],
    )
    seen = [record.noted for record in full]
    return History(
        steps=np.array([record.step for record in records], dtype=np.int64),
        norm=norm,
        max_norm=max_norm,
        clipped=np.isfinite(norm) & (norm > max_norm),
        measured=np.array([record.step for record in full], dtype=np.int64),
        nonfinite=tuple(nonfinite_of(records, norm)),
        parameters=parameters,
        layers=_table([(noted.layers, noted.norms) for noted in seen]),
        dead=_table([(noted.activations, noted.shares[:, 0]) for noted in seen]),
        saturated=_table([(noted.activations, noted.shares[:, 1]) for noted in seen]),
    )


def totals(records: Sequence[Record]) -> tuple[Floats, Floats]:
    """Return the norms before clipping and the limits, each of shape ``(records,)``."""
    limits = [record.max_norm for record in records]
    adaptive = np.array([isinstance(limit, Tensor) for limit in limits], dtype=bool)
    max_norm = np.zeros(len(limits))
    max_norm[~adaptive] = [limit for limit in limits if not isinstance(limit, Tensor)]
    max_norm[adaptive] = _numbers([limit for limit in limits if isinstance(limit, Tensor)])
    return _numbers([record.norm for record in records]), max_norm


def nonfinite_of(records: Iterable[Record], norm: Floats) -> Iterator[NonFiniteGradient]:
    """Yield the gradients that were not finite; ``norm`` has shape ``(records,)``."""
    for record, total in zip(records, norm.tolist(), strict=True):
        if math.isfinite(total):
            continue
        if record.each is None:
            yield NonFiniteGradient(record.step, UNKNOWN, kind_of(total))
            continue
        for name, value in zip(record.with_gradient(), record.each.tolist(), strict=True):
            if not math.isfinite(value):
                yield NonFiniteGradient(record.step, name, kind_of(value))


def _table(
    rows: Sequence[tuple[tuple[str, ...], Tensor]], known: Sequence[str] = ()
) -> dict[str, Floats]:
    """Return the column of each name; NaN in rows that do not have it."""
    # Nearly always all rows have the same names: rows alike are read in one transfer.
    alike: dict[tuple[str, ...], list[int]] = {}
    for place, (names, _) in enumerate(rows):
        alike.setdefault(names, []).append(place)
    ordered = dict.fromkeys(chain(known, *alike))
    columns = {name: place for place, name in enumerate(ordered)}
    table = np.full((len(columns), len(rows)), math.nan)
    for names, places in alike.items():
        if names:
            values = _numbers([rows[place][1] for place in places])
            table[np.ix_([columns[name] for name in names], places)] = values.T
    return dict(zip(columns, table, strict=True))


def _numbers(values: Sequence[Tensor]) -> Floats:
    if not values:
        return np.zeros(0)
    device, dtype = values[0].device, torch.float64
    if device.type == "mps":
        dtype = torch.float32
    stacked = torch.stack([value.to(device, dtype) for value in values]).cpu()
    return stacked.to(torch.float64).numpy()
