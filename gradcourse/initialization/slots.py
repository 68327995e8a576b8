"""Every parameter of a model with its owner, and whether it can be set: nothing is changed here."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.nn.utils import parametrize

from gradcourse.initialization.report import InitRecord

__all__ = ["Leave", "Slot", "kind_of", "slots_of"]


@dataclass(frozen=True, eq=False)
class Slot:
    """A parameter of a module; several tensors hold it if it is parametrized.

    Attributes
    ----------
    path, module
        The module that owns it, and the module's path.
    name
        Name of the parameter inside of its module.
    reason
        Why it is not to be set, or nothing.
    """

    path: str
    module: nn.Module
    name: str
    reason: str = ""

    @property
    def tensors(self) -> tuple[nn.Parameter, ...]:
        """The parameters that hold it, or none if a parametrization makes it from buffers."""
        if self.parametrized:
            return tuple(self._parametrization.parameters())
        return (self.module.get_parameter(self.name),)

    @property
    def label(self) -> str:
        """The full name."""
        return f"{self.path}.{self.name}" if self.path else self.name

    @property
    def owner(self) -> str:
        """The module in words, for a sentence."""
        return f"{self.path or 'the model itself'} ({kind_of(self.module)})"

    @property
    def shape(self) -> tuple[int, ...] | None:
        """The shape, or None if it is unknown."""
        if self.parametrized:
            # Of a copy, because reading a spectrally normalized weight moves its state.
            return tuple(copy.deepcopy(self._parametrization)().shape)
        return None if is_lazy(self.tensors[0]) else tuple(self.tensors[0].shape)

    @property
    def parametrized(self) -> bool:
        """Whether the module computes it from other tensors."""
        return parametrize.is_parametrized(self.module, self.name)

    def check(self) -> None:
        """Refuse a tensor that no scheme can write to."""
        for tensor in self.tensors:
            if is_lazy(tensor):
                raise ValueError(
                    f"{self.owner} has no shape yet: run one batch through the model first"
                )
            if type(tensor) is not nn.Parameter:
                raise ValueError(
                    f"{self.label} is a {type(tensor).__name__} and no plain Parameter: "
                    "initialize the model before it is sharded or converted"
                )
            if tensor.is_meta:
                raise ValueError(
                    f"{self.label} is on the meta device and holds no numbers: "
                    "call to_empty(device=...) first"
                )
            if not tensor.is_floating_point():
                raise ValueError(f"{self.label} is {tensor.dtype}: schemes are for real weights")

    def plain(self) -> nn.Parameter:
        """Return the parameter itself, to be changed in place; refuse one that is computed."""
        self.check()
        if self.parametrized:
            raise ValueError(
                f"{self.label} is parametrized: set it before the parametrization is registered"
            )
        return self.tensors[0]

    def check_gives_back(self, constant: bool) -> None:
        """Refuse a parametrization that changes what is assigned: a scale is lost in it."""
        trial = copy.deepcopy(self._parametrization)
        with torch.no_grad():
            wanted = torch.zeros_like(trial())
            if not constant:
                values = torch.randn(wanted.shape, generator=torch.Generator().manual_seed(0))
                wanted.copy_(values)
            try:
                trial.right_inverse(wanted.clone())
                same = torch.allclose(trial(), wanted, rtol=1e-2, atol=1e-3)
            except (RuntimeError, ValueError):
                same = False
        if not same:
            names = ", ".join(type(step).__name__.lstrip("_") for step in trial)
            raise ValueError(
                f"{self.label} is parametrized by {names}, which does not give back the values "
                "that it is assigned: initialize before it is registered, or name it in leave="
            )

    def assign(self, value: Tensor) -> None:
        """Set the parameter to a value of its own shape."""
        holder = self.tensors[0]
        if self.parametrized:
            setattr(self.module, self.name, value.to(holder))
        else:
            holder.copy_(value)

    def record(self, done: str = "", std_predicted: float | None = None) -> InitRecord:
        """Return what was done to it, with the elements measured; nothing if there is a reason."""
        std = None
        if not self.reason:
            values: Tensor = getattr(self.module, self.name).detach()
            wide = values if values.dtype == torch.float64 else values.float()
            std = float(wide.std(correction=0))
        return InitRecord(
            module=self.path,
            kind=kind_of(self.module),
            parameter=self.name,
            shape=self.shape,
            done=self.reason or done,
            was_set=not self.reason,
            std_predicted=std_predicted,
            std=std,
        )

    @property
    def _parametrization(self) -> parametrize.ParametrizationList:
        found = self.module.get_submodule(f"parametrizations.{self.name}")
        assert isinstance(found, parametrize.ParametrizationList)
        return found


class Leave:
    """What the caller wants to be left as it is."""

    def __init__(
        self, leave: str | type[nn.Module] | Iterable[str | type[nn.Module]], model: nn.Module
    ) -> None:
        if isinstance(leave, (str, type)) or not isinstance(leave, Iterable):
            items: tuple[object, ...] = (leave,)
        else:
            items = tuple(leave)
        self.names = tuple(item for item in items if isinstance(item, str))
        self.classes = tuple(
            item for item in items if isinstance(item, type) and issubclass(item, nn.Module)
        )
        for item in items:
            if item not in self.names and item not in self.classes:
                raise TypeError(f"leave must hold names and classes of modules, got {item!r}")
        known = {path for path, _ in model.named_modules(remove_duplicate=False) if path}
        known |= {slot.label for slot in _walk(model)}
        for name in self.names:
            if name not in known:
                raise ValueError(f"leave names {name!r}, which the model does not have")

    def __call__(self, path: str, module: nn.Module) -> bool:
        """Return whether a module, or a parameter of a module, is to be left."""
        inside = any(path == name or path.startswith(f"{name}.") for name in self.names)
        return inside or isinstance(module, self.classes)


_EMBEDDINGS = (nn.Embedding, nn.EmbeddingBag)


def slots_of(model: nn.Module, leave: Leave | None = None) -> list[Slot]:
    """Return the parameters of a model, in order, a tied one at each of its places."""
    walked = list(_walk(model))
    homes: dict[int, Slot] = {}
    for slot in walked:
        home = homes.setdefault(id(slot.tensors[0]), slot)
        # An embedding has no fan: what it shares with a layer has to be right for the layer.
        if isinstance(home.module, _EMBEDDINGS) and not isinstance(slot.module, _EMBEDDINGS):
            homes[id(slot.tensors[0])] = slot
    slots = []
    for slot in walked:
        tensors = slot.tensors
        home = homes[id(tensors[0])]
        if home.label != slot.label:
            reason = f"tied to {home.label}"
        elif leave is not None and leave(slot.label, slot.module):
            reason = "left as asked"
        elif not all(tensor.requires_grad for tensor in tensors):
            reason = "frozen"
        elif not any(is_lazy(tensor) or tensor.numel() for tensor in tensors):
            reason = "empty"
        else:
            reason = ""
        slots.append(replace(slot, reason=reason))
    return slots


def kind_of(module: nn.Module) -> str:
    """Return the name of a module's class, whether it is parametrized or not."""
    return parametrize.type_before_parametrizations(module).__name__


def _walk(model: nn.Module) -> Iterator[Slot]:
    inner: set[nn.Module] = set()
    for path, module in model.named_modules(remove_duplicate=False):
        if module in inner:
            continue
        for name, _ in module.named_parameters(recurse=False, remove_duplicate=False):
            yield Slot(path, module, name)
        if parametrize.is_parametrized(module):
            parametrizations = module.get_submodule("parametrizations")
            inner.update(parametrizations.modules())
            for name, _ in parametrizations.named_children():
                slot = Slot(path, module, name)
                if slot.tensors:
                    yield slot
