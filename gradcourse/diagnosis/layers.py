"""Hooks that note what happens at each layer, while they are there."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import ParametrizationList, is_parametrized
from torch.utils.hooks import RemovableHandle

from gradcourse.clipping.norms import accumulator, scaled_norm
from gradcourse.diagnosis.activations import (
    ACTIVATIONS,
    UNIT_LAYERS,
    dead_units,
    real_values,
    saturated_share,
)

__all__ = ["NOTHING", "LayerHooks", "Noted"]

Note = Callable[[str, nn.Module, Any], None]


class Noted(NamedTuple):
    """What was noted in one step, each kind in one tensor.

    Attributes
    ----------
    layers
        Paths of the layers, in the order of the forward pass.
    norms
        The norm of the gradient with respect to the output of each, shape ``(layers,)``.
    activations
        Paths of the activations.
    shares
        Their shares of dead units and of saturated values, shape ``(activations, 2)``.
    """

    layers: tuple[str, ...]
    norms: Tensor
    activations: tuple[str, ...]
    shares: Tensor


NOTHING = Noted((), torch.zeros(0), (), torch.zeros(0, 2))


class LayerHooks:
    """Notes the gradient with respect to each layer's output, and the units of each activation.

    A layer is a module that itself owns a weight with two dimensions or more. Of several calls of
    one layer, the gradients count as one vector; of several calls of one activation, the worst.

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
        self._blocks = 0
        self._handles: list[RemovableHandle] = []
        self._order: dict[str, None] = {}
        self._gradients: dict[str, Tensor] = {}
        self._shares: dict[str, Tensor] = {}
        self._passed: nn.Module | None = None
        # Activations that no layer has followed yet, and their shares before the last call.
        self._ends: dict[str, Tensor] = {}

    def attach(self) -> None:
        """Put the hooks in place; those of nested blocks once."""
        self._blocks += 1
        if self._blocks > 1:
            return
        for path, module in self._model.named_modules():
            if isinstance(module, ParametrizationList):
                continue
            notes: list[Note] = []
            if _owns_matrix(module):
                notes.append(self.note_layer)
            if isinstance(module, UNIT_LAYERS):
                notes.append(self.note_passing)
            if isinstance(module, ACTIVATIONS):
                notes.append(self.note_units)
            for note in notes:
                self._handles.append(module.register_forward_hook(_Hook(note, path)))
        self._handles.append(self._model.register_forward_hook(_Hook(self.note_end, "")))

    def detach(self) -> None:
        """Take the hooks away at the end of the outermost block."""
        self._blocks -= 1
        if not self._blocks:
            for handle in self._handles:
                handle.remove()
            self._handles.clear()
            self._forget()

    def take(self) -> Noted:
        """Return what was noted since the last time, and forget it."""
        # A model may be entered by another method than forward, which has no hook.
        self.note_end("", self._model, None)
        noted = NOTHING
        layers = tuple(path for path in self._order if path in self._gradients)
        if layers:
            norms = torch.stack([self._gradients[path] for path in layers])
            noted = noted._replace(layers=layers, norms=norms)
        if self._shares:
            shares = torch.stack(list(self._shares.values()))
            noted = noted._replace(activations=tuple(self._shares), shares=shares)
        self._forget()
        return noted

    def note_layer(self, path: str, _module: nn.Module, output: Any) -> None:
        """Note, on its way back, the gradient with respect to what a layer has put out."""
        # Also without gradients: a checkpointed forward pass comes first, in the right order.
        self._order.setdefault(path)
        outputs = real_values(output)
        if outputs is None or not outputs.requires_grad or outputs.is_leaf or not self._due():
            return
        # On the tensor and not on the module: a module's backward hooks change the graph.
        outputs.register_hook(partial(self._note_gradient, path))  # type: ignore[no-untyped-call]

    def note_passing(self, _path: str, module: nn.Module, _output: Any) -> None:
        """Note the layer that values have passed last: it tells what their units are."""
        self._passed = module
        self._ends.clear()

    def note_units(self, path: str, module: nn.Module, output: Any) -> None:
        """Note the shares of an activation's units that are dead and of values saturated."""
        values = real_values(output)
        if values is None or not torch.is_grad_enabled() or not self._due():
            return
        values = values.detach() if values.dim() else values.detach()[None]
        dead = dead_units(values, self._passed).float().mean()
        saturated = saturated_share(module, values)
        shares = torch.stack([dead, torch.zeros_like(dead) if saturated is None else saturated])
        self._ends[path] = self._shares.get(path, torch.zeros_like(shares))
        self._shares[path] = torch.maximum(self._ends[path], shares)

    def note_end(self, _path: str, _module: nn.Module, _output: Any) -> None:
        """Forget how saturated the model's output is: that of a sure classifier is."""
        for path, before in self._ends.items():
            self._shares[path] = torch.stack([self._shares[path][0], before[1]])
        self._ends.clear()

    def _note_gradient(self, path: str, gradient: Tensor) -> None:
        if torch.is_grad_enabled():
            # With create_graph the gradient is a part of the loss and not yet one of a step.
            return
        norm, before = _norm(gradient), self._gradients.get(path)
        self._gradients[path] = norm if before is None else torch.hypot(before, norm)

    def _forget(self) -> None:
        for own in (self._order, self._gradients, self._shares, self._ends):
            own.clear()
        self._passed = None


def _owns_matrix(module: nn.Module) -> bool:
    weights = module.parameters(recurse=False)
    return is_parametrized(module) or any(weight.ndim > 1 for weight in weights)


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
        # And what torch.func has wrapped must not be kept.
        if not (torch.compiler.is_compiling() or _wrapped(output)):
            self._note(self._path, module, output)

    def __reduce__(self) -> tuple[Any, ...]:
        return _inert, ()


def _wrapped(output: Any) -> bool:
    values = real_values(output)
    return values is not None and torch._C._functorch.is_functorch_wrapped_tensor(values)


def _inert() -> Callable[..., None]:
    return _nothing


def _nothing(*_: Any) -> None:
    """Stand in for a hook in a copy."""
