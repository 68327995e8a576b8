"""Weight schemes by name, in the style of ``torch.nn.init``."""

from __future__ import annotations

import math
from typing import TypeVar

import torch
from torch import nn

from gradcourse.checks import at_least_zero

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

    Examples
    --------
    >>> layer = mean_field_(nn.Linear(10_000, 1), weight_scale=2.0)
    >>> round(float(layer.weight.detach().std() * 100))
    2
    """
    for name, scale in (("weight_scale", weight_scale), ("bias_scale", bias_scale)):
        at_least_zero(name, scale)
    for layer in module.modules():
        if isinstance(layer, nn.Linear):
            std = weight_scale / math.sqrt(layer.in_features)
            layer.weight.normal_(0, std, generator=generator)
            # Tested for None by hand because the annotation of Linear.bias denies it.
            if layer._parameters["bias"] is not None:
                layer.bias.normal_(0, bias_scale, generator=generator)
    return module
