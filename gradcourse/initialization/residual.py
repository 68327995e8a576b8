"""Residual networks that start as the identity: Fixup and ReZero."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import init

from gradcourse.initialization.slots import Slot, slots_of

__all__ = ["ReZero", "fixup_"]

_WEIGHT_LAYERS = (
    nn.Linear,
    nn.Conv1d,
    nn.Conv2d,
    nn.Conv3d,
    nn.ConvTranspose1d,
    nn.ConvTranspose2d,
    nn.ConvTranspose3d,
)


class ReZero(nn.Module):
    """A residual connection that starts as the identity: ``inputs + alpha * branch(inputs)``.

    ``alpha`` is one learned number and starts at 0, so that a network of any depth keeps signals
    and gradients as they are at first. In the first step the branch does not learn, only ``alpha``
    (Bachlechner et al. 2020).

    Parameters
    ----------
    branch
        A module whose output has the shape of its input.

    Shape
    -----
    inputs and outputs of the branch's shape.

    Examples
    --------
    >>> block = ReZero(nn.Sequential(nn.Linear(3, 3), nn.ReLU()))
    >>> block(torch.ones(2, 3)).tolist()
    [[1.0, 1.0, 1.0], [1.0, 1.0, 1.0]]
    """

    def __init__(self, branch: nn.Module) -> None:
        super().__init__()
        self.branch = branch
        self.alpha = nn.Parameter(torch.zeros(()))

    def reset_parameters(self) -> None:
        """Set ``alpha`` to 0; the branch keeps its own parameters."""
        init.zeros_(self.alpha)

    def forward(self, inputs: Tensor) -> Tensor:
        """Add the scaled branch to its inputs.

        Raises
        ------
        ValueError
            If the branch returns another shape than that of its inputs.
        """
        change: Tensor = self.branch(inputs)
        # Broadcasting would hide a branch of the wrong shape.
        if change.shape != inputs.shape:
            raise ValueError(
                "a branch must return the shape of its inputs, "
                f"got {tuple(change.shape)} from {tuple(inputs.shape)}"
            )
        return inputs + self.alpha * change


@torch.no_grad()
def fixup_(branches: Iterable[nn.Module], head: nn.Module | None = None) -> list[nn.Module]:
    """Scale residual branches so that a step changes the output no more in a deep network.

    In each of ``L`` branches of ``m`` weight layers, the last is set to 0, bias included, and the
    weights of the others are multiplied by ``L ** (-1 / (2 m - 2))``, in place. Every block is then
    the identity, and a step of gradient descent changes the output by an amount that does not grow
    with depth (Zhang, Dauphin & Ma 2019). That holds for weights: the biases of the last layers
    move alike in every branch, so their share of a step grows like ``L``; make them without.

    Initialize the model first, ``initialize(model, "he_normal")``, and call this once: a second
    call would scale again. The paper also adds learned scalars to each branch, which belong to the
    architecture; a branch may hold such parameters of one element, and they stay as they are.

    Parameters
    ----------
    branches
        The modules that are added to their input, one for each block; weight layers are linear
        layers and convolutions, in the order in which the branch registers them.
    head
        The classification layer, which is set to 0 too.

    Returns
    -------
    list of Module
        The branches.

    Raises
    ------
    ValueError
        If there is no branch, or one without a weight layer; if a weight occurs twice; if a branch
        holds other parameters, such as those of a norm, which Fixup is there to replace; or if a
        weight cannot be set in place.
    TypeError
        If ``head`` is neither a linear layer nor a convolution.

    Examples
    --------
    >>> branches = [nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8)) for _ in range(4)]
    >>> before = branches[0][0].weight.detach().clone()
    >>> branches = fixup_(branches)
    >>> bool(torch.allclose(branches[0][0].weight, before / 2))  # 4 ** (-1 / 2)
    True
    >>> bool(branches[0](torch.ones(1, 8)).any())
    False
    """
    branches = list(branches)
    if not branches:
        raise ValueError("branches must hold at least one residual branch, got none")
    layers = [_weight_layers(branch, number) for number, branch in enumerate(branches)]
    weights = [id(weight) for layer in layers for weight, _ in layer]
    if len(set(weights)) < len(weights):
        raise ValueError("the branches hold a weight twice, which would be scaled twice")
    last = [] if head is None else [_head(head)]
    for *scaled, zeroed in layers:
        for weight, _ in scaled:
            weight.mul_(len(branches) ** (-1 / (2 * len(scaled))))
        last.append(zeroed)
    for weight, bias in last:
        weight.zero_()
        if bias is not None:
            bias.zero_()
    return branches


def _weight_layers(branch: nn.Module, number: int) -> list[tuple[Tensor, Tensor | None]]:
    """Return weight and bias of each layer, all of them fit to be changed."""
    layers = []
    for slot in slots_of(branch):
        if isinstance(slot.module, _WEIGHT_LAYERS) and slot.name in ("weight", "bias"):
            if slot.name == "weight":
                layers.append(_weight_and_bias(slot))
        elif slot.plain().numel() != 1:
            raise ValueError(
                f"branch {number}: {slot.owner} is no linear layer and no convolution; "
                "Fixup is for branches of these alone, without norms"
            )
    if not layers:
        raise ValueError(f"branch {number} ({type(branch).__name__}) has no weight layer")
    return layers


def _weight_and_bias(slot: Slot) -> tuple[Tensor, Tensor | None]:
    bias = slot.module.bias
    return slot.plain(), None if bias is None else Slot(slot.path, slot.module, "bias").plain()


def _head(head: nn.Module) -> tuple[Tensor, Tensor | None]:
    if not isinstance(head, _WEIGHT_LAYERS):
        raise TypeError(f"head must be a linear layer or a convolution, got {type(head).__name__}")
    return _weight_and_bias(Slot("head", head, "weight"))
