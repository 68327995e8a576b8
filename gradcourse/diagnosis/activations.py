"""How the units of a network are doing: dead, saturated, overflowing."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from gradcourse.checks import between
from gradcourse.clipping.gradients import plain_name
from gradcourse.diagnosis.untouched import call, copies, local_module, untouched

__all__ = [
    "ACTIVATIONS",
    "UNIT_LAYERS",
    "ActivationReport",
    "ActivationStatistics",
    "activation_statistics",
    "dead_units",
    "real_values",
    "saturated_share",
]

FLOAT16_MAX = torch.finfo(torch.float16).max

# Of those that are flat on both sides, the slope as a share of the steepest, by the output.
_SLOPES: dict[type[nn.Module], Callable[[Any, Tensor], Tensor]] = {
    nn.Tanh: lambda _, a: 1 - a.square(),
    nn.Sigmoid: lambda _, a: 4 * a * (1 - a),
    nn.Softsign: lambda _, a: (1 - a.abs()).square(),
    nn.Hardtanh: lambda module, a: ((a > module.min_val) & (a < module.max_val)).double(),
    nn.Hardsigmoid: lambda _, a: ((a > 0) & (a < 1)).double(),
    nn.RNN: lambda _, a: 1 - a.square(),
    nn.RNNCell: lambda _, a: 1 - a.square(),
}
# Flat on one side only, or, as ReLU6, flat at 0 in normal operation.
_ONE_SIDED = (
    nn.CELU,
    nn.ELU,
    nn.GELU,
    nn.Hardswish,
    nn.LeakyReLU,
    nn.LogSigmoid,
    nn.Mish,
    nn.PReLU,
    nn.RReLU,
    nn.ReLU,
    nn.ReLU6,
    nn.SELU,
    nn.SiLU,
    nn.Softplus,
)
ACTIVATIONS = (*_SLOPES, *_ONE_SIDED)
_CONVOLUTIONS = (nn.modules.conv._ConvNd,)
_CHANNEL_NORMS = (nn.modules.batchnorm._NormBase, nn.GroupNorm)
_FEATURES_LAST = (nn.Linear, nn.Bilinear, nn.LayerNorm, nn.Embedding, nn.RNNBase, nn.RNNCellBase)
# The last of these that values have passed tells which of their dimensions are the units.
UNIT_LAYERS = (*_CONVOLUTIONS, *_CHANNEL_NORMS, *_FEATURES_LAST)
# An activation is flat where its slope is less than this share of the steepest: tanh beyond 0.97.
FLAT = 1 - 0.97**2


@dataclass(frozen=True)
class ActivationStatistics:
    """One call of one activation, on one batch.

    Attributes
    ----------
    module
        Path of the module.
    call
        0 for its first call in the forward pass, 1 for the second.
    kind
        The class of the module, such as ``"ReLU"``.
    shape, dtype
        Of the output.
    units
        The number of units: features, or channels after a convolution.
    dead
        Share of the units whose output is exactly 0 for the whole batch, and at all positions.
    zeros
        Share of the elements that are exactly 0.
    saturated
        Share of the elements at which the activation is flat; None if it is not flat on both
        sides, as ReLU.
    overflowing
        Share of the elements that are not finite, or larger than half the dtype's largest number.
    beyond_float16
        Share of the elements that are not finite, or larger than float16's largest, 65504.
    mean, std
        Over all elements; the standard deviation is that of the population.
    """

    module: str
    call: int
    kind: str
    shape: tuple[int, ...]
    dtype: torch.dtype
    units: int
    dead: float
    zeros: float
    saturated: float | None
    overflowing: float
    beyond_float16: float
    mean: float
    std: float


@dataclass(frozen=True)
class ActivationReport:
    """All activations of a forward pass, in the order of their calls."""

    records: tuple[ActivationStatistics, ...]

    def summary(self) -> str:
        """Return one line with the worst shares, and where they are.

        Examples
        --------
        >>> ActivationReport(()).summary()
        'no activation was called'
        """
        if not self.records:
            return "no activation was called"
        count = len(self.records)
        worst = [
            self._worst("dead", lambda record: record.dead),
            self._worst("saturated", lambda record: record.saturated or 0.0),
            self._worst("overflowing", lambda record: record.overflowing),
            self._worst("beyond float16", lambda record: record.beyond_float16),
        ]
        return f"{count} activation{'s' * (count > 1)}, at worst {', '.join(worst)}"

    def __str__(self) -> str:
        lines = [
            f"  {record.module or 'the model'} ({record.kind}): {record.dead:.0%} dead, "
            f"{'-' if record.saturated is None else f'{record.saturated:.0%}'} saturated, "
            f"{record.overflowing:.0%} overflowing, std {record.std:.3g}"
            for record in self.records
        ]
        return "\n".join([self.summary(), *lines])

    def __iter__(self) -> Iterator[ActivationStatistics]:
        return iter(self.records)

    def __len__(self) -> int:
        return len(self.records)

    def _worst(self, name: str, share: Callable[[ActivationStatistics], float]) -> str:
        record = max(self.records, key=share)
        where = f" in {record.module!r}" if share(record) else ""
        return f"{share(record):.0%} {name}{where}"


def activation_statistics(
    model: nn.Module,
    batch: Any,
    *,
    modules: Collection[str | type[nn.Module]] | None = None,
    saturation: float = 0.97,
) -> ActivationReport:
    """Run a batch through a model and measure its activations.

    An activation that is flat on both sides (Tanh, Sigmoid, Softsign, Hardtanh, Hardsigmoid, the
    output of an RNN with tanh) is called saturated where its slope is below a share of its
    steepest slope: the share is that of tanh where ``abs(tanh) = saturation``, which is
    ``1 - saturation**2``, 6 % at the default. For a sigmoid it comes to outputs above 0.985 or
    below 0.015.

    Parameters
    ----------
    model
        Run in the mode (train or eval) that it is in.
    batch
        A tensor, a tuple or list of arguments, or a dict of keyword arguments. With one sample
        every unit that is off counts as dead: pass a batch.
    modules
        Paths or classes of the modules to measure; by default torch's activations, but of the
        recurrent layers only ``nn.RNN`` and ``nn.RNNCell``. Functions like
        ``torch.nn.functional.relu`` cannot be seen.
    saturation
        The output of tanh, between 0 and 1, from which on it counts as saturated.

    Returns
    -------
    ActivationReport
        One record for each call of a module with a floating output, of a tuple the first. The
        units are the channels after a convolution or a norm over channels, and of outputs with
        four dimensions or more before any layer; else they are the last dimension.

    Raises
    ------
    TypeError
        If the model is not a module, or the batch none of the above.
    ValueError
        If ``modules`` names one that the model does not have, or saturation is out of range.

    Examples
    --------
    >>> model = nn.Sequential(nn.Linear(2, 4), nn.ReLU())
    >>> _ = nn.init.constant_(model[0].bias, -9.0)
    >>> activation_statistics(model, torch.zeros(8, 2)).summary()
    "1 activation, at worst 100% dead in '1', 0% saturated, 0% overflowing, 0% beyond float16"
    """
    flat = 1 - between(0, 1, "saturation", saturation) ** 2
    model = local_module(model)
    named = {plain_name(path): module for path, module in model.named_modules()}
    for wanted in modules or ():
        if isinstance(wanted, str) and wanted not in named:
            raise ValueError(f"the model has no module {wanted!r}: it has {', '.join(named)}")
    chosen = ACTIVATIONS if modules is None else modules
    paths = {w for w in chosen if isinstance(w, str)}
    classes = tuple(w for w in chosen if isinstance(w, type))

    records: list[ActivationStatistics] = []
    calls: dict[str, int] = {}
    layer: nn.Module | None = None

    def pass_layer(module: nn.Module, *_: object) -> None:
        nonlocal layer
        layer = module

    handles = []
    try:
        for path, module in named.items():
            if isinstance(module, UNIT_LAYERS):
                handles.append(module.register_forward_hook(pass_layer))
            if path in paths or isinstance(module, classes):

                def measure(module: nn.Module, _: Any, output: Any, path: str = path) -> None:
                    values = real_values(output)
                    if values is not None:
                        call = calls[path] = calls.get(path, -1) + 1
                        records.append(_measured(path, call, module, values, layer, flat))

                handles.append(module.register_forward_hook(measure))
        with untouched(model), torch.no_grad():
            call(model, copies(batch)[0])
    finally:
        for handle in handles:
            handle.remove()
    return ActivationReport(tuple(records))


def real_values(output: Any) -> Tensor | None:
    """Return what a module has put out, None if these are not real numbers."""
    if isinstance(output, PackedSequence):
        return output.data
    if isinstance(output, tuple | list) and output:
        return real_values(output[0])
    return output if isinstance(output, Tensor) and output.is_floating_point() else None


def _measured(
    path: str, call: int, module: nn.Module, output: Tensor, layer: nn.Module | None, flat: float
) -> ActivationStatistics:
    # Squares of large numbers overflow in a shorter format.
    values = (output if output.dim() else output[None]).double()
    size = values.abs()
    dead = dead_units(values, layer)
    saturated = saturated_share(module, values, flat)
    # The negation counts NaN too.
    return ActivationStatistics(
        module=path,
        call=call,
        kind=type(module).__name__,
        shape=tuple(output.shape),
        dtype=output.dtype,
        units=len(dead),
        dead=_share(dead),
        zeros=_share(values == 0),
        saturated=None if saturated is None else float(saturated),
        overflowing=_share(~(size <= torch.finfo(output.dtype).max / 2)),
        beyond_float16=_share(~(size <= FLOAT16_MAX)),
        mean=float(values.mean()),
        std=float(values.std(correction=0)),
    )


def dead_units(values: Tensor, layer: nn.Module | None) -> Tensor:
    """Say of each unit whether all of its values are exactly 0; shape ``(units,)``.

    Parameters
    ----------
    values
        What an activation has put out, with one dimension or more.
    layer
        The last of ``UNIT_LAYERS`` that they have passed.
    """
    axis = _unit_axis(values, layer) % values.dim()
    others = [dimension for dimension in range(values.dim()) if dimension != axis]
    # Several times faster than comparing each value; a NaN is no zero.
    largest = values.abs().amax(others) if others else values
    return largest == 0


def saturated_share(module: nn.Module, values: Tensor, flat: float = FLAT) -> Tensor | None:
    """Return the share of values at which an activation is flat, shape ``()``.

    None if it is not flat on both sides.
    """
    slope = _slope_of(module)
    return None if slope is None else (slope(module, values) < flat).float().mean()


def _slope_of(module: nn.Module) -> Callable[[Any, Tensor], Tensor] | None:
    if isinstance(module, _ONE_SIDED) or getattr(module, "nonlinearity", "tanh") != "tanh":
        return None
    return next((slope for kind, slope in _SLOPES.items() if isinstance(module, kind)), None)


def _unit_axis(values: Tensor, layer: nn.Module | None) -> int:
    """Return the dimension of the units, by the last layer that the values have passed."""
    if isinstance(layer, _CONVOLUTIONS):
        channels = len(layer.kernel_size) + 1
        return -channels if values.dim() >= channels else -1
    if isinstance(layer, _CHANNEL_NORMS) or (layer is None and values.dim() >= 4):
        return 1 if values.dim() > 1 else 0
    return -1


def _share(mask: Tensor) -> float:
    return float(mask.double().mean())
