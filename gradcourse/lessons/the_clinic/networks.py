"""The networks that come to the clinic."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from gradcourse.models import TransformerBlock, Unrolled

__all__ = ["Reader", "Reverser", "Rounded", "Stack", "StepByStep", "set_recurrent"]


class Block(nn.Module):
    """A linear layer, a norm or none, and ReLU; with ``skip`` all of it is added to its input."""

    def __init__(self, width: int, norm: str, skip: bool) -> None:
        super().__init__()
        norms = {"none": nn.Identity, "batch": nn.BatchNorm1d, "layer": nn.LayerNorm}
        self.branch = nn.Sequential(nn.Linear(width, width), norms[norm](width), nn.ReLU())
        self.skip = skip

    def forward(self, inputs: Tensor) -> Tensor:
        """Run the branch."""
        outputs: Tensor = self.branch(inputs)
        return inputs + outputs if self.skip else outputs


class Stack(nn.Sequential):
    """A linear layer, ``depth`` blocks and a linear layer.

    Shape
    -----
    inputs ``(batch, in_features)``, outputs ``(batch, out_features)``.
    """

    def __init__(
        self,
        in_features: int,
        width: int,
        depth: int,
        out_features: int,
        norm: str = "none",
        skip: bool = False,
    ) -> None:
        blocks = (Block(width, norm, skip) for _ in range(depth))
        super().__init__(nn.Linear(in_features, width), *blocks, nn.Linear(width, out_features))


class Reader(nn.Module):
    """A recurrent layer that reads a sequence, and a linear layer that answers at its end.

    Parameters
    ----------
    features, hidden, classes
        Sizes.
    radius
        The recurrent matrix is orthogonal and multiplied by this.
    nonlinearity
        ``"tanh"`` or ``"relu"``.
    detach_every
        Steps after which the state is cut off from what it came from; 0 for never.

    Shape
    -----
    inputs ``(batch, steps, features)``, outputs ``(batch, classes)``.
    """

    def __init__(
        self,
        features: int,
        hidden: int,
        classes: int,
        radius: float = 1.0,
        nonlinearity: str = "tanh",
        detach_every: int = 0,
    ) -> None:
        super().__init__()
        self.rnn = nn.RNN(features, hidden, nonlinearity=nonlinearity, batch_first=True)
        self.last = nn.Linear(hidden, classes)
        self.detach_every = detach_every
        set_recurrent(self.rnn, nn.init.orthogonal_, radius)

    def forward(self, inputs: Tensor) -> Tensor:
        """Read all steps."""
        state = None
        for part in torch.split(inputs, self.detach_every or inputs.shape[1], dim=1):
            _, state = self.rnn(part, None if state is None else state.detach())
        assert state is not None
        answer: Tensor = self.last(state[0])
        return answer


@torch.no_grad()
def set_recurrent(layer: nn.RNN, fill: Callable[[Tensor], Tensor], radius: float) -> None:
    """Fill the recurrent matrix, scale it to a spectral radius, and set the biases to zero."""
    parameters = dict(layer.named_parameters())
    weight = parameters["weight_hh_l0"]
    fill(weight)
    weight.mul_(radius / torch.linalg.eigvals(weight).abs().max())
    for name in ("bias_ih_l0", "bias_hh_l0"):
        parameters[name].zero_()


class Reverser(nn.Module):
    """A small transformer that is to say the symbols of a sequence from last to first.

    Shape
    -----
    inputs ``(batch, length)`` of whole numbers, outputs ``(batch, length, symbols)``.
    """

    def __init__(self, symbols: int, length: int, width: int, blocks: int, norm: str) -> None:
        super().__init__()
        self.embed = nn.Embedding(symbols, width)
        self.places = nn.Embedding(length, width)
        nn.init.normal_(self.places.weight, std=0.5)
        self.blocks = nn.Sequential(
            *(TransformerBlock(width, 2, norm, activation="relu") for _ in range(blocks))
        )
        self.norm = nn.LayerNorm(width) if norm == "pre" else nn.Identity()
        self.last = nn.Linear(width, symbols)

    def forward(self, inputs: Tensor) -> Tensor:
        """Answer at every place."""
        answer: Tensor = self.last(self.norm(self.blocks(self.embed(inputs) + self.places.weight)))
        return answer


class StepByStep(nn.Module):
    """A recurrent layer that can be trained in an ensemble, and a linear layer at its end.

    Parameters
    ----------
    layer
        ``nn.RNN`` or ``nn.LSTM``.
    features, hidden, classes
        Sizes.
    radius
        Of a tanh RNN: the spectral radius of its Gaussian recurrent matrix.
    detach_every
        As for :class:`Reader`.
    """

    def __init__(
        self,
        layer: type[nn.RNN] | type[nn.LSTM],
        features: int,
        hidden: int,
        classes: int,
        radius: float = 1.0,
        detach_every: int = 0,
    ) -> None:
        super().__init__()
        made = layer(features, hidden, batch_first=True)
        if isinstance(made, nn.RNN):
            set_recurrent(made, nn.init.normal_, radius)
        self.read = Unrolled(made)
        self.last = nn.Linear(hidden, classes)
        self.detach_every = detach_every

    def forward(self, inputs: Tensor) -> Tensor:
        """Read all steps."""
        state = None
        for part in torch.split(inputs, self.detach_every or inputs.shape[1], dim=1):
            outputs, state = self.read(part, None if state is None else state.detach())
        answer: Tensor = self.last(outputs[:, -1])
        return answer


class Rounded(Stack):
    """A stack whose activations are rounded to a number format, and their gradients too."""

    def __init__(
        self,
        in_features: int,
        width: int,
        depth: int,
        out_features: int,
        dtype: torch.dtype,
        norm: str = "none",
    ) -> None:
        super().__init__(in_features, width, depth, out_features, norm)
        self.dtype = dtype

    def forward(self, inputs: Tensor) -> Tensor:
        """Run the layers in float32 and round what each puts out."""
        for layer in self:
            # On its way back the gradient passes the same two casts.
            inputs = layer(inputs).to(self.dtype).float()
        return inputs
