"""Multiply gradients in place, exactly enough, and without asking the device for a number."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from gradcourse.clipping.gradients import Gradients
from gradcourse.clipping.norms import Norms, readable

__all__ = ["limit", "limit_each", "rescale"]

# Powers of ten that are normal numbers in float32.
DECADES = 37


def limit(
    gradients: Gradients, norms: Norms, max_norm: float | Tensor, foreach: bool | None
) -> None:
    """Scale all gradients so that their norm is at most ``max_norm``; leave non-finite ones."""
    if norms.value is not None:
        cap = float(max_norm)
        if cap < norms.value < math.inf:
            for factor in _factors(cap, norms.value):
                _multiply_all(gradients, factor, foreach)
        return
    over = (norms.total > max_norm) & norms.total.isfinite()
    _multiply_all(gradients, torch.where(over, max_norm / norms.total, 1.0), foreach)


def rescale(gradients: Gradients, norms: Norms, norm: float, foreach: bool | None) -> None:
    """Scale all gradients so that their norm is ``norm``; leave zero and non-finite ones."""
    if norms.value is not None:
        if 0 < norms.value < math.inf:
            for factor in _factors(norm, norms.value):
                _multiply_all(gradients, factor, foreach)
        return
    usable = (norms.total > 0) & norms.total.isfinite()
    # The factor for the tiniest gradients is beyond float32, its root is not.
    root = torch.where(usable, math.sqrt(norm) / norms.total.sqrt(), 1.0)
    for _ in range(2):
        _multiply_all(gradients, root, foreach)


def limit_each(gradients: Gradients, norms: Norms, caps: list[float]) -> None:
    """Scale each gradient so that its norm is at most its own cap; leave non-finite ones."""
    if norms.value is not None:
        for tensor, norm, cap in zip(gradients.tensors, norms.each.tolist(), caps, strict=True):
            if cap < norm < math.inf:
                for factor in _factors(cap, norm):
                    _multiply([tensor], factor, None)
        return
    limits = torch.tensor(caps, dtype=norms.each.dtype).to(norms.each.device, non_blocking=True)
    over = (norms.each > limits) & norms.each.isfinite()
    factors = torch.where(over, limits / norms.each, 1.0)
    for place, tensor in enumerate(gradients.tensors):
        _multiply([tensor], factors[place], None)


def _factors(target: float, norm: float) -> list[float]:
    """Return the factors, each a normal float32, whose product takes a norm to its target."""
    if not target:
        return [0.0]
    decades = math.log10(target) - math.log10(norm)
    count = 1 + int(abs(decades) / DECADES)
    return [target / norm] if count == 1 else [10 ** (decades / count)] * count


def _multiply_all(gradients: Gradients, factor: float | Tensor, foreach: bool | None) -> None:
    for group in gradients.groups:
        _multiply(group.tensors, factor, foreach)


def _multiply(tensors: list[Tensor], factor: float | Tensor, foreach: bool | None) -> None:
    dtype = torch.promote_types(tensors[0].dtype, torch.float32)
    device = tensors[0].device
    # A 0-d tensor and not a number: torch rounds a number to float16 for a list of float16 tensors,
    # and takes three times as long for a list of many small ones.
    scalar = torch.as_tensor(factor, dtype=dtype, device=device)
    if tensors[0].dtype is not dtype and not (readable(device) and isinstance(factor, float)):
        # An accelerator rounds a 0-d tensor as well, but not one with a dimension of its own.
        for tensor in tensors:
            torch.mul(tensor, scalar.view(1) if tensor.ndim else scalar, out=tensor)
    elif foreach is False:
        for tensor in tensors:
            tensor.mul_(scalar)
    else:
        torch._foreach_mul_(tensors, scalar)
