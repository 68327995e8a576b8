"""Norms that neither overflow nor underflow, without asking the device for a number."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.linalg import vector_norm

from gradcourse.clipping.gradients import Gradients, Group
from gradcourse.clipping.sharding import add_up

__all__ = ["Norms", "accumulator", "measure", "scaled_norm"]

# Rows in which a large tensor is summed up on a CPU. torch adds in float32 there: of fifty million
# equal elements the norm comes out 3 % wrong in one go, and right to 4e-6 in rows of this size. Of
# fewer elements than these it is right to 5e-5 at worst, and rows would take twice the time.
ROW = 4096
LARGE = 1 << 17


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
    times as long, in float32, and once more with scaling where that lost anything.
    """
    if not len(gradients):
        return Norms(torch.zeros(0), torch.tensor(0.0), 0.0)
    device = gradients.groups[0].device
    parts = [_group_norms(group, gradients, norm_type, foreach) for group in gradients.groups]
    if len(parts) == 1:
        each = parts[0]
    else:
        dtype = _widest(parts)
        each = torch.empty(len(gradients), dtype=dtype, device=device)
        for group, part in zip(gradients.groups, parts, strict=True):
            each[torch.tensor(group.places, device=device)] = part.to(device, dtype)
    if gradients.shardings:
        each = add_up(each.to(accumulator(device)), norm_type, gradients.shardings)
    on_cpu = device.type == "cpu" and not torch.compiler.is_compiling()
    total = vector_norm(each, norm_type) if on_cpu else scaled_norm(each, norm_type)
    value = float(total) if on_cpu else None
    if value is not None and not _safe(value, norm_type, each.dtype):
        total = scaled_norm(each, norm_type)
        value = float(total)
    return Norms(each, total, value)


def scaled_norm(tensor: Tensor, norm_type: float, dim: tuple[int, ...] | None = None) -> Tensor:
    """Return a p-norm computed as ``m * norm(tensor / m)`` with m the largest absolute value.

    Right for every finite tensor, at the price of a temporary copy and a second pass. NaN and Inf
    are passed on. A tensor without elements has norm 0.

    Parameters
    ----------
    tensor
        Real or complex, of any shape.
    norm_type
        The order p > 0, or ``inf``.
    dim
        Dimensions to take the norm over, which stay with size 1; by default all, and none stays.
    """
    wide = accumulator(tensor.device)
    keep = dim is not None
    tensor = tensor.abs()
    if tensor.numel() == 0:
        # The largest of no elements is undefined in torch; a sum over none of them is 0.
        norm: Tensor = vector_norm(tensor, 2.0, dim, keep, dtype=wide)
        return norm
    tensor = tensor.to(torch.promote_types(tensor.dtype, torch.float32))
    largest = vector_norm(tensor, torch.inf, dim, keep)
    usable = largest.isfinite() & (largest > 0)
    unit = torch.where(usable, largest, 1)
    norm = vector_norm(tensor / unit, norm_type, dim, keep, dtype=wide)
    return torch.where(usable, norm * unit.to(wide), largest.to(wide))


def accumulator(device: torch.device) -> torch.dtype:
    """Return the widest dtype that a device can add up in."""
    return torch.float32 if device.type == "mps" else torch.float64


def _group_norms(
    group: Group, gradients: Gradients, norm_type: float, foreach: bool | None
) -> Tensor:
    tensors = group.tensors
    odd = bool(gradients.complex_places) and norm_type != 2
    # torch knows no largest of no elements.
    if odd or (norm_type == math.inf and not all(tensor.numel() for tensor in tensors)):
        # For p other than 2 a complex number counts by its absolute value, not by its two parts.
        tensors = [
            torch.view_as_complex(tensor) if place in gradients.complex_places and odd else tensor
            for place, tensor in zip(group.places, tensors, strict=True)
        ]
        return torch.stack([scaled_norm(tensor, norm_type) for tensor in tensors])
    if group.device.type == "cpu" and not torch.compiler.is_compiling():
        return _cpu_norms(tensors, norm_type, foreach)
    if group.device.type == "mps" or group.dtype is torch.float64:
        return torch.stack([scaled_norm(tensor, norm_type) for tensor in tensors])
    return torch.stack(_norms(tensors, norm_type, foreach, accumulator(group.device)))


def _cpu_norms(tensors: list[Tensor], norm_type: float, foreach: bool | None) -> Tensor:
    dtype = tensors[0].dtype
    wide = None if dtype.itemsize >= 4 else torch.float32
    # A maximum is exact in any order, and float64 has digits to spare.
    careful = norm_type != math.inf and dtype is not torch.float64
    large = {place: t for place, t in enumerate(tensors) if careful and t.numel() > LARGE}
    small = [t for place, t in enumerate(tensors) if place not in large] if large else tensors
    parts = _norms(small, norm_type, foreach, wide)
    for place, tensor in large.items():
        parts.insert(place, _norm_in_rows(tensor, norm_type, wide))
    each = torch.stack(parts)
    low, high = (float(bound) for bound in each.aminmax())
    if not (_safe(low, norm_type, dtype) and _safe(high, norm_type, dtype)):
        each = each.to(torch.float64)
        for place, value in enumerate(each.tolist()):
            if not _safe(value, norm_type, dtype):
                each[place] = scaled_norm(tensors[place], norm_type)
    return each


def _norms(
    tensors: list[Tensor], norm_type: float, foreach: bool | None, dtype: torch.dtype | None
) -> list[Tensor]:
    if foreach is False or not tensors:
        return [vector_norm(tensor, norm_type, dtype=dtype) for tensor in tensors]
    if dtype is None:
        return list(torch._foreach_norm(tensors, norm_type))
    return list(torch._foreach_norm(tensors, norm_type, dtype=dtype))


def _norm_in_rows(tensor: Tensor, norm_type: float, dtype: torch.dtype | None) -> Tensor:
    flat = tensor.reshape(-1)
    whole = flat.numel() - flat.numel() % ROW
    norms = vector_norm(flat[:whole].view(-1, ROW), norm_type, dim=1, dtype=dtype)
    if whole < flat.numel():
        rest = vector_norm(flat[whole:], norm_type, dtype=dtype)
        norms = torch.cat([norms, rest.view(1)])
    norm: Tensor = vector_norm(norms, norm_type, dtype=torch.float64)
    return norm.to(norms.dtype)


def _safe(norm: float, norm_type: float, dtype: torch.dtype) -> bool:
    """Say whether a norm summed up as powers in this dtype has lost nothing on the way.

    Up to 1e17 elements may have fallen below the smallest normal number, and together they must be
    too small to matter; a sum of powers that came out finite is right at the other end.
    """
    if norm_type == math.inf:
        return True
    tiny = float(torch.finfo(torch.promote_types(dtype, torch.float32)).tiny)
    return math.pow(1e17 * tiny, 1 / norm_type) < norm < math.inf


def _widest(parts: list[Tensor]) -> torch.dtype:
    dtype = parts[0].dtype
    for part in parts[1:]:
        dtype = torch.promote_types(dtype, part.dtype)
    return dtype
