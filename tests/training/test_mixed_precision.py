"""Autocast and a gradient scaler in a step, against the loop that torch documents."""

import math
import re

import pytest
import torch
from torch.amp import GradScaler
from training_loops import (
    batches,
    every_optimizer,
    everything,
    gradients_at_step,
    loss_fn,
    network,
    norm_of,
    pair,
    plant,
    plus_inf,
    same,
    skip_once,
)

from gradcourse.clipping import PercentileClip
from gradcourse.diagnosis import GradMonitor
from gradcourse.training import NonFiniteError, StepGuard, training_step


@pytest.mark.parametrize("with_monitor", [False, True])
def test_gradients_are_unscaled_before_they_are_clipped(with_monitor):
    model, optimizer = pair()
    at_step = gradients_at_step(optimizer)
    scaler = GradScaler("cpu", init_scale=2.0**10)
    monitor = GradMonitor(model) if with_monitor else None
    record = training_step(
        model, optimizer, loss_fn, *batches(1), max_norm=0.25, scaler=scaler, monitor=monitor
    )
    other = network()
    loss_fn(other, *batches(1)).backward()
    assert norm_of(at_step[0]) == pytest.approx(0.25, rel=1e-6)
    assert record.norm == pytest.approx(norm_of(p.grad for p in other.parameters()), rel=1e-6)
    assert record.scale == 1024
    assert record.clipped


@every_optimizer
def test_with_float16_and_a_scaler_it_is_torch_s_documented_loop_bit_for_bit(make):
    model, optimizer = pair(make)
    theirs, their_optimizer = pair(make)
    # High enough to overflow at first, and quick to grow: the whole sawtooth in a few steps.
    ours, other = (GradScaler("cpu", init_scale=2.0**17, growth_interval=2) for _ in range(2))
    guard = StepGuard(patience=1)
    skips = []
    for inputs, targets in batches(12):
        batch = (inputs, 4 * targets)
        record = training_step(
            model, optimizer, loss_fn, batch, autocast=torch.float16, scaler=ours, guard=guard
        )
        skips.append(record.skipped)

        assert record.scale == other.get_scale()
        their_optimizer.zero_grad()
        with torch.autocast("cpu", dtype=torch.float16):
            loss = loss_fn(theirs, batch)
        other.scale(loss).backward()
        other.unscale_(their_optimizer)
        other.step(their_optimizer)
        other.update()
        assert record.loss == loss.item()
        assert same(everything(model, optimizer), everything(theirs, their_optimizer))
        assert ours.state_dict() == other.state_dict()
    assert skips[0]
    assert 2 <= sum(skips) <= 8
    assert guard.skipped == sum(skips)


def test_an_overflow_at_a_high_scale_is_a_search_and_costs_no_patience():
    model, optimizer = pair()
    scaler = GradScaler("cpu", init_scale=4.0)
    guard = StepGuard(patience=2)
    plant(model, "0.bias", math.inf)
    scales = []
    for _ in range(2):
        record = training_step(model, optimizer, loss_fn, *batches(1), scaler=scaler, guard=guard)
        scales.append(record.scale)
        assert record.reason == (
            f"overflow at loss scale {record.scale:g}, the gradient of 0.bias (Inf)"
        )
    assert (guard.skipped, guard.in_a_row) == (2, 0)
    # At a scale of 1 there is nothing left to search for.
    record = training_step(model, optimizer, loss_fn, *batches(1), scaler=scaler, guard=guard)
    assert record.reason == "the gradient of 0.bias (Inf)"
    assert guard.in_a_row == 1
    with pytest.raises(NonFiniteError, match=re.escape("2 steps in a row were skipped: the grad")):
        training_step(model, optimizer, loss_fn, *batches(1), scaler=scaler, guard=guard)
    assert [*scales, record.scale, scaler.get_scale()] == [4, 2, 1, 0.25]


def test_a_search_in_between_does_not_give_patience_back():
    model, optimizer = pair()
    scaler = GradScaler("cpu", init_scale=64.0)
    guard = StepGuard(patience=5)
    skip_once(model, optimizer, guard=guard, scaler=scaler)
    hook = plant(model, "0.bias", math.inf)
    training_step(model, optimizer, loss_fn, *batches(1), scaler=scaler, guard=guard)
    hook.remove()
    assert (guard.skipped, guard.in_a_row) == (2, 1)


def test_a_loss_that_is_not_finite_is_no_search_at_any_scale():
    model, optimizer = pair()
    scaler = GradScaler("cpu", init_scale=2.0**16)
    with pytest.raises(NonFiniteError, match="the loss is NaN"):
        skip_once(model, optimizer, guard=StepGuard(1), scaler=scaler)
    assert scaler.get_scale() == 2.0**15
    before = everything(model, optimizer)
    record = training_step(
        model, optimizer, plus_inf, *batches(1), guard=StepGuard(2), scaler=scaler
    )
    # Its gradients are finite, so the scaler has nothing to back off from and would have stepped.
    assert record.reason == "the loss is Inf"
    assert same(everything(model, optimizer), before)
    assert scaler.get_scale() == 2.0**15
    assert not training_step(model, optimizer, loss_fn, *batches(1), scaler=scaler).skipped


def test_a_scaler_that_is_off_changes_nothing():
    model, optimizer = pair()
    theirs, their_optimizer = pair()
    off = GradScaler("cpu", enabled=False)
    for batch in batches(3):
        record = training_step(model, optimizer, loss_fn, batch, max_norm=0.3, scaler=off)
        assert record == training_step(theirs, their_optimizer, loss_fn, batch, max_norm=0.3)
    assert same(everything(model, optimizer), everything(theirs, their_optimizer))
    with pytest.raises(NonFiniteError):
        skip_once(model, optimizer, guard=StepGuard(1), scaler=off)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_autocast_holds_for_the_forward_pass_only(dtype):
    model, optimizer = pair()
    seen = []

    def look(model, batch):
        outputs = model(batch[0])
        seen.append((outputs.dtype, torch.is_autocast_enabled("cpu")))
        outputs.register_hook(lambda _: seen.append(torch.is_autocast_enabled("cpu")))
        return (outputs.float() - batch[1]).square().mean()

    training_step(model, optimizer, look, micro_batches=batches(2), autocast=dtype)
    assert seen == [(dtype, True), False] * 2


def test_bfloat16_needs_no_scaler_and_is_the_loop_that_people_write():
    model, optimizer = pair()
    theirs, their_optimizer = pair()
    for batch in batches(4):
        training_step(model, optimizer, loss_fn, batch, autocast=torch.bfloat16)
        their_optimizer.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = loss_fn(theirs, batch)
        loss.backward()
        their_optimizer.step()
    assert same(everything(model, optimizer), everything(theirs, their_optimizer))


def test_autocast_that_the_caller_has_opened_stays_open():
    model, optimizer = pair()
    seen = []

    def look(model, batch):
        seen.append(model(batch[0]).dtype)
        return loss_fn(model, batch)

    with torch.autocast("cpu", dtype=torch.bfloat16):
        training_step(model, optimizer, look, *batches(1))
    assert seen == [torch.bfloat16]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no CUDA device")
@pytest.mark.filterwarnings("ignore:Synchronization debug mode is a prototype")
@pytest.mark.parametrize("max_norm", [None, 0.1, PercentileClip()])
def test_on_a_gpu_the_host_waits_once_per_step(max_norm):
    model, optimizer = pair(device="cuda")
    (batch,) = batches(1, device="cuda")
    training_step(model, optimizer, loss_fn, batch, max_norm=max_norm)
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with pytest.warns(UserWarning, match="synchroniz") as waits:
            training_step(model, optimizer, loss_fn, batch, max_norm=max_norm)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert len(waits) == 1


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no CUDA device")
def test_on_a_gpu_float16_with_a_scaler_searches_and_then_learns():
    model, optimizer = pair(device="cuda")
    scaler = GradScaler("cuda", init_scale=2.0**24)
    (batch,) = batches(1, device="cuda")
    options = {"autocast": torch.float16, "scaler": scaler, "guard": StepGuard(1)}
    records = [training_step(model, optimizer, loss_fn, batch, **options) for _ in range(40)]
    assert records[0].skipped
    assert not records[-1].skipped
    assert records[-1].loss < records[0].loss
