"""Which parameter of which module is filled how: one matrix, or several stacked in one tensor."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import init

from gradcourse.initialization.residual import ReZero
from gradcourse.initialization.schemes import Scheme

__all__ = ["Fill", "fill_for"]

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_NORMS = (
    nn.LayerNorm,
    nn.RMSNorm,
    nn.GroupNorm,
    nn.modules.batchnorm._NormBase,  # BatchNorm, SyncBatchNorm and InstanceNorm of any dimension
)

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Fill:
    """A way to fill one tensor.

    Attributes
    ----------
    words
        What is done.
    std
        Standard deviation that the elements should have.
    fill_
        Fills a contiguous tensor in place.
    problem
        Why it cannot be done, or nothing.
    """

    words: str
    std: float
    fill_: Callable[[Tensor, torch.Generator | None], object]
    problem: str = ""


def fill_for(module: nn.Module, name: str, shape: Shape, scheme: Scheme) -> Fill | None:
    """Return how a parameter is filled, or None if the module or the name is unknown."""
    maker = _makers(module, name, scheme).get(name)
    return None if maker is None else maker(shape)


def _makers(module: nn.Module, name: str, scheme: Scheme) -> dict[str, Callable[[Shape], Fill]]:
    matrix = partial(_blocks, scheme.for_matrix)
    zeros, ones = _constant(0.0), _constant(1.0)
    bias = partial(_normal, scheme.bias_std) if scheme.bias_std else zeros
    match module:
        case nn.Linear() | nn.Bilinear():
            return {"weight": matrix, "bias": bias}
        case _ if isinstance(module, _CONVOLUTIONS + _TRANSPOSED):
            turned = isinstance(module, _TRANSPOSED)
            kernel = partial(_blocks, scheme, count=module.groups, transposed=turned)
            return {"weight": kernel, "bias": bias}
        case nn.RNNBase() | nn.RNNCellBase():
            gates = 1
            if isinstance(module, (nn.LSTM, nn.LSTMCell)):
                gates = 4
            elif isinstance(module, (nn.GRU, nn.GRUCell)):
                gates = 3
            kinds: dict[str, Callable[[Shape], Fill]] = {
                "weight_ih": partial(_blocks, scheme.for_matrix, count=gates),
                "weight_hh": partial(_blocks, scheme.for_hidden, count=gates),
                "weight_hr": partial(_blocks, scheme.for_hidden),
                # The two biases are added up, so one of them carries the variance.
                "bias_ih": bias,
                "bias_hh": zeros,
            }
            # weight_ih_l0_reverse, or bias_hh in a cell: the first two words tell the kind.
            kind = "_".join(name.split("_")[:2])
            return {name: kinds[kind]} if kind in kinds else {}
        case nn.MultiheadAttention():
            # The added key and value are tokens and no weights: as in torch, whatever the scheme.
            token = partial(_normal, 1 / math.sqrt(module.embed_dim))
            return {
                "in_proj_weight": partial(_blocks, scheme.for_matrix, count=3),
                "q_proj_weight": matrix,
                "k_proj_weight": matrix,
                "v_proj_weight": matrix,
                "in_proj_bias": bias,
                "bias_k": token,
                "bias_v": token,
            }
        case nn.Embedding() | nn.EmbeddingBag():
            return {"weight": partial(_normal, 1.0, zero_row=module.padding_idx)}
        case _ if isinstance(module, _NORMS):
            return {"weight": ones, "bias": zeros}
        case nn.PReLU():
            return {"weight": _constant(float(module.init))}
        case ReZero():
            return {"alpha": zeros}
    return {}


def _constant(value: float) -> Callable[[Shape], Fill]:
    words = {0.0: "zeros", 1.0: "ones"}.get(value, f"{value:g}")
    return lambda _: Fill(words, 0.0, lambda tensor, _: init.constant_(tensor, value))


def _normal(scale: float, shape: Shape, zero_row: int | None = None) -> Fill:
    def fill_(tensor: Tensor, generator: torch.Generator | None) -> None:
        init.normal_(tensor, 0.0, scale, generator=generator)
        if zero_row is not None:
            init.zeros_(tensor[zero_row])

    words = f"normal, std {scale:.3g}"
    if zero_row is None:
        return Fill(words, scale, fill_)
    return Fill(f"{words}, row {zero_row} zeros", scale * math.sqrt(1 - 1 / shape[0]), fill_)


def _blocks(scheme: Scheme, shape: Shape, count: int = 1, transposed: bool = False) -> Fill:
    """Fill each of ``count`` blocks that are stacked along the first axis.

    A transposed convolution stores ``(in, out, *taps)``; its blocks are turned around, so that a
    fan in counts inputs.
    """
    first, second, *taps = shape
    first //= count
    outputs, inputs = (second, first) if transposed else (first, second)
    block_shape = (outputs, inputs, *taps)

    def fill_(tensor: Tensor, generator: torch.Generator | None) -> None:
        for stored in tensor.chunk(count):
            turned = stored.transpose(0, 1) if transposed else stored
            # torch.nn.init.orthogonal_ cannot write into a turned block, so it is filled apart.
            turned.copy_(scheme.fill_(turned.new_empty(block_shape), generator))

    problem = ""
    if scheme.name == "delta_orthogonal" and outputs < inputs:
        problem = (
            "delta_orthogonal needs as many outputs as inputs, or more, "
            f"got {inputs} inputs and {outputs} outputs{' a group' if count > 1 else ''}"
        )
    words = scheme.words
    if count > 1:
        words += f", {count} blocks of {'x'.join(map(str, block_shape))}"
    return Fill(words, scheme.std(block_shape), fill_, problem)
