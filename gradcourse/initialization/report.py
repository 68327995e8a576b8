"""What an initialization has set, tensor by tensor."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["InitRecord", "InitReport"]


@dataclass(frozen=True)
class InitRecord:
    """One tensor of a model and what was done to it.

    Attributes
    ----------
    module
        Path of the module inside of the model, ``""`` for the model itself.
    kind
        Class of the module.
    parameter
        Name of the tensor inside of its module.
    shape
        Shape of the tensor, or None if it has none yet.
    done
        What was done, in words.
    was_set
        Whether the tensor was set.
    std_predicted
        Standard deviation of the elements that the scheme promises; None if it promises none.
    std
        Standard deviation of the elements as measured afterwards; None if nothing was set.
    """

    module: str
    kind: str
    parameter: str
    shape: tuple[int, ...] | None
    done: str
    was_set: bool
    std_predicted: float | None = None
    std: float | None = None

    @property
    def path(self) -> str:
        """The full name, as in ``named_parameters``."""
        return f"{self.module}.{self.parameter}" if self.module else self.parameter


@dataclass(frozen=True)
class InitReport:
    """The records of one call of ``initialize``, in the order of the model; iterable.

    Attributes
    ----------
    scheme
        Name of the scheme, as it was asked for.
    records
        One for each tensor, also for those that were not set.
    """

    scheme: str
    records: tuple[InitRecord, ...]

    def __iter__(self) -> Iterator[InitRecord]:
        return iter(self.records)

    def __len__(self) -> int:
        return len(self.records)

    def summary(self) -> str:
        """Say in one line what was set and what was not."""
        done = sum(record.was_set for record in self)
        line = f"{self.scheme}: set {done} of {len(self)} tensors"
        rest = [record.path for record in self if not record.was_set]
        if not rest:
            return line
        more = f" and {len(rest) - 3} more" if len(rest) > 3 else ""
        return f"{line}; not set: {', '.join(rest[:3])}{more}"

    def __str__(self) -> str:
        rows = [("tensor", "shape", "std", "predicted", "set to")]
        rows += [
            (
                record.path,
                "?" if record.shape is None else "x".join(map(str, record.shape)) or "scalar",
                "" if record.std is None else f"{record.std:.3g}",
                "" if record.std_predicted is None else f"{record.std_predicted:.3g}",
                record.done if record.was_set else f"not set: {record.done}",
            )
            for record in self
        ]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in rows
        ]
        return "\n".join([self.summary(), *lines])
