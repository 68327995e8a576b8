"""Hooks that note what happens at each layer, while they are there."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from gradcourse.clipping.norms import accumulator, scaled_norm
from gradcourse.diagnosis.activations import (
    ACTIVATIONS,
    UNIT_LAYERS,
    dead_units,
    real_values,
    saturated_share,
)

__all__ = ["LayerHooks"]

Note = Callable[[str, nn.Module, Any], None]


class LayerHooks:
    """Notes the gradient with respect to each layer's output, and the units of each activation.

    A layer is a module that itself owns a weight with two dimensions or more.

    Parameters
    ----------
    model
        The module whose layers are watched.
    due
        Says whether this step is to be noted.
    """

    def __init__(self, model: nn.Module, due: Callable[[], bool]) -> None:
        self._model = model
        self._due = due
        self._handles: list[RemovableHandle] = []
        self._order: dict[str, None] = {}
        self._gradients: dict[str, list[Tensor]] = {}
        self._units: dict[str, list[Tensor]] = {}
        self._passed: nn.Module | None = None
        self._ends: list[str] = []

    def attach(self) -> None:
        """Put the hooks in place, once."""
        self.detach()
        for path, module in self._model.named_modules():
            notes: list[Note] = []
            if any(weight.ndim > 1 for weight in module.parameters(recurse=False)):
                notes.append(self.note_layer)
            if isinstance(module, UNIT_LAYERS):
                notes.append(self.note_passing)
            if isinstance(module, ACTIVATIONS):
                notes.append(self.note_units)
            for note in notes:
                self._handles.append(module.register_forward_hook(_Hook(note, path)))
        self._handles.append(self._model.register_forward_hook(_Hook(self.note_end, "")))

    def detach(self) -> None:
        """Take the hooks away."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self.take()

    def take(self) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Return what was noted since the last time, and forget it."""
        layers = {
            path: scaled_norm(torch.stack(self._gradients[path]), 2.0)
            for path in self._order
            if path in self._gradients
        }
        units = {path: torch.stack(shares).mean(0) for path, shares in self._units.items()}
        self._order, self._gradients, self._units = {}, {}, {}
        self._passed = None
        self._ends = []
        return layers, units

    def note_layer(self, path: str, _module: nn.Module, output: Any) -> None:
        """Note, on its way back, the gradient with respect to what a layer has put out."""
        outputs = real_values(output)
        if outputs is not None and outputs.requires_grad and self._due():
            self._order.setdefault(path)
            # On the tensor and not on the module: a module's backward hooks change the graph.
            outputs.register_hook(partial(self._note_gradient, path))  # type: ignore[no-untyped-call]

    def note_passing(self, _path: str, module: nn.Module, _output: Any) -> None:
        """Note the layer that values have passed last: it tells what their units are."""
        self._passed = module
        self._ends.clear()

    def note_units(self, path: str, module: nn.Module, output: Any) -> None:
        """Note the shares of an activation's units that are dead and saturated."""
        values = real_values(output)
        if values is None or not torch.is_grad_enabled() or not self._due():
            return
        values = values.detach() if values.dim() else values.detach()[None]
        dead = dead_units(values, self._passed).float().mean()
        saturated = saturated_share(module, values)
        shares = torch.stack([dead, torch.zeros_like(dead) if saturated is None else saturated])
        self._units.setdefault(path, []).append(shares)
        self._ends.append(path)

    def note_end(self, _path: str, _module: nn.Module, _output: Any) -> None:
        """Forget how saturated the model's output is: that of a sure classifier is."""
        for path in self._ends:
            self._units[path][-1][1] = 0
        self._ends.clear()

    def _note_gradient(self, path: str, gradient: Tensor) -> None:
        self._gradients.setdefault(path, []).append(_norm(gradient))


def _norm(gradient: Tensor) -> Tensor:
    wide = accumulator(gradient.device)
    if wide is torch.float32 or gradient.dtype is wide:
        return scaled_norm(gradient, 2.0)
    # The squares of float32 and below fit into float64, in a fraction of scaled_norm's time.
    norm: Tensor = torch.linalg.vector_norm(gradient, dtype=wide)
    return norm


class _Hook:
    """A forward hook that a copy of the model, pickled or deep-copied, has no part in."""

    def __init__(self, note: Note, path: str) -> None:
        self._note = note
        self._path = path

    def __call__(self, module: nn.Module, _inputs: Any, output: Any) -> None:
        # Inside of a compiled graph there are no layers any more, only what they were fused into.
        if not torch.compiler.is_compiling():
            self._note(self._path, module, output)

    def __reduce__(self) -> tuple[Any, ...]:
        return _inert, ()


def _inert() -> Callable[..., None]:
    return _nothing


def _nothing(*_: Any) -> None:
    """Stand in for a hook in a copy."""
