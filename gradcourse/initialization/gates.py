"""Biases of gates: how long an LSTM or a GRU remembers before it has learned anything.

With weights of 0 a memory decays by ``sigmoid(bias)`` a step, where the bias is the *sum* of the
two that torch keeps.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, nn

from gradcourse.checks import number
from gradcourse.initialization.slots import Slot, kind_of, slots_of

__all__ = ["chrono_", "forget_gate_bias_", "update_gate_bias_"]

AnyModule = TypeVar("AnyModule", bound=nn.Module)

_LSTM = (nn.LSTM, nn.LSTMCell)
_GRU = (nn.GRU, nn.GRUCell)

# Torch stacks the gates of an LSTM as input, forget, cell, output, and those of a GRU as reset,
# update, new.
_INPUT, _FORGET = 0, 1
_UPDATE = 1


@torch.no_grad()
def forget_gate_bias_(module: AnyModule, value: float = 1.0) -> AnyModule:
    """Set the forget gates' biases of every LSTM, in place.

    Torch adds two biases up: one is set to ``value`` and the other to 0. The other gates keep
    theirs.

    Parameters
    ----------
    module
        An ``LSTM``, an ``LSTMCell`` or a module that contains some.
    value
        The bias; a cell state then decays by about ``sigmoid(value)`` a step, 0.73 for 1. Torch's
        default is about 0: half is forgotten at each step.

    Returns
    -------
    Module
        The same module.

    Raises
    ------
    ValueError
        If there is no LSTM, or one whose biases are missing or cannot be set in place; or if
        ``value`` is not finite.
    TypeError
        If ``value`` is no number.

    Notes
    -----
    A positive forget bias was proposed with the forget gate itself (Gers, Schmidhuber & Cummins
    2000); Jozefowicz, Zaremba & Sutskever (2015) found that 1 closes the gap to a GRU.

    Examples
    --------
    >>> lstm = forget_gate_bias_(nn.LSTM(3, 2))
    >>> (lstm.bias_ih_l0 + lstm.bias_hh_l0)[2:4].tolist()  # gates i, f, g, o of 2 units each
    [1.0, 1.0]
    """
    number = _finite(value)
    for biases in _biases(module, _LSTM, "LSTM", "a GRU has update_gate_bias_ instead"):
        biases.set_gate(_FORGET, number)
    return module


@torch.no_grad()
def update_gate_bias_(module: AnyModule, value: float = 1.0) -> AnyModule:
    """Set the update gates' biases of every GRU, in place.

    In torch the update gate ``z`` keeps the old state, ``h' = (1 - z) n + z h``, so it plays the
    part of a forget gate: a large bias remembers. Many papers swap ``z`` and ``1 - z``.

    Parameters
    ----------
    module
        A ``GRU``, a ``GRUCell`` or a module that contains some.
    value
        The sum of torch's two biases; the state then decays by about ``sigmoid(value)`` a step.

    Returns
    -------
    Module
        The same module.

    Raises
    ------
    ValueError
        If there is no GRU, or one whose biases are missing or cannot be set in place; or if
        ``value`` is not finite.
    TypeError
        If ``value`` is no number.

    Examples
    --------
    >>> gru = update_gate_bias_(nn.GRUCell(3, 2), 2.0)
    >>> (gru.bias_ih + gru.bias_hh)[2:4].tolist()  # gates r, z, n of 2 units each
    [2.0, 2.0]
    """
    number = _finite(value)
    for biases in _biases(module, _GRU, "GRU", "an LSTM has forget_gate_bias_ instead"):
        biases.set_gate(_UPDATE, number)
    return module


@torch.no_grad()
def chrono_(
    module: AnyModule, max_time: float, generator: torch.Generator | None = None
) -> AnyModule:
    """Give each unit of every LSTM and GRU its own memory, up to ``max_time`` steps, in place.

    A gate of bias ``ln(T - 1)`` remembers for about ``T`` steps; ``T - 1`` is drawn evenly between
    1 and ``max_time - 1`` (Tallec & Ollivier 2018). In an LSTM that is the forget gate, and the
    input gate has the opposite bias; in a GRU it is the update gate, with the sign of torch's
    convention. The other gates keep their biases.

    Parameters
    ----------
    module
        An ``LSTM``, ``GRU``, one of their cells or a module that contains some.
    max_time
        The longest dependency to be expected, in steps; 2 or more.
    generator
        Source of the random numbers, which are drawn on its device.

    Returns
    -------
    Module
        The same module.

    Raises
    ------
    ValueError
        If there is no LSTM and no GRU, or one whose biases are missing or cannot be set in place;
        or if ``max_time`` is below 2 or not finite.
    TypeError
        If ``max_time`` is no number.

    Examples
    --------
    >>> lstm = chrono_(nn.LSTM(3, 1000), max_time=101)
    >>> forget = (lstm.bias_ih_l0 + lstm.bias_hh_l0)[1000:2000]
    >>> bool((forget >= 0).all() and (forget <= math.log(100)).all())
    True
    """
    limit = number("max_time", max_time)
    if not 2 <= limit < math.inf:
        raise ValueError(f"max_time must be a finite number, 2 or more, got {limit:g}")
    for biases in _biases(module, _LSTM + _GRU, "LSTM and no GRU", "no other layer has gates"):
        device = biases.first.device if generator is None else generator.device
        memory = torch.empty(biases.units, device=device)
        bias = memory.uniform_(1, limit - 1, generator=generator).log_()
        if biases.gates == 4:
            biases.set_gate(_FORGET, bias)
            biases.set_gate(_INPUT, -bias)
        else:
            biases.set_gate(_UPDATE, bias)
    return module


@dataclass(frozen=True, eq=False)
class _Biases:
    """The two biases of one layer and direction, which torch adds up."""

    first: Tensor
    second: Tensor
    units: int

    @property
    def gates(self) -> int:
        return len(self.first) // self.units

    def set_gate(self, gate: int, value: float | Tensor) -> None:
        rows = slice(gate * self.units, (gate + 1) * self.units)
        self.first[rows] = value
        self.second[rows] = 0.0


def _biases(
    module: nn.Module, classes: tuple[type[nn.Module], ...], missing: str, hint: str
) -> list[_Biases]:
    """Find all pairs of biases, and check every one before any is set."""
    found = []
    for slot in slots_of(module):
        layer = slot.module
        if not isinstance(layer, classes) or not isinstance(layer, (nn.RNNBase, nn.RNNCellBase)):
            continue
        if not layer.bias:
            raise ValueError(f"{slot.owner} was made with bias=False: it has no bias to set")
        if slot.name.startswith("bias_ih"):
            other = Slot(slot.path, layer, slot.name.replace("ih", "hh"))
            found.append(_Biases(slot.plain(), other.plain(), layer.hidden_size))
    if not found:
        raise ValueError(f"{kind_of(module)} holds no {missing}: {hint}")
    return found


def _finite(value: float) -> float:
    found = number("value", value)
    if not math.isfinite(found):
        raise ValueError(f"value must be a finite number, got {found:g}")
    return found
