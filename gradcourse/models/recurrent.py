"""Recurrent layers, step by step."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["Unrolled"]


class Unrolled(nn.Module):
    """A recurrent layer of torch, run step by step: same parameters, same results, open to view.

    Torch runs all steps in one call. Written out, they have a rule for ``torch.func.vmap``, so that
    :class:`gradcourse.training.Ensemble` can run many, and every state can be asked for its
    gradient.

    Parameters
    ----------
    layer
        ``nn.RNN``, ``nn.LSTM`` or ``nn.GRU`` with one layer, one direction and no projection. It is
        kept and not copied: initialise it as you would without this.

    Raises
    ------
    TypeError
        If ``layer`` is something else.
    ValueError
        If it has several layers, two directions or a projection.

    Shape
    -----
    inputs ``(steps, batch, features)``, outputs ``(steps, batch, hidden)``, or the first two the
    other way around if the layer was made with ``batch_first``; a state ``(1, batch, hidden)``, for
    an LSTM the pair of hidden state and memory cell.

    Notes
    -----
    On a CPU eight networks of 32 units run about twice as fast in an ensemble as one after the
    other in ``nn.RNN`` or ``nn.GRU``. For ``nn.LSTM``, which has a kernel of its own there, it is
    the other way around: keep several and add up their losses.

    Examples
    --------
    The gradient of the last output with respect to each state before it:

    >>> layer, inputs = Unrolled(nn.RNN(3, 4)), torch.ones(5, 1, 3)
    >>> nudge = torch.zeros(5, 1, 4, requires_grad=True)
    >>> outputs, state = layer(inputs, nudge=nudge)
    >>> outputs[-1].sum().backward()
    >>> nudge.grad.norm(dim=2).shape
    torch.Size([5, 1])
    """

    def __init__(self, layer: nn.RNN | nn.LSTM | nn.GRU) -> None:
        super().__init__()
        if not isinstance(layer, (nn.RNN, nn.LSTM, nn.GRU)):
            raise TypeError(f"layer must be an RNN, an LSTM or a GRU, got {type(layer).__name__}")
        if layer.num_layers > 1 or layer.bidirectional or layer.proj_size:
            raise ValueError(
                "layer must have num_layers=1, bidirectional=False and proj_size=0, got "
                f"{layer.num_layers}, {layer.bidirectional} and {layer.proj_size}"
            )
        self.layer = layer

    @property
    def batch_first(self) -> bool:
        """Whether the batch comes before the steps, as in the layer."""
        return self.layer.batch_first

    def forward(self, inputs: Tensor, state: Any = None, nudge: Any = None) -> tuple[Tensor, Any]:
        """Run all steps.

        Parameters
        ----------
        inputs
            As the layer takes them: shape (steps, batch, features), or (batch, steps, features)
            with ``batch_first``.
        state
            Where to start; zeros if None.
        nudge
            Added to the state after each step: shape (steps, batch, hidden), for an LSTM a pair for
            hidden state and cell. Zeros that require a gradient change nothing and get the
            gradient of every state, along all ways from there to the loss.

        Returns
        -------
        outputs, state
            The hidden states after all steps, and the state after the last one.

        Raises
        ------
        ValueError
            If ``inputs`` do not have three dimensions.
        TypeError
            If ``inputs`` are no tensor, but a packed sequence.
        """
        layer = self.layer
        if not isinstance(inputs, Tensor):
            raise TypeError(f"inputs must be a tensor, got {type(inputs).__name__}")
        if inputs.ndim != 3:
            raise ValueError(
                "inputs must have three dimensions, steps, batch and features, got shape "
                f"{tuple(inputs.shape)}"
            )
        weight_ih, weight_hh, *biases = (getattr(layer, name) for name in layer._all_weights[0])
        bias_ih, bias_hh = biases or (None, None)
        drives = nn.functional.linear(inputs, weight_ih, bias_ih)
        drives = drives.transpose(0, 1) if layer.batch_first else drives
        if state is None:
            start = drives.new_zeros(1, drives.shape[1], layer.hidden_size)
            state = (start, start) if layer.mode == "LSTM" else start
        if layer.mode == "LSTM":
            hidden, cell = state[0][0], state[1][0]
            nudges = (None, None) if nudge is None else nudge
        else:
            hidden = cell = state[0]
            nudges = nudge, None
        outputs = []
        for drive, by, cell_by in zip(drives, *(_each(one, drives) for one in nudges), strict=True):
            recurrent = nn.functional.linear(hidden, weight_hh, bias_hh)
            if layer.mode == "LSTM":
                hidden, cell = _lstm(drive + recurrent, cell, cell_by)
            elif layer.mode == "GRU":
                hidden = _gru(drive, recurrent, hidden)
            else:
                total = drive + recurrent
                hidden = torch.relu(total) if layer.mode == "RNN_RELU" else torch.tanh(total)
            hidden = hidden if by is None else hidden + by
            outputs.append(hidden)
        joined = torch.stack(outputs, dim=1 if layer.batch_first else 0)
        return joined, (hidden[None], cell[None]) if layer.mode == "LSTM" else hidden[None]


def _each(nudge: Tensor | None, drives: Tensor) -> Iterable[Tensor | None]:
    return itertools.repeat(None, len(drives)) if nudge is None else nudge


# Torch stacks the gates of an LSTM as input, forget, cell, output, and those of a GRU as reset,
# update, new.
def _lstm(gates: Tensor, cell: Tensor, nudge: Tensor | None) -> tuple[Tensor, Tensor]:
    write, forget, candidate, read = gates.chunk(4, dim=-1)
    cell = torch.sigmoid(forget) * cell + torch.sigmoid(write) * torch.tanh(candidate)
    cell = cell if nudge is None else cell + nudge
    return torch.sigmoid(read) * torch.tanh(cell), cell


def _gru(drive: Tensor, recurrent: Tensor, hidden: Tensor) -> Tensor:
    reset, update, new = drive.chunk(3, dim=-1)
    reset_from, update_from, new_from = recurrent.chunk(3, dim=-1)
    keep = torch.sigmoid(update + update_from)
    candidate = torch.tanh(new + torch.sigmoid(reset + reset_from) * new_from)
    return torch.lerp(candidate, hidden, keep)
