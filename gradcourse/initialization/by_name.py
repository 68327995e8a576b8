"""Fill a whole model by the name of a scheme, and say what was set."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

from gradcourse.initialization.fills import Fill, fill_for
from gradcourse.initialization.report import InitRecord, InitReport
from gradcourse.initialization.reset import reset_all
from gradcourse.initialization.schemes import Mode, Scheme, scheme_by_name
from gradcourse.initialization.slots import Leave, Slot, kind_of, slots_of

__all__ = ["initialize"]


@torch.no_grad()
def initialize(
    model: nn.Module,
    scheme: str,
    *,
    nonlinearity: str | None = None,
    gain: float | None = None,
    mode: Mode | None = None,
    weight_variance: float | None = None,
    bias_variance: float | None = None,
    leave: str | type[nn.Module] | Iterable[str | type[nn.Module]] = (),
    generator: torch.Generator | None = None,
) -> InitReport:
    """Fill all parameters of a model by the name of a scheme, in place, and say what was set.

    Everything is checked before anything is changed: a model that is refused is as it was.

    Parameters
    ----------
    model
        A model of linear, bilinear, convolutional and recurrent layers, attention, embeddings,
        norms, ``PReLU`` and ``ReZero``.
    scheme
        Its name:

        - ``"xavier_uniform"``, ``"xavier_normal"`` or ``"glorot_..."``: variance
          ``2 / (fan_in + fan_out)``, a compromise between the way forward and the way back (Glorot
          & Bengio 2010);
        - ``"kaiming_uniform"``, ``"kaiming_normal"`` or ``"he_..."``: ``2 / fan`` for ReLU (He et
          al. 2015);
        - ``"lecun_uniform"``, ``"lecun_normal"``: ``1 / fan_in`` (LeCun et al. 1998);
        - ``"orthogonal"``: orthonormal rows or columns (Saxe et al. 2014); a kernel is flattened
          to ``(out, in * taps)``, as in torch; this does not keep the norm of an image;
        - ``"delta_orthogonal"``: for convolutions, an orthogonal matrix in the centre tap and zeros
          elsewhere (Xiao et al. 2018), which keeps the norm of an image when the stride is 1 and
          the padding keeps the image's size; other layers are orthogonal;
        - ``"mean_field"``: normal weights of variance ``weight_variance / fan_in`` and biases of
          ``bias_variance`` (Poole et al. 2016);
        - ``"torch"``: what each module's own ``reset_parameters`` does, for any class that has one.
    nonlinearity
        Multiplies the weights by ``torch.nn.init.calculate_gain``. The default is ``"relu"`` for
        Kaiming's schemes and ``"linear"``, a gain of 1, for the others.
    gain
        A number instead, for an activation that torch has no gain for.
    mode
        ``"fan_in"``, the default, or ``"fan_out"``; for Kaiming's schemes only.
    weight_variance, bias_variance
        For ``"mean_field"`` only; ``bias_variance`` is 0 by default.
    leave
        What to leave as it is: the name of a module, with all that is inside of it; the name of a
        parameter; or a class, whose modules keep their own parameters while the layers inside of
        them are set.
    generator
        Source of the random numbers; with one, the global random state stays as it is. The numbers
        are drawn on the generator's device, so one seed gives the same weights on any device.
        ``"torch"`` takes no more than a seed from it, because ``reset_parameters`` draws from the
        global state, which is put back.

    Returns
    -------
    InitReport
        A record for each parameter; ``print`` shows a table of them.

    Raises
    ------
    ValueError
        If the scheme is unknown; if it has no such option, lacks one that it needs, or an option is
        out of range; if ``leave`` names what the model does not have; if a module of unknown class
        owns parameters; if a parameter has no shape yet, no storage, is complex or sharded; if a
        parametrization would change what it is assigned, as ``spectral_norm`` does and
        ``weight_norm`` does not.
    TypeError
        If ``model`` is no module, ``leave`` holds other things than names and classes of modules,
        or ``gain`` or a variance is no number.

    Notes
    -----
    - Fans are those of one matrix: of one gate in a recurrent layer, of query, key and value apart
      in attention, of one group in a convolution. A transposed convolution's fan in counts its
      inputs, where torch counts its outputs. Strides are not counted, as in torch.
    - Recurrent layers: weights of the input by the scheme; hidden weights and the projection of an
      LSTM orthogonal with gain 1, gate by gate, but by the scheme for ``"orthogonal"``,
      ``"delta_orthogonal"`` and ``"mean_field"``. See ``forget_gate_bias_`` and ``chrono_`` for
      what to do next.
    - Biases are 0, norms 1 and 0 with running statistics as new, ``PReLU`` its starting slope. An
      embedding adds nothing up, so it has no fan: it is normal with variance 1, as in torch.
    - A frozen parameter stays as it is, and a tied one is set once, at its first place, or for the
      layer that shares it with an embedding; both are said in the report. Half precision weights
      are drawn in float32 and rounded.
    - Buffers are not seen, except for running statistics; so neither are packed quantized weights.

    Examples
    --------
    >>> net = nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 10))
    >>> report = initialize(net, "he_normal", generator=torch.Generator().manual_seed(0))
    >>> print(report)  # doctest: +ELLIPSIS
    he_normal: set 4 of 4 tensors
    tensor    shape   std      predicted  set to
    0.weight  256x64  0.17...  0.177      kaiming_normal, gain 1.414
    0.bias    256     0        0          zeros
    2.weight  10x256  0.08...  0.0884     kaiming_normal, gain 1.414
    2.bias    10      0        0          zeros
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a torch.nn.Module, got {type(model).__name__}")
    options = (nonlinearity, gain, mode, weight_variance, bias_variance)
    chosen = scheme_by_name(scheme, *options)
    left = Leave(leave, model)
    slots = slots_of(model, left)
    for slot in slots:
        if not slot.reason:
            slot.check()
    if chosen.name == "torch":
        records = reset_all(model, slots, left, generator)
    else:
        records = _fill_all(slots, chosen, generator)
    records += _reset_statistics(model, slots, left)
    order = {path: i for i, (path, _) in enumerate(model.named_modules(remove_duplicate=False))}
    return InitReport(scheme, tuple(sorted(records, key=lambda record: order[record.module])))


def _fill_all(
    slots: list[Slot], scheme: Scheme, generator: torch.Generator | None
) -> list[InitRecord]:
    fills = [None if slot.reason else _checked_fill(slot, scheme) for slot in slots]
    return [
        slot.record() if fill is None else _filled(slot, fill, generator)
        for slot, fill in zip(slots, fills, strict=True)
    ]


def _checked_fill(slot: Slot, scheme: Scheme) -> Fill:
    fill = fill_for(slot.module, slot.name, slot.shape or (), scheme)
    if fill is None:
        raise ValueError(
            f"{slot.owner} owns the parameter {slot.name}, which no scheme knows: "
            f"set it yourself and leave it out with leave={slot.label!r}"
        )
    if fill.problem:
        raise ValueError(f"{slot.owner}: {fill.problem}")
    if slot.parametrized:
        slot.check_gives_back(constant=fill.std == 0)
    return fill


def _filled(slot: Slot, fill: Fill, generator: torch.Generator | None) -> InitRecord:
    holder = slot.tensors[0]
    value = torch.empty(
        slot.shape or (),
        # Half precision has no QR decomposition, and is rounded once instead of at each step.
        dtype=holder.dtype if holder.dtype == torch.float64 else torch.float32,
        device=holder.device if generator is None else generator.device,
    )
    fill.fill_(value, generator)
    slot.assign(value)
    return slot.record(fill.words, fill.std)


def _reset_statistics(model: nn.Module, slots: list[Slot], left: Leave) -> list[InitRecord]:
    """Forget the running statistics of norms that are not left or frozen as a whole."""
    kept = {slot.module for slot in slots} - {slot.module for slot in slots if not slot.reason}
    records = []
    for path, module in model.named_modules():
        norm = isinstance(module, nn.modules.batchnorm._NormBase) and module.track_running_stats
        if norm and module not in kept and not left(path, module):
            module.reset_running_stats()
            for name, words in (("running_mean", "zeros"), ("running_var", "ones")):
                shape = tuple(module.get_buffer(name).shape)
                records.append(
                    InitRecord(path, kind_of(module), name, shape, words, True, 0.0, 0.0)
                )
    return records
