"""Run a model for the sake of looking at it, and leave it as it was."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import keystr, tree_flatten_with_path, tree_unflatten

from gradcourse.clipping.gradients import original_module

__all__ = ["call", "copies", "local_module", "plain_module", "untouched"]


def plain_module(model: nn.Module) -> nn.Module:
    """Return the module behind ``torch.compile``, or the module itself.

    Raises
    ------
    TypeError
        If the model is not a module, or scripted.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a torch.nn.Module, got {type(model).__name__}")
    if any(isinstance(module, torch.jit.ScriptModule) for module in model.modules()):
        raise TypeError("model must not be scripted: pass the module that torch.jit was given")
    return original_module(model)


def local_module(model: nn.Module) -> nn.Module:
    """Return the module that runs in this process alone, behind ``torch.compile`` and DDP.

    A pass through a ``DistributedDataParallel`` would wait for the other processes, which may have
    nothing to ask.

    Raises
    ------
    TypeError
        If the model is not a module, or scripted.
    """
    model = plain_module(model)
    if isinstance(model, nn.parallel.DistributedDataParallel | nn.DataParallel):
        return plain_module(model.module)
    return model


def call(model: nn.Module, batch: Any) -> Any:
    """Call a model with a tensor, a tuple or list of arguments, or a mapping of keywords.

    Raises
    ------
    TypeError
        If the batch is none of these.
    """
    if isinstance(batch, Tensor):
        return model(batch)
    if isinstance(batch, Mapping):
        return model(**batch)
    if isinstance(batch, tuple | list):
        return model(*batch)
    raise TypeError(
        "batch must be a tensor, a tuple or list of arguments, or a dict of keyword arguments, "
        f"got {type(batch).__name__}"
    )


def copies(batch: Any) -> tuple[Any, dict[str, Tensor]]:
    """Return the batch made of copies, and these by name: ``"input[0]"``."""
    batch = dict(batch) if isinstance(batch, Mapping) else batch
    paths, structure = tree_flatten_with_path(batch)
    items, tensors = [], {}
    for path, item in paths:
        if isinstance(item, Tensor):
            copy = item.detach().clone().requires_grad_(item.requires_grad)
            tensors[f"input{keystr(path)}"] = copy
            # A model may write into a tensor that is no leaf, but not into a leaf.
            item = copy.clone() if item.grad_fn is not None else copy
        items.append(item)
    return tree_unflatten(items, structure), tensors


@contextmanager
def untouched(model: nn.Module) -> Iterator[None]:
    """Keep a model's buffers, training flags and torch's random state, whatever happens inside.

    Compiled parts of the model run eagerly, so that hooks are called.

    The forward pass works on copies of the buffers, so that the originals are not even written to:
    a graph that needs them for its own backward pass stays valid.
    """
    modules = list(model.modules())
    training = [module.training for module in modules]
    buffers = [dict(module._buffers) for module in modules]
    copies: dict[int, Tensor] = {}
    cuda = {tensor.device for tensor in (*model.parameters(), *model.buffers()) if tensor.is_cuda}
    compiled = any(hasattr(module, "_orig_mod") or module._compiled_call_impl for module in modules)
    eager = torch.compiler.set_stance("force_eager") if compiled else nullcontext()
    with eager, torch.random.fork_rng(devices=sorted(device.index for device in cuda)):
        try:
            for module, own in zip(modules, buffers, strict=True):
                for name, buffer in own.items():
                    if buffer is not None:
                        copy = copies.setdefault(id(buffer), buffer.detach().clone())
                        module._buffers[name] = copy
            yield
        finally:
            for module, own, flag in zip(modules, buffers, training, strict=True):
                module.training = flag
                # A forward pass may also have registered new buffers, as caches do.
                module._buffers.clear()
                module._buffers.update(own)
