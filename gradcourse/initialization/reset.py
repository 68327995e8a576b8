"""Torch's own initialization: each module's ``reset_parameters``."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import MethodType

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from gradcourse.initialization.report import InitRecord
from gradcourse.initialization.slots import Leave, Slot

__all__ = ["reset_all"]


def reset_all(
    model: nn.Module, slots: list[Slot], left: Leave, generator: torch.Generator | None
) -> list[InitRecord]:
    """Reset all modules, the inner ones first, as a constructor does."""
    for slot in slots:
        if not slot.reason:
            _check(slot)
    wanted = {id(tensor) for slot in slots if not slot.reason for tensor in slot.tensors}
    homes = [slot for slot in slots if not slot.reason.startswith("tied to")]
    place = {id(tensor): slot.label for slot in homes for tensor in slot.tensors}
    devices = {tensor.device for slot in slots if not slot.reason for tensor in slot.tensors}
    with _seeded(generator, devices):
        for path, module in _children_first(model):
            reset = _reset_of(module)
            inside = [tensor for tensor in module.parameters() if not is_lazy(tensor)]
            settable = any(id(tensor) in wanted for tensor in inside)
            if reset is None or left(path, module) or not settable:
                continue
            # A module resets all that it reaches: what it shall not touch is put back.
            kept = [
                (tensor, tensor.detach().clone())
                for tensor in inside
                if id(tensor) not in wanted
                or not (place[id(tensor)].startswith(f"{path}.") or not path)
            ]
            reset()
            for tensor, value in kept:
                tensor.copy_(value)
    return [slot.record("reset_parameters") for slot in slots]


def _check(slot: Slot) -> None:
    if _reset_of(slot.module) is None:
        raise ValueError(
            f"{slot.owner} owns the parameter {slot.name} and has no reset_parameters: "
            f"set it yourself and leave it out with leave={slot.label!r}"
        )
    if slot.parametrized:
        raise ValueError(
            f"{slot.label} is parametrized, so that reset_parameters does not reach it: "
            "initialize before the parametrization is registered, or name it in leave="
        )


def _reset_of(module: nn.Module) -> Callable[[], object] | None:
    # Attention and nn.Transformer have it with an underscore.
    for name in ("reset_parameters", "_reset_parameters"):
        reset = getattr(module, name, None)
        if isinstance(reset, MethodType):
            return reset
    return None


def _children_first(module: nn.Module, path: str = "") -> Iterator[tuple[str, nn.Module]]:
    for name, child in module.named_children():
        yield from _children_first(child, f"{path}.{name}" if path else name)
    yield path, module


@contextmanager
def _seeded(generator: torch.Generator | None, devices: set[torch.device]) -> Iterator[None]:
    """Seed the global random state from a generator, and put it back at the end."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Initializing zero-element tensors")
        if generator is None:
            yield
            return
        for device in devices:
            if device.type not in ("cpu", "cuda"):
                raise ValueError(
                    f"the scheme torch takes a generator on cpu and cuda only, got {device.type}: "
                    "move the model there, or pass no generator"
                )
        seed = int(torch.randint(2**62, (), generator=generator, device=generator.device))
        cuda = [device for device in devices if device.type == "cuda"]
        with torch.random.fork_rng(devices=cuda, device_type="cuda"):
            # Not torch.manual_seed, which would reseed every device for good.
            torch.default_generator.manual_seed(seed)
            for device in cuda:
                with torch.cuda.device(device):
                    torch.cuda.manual_seed(seed)
            yield
