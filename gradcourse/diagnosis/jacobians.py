"""Jacobians by the backward pass and by differences, as plain matrices of real numbers."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["Outputs", "backward_jacobian", "index_of", "output_index_of", "real_numbers", "slopes"]

Outputs = tuple[Tensor, ...]


def real_numbers(tensor: Tensor) -> Tensor:
    """Return all real numbers that a tensor is made of, in one row."""
    parts = torch.view_as_real(tensor.resolve_conj()) if tensor.is_complex() else tensor
    return parts.reshape(-1)


def backward_jacobian(outputs: list[Tensor], tensor: Tensor) -> Tensor:
    """Return the derivatives by the backward pass, ``(numbers in, numbers out)``."""
    columns = []
    for number in torch.cat([real_numbers(output) for output in outputs]):
        (gradient,) = torch.autograd.grad(number, tensor, retain_graph=True, allow_unused=True)
        gradient = torch.zeros_like(tensor) if gradient is None else gradient
        columns.append(real_numbers(gradient.detach()))
    return torch.stack(columns, dim=1)


def slopes(
    function: Callable[..., Outputs],
    tensors: dict[str, Tensor],
    label: str,
    chosen: list[int],
    eps: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the slopes to the left, to the right and across, ``(numbers in, numbers out)``."""
    moved = tensors[label].detach().clone()
    numbers = real_numbers(moved)
    values = {**tensors, label: moved}

    @torch.no_grad()
    def result() -> Tensor:
        outputs = function(*values.values())
        return torch.cat([real_numbers(outputs[index]) for index in chosen])

    middle = result()
    left, right, across = [], [], []
    for index, number in enumerate(numbers.tolist()):
        numbers[index] = number + eps
        up, above = result(), float(numbers[index])
        numbers[index] = number - eps
        down, below = result(), float(numbers[index])
        numbers[index] = number
        left.append((middle - down) / (number - below))
        right.append((up - middle) / (above - number))
        across.append((up - down) / (above - below))
    return torch.stack(left), torch.stack(right), torch.stack(across)


def index_of(number: int, tensor: Tensor) -> tuple[tuple[int, ...], str]:
    """Return the index of the element that a number belongs to, and its part of it."""
    part = ""
    if tensor.is_complex():
        number, imaginary = divmod(number, 2)
        part = "imaginary" if imaginary else "real"
    index = torch.unravel_index(torch.tensor(number), tensor.shape)
    return tuple(int(i) for i in index), part


def output_index_of(
    number: int, outputs: list[tuple[int, Tensor]]
) -> tuple[int, tuple[int, ...], str]:
    """Return the output that a number belongs to, the index into it and the part."""
    for index, output in outputs:
        size = real_numbers(output).numel()
        if number < size:
            return index, *index_of(number, output)
        number -= size
    raise AssertionError("the number lies beyond the outputs")
