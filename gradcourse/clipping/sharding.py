"""Gradients that are spread over processes (``DTensor``, as FSDP2 makes them)."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch import distributed as dist

__all__ = ["Sharding", "add_up", "local_shard"]


class Sharding(NamedTuple):
    """Which dimension of a tensor each dimension of a device mesh cuts; -1 where it cuts none."""

    mesh: Any
    cuts: tuple[int, ...]

    def groups(self, over: set[int] | None = None) -> list[dist.ProcessGroup]:
        """Return the process groups that share a quantity summed over these tensor dimensions."""
        return [
            self.mesh.get_group(mesh_dimension)
            for mesh_dimension, cut in enumerate(self.cuts)
            if cut >= 0 and (over is None or cut in over)
        ]


def local_shard(gradient: Tensor) -> tuple[Tensor, Sharding | None]:
    """Return the part of a gradient that this process holds, and how the rest is spread.

    Raises
    ------
    ValueError
        If the gradient is a sum that has not been reduced over the processes yet.
    """
    if not hasattr(gradient, "placements"):
        return gradient, None
    cuts = []
    for placement in gradient.placements:
        if placement.is_partial():
            raise ValueError(
                "a DTensor gradient has the placement Partial: redistribute it before clipping"
            )
        cuts.append(-1 if placement.is_replicate() else placement.dim)
    return gradient.to_local(), Sharding(gradient.device_mesh, tuple(cuts))  # type: ignore[attr-defined]


def add_up(
    norms: Tensor, norm_type: float, shardings: dict[int, Sharding], over: set[int] | None = None
) -> Tensor:
    """Combine the norms of local shards into norms of whole tensors, in place.

    One collective for each device mesh and each way in which it cuts. Every process of a mesh must
    call this with the same shardings, and none of it depends on the values.

    Parameters
    ----------
    norms
        Shape ``(tensors,)``, or one with units of a tensor in further dimensions.
    norm_type
        The order p of the norm.
    shardings
        By place in ``norms``, how that tensor is spread.
    over
        The dimensions of a tensor that the norm is taken over; all of them by default.
    """
    places: dict[Sharding, list[int]] = {}
    for place, sharding in shardings.items():
        places.setdefault(sharding, []).append(place)
    for sharding, members in places.items():
        index = torch.tensor(members, device=norms.device)
        part = norms[index]
        largest = norm_type == math.inf
        # Taking a maximum may drop a NaN; Inf says as well that something is wrong.
        shared = part.nan_to_num(torch.inf, torch.inf) if largest else part**norm_type
        for group in sharding.groups(over):
            dist.all_reduce(
                shared, op=dist.ReduceOp.MAX if largest else dist.ReduceOp.SUM, group=group
            )
        norms[index] = shared if largest else shared ** (1 / norm_type)
    return norms
