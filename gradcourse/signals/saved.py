"""The memory that a graph holds for its backward pass, counted."""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from types import TracebackType

import torch
from torch import Tensor

__all__ = ["SavedTensors"]


class SavedTensors:
    """Count the bytes that autograd keeps for ``backward``, on any device.

    Inside of a ``with`` block every tensor that an operation saves is noted; when its graph is
    freed it is forgotten. A storage that several operations saved counts once.

    Parameters
    ----------
    without
        Tensors whose memory does not count: parameters, which are there anyway.

    Notes
    -----
    ``torch.autograd.graph.saved_tensors_hooks`` calls for each saved tensor. The count is exact and
    the same on each run; what an allocator asks of the machine for it is somewhat more.

    Examples
    --------
    >>> x = torch.ones(1000, requires_grad=True)
    >>> with SavedTensors(without=[x]) as saved:
    ...     y = x.exp()
    ...     held = saved.bytes
    ...     y.sum().backward()
    ...     (held, saved.bytes)
    (4000, 0)
    """

    def __init__(self, without: Iterable[Tensor] = ()) -> None:
        self._without = {one.untyped_storage().data_ptr() for one in without}
        self._held: weakref.WeakSet[_Held] = weakref.WeakSet()
        self._hooks = torch.autograd.graph.saved_tensors_hooks(self._pack, _unpack)

    def __enter__(self) -> SavedTensors:
        self._hooks.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._hooks.__exit__(kind, error, traceback)

    @property
    def bytes(self) -> int:
        """What the graphs that are alive now hold, in bytes."""
        storages = {}
        for held in self._held:
            storage = held.tensor.untyped_storage()
            storages[storage.data_ptr()] = storage.nbytes()
        return sum(size for place, size in storages.items() if place not in self._without)

    def _pack(self, tensor: Tensor) -> _Held:
        held = _Held(tensor)
        self._held.add(held)
        return held


class _Held:
    """A saved tensor that tells, by its end, that the graph has let go of it."""

    def __init__(self, tensor: Tensor) -> None:
        # An operation that saves its own result would otherwise hold itself alive for ever.
        self.tensor = tensor.detach()
        self.version = tensor._version


def _unpack(held: _Held) -> Tensor:
    # Torch looks for this itself, but not at tensors that a hook has packed.
    if held.tensor._version != held.version:
        raise RuntimeError(
            "a tensor that the backward pass needs was modified by an inplace operation: "
            f"a {held.tensor.dtype} of shape {tuple(held.tensor.shape)}"
        )
    return held.tensor
