"""Norms that neither overflow nor underflow, without asking the device for a number."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.linalg import vector_norm

from gradcourse.clipping.gradients import Gradients, Group
from gradcourse.clipping.sharding import add_up

__all__ = [
    "Norms",
    "accumulator",
    "as_returned",
    "each_as_returned",
    "measure",
    "readable",
    "scaled_norm",
    "squares_norm",
]

# Rows in which a large tensor's squares are summed up on a CPU. torch adds in float32 there: of
# fifty million equal elements the norm comes out 3 % wrong in one go, and right to 1e-6 in rows of
# this size. Of fewer elements than these it is right to 6e-5 at worst, when all are equal, and rows
# would take half as long again.
ROW = 1024
LARGE = 1 << 16


class Norms(NamedTuple):
    """The norm of each gradient, shape ``(gradients,)``, and of all together, shape ``()``.

    On a CPU ``value`` is the total as a number; on other devices, where reading it would make the
    host wait, it is None.
    """

    each: Tensor
    total: Tensor
    value: float | None


def measure(gradients: Gradients, norm_type: float, foreach: bool | None = None) -> Norms:
    """Return the norms of gradients, without changing them.

    float32 and below are accumulated in float64 on a GPU; on a CPU, where float64 would take ten
    times as long, squares are in float32, and once more with scaling where that lost anything.
    """
    if not len(gradients):
        return Norms(torch.zeros(0), torch.tensor(0.0), 0.0)
    device = gradients.groups[0].device
    parts = [_group_norms(group, gradients, norm_type, foreach) for group in gradients.groups]
    if len(parts) == 1:
        each = parts[0]
    else:
        dtype = _widest(parts)
        # Put in order one by one: a list of places as an index would make an accelerator wait.
        placed: dict[int, Tensor] = {}
        for group, part in zip(gradients.groups, parts, strict=True):
            placed.update(zip(group.places, part.to(device, dtype).unbind(), strict=True))
        each = torch.stack([placed[place] for place in range(len(gradients))])
    if gradients.shardings:
        each = add_up(each.to(accumulator(device)), norm_type, gradients.shardings)
    total = vector_norm(each, norm_type) if readable(device) else scaled_norm(each, norm_type)
    value = float(total) if readable(device) else None
    if value is not None and not _safe(value, norm_type, each.dtype):
        total = scaled_norm(each, norm_type)
        value = float(total)
    return Norms(each, total, value)


def scaled_norm(tensor: Tensor, norm_type: float, dim: tuple[int, ...] | None = None) -> Tensor:
    """Return a p-norm computed as ``m * norm(tensor / m)`` with m the largest absolute value.

    Right for every finite tensor, at the price of a temporary copy and a second pass. NaN and Inf
    are passed on; a norm beyond the largest number is that number. A tensor without elements has
    norm 0.

    Parameters
    ----------
    tensor
        Real, of any shape.
    norm_type
        The order p > 0, or ``inf``.
    dim
        Dimensions to take the norm over, which stay with size 1; by default all, and none stays.
    """
    wide = accumulator(tensor.device)
    keep = dim is not None
    if tensor.numel() == 0:
        # The largest of no elements is undefined in torch; a sum over none of them is 0.
        norm: Tensor = vector_norm(tensor, 2.0, dim, keep, dtype=wide)
        return norm
    tensor = tensor.to(torch.promote_types(tensor.dtype, torch.float32))
    largest = vector_norm(tensor, torch.inf, dim, keep)
    usable = largest.isfinite() & (largest > 0)
    unit = torch.where(usable, largest, 1)
    norm = vector_norm(tensor / unit, norm_type, dim, keep, dtype=wide)
    norm = (norm * unit.to(wide)).clamp(max=torch.finfo(wide).max)
    return torch.where(usable, norm, largest.to(wide))


def squares_norm(tensor: Tensor, dim: tuple[int, ...]) -> Tensor:
    """Return what ``scaled_norm(tensor, 2, dim)`` does, on a CPU mostly in a fraction of its time.

    Squares of float32 and below are summed up in float32 there, and once more with scaling where
    that lost anything.
    """
    over = [tensor.shape[place] for place in dim]
    fast = readable(tensor.device) and tensor.dtype.itemsize <= 4 and math.prod(over) <= LARGE
    if not (fast and tensor.numel()):
        return scaled_norm(tensor, 2.0, dim)
    norms: Tensor = vector_norm(tensor, 2.0, dim, keepdim=True, dtype=torch.float32)
    low, high = (float(bound) for bound in norms.aminmax())
    if _safe(low, 2, torch.float32) and _safe(high, 2, torch.float32):
        return norms.double()
    return scaled_norm(tensor, 2.0, dim)


def readable(device: torch.device) -> bool:
    """Say whether reading a number costs nothing: no wait, and no break of a compiled graph."""
    return device.type == "cpu" and not torch.compiler.is_compiling()


def accumulator(device: torch.device) -> torch.dtype:
    """Return the widest dtype that a device can add up in."""
    return torch.float32 if device.type == "mps" else torch.float64


def _group_norms(
    group: Group, gradients: Gradients, norm_type: float, foreach: bool | None
) -> Tensor:
    tensors = group.tensors
    if gradients.complex_places and norm_type != 2:
        # For p other than 2 a complex number counts by its absolute value, not by its two parts.
        tensors = [
            _absolute(tensor) if place in gradients.complex_places else tensor
            for place, tensor in zip(group.places, tensors, strict=True)
        ]
        return torch.stack([scaled_norm(tensor, norm_type) for tensor in tensors])
    if norm_type == math.inf and not all(tensor.numel() for tensor in tensors):
        # torch knows no largest of no elements.
        tensors = [tensor if tensor.numel() else tensor.new_zeros(1) for tensor in tensors]
    if readable(group.device):
        return _cpu_norms(tensors, norm_type, foreach)
    wide = accumulator(group.device)
    # Powers of float32 fit into float64 up to the eighth.
    if group.dtype is wide or 8 < norm_type < math.inf:
        return torch.stack([scaled_norm(tensor, norm_type) for tensor in tensors])
    return torch.stack(_norms(tensors, norm_type, foreach, wide))


def _absolute(parts: Tensor) -> Tensor:
    # In float64, where the absolute value of two large parts is still a number.
    return torch.view_as_complex(parts.to(accumulator(parts.device))).abs()


def _cpu_norms(tensors: list[Tensor], norm_type: float, foreach: bool | None) -> Tensor:
    # Only for squares and for the maximum is torch fast. Other powers it adds up one after another:
    # in float32 the norm of a hundred thousand elements would be off by 1e-3.
    fast = norm_type in (2, math.inf)
    wide = torch.promote_types(tensors[0].dtype, torch.float32 if fast else torch.float64)
    careful = norm_type == 2 and wide is torch.float32
    large = {place: t for place, t in enumerate(tensors) if careful and t.numel() > LARGE}
    small = [t for place, t in enumerate(tensors) if place not in large] if large else tensors
    parts = _norms(small, norm_type, foreach, wide)
    for place, tensor in large.items():
        parts.insert(place, _norm_in_rows(tensor, norm_type))
    each = torch.stack(parts)
    low, high = (float(bound) for bound in each.aminmax())
    if not (_safe(low, norm_type, wide) and _safe(high, norm_type, wide)):
        each = each.to(torch.float64)
        doubtful = [
            place
            for place, value in enumerate(each.tolist())
            if not (_safe(value, norm_type, wide) or (value == 0 and _is_zero(tensors[place])))
        ]
        again = [tensors[place] for place in doubtful]
        if wide is torch.float32:
            # Squares of float32 fit into float64.
            norms = _norms(again, norm_type, foreach, torch.float64)
        else:
            norms = [scaled_norm(tensor, norm_type) for tensor in again]
        for place, norm in zip(doubtful, norms, strict=True):
            each[place] = norm
    return each


def _is_zero(tensor: Tensor) -> bool:
    if not tensor.numel():
        return True
    low, high = tensor.aminmax()
    return float(low) == 0 == float(high)


def _norms(
    tensors: list[Tensor], norm_type: float, foreach: bool | None, dtype: torch.dtype
) -> list[Tensor]:
    if foreach is False or not tensors:
        return [vector_norm(tensor, norm_type, dtype=dtype) for tensor in tensors]
    return list(torch._foreach_norm(tensors, norm_type, dtype=dtype))


def _norm_in_rows(tensor: Tensor, norm_type: float) -> Tensor:
    # A norm needs no order, and in that of the memory nothing is copied.
    flat = tensor.permute(sorted(range(tensor.ndim), key=tensor.stride, reverse=True)).reshape(-1)
    whole = flat.numel() - flat.numel() % ROW
    norms = vector_norm(flat[:whole].view(-1, ROW), norm_type, dim=1, dtype=torch.float32)
    if whole < flat.numel():
        rest = vector_norm(flat[whole:], norm_type, dtype=torch.float32)
        norms = torch.cat([norms, rest.view(1)])
    norm: Tensor = vector_norm(norms, norm_type, dtype=torch.float64)
    return norm.to(torch.float32)


def _safe(norm: float, norm_type: float, dtype: torch.dtype) -> bool:
    """Say whether a norm summed up as powers in this dtype has lost nothing on the way.

    Up to 1e17 elements may have fallen below the smallest normal number, and together they must be
    too small to matter; a sum of powers that came out finite is right at the other end.
    """
    if norm_type == math.inf:
        return True
    tiny = torch.finfo(dtype).tiny
    return math.pow(1e17 * tiny, 1 / norm_type) < norm < math.inf


def _widest(parts: list[Tensor]) -> torch.dtype:
    dtype = parts[0].dtype
    for part in parts[1:]:
        dtype = torch.promote_types(dtype, part.dtype)
    return dtype


def as_returned(gradients: Gradients, norms: Norms) -> Tensor:
    """Return the total norm in the gradients' own precision, at least float32."""
    return _narrow(norms.total, _dtype(gradients))


def each_as_returned(gradients: Gradients, each: Tensor) -> Tensor:
    """Return one number for each gradient, likewise."""
    return _narrow(each, _dtype(gradients))


def _dtype(gradients: Gradients) -> torch.dtype:
    dtype = torch.float32
    for group in gradients.groups:
        dtype = torch.promote_types(dtype, group.dtype)
    return dtype


def _narrow(values: Tensor, dtype: torch.dtype) -> Tensor:
    if values.dtype is dtype:
        return values
    largest = torch.finfo(dtype).max
    # min keeps NaN, and Inf is put back: only a finite norm beyond the range is cut.
    return torch.where(values.isinf(), values, values.clamp(max=largest)).to(dtype)
