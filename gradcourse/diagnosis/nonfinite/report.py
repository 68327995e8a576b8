"""What is said about a number that is not finite: records of plain values, and their words."""

from __future__ import annotations

import cmath
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

__all__ = ["FirstNonFinite", "TensorSummary", "counted", "is_finite", "numbers", "summarize"]

Cause = Literal["operation", "batch", "parameter", "buffer", "tensor", "constant", "memory"]
Phase = Literal["forward", "backward"]
Number = float | complex

# The largest argument at which these stay finite is the inverse of the dtype's largest number.
_INVERSES: dict[str, Callable[[float], float]] = {
    "exp": math.log,
    "expm1": math.log,
    "exp2": math.log2,
    "sinh": lambda top: math.log(top) + math.log(2),
    "cosh": lambda top: math.log(top) + math.log(2),
}


@dataclass(frozen=True)
class TensorSummary:
    """A tensor that went into an operation, as a few plain values.

    Attributes
    ----------
    name
        The argument's name in the operation, such as ``"self"`` or ``"tensors[1]"``.
    shape, dtype
        As of the tensor.
    minimum, maximum
        Over all elements, NaN if one is; None for a complex or an empty tensor.
    absmax
        The largest size of an element, NaN if one is; None for an empty tensor.
    finite
        Whether no element is NaN or Inf.
    value
        The element at the offending position of the output, where the operation works element by
        element and the shapes agree or broadcast; else None.
    """

    name: str
    shape: tuple[int, ...]
    dtype: torch.dtype
    minimum: float | None
    maximum: float | None
    absmax: float | None
    finite: bool
    value: Number | None


@dataclass(frozen=True)
class FirstNonFinite:
    """Where the first Inf or NaN of a training step was made, and out of what.

    Attributes
    ----------
    cause
        ``"operation"``: an operation made it. ``"batch"``, ``"parameter"``, ``"buffer"`` or
        ``"tensor"``: it was there before, in the batch, the model or another tensor that was made
        outside. ``"constant"``: it was written on purpose (``masked_fill`` with -inf) and yet
        reached the loss or a gradient. ``"memory"``: uninitialised memory was read.
    phase
        ``"forward"`` or ``"backward"``.
    operation
        Such as ``"aten.exp"``: the operation that made it, or was the first to meet it.
    node
        The node of the backward graph, such as ``"ExpBackward0"``; empty in the forward phase.
    module
        Path of the module, ``"loss"`` for the loss and ``""`` for the model itself. In the
        backward phase it is the module whose forward pass made the node.
    name
        The parameter or buffer, or the place in the batch (``"input[0]"``); else empty.
    shape, dtype
        Of the tensor that holds it.
    nans, positive_infs, negative_infs
        How many elements. A complex element counts once: as NaN if a part is, else by the sign of
        its infinite part, minus first.
    position
        Index of the first of these elements.
    inputs
        The tensors that went in.
    source
        ``"file.py:12 y = x.exp()"``: the innermost line of the model or the loss that is neither
        in torch nor in gradcourse; empty if there is none, as in an ``nn.Sequential``.
    reached
        ``"the loss"`` or ``"the gradient of 'net.0.weight'"``: where it came out.
    came_from
        For a NaN made of an Inf that was put there on purpose: where that Inf came from.
    """

    cause: Cause
    phase: Phase
    operation: str
    node: str
    module: str
    name: str
    shape: tuple[int, ...]
    dtype: torch.dtype
    nans: int
    positive_infs: int
    negative_infs: int
    position: tuple[int, ...]
    inputs: tuple[TensorSummary, ...]
    source: str
    reached: str = ""
    came_from: FirstNonFinite | None = None

    def __str__(self) -> str:
        """Say it in one sentence."""
        after = f", which reached {self.reached}" if self.reached else ""
        line = f" [{self.source}]" if self.source else ""
        return self.phrase() + after + line

    def phrase(self) -> str:
        """Say what happened, without where it ended."""
        amount = self._amount()
        place = f"{self.phase}: {self._operation()}"
        if self.cause == "operation":
            return f"{place} made {amount} {self._from()}{self._why()}"
        if self.cause == "constant":
            return f"{place} wrote {amount} as a constant"
        if self.cause == "memory":
            return f"{place} read uninitialised memory with {amount}"
        if self.cause == "tensor":
            return f"{place} met {amount} in a tensor that no operation of the model made"
        owner = "the batch" if self.cause == "batch" else f"{self.cause} {self.name!r}"
        where = f"{self.name} " if self.cause == "batch" else ""
        return f"{owner} holds {self._kinds()}: {where}at {self.position} ({amount})"

    def _operation(self) -> str:
        node = f" ({self.node})" if self.node else ""
        module = {"": "the model itself", "loss": "the loss"}.get(
            self.module, f"module {self.module!r}"
        )
        return f"{self.operation}{node} in {module}"

    def _counts(self) -> list[tuple[int, str]]:
        named = (self.nans, "NaN"), (self.positive_infs, "Inf"), (self.negative_infs, "-Inf")
        return [(count, name) for count, name in named if count]

    def _kinds(self) -> str:
        return " and ".join(name for _, name in self._counts())

    def _amount(self) -> str:
        counts = " and ".join(f"{count} {name}" for count, name in self._counts())
        return f"{counts} of {math.prod(self.shape)}"

    def _from(self) -> str:
        if self.came_from:
            return f"out of an earlier Inf ({self.came_from.phrase()})"
        floating = [item for item in self.inputs if _has_fractions(item.dtype)] or self.inputs
        # Beside an Inf that was there on purpose, only the offending element counts.
        sizes = [
            item.absmax if item.finite or item.value is None else abs(item.value)
            for item in floating
        ]
        dtypes = dict.fromkeys(_dtype_name(item.dtype) for item in floating)
        largest = max((size for size in sizes if size is not None), default=0.0)
        return f"from {' and '.join(dtypes)} inputs up to {largest:.4g}"

    def _why(self) -> str:
        reason = self._reason()
        return f" ({reason})" if reason else ""

    def _reason(self) -> str:
        if self.came_from or self.dtype.is_complex:
            return ""
        base = self.operation.rpartition(".")[2].rstrip("_")
        top = torch.finfo(self.dtype).max
        infinite = bool(self.positive_infs or self.negative_infs)
        values = {item.name: item.value for item in self.inputs if item.value is not None}
        first, divisor = values.get("self"), values.get("other")
        if base in _INVERSES:
            return f"{base} overflows {_dtype_name(self.dtype)} above {_INVERSES[base](top):.4g}"
        if base == "div" and divisor == 0:
            return "division by 0"
        if base in {"log", "log2", "log10", "sqrt", "rsqrt", "reciprocal"}:
            if first == 0:
                return f"{base} of 0"
            if self.nans:
                return f"{base} of a negative number"
        if base == "pow" and first == 0:
            return "0 to a negative power"
        return f"the largest {_dtype_name(self.dtype)} is {top:.6g}" if infinite else ""


def is_finite(tensor: Tensor) -> bool:
    """Return whether a floating or complex tensor holds neither NaN nor Inf."""
    # A sum is finite only if all of its terms are, and is several times faster than isfinite.
    # It may overflow although they are: only then each element is looked at.
    return cmath.isfinite(tensor.sum().item()) or bool(torch.isfinite(tensor).all())


def numbers(value: object) -> Tensor | None:
    """Return the floating or complex numbers that a tensor holds, None if it holds none."""
    if not isinstance(value, Tensor) or value.is_meta or value.is_nested:
        return None
    if value.layout is torch.sparse_coo:
        value = value._values()
    elif value.layout is not torch.strided:
        value = value.values()
    # The 8 bit formats have no arithmetic.
    if not _has_fractions(value.dtype) or value.dtype.itemsize == 1 or not value.numel():
        return None
    return value


def counted(tensor: Tensor) -> tuple[int, int, int]:
    """Return how many elements are NaN, Inf and -Inf."""
    parts = torch.view_as_real(tensor.resolve_conj()) if tensor.is_complex() else tensor[..., None]
    nan = parts.isnan().any(-1)
    negative = parts.isneginf().any(-1) & ~nan
    positive = parts.isposinf().any(-1) & ~nan & ~negative
    return int(nan.sum()), int(positive.sum()), int(negative.sum())


def summarize(name: str, tensor: Tensor, position: Sequence[int] | None) -> TensorSummary:
    """Return a tensor's summary; ``position`` is an index into a shape it broadcasts to."""
    low = high = size = value = None
    kept = numbers(tensor)
    if tensor.numel() and not tensor.is_meta and tensor.layout is torch.strided:
        if not tensor.is_complex():
            low, high = (float(edge) for edge in torch.aminmax(tensor if kept is None else kept))
        size = (
            float(tensor.abs().max()) if low is None or high is None else max(abs(low), abs(high))
        )
        if position is not None:
            own = position[len(position) - tensor.dim() :]
            index = tuple(min(i, length - 1) for i, length in zip(own, tensor.shape, strict=True))
            value = tensor[index].item()
    finite = kept is None or is_finite(kept)
    return TensorSummary(name, tuple(tensor.shape), tensor.dtype, low, high, size, finite, value)


def _has_fractions(dtype: torch.dtype) -> bool:
    return dtype.is_floating_point or dtype.is_complex


def _dtype_name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
