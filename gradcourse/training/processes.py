"""Processes that train one model together take a step together, or skip it together."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

from torch import Tensor, nn
from torch import distributed as dist
from torch.nn.parallel import DistributedDataParallel

from gradcourse.clipping.gradients import original_module

__all__ = ["anywhere", "gradients_stay_here"]


def anywhere(found: Tensor, model: nn.Module, parameters: Iterable[Tensor]) -> Tensor:
    """Return whether something was found in any process that trains the model.

    Parameters
    ----------
    found
        Whether it was found here, shape ``()``, bool.
    model
        As the training loop has it: a ``DistributedDataParallel`` knows its processes.
    parameters
        Those that are a ``DTensor``, as after ``fully_shard``, know theirs.

    Returns
    -------
    Tensor
        Shape ``()``, bool; on the same device, which is not asked for a number.
    """
    groups = _groups(model, parameters)
    if not groups:
        return found
    count = found.float()
    for group in groups:
        dist.all_reduce(count, dist.ReduceOp.MAX, group=group)
    return count > 0


def gradients_stay_here(model: nn.Module) -> contextlib.AbstractContextManager[object]:
    """Return a context in which a backward pass adds up gradients without sending them around."""
    model = original_module(model)
    if isinstance(model, DistributedDataParallel):
        return model.no_sync()
    return contextlib.nullcontext()


def _groups(model: nn.Module, parameters: Iterable[Tensor]) -> list[dist.ProcessGroup]:
    if not (dist.is_available() and dist.is_initialized()):
        return []
    model = original_module(model)
    if isinstance(model, DistributedDataParallel):
        return [model.process_group]
    from torch.distributed.tensor import DTensor

    meshes = dict.fromkeys(one.device_mesh for one in parameters if isinstance(one, DTensor))
    return [mesh.get_group(dimension) for mesh in meshes for dimension in range(mesh.ndim)]
