"""Networks of layers one after the other: plain, and with residual blocks."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gradcourse.checks import at_least

__all__ = [
    "ACTIVATION_NAMES",
    "MLP",
    "ResidualBlock",
    "ResidualMLP",
    "activation_module",
]


class Erf(nn.Module):
    """The error function, which torch has as a function but not as a module."""

    def forward(self, inputs: Tensor) -> Tensor:
        """Apply ``torch.erf``."""
        return torch.erf(inputs)


_MODULES: dict[str, type[nn.Module]] = {
    "linear": nn.Identity,
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "softplus": nn.Softplus,
    "erf": Erf,
    "identity": nn.Identity,
}

ACTIVATION_NAMES = tuple(_MODULES)
"""The names that ``activation`` may be, here and in ``gradcourse.theory``."""


def activation_module(name: str) -> nn.Module:
    """Return a new activation module by its name.

    Raises
    ------
    ValueError
        If the name is unknown.

    Examples
    --------
    >>> activation_module("relu")
    ReLU()
    """
    try:
        return _MODULES[name]()
    except (KeyError, TypeError):
        names = ", ".join(ACTIVATION_NAMES)
        raise ValueError(f"activation must be one of {names}, got {name!r}") from None


class MLP(nn.Sequential):
    """A stack of ``depth`` layers, each a ``Linear`` and an activation.

    Parameters
    ----------
    in_features
        Size of an input.
    width
        Units in each layer.
    depth
        The number of hidden layers, 1 or more.
    out_features
        Size of a last linear layer without activation; none is added unless this is given.
    activation
        A name from ``ACTIVATION_NAMES``.
    bias
        Whether the linear layers have biases.

    Raises
    ------
    ValueError
        If a size is not a whole number of 1 or more, or the activation is unknown.

    Shape
    -----
    inputs ``(batch, in_features)``, outputs ``(batch, width)`` or ``(batch, out_features)``.

    Examples
    --------
    >>> MLP(in_features=64, width=32, depth=3, out_features=10)(torch.zeros(5, 64)).shape
    torch.Size([5, 10])
    """

    def __init__(
        self,
        in_features: int,
        width: int,
        depth: int,
        out_features: int | None = None,
        activation: str = "tanh",
        bias: bool = True,
    ) -> None:
        sizes = {"in_features": in_features, "width": width, "depth": depth}
        if out_features is not None:
            sizes["out_features"] = out_features
        for name, size in sizes.items():
            at_least(1, name, size)
        layers: list[nn.Module] = []
        for layer in range(depth):
            fan_in = width if layer else in_features
            layers += [nn.Linear(fan_in, width, bias), activation_module(activation)]
        if out_features is not None:
            layers.append(nn.Linear(width, out_features, bias))
        super().__init__(*layers)


class ResidualBlock(nn.Module):
    """``inputs + scale * branch(inputs)``, where the branch is ``Linear, activation, Linear``.

    Parameters
    ----------
    width
        Units outside and inside of the branch.
    scale
        What the branch is multiplied with.
    skip
        False leaves ``scale * branch(inputs)``.
    activation
        A name from ``ACTIVATION_NAMES``.
    bias
        Whether the linear layers have biases.

    Raises
    ------
    ValueError
        If ``width`` is not a whole number of 1 or more, or the activation is unknown.

    Shape
    -----
    inputs and outputs ``(..., width)``.

    Examples
    --------
    >>> block = ResidualBlock(8, scale=0.0)
    >>> block(torch.ones(1, 8)).sum().item()
    8.0
    """

    def __init__(
        self,
        width: int,
        scale: float = 1.0,
        skip: bool = True,
        activation: str = "relu",
        bias: bool = True,
    ) -> None:
        super().__init__()
        at_least(1, "width", width)
        self.branch = nn.Sequential(
            nn.Linear(width, width, bias),
            activation_module(activation),
            nn.Linear(width, width, bias),
        )
        self.scale = scale
        self.skip = skip

    def forward(self, inputs: Tensor) -> Tensor:
        """Add the scaled branch to its inputs."""
        change: Tensor = self.scale * self.branch(inputs)
        return inputs + change if self.skip else change


class ResidualMLP(nn.Module):
    """A linear first layer, ``blocks`` residual blocks, and a linear last layer.

    Parameters
    ----------
    in_features, width, blocks, out_features
        Sizes; a network has ``2 * blocks + 2`` weight layers.
    scale, skip, activation, bias
        As for :class:`ResidualBlock`.

    Raises
    ------
    ValueError
        If a size is not a whole number of 1 or more, or the activation is unknown.

    Shape
    -----
    inputs ``(batch, in_features)``, outputs ``(batch, out_features)``.

    Examples
    --------
    >>> ResidualMLP(in_features=64, width=32, blocks=3, out_features=10)(torch.zeros(5, 64)).shape
    torch.Size([5, 10])
    """

    def __init__(
        self,
        in_features: int,
        width: int,
        blocks: int,
        out_features: int,
        scale: float = 1.0,
        skip: bool = True,
        activation: str = "relu",
        bias: bool = True,
    ) -> None:
        super().__init__()
        sizes = {"in_features": in_features, "width": width, "blocks": blocks}
        for name, size in {**sizes, "out_features": out_features}.items():
            at_least(1, name, size)
        self.first = nn.Linear(in_features, width, bias)
        self.blocks = nn.Sequential(
            *(ResidualBlock(width, scale, skip, activation, bias) for _ in range(blocks))
        )
        self.last = nn.Linear(width, out_features, bias)

    def forward(self, inputs: Tensor) -> Tensor:
        """Run all layers."""
        outputs: Tensor = self.last(self.blocks(self.first(inputs)))
        return outputs
