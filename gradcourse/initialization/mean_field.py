"""Weights and biases of linear layers by their mean field scales."""

from __future__ import annotations

import math
from typing import TypeVar

import torch
from torch import nn

from gradcourse.checks import at_least_zero
from gradcourse.initialization.slots import slots_of

__all__ = ["mean_field_"]

AnyModule = TypeVar("AnyModule", bound=nn.Module)


@torch.no_grad()
def mean_field_(
    module: AnyModule,
    weight_scale: float,
    bias_scale: float = 0.0,
    generator: torch.Generator | None = None,
) -> AnyModule:
    """Fill every linear layer with ``N(0, weight_scale**2 / fan_in)`` weights, in place.

    Parameters
    ----------
    module
        A module; all ``Linear`` layers inside of it are filled, in their order.
    weight_scale
        1 is LeCun's scheme, and Xavier's in a square layer; sqrt(2) is He's.
    bias_scale
        Standard deviation of the biases.
    generator
        Source of the random numbers.

    Returns
    -------
    Module
        The same module.

    Raises
    ------
    ValueError
        If a scale is negative or not finite, or the module holds no ``Linear`` layer.

    Examples
    --------
    >>> layer = mean_field_(nn.Linear(10_000, 1), weight_scale=2.0)
    >>> round(float(layer.weight.detach().std() * 100))
    2
    """
    for name, scale in (("weight_scale", weight_scale), ("bias_scale", bias_scale)):
        at_least_zero(name, scale)
    if not any(isinstance(layer, nn.Linear) for layer in module.modules()):
        raise ValueError(
            f"{type(module).__name__} holds no Linear layer; initialize() knows others"
        )
    slots = [slot for slot in slots_of(module) if isinstance(slot.module, nn.Linear)]
    parameters = [(slot, slot.plain()) for slot in slots if slot.name in ("weight", "bias")]
    for slot, parameter in parameters:
        std = bias_scale
        if slot.name == "weight":
            # A weight without inputs is empty, so that any deviation will do.
            std = weight_scale / math.sqrt(parameter.shape[1] or 1)
        parameter.normal_(0, std, generator=generator)
    return module
