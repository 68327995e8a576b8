"""What test_sharded.py runs in several processes: gradients that are spread over them.

Every function here is one test. All processes run it; each compares what it holds with the same
gradients in one piece.
"""

from __future__ import annotations

import math
import os
import sys
from datetime import timedelta

import pytest
import torch
from clip_oracle import FUNCTIONS, bits, filled, norm_of, normal
from torch import distributed as dist
from torch import nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, Partial, Replicate, Shard, distribute_tensor

from gradcourse.clipping import (
    PercentileClip,
    SpikeClip,
    clip_grad_agc_,
    clip_grad_norm_,
    clip_grad_norm_per_parameter_,
    nonfinite_gradients,
    rescale_grad_norm_,
    standardize_grad_,
)

# Shapes that two or four processes cannot share evenly, so that some hold nothing.
SHAPES = [(5, 3), (1,), (4, 3), (3, 1), (7,), (3,), (), (3, 2, 2, 2)]
ONE_WAY = [Shard(0), Shard(0), Shard(1), Shard(1), Shard(0), Replicate(), Replicate(), Shard(0)]
OTHER_WAY = [
    Shard(1),
    Replicate(),
    Replicate(),
    Shard(0),
    Shard(0),
    Replicate(),
    Replicate(),
    Shard(2),
]
GRID = 4


def mesh() -> DeviceMesh:
    """All processes in a row, or four in a square."""
    if dist.get_world_size() == GRID:
        return init_device_mesh("cpu", (2, 2), mesh_dim_names=("one", "other"))
    return init_device_mesh("cpu", (dist.get_world_size(),), mesh_dim_names=("one",))


def spread_and_whole(size=1.0, bad=None, row=0):
    """The same parameters and gradients twice: spread, with a plain one at the end, and whole."""
    where = mesh()
    whole = filled([nn.Parameter(torch.ones(shape)) for shape in [*SHAPES, (2, 2)]])
    for parameter in whole:
        parameter.grad *= size
    if bad is not None:
        # The first process holds the first row, and another one the last.
        whole[0].grad[row, 0] = bad
    spread = []
    for place, parameter in enumerate(whole[:-1]):
        placements = [ONE_WAY[place], OTHER_WAY[place]][: where.ndim]
        one = nn.Parameter(distribute_tensor(parameter.detach().clone(), where, placements))
        one.grad = distribute_tensor(parameter.grad.clone(), where, placements)
        spread.append(one)
    plain = nn.Parameter(whole[-1].detach().clone())
    plain.grad = whole[-1].grad.clone()
    return [*spread, plain], whole


def full(tensor):
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def everywhere(tensor):
    """Assert that a plain tensor is the same in all processes, to the bit."""
    found = [None] * dist.get_world_size()
    dist.all_gather_object(found, bits(tensor))
    assert len(set(found)) == 1


def compare(spread, whole, rtol=2e-6):
    for one, other in zip(spread, whole, strict=True):
        torch.testing.assert_close(full(one.grad), other.grad, rtol=rtol, atol=1e-7, equal_nan=True)
        if not isinstance(one, DTensor) or all(p.is_replicate() for p in one.grad.placements):
            everywhere(one.grad.to_local() if isinstance(one, DTensor) else one.grad)


def every_function_does_what_it_does_in_one_piece():
    for name, function in FUNCTIONS.items():
        if name == "standardize_grad_":
            continue
        spread, whole = spread_and_whole()
        held = [None] * dist.get_world_size()
        dist.all_gather_object(held, min(p.grad.to_local().numel() for p in spread[:-1]))
        assert min(held) == 0
        returned, expected = function(spread), function(whole)
        if returned is not None:
            assert not isinstance(returned, DTensor)
            torch.testing.assert_close(returned, expected, rtol=2e-6, atol=0, msg=name)
            everywhere(returned)
        compare(spread, whole)


def norms_of_every_order_are_those_of_the_whole():
    for norm_type in (0.5, 1.0, 2.0, 3.0, math.inf):
        spread, whole = spread_and_whole()
        true_norm = norm_of([parameter.grad for parameter in whole], norm_type)
        norm = clip_grad_norm_(spread, true_norm / 3, norm_type)
        assert math.isclose(norm, true_norm, rel_tol=2e-6)
        everywhere(norm)
        compare(spread, [_scaled(parameter, 1 / 3) for parameter in whole])
        spread, whole = spread_and_whole()
        norms = clip_grad_norm_per_parameter_(spread, None, norm_type)
        expected = [norm_of([parameter.grad], norm_type) for parameter in whole]
        torch.testing.assert_close(norms, torch.tensor(expected), rtol=2e-6, atol=0)


def _scaled(parameter, factor):
    parameter.grad *= factor
    return parameter


def gradients_of_any_size_are_clipped_and_rescaled():
    for size in (1e-30, 1e25):
        for change in (clip_grad_norm_, rescale_grad_norm_):
            spread, whole = spread_and_whole(size)
            true_norm = norm_of([parameter.grad for parameter in whole])
            target = 1e-8 if size > 1 or change is rescale_grad_norm_ else size
            norm = change(spread, target)
            assert math.isclose(norm, true_norm, rel_tol=2e-6)
            after = norm_of([full(parameter.grad) for parameter in spread])
            assert math.isclose(after, target, rel_tol=1e-5)


def what_is_not_finite_in_one_process_leaves_all_as_they_were_in_every_one():
    for bad in (math.nan, math.inf):
        for clip in (
            lambda p: clip_grad_norm_(p, 0.5),
            lambda p: clip_grad_norm_(p, 0.5, math.inf),
            lambda p: rescale_grad_norm_(p, 0.5),
            PercentileClip(0),
            SpikeClip(max_norm=0.5),
        ):
            for row in (0, -1):
                spread, whole = spread_and_whole(bad=bad, row=row)
                assert not clip(spread).isfinite()
                compare(spread, whole, rtol=0)


def everyone_names_what_is_not_finite_in_one_process():
    spread, _ = spread_and_whole(bad=math.inf)
    named = [(f"p{place}", parameter) for place, parameter in enumerate(spread)]
    assert nonfinite_gradients(named) == ["p0"]
    for norm_type in (2.0, math.inf):
        with pytest.raises(RuntimeError, match=r"in 1 of 9 parameters: p0 \(Inf\);"):
            clip_grad_norm_(named, 1.0, norm_type, error_if_nonfinite=True)


def tensor_by_tensor_only_the_one_that_is_not_finite_stays():
    spread, whole = spread_and_whole(bad=math.nan)
    clip_grad_norm_per_parameter_(spread, 0.5)
    torch.testing.assert_close(full(spread[0].grad), whole[0].grad, equal_nan=True, rtol=0, atol=0)
    for parameter in spread[1:]:
        assert norm_of([full(parameter.grad)]) < 0.500001


def a_unit_that_is_not_finite_stays_in_every_process():
    spread, whole = spread_and_whole(bad=math.inf)
    returned, expected = clip_grad_agc_(spread, 0.5), clip_grad_agc_(whole, 0.5)
    torch.testing.assert_close(returned, expected)
    compare(spread, whole)


def a_limit_that_follows_the_run_is_the_same_in_every_process():
    for make in (lambda: PercentileClip(30), lambda: SpikeClip(z=1, warmup=2)):
        clip, alone = make(), make()
        for size in (1.0, 3.0, 2.0, 9.0, 1.5, 20.0):
            spread, whole = spread_and_whole(size)
            torch.testing.assert_close(clip(spread), alone(whole), rtol=2e-6, atol=0)
            compare(spread, whole, rtol=1e-5)


def a_sum_that_was_not_reduced_yet_is_refused():
    where = mesh()
    parameter = nn.Parameter(distribute_tensor(torch.ones(2, 2), where, [Replicate()] * where.ndim))
    parameter.grad = DTensor.from_local(torch.ones(2, 2), where, [Partial()] * where.ndim)
    with pytest.raises(ValueError, match="has the placement Partial"):
        clip_grad_norm_(parameter, 1.0)


def a_spread_gradient_cannot_be_standardized():
    spread, whole = spread_and_whole()
    with pytest.raises(ValueError, match="is sparse or a DTensor, which cannot be standardised"):
        standardize_grad_(spread)
    compare(spread, whole, rtol=0)


def a_model_of_fsdp_trains_as_in_one_piece():
    def model():
        net = nn.Sequential(
            nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3), nn.LayerNorm(3), nn.Linear(3, 1)
        )
        for place, parameter in enumerate(net.parameters()):
            parameter.data.copy_(normal(*parameter.shape, seed=place))
        return net

    for make in (
        lambda: lambda p: clip_grad_norm_(p, 0.5),
        lambda: lambda p: clip_grad_agc_(p, 0.05),
        lambda: PercentileClip(20),
    ):
        whole, spread = model(), model()
        for layer in (spread[0], spread[2], spread):
            fully_shard(layer, mesh=mesh())
        clip, alone = make(), make()
        optimizers = [torch.optim.SGD(one.parameters(), lr=0.1) for one in (whole, spread)]
        for step in range(4):
            inputs = normal(8, 6, seed=step)
            for one, optimizer in zip((whole, spread), optimizers, strict=True):
                optimizer.zero_grad()
                ((step + 1) * one(inputs)).square().mean().backward()
            torch.testing.assert_close(clip(spread), alone(whole), rtol=1e-5, atol=0)
            for optimizer in optimizers:
                optimizer.step()
        for one, other in zip(spread.parameters(), whole.parameters(), strict=True):
            torch.testing.assert_close(full(one.detach()), other.detach(), rtol=1e-4, atol=1e-6)


TESTS = [
    every_function_does_what_it_does_in_one_piece,
    norms_of_every_order_are_those_of_the_whole,
    gradients_of_any_size_are_clipped_and_rescaled,
    what_is_not_finite_in_one_process_leaves_all_as_they_were_in_every_one,
    everyone_names_what_is_not_finite_in_one_process,
    tensor_by_tensor_only_the_one_that_is_not_finite_stays,
    a_unit_that_is_not_finite_stays_in_every_process,
    a_limit_that_follows_the_run_is_the_same_in_every_process,
    a_sum_that_was_not_reduced_yet_is_refused,
    a_spread_gradient_cannot_be_standardized,
    a_model_of_fsdp_trains_as_in_one_piece,
]

if __name__ == "__main__":
    dist.init_process_group("gloo", timeout=timedelta(seconds=60))
    for test in TESTS:
        test()
        dist.barrier()
        if dist.get_rank() == 0:
            print("passed:", test.__name__)
            sys.stdout.flush()
    dist.destroy_process_group()
    # Once in a great while a thread of gloo that still runs aborts a process that has done its work
    # ("terminate called without an active exception").
    os._exit(0)
