"""A guarded step against loops written by hand in plain torch."""

import copy
import math
import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.amp import GradScaler
from torch.optim.lr_scheduler import ReduceLROnPlateau, StepLR
from training_loops import (
    CountingScaler,
    batches,
    every_optimizer,
    everything,
    gradients_at_step,
    loss_fn,
    network,
    norm_of,
    pair,
    plant,
    same,
)

from gradcourse.clipping import PercentileClip, SpikeClip
from gradcourse.diagnosis import GradMonitor
from gradcourse.training import (
    StepRecord,
    tbptt,
    training_step,
)

# An ordinary run


@every_optimizer
def test_a_run_is_bit_for_bit_the_loop_that_people_write(make):
    model, optimizer = pair(make)
    theirs, their_optimizer = pair(make)
    for batch in batches(6):
        record = training_step(model, optimizer, loss_fn, batch)

        their_optimizer.zero_grad()
        loss = loss_fn(theirs, batch)
        loss.backward()
        their_optimizer.step()
        assert record.loss == loss.item()
        assert record.norm == pytest.approx(norm_of(p.grad for p in theirs.parameters()))
        assert same(everything(model, optimizer), everything(theirs, their_optimizer))
    assert record == StepRecord(
        record.loss, record.norm, False, False, "", 1.0, record.learning_rate
    )


@every_optimizer
def test_with_clipping_and_a_schedule_it_is_torch_s_loop_to_rounding(make):
    model, optimizer = pair(make)
    theirs, their_optimizer = pair(make)
    scheduler, their_scheduler = StepLR(optimizer, 2, 0.5), StepLR(their_optimizer, 2, 0.5)
    records = []
    for batch in batches(6):
        record = training_step(model, optimizer, loss_fn, batch, max_norm=1.0, scheduler=scheduler)
        records.append(record)

        rate = their_optimizer.param_groups[0]["lr"]
        their_optimizer.zero_grad()
        loss_fn(theirs, batch).backward()
        norm = nn.utils.clip_grad_norm_(theirs.parameters(), 1.0)
        their_optimizer.step()
        their_scheduler.step()
        assert record.norm == pytest.approx(float(norm), rel=1e-5)
        assert record.clipped == (norm > 1)
        assert record.learning_rate == rate
    assert {record.clipped for record in records} == {True, False}
    for ours, other in zip(model.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(ours, other, rtol=1e-4, atol=1e-6)


def test_gradients_left_from_before_do_not_count_not_even_those_that_no_optimizer_holds():
    model = network()
    optimizer = torch.optim.SGD(model[2].parameters(), lr=0.1)
    (batch,) = batches(1)
    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, 1e3)
    record = training_step(model, optimizer, loss_fn, batch)
    other = network()
    loss_fn(other, batch).backward()
    assert record.norm == pytest.approx(norm_of(p.grad for p in other[2].parameters()))


def test_a_batch_is_handed_on_as_it_is_and_none_is_a_batch_too():
    model, optimizer = pair()
    seen = []

    def look(model, batch):
        seen.append(batch)
        return model(torch.ones(1, 3)).sum()

    for batch in ([1, 2], (3, 4), None, {"x": 5}):
        training_step(model, optimizer, look, batch)
        assert seen[-1] is batch
    training_step(model, optimizer, look)
    assert seen[-1] is None
    assert len(seen) == 5


@pytest.mark.parametrize("clipper", [PercentileClip(50), SpikeClip(z=0.01, warmup=2)])
def test_an_adaptive_clipper_clips_in_place_of_a_number_and_the_record_says_when(clipper):
    model, optimizer = pair()
    at_step = gradients_at_step(optimizer)
    records = [
        training_step(model, optimizer, loss_fn, (inputs * size, targets * size), max_norm=clipper)
        for size, (inputs, targets) in zip([1, 1.1, 30, 0.1, 60, 1], batches(6), strict=True)
    ]
    for record, left in zip(records, map(norm_of, at_step), strict=True):
        assert record.clipped == (left < record.norm * (1 - 1e-5))
    assert records[0].clipped is False
    assert records[2].clipped is True
    assert records[3].clipped is False


def test_a_monitor_unscales_measures_and_clips_in_the_step_s_place():
    model, optimizer = pair()
    at_step = gradients_at_step(optimizer)
    monitor, scaler = GradMonitor(model), CountingScaler("cpu", init_scale=64.0)
    options = {"max_norm": 0.2, "scaler": scaler, "monitor": monitor}
    record = training_step(model, optimizer, loss_fn, *batches(1), **options)
    assert scaler.calls["unscale_"] == 1
    assert norm_of(at_step[0]) == pytest.approx(0.2, rel=1e-6)
    assert monitor.history.norm.tolist() == [record.norm]
    assert record.norm > 0.2
    assert record.clipped


@pytest.mark.parametrize("norm_type", [1.0, 2.0, math.inf])
def test_a_monitor_with_an_adaptive_clipper_says_when_it_clipped(norm_type):
    model, optimizer = pair()
    monitor = GradMonitor(model, norm_type=norm_type)
    clipper = PercentileClip(50, norm_type=norm_type)
    options = {"max_norm": clipper, "monitor": monitor}
    for size, (inputs, targets) in zip([1, 0.1, 30, 2, 0.1], batches(5), strict=True):
        batch = inputs * size, targets * size
        record = training_step(model, optimizer, loss_fn, batch, **options)
        assert record.clipped == bool(monitor.history.clipped[-1])
    assert set(monitor.history.clipped.tolist()) == {True, False}


def test_a_chunk_of_truncated_back_propagation_is_a_batch():
    torch.manual_seed(0)
    model = nn.GRU(3, 2)
    theirs = copy.deepcopy(model)
    inputs, targets = torch.randn(7, 4, 3), torch.randn(7, 4, 2)
    optimizer, other = (torch.optim.Adam(m.parameters()) for m in (model, theirs))
    for piece in tbptt(model, inputs, targets, nn.MSELoss(), chunk=3):
        training_step(model, optimizer, lambda _, piece: piece.loss, piece)
    for piece in tbptt(theirs, inputs, targets, nn.MSELoss(), chunk=3):
        other.zero_grad()
        piece.loss.backward()
        other.step()
    assert same(everything(model, optimizer), everything(theirs, other))


def test_a_loss_of_one_number_may_have_a_shape():
    model, optimizer = pair()
    record = training_step(
        model, optimizer, lambda *arguments: loss_fn(*arguments)[None], *batches(1)
    )
    assert record.loss == loss_fn(network(), *batches(1)).item()


# Accumulation


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(1, 7), min_size=1, max_size=6), st.booleans())
def test_parts_weighted_by_their_sizes_give_the_gradient_of_one_big_batch(sizes, equal):
    if equal:
        sizes = [sizes[0]] * len(sizes)
    (batch,) = batches(1, size=sum(sizes))
    parts = list(zip(*(tensor.split(sizes) for tensor in batch), strict=True))
    found = []
    for options in (
        {"batch": batch},
        {"micro_batches": parts, "weights": None if equal else sizes},
    ):
        model, optimizer = pair()
        at_step = gradients_at_step(optimizer)
        record = training_step(model, optimizer, loss_fn, **options)
        found.append((record, at_step))
    (whole, ((*expected,),)), (in_parts, ((*accumulated,),)) = found
    assert in_parts.loss == pytest.approx(whole.loss, rel=1e-5)
    assert in_parts.norm == pytest.approx(whole.norm, rel=1e-5)
    for one, other in zip(accumulated, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_accumulation_unscales_and_updates_once():
    model, optimizer = pair()
    at_step = gradients_at_step(optimizer)
    scaler = CountingScaler("cpu", init_scale=2.0**10)
    record = training_step(model, optimizer, loss_fn, micro_batches=batches(4), scaler=scaler)
    assert scaler.calls == {"scale": 4, "unscale_": 1, "step": 1, "update": 1}
    assert record.norm == pytest.approx(norm_of(at_step[0]), rel=1e-6)

    plain, plain_optimizer = pair()
    without = training_step(plain, plain_optimizer, loss_fn, micro_batches=batches(4))
    assert record.norm == pytest.approx(without.norm, rel=1e-6)


def test_half_precision_losses_are_added_in_float32():
    model = nn.Linear(1, 1, bias=False, dtype=torch.float16)
    nn.init.ones_(model.weight)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    parts = [torch.full((1, 1), value, dtype=torch.float16) for value in (2048.0, 1.0, 1.0, 1.0)]
    record = training_step(model, optimizer, lambda m, x: m(x).sum(), micro_batches=parts)
    assert record.loss == (2048 + 3) / 4


# Words


def record(**changed):
    whole = {"loss": 0.6931, "norm": 1.2345, "clipped": False, "skipped": False}
    return StepRecord(**(whole | {"reason": "", "scale": 1.0, "learning_rate": 1e-3} | changed))


@pytest.mark.parametrize(
    ("changed", "line"),
    [
        ({}, "loss 0.6931, norm 1.23, lr 0.001"),
        (
            {"clipped": True, "scale": 65536.0},
            "loss 0.6931, norm 1.23 clipped, scale 65536, lr 0.001",
        ),
        (
            {"skipped": True, "reason": "the loss is NaN", "loss": math.nan},
            "loss nan, norm 1.23, lr 0.001; skipped: the loss is NaN",
        ),
    ],
)
def test_a_record_is_one_line(changed, line):
    assert str(record(**changed)) == line


def test_a_record_holds_plain_values():
    model, optimizer = pair(lambda p: torch.optim.Adam(p, lr=torch.tensor(0.5)))
    found = training_step(model, optimizer, loss_fn, *batches(1), max_norm=0.1)
    kinds = [type(getattr(found, name)) for name in StepRecord.__slots__]
    assert kinds == [float, float, bool, bool, str, float, float]
    assert found.learning_rate == 0.5


# Refusals


def ask(model=None, optimizer=None, function=loss_fn, **options):
    own, own_optimizer = pair()
    model = own if model is None else model
    optimizer = own_optimizer if optimizer is None else optimizer
    if "micro_batches" not in options:
        options.setdefault("batch", batches(1)[0])
    return training_step(model, optimizer, function, **options)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"micro_batches": []}, "micro_batches must hold one or more, got none"),
        (
            {"micro_batches": [1], "batch": 1},
            "give either a batch or micro_batches, not both",
        ),
        ({"weights": [1.0]}, "weights are those of micro_batches, and there are none"),
        (
            {"micro_batches": [1, 2], "weights": [1.0]},
            "weights must be as many as micro_batches, 2, got 1",
        ),
        (
            {"micro_batches": [1, 2], "weights": [1.0, 0.0]},
            "a weight must be a finite number above 0, got 0",
        ),
        (
            {"autocast": torch.float32},
            "autocast must be torch.float16, torch.bfloat16 or None, got torch.float32",
        ),
        (
            {"function": lambda model, batch: model(batch[0])},
            "loss_fn must return one number, got shape (8, 1); take its mean, or its sum",
        ),
        (
            {"function": lambda model, batch: loss_fn(model, batch).detach()},
            "the loss does not depend on any parameter that learns: "
            "all are frozen, or the loss was detached or computed under no_grad",
        ),
        (
            {"model": network().requires_grad_(False)},
            "the optimizer changes parameters that are not the model's and would be neither "
            "clipped nor guarded; hand in a module that holds them all",
        ),
        (
            {"function": lambda *_: torch.ones((), requires_grad=True) * 2},
            "the loss does not depend on any parameter of the optimizer",
        ),
    ],
)
def test_what_does_not_fit_is_refused_in_words(options, said):
    with pytest.raises(ValueError, match=f"^{re.escape(said)}$"):
        ask(**options)


def test_an_optimizer_with_one_parameter_too_many_is_refused():
    model = network()
    stray = torch.zeros(1, requires_grad=True)
    with pytest.raises(ValueError, match=r"^the optimizer changes parameters that are not the mo"):
        ask(model, torch.optim.SGD([*model.parameters(), stray], lr=0.1))


def test_parameters_that_a_loss_does_not_use_are_left_in_peace():
    model, optimizer = pair()
    before = model[2].weight.detach().clone()
    training_step(model, optimizer, lambda model, batch: model[0](batch[0]).mean(), *batches(1))
    assert torch.equal(model[2].weight, before)


def test_a_frozen_model_is_refused_in_words():
    model, optimizer = pair()
    model.requires_grad_(False)
    with pytest.raises(ValueError, match=r"^the loss does not depend on any parameter that learns"):
        ask(model, optimizer)


@pytest.mark.parametrize("max_norm", [-1.0, math.nan])
def test_a_max_norm_that_is_no_limit_is_refused_and_leaves_the_scaler_fit_for_use(max_norm):
    model, optimizer = pair()
    scaler = GradScaler("cpu")
    with pytest.raises(ValueError, match=r"^max_norm must be"):
        ask(model, optimizer, max_norm=max_norm, scaler=scaler)
    assert not ask(model, optimizer, max_norm=1, scaler=scaler).skipped


def test_a_monitor_of_another_model_is_refused_in_words():
    with pytest.raises(ValueError, match=r"^the monitor watches another model$"):
        ask(monitor=GradMonitor(network()))


def test_a_monitor_of_a_part_of_the_model_is_refused_in_words():
    model, optimizer = pair()
    with pytest.raises(ValueError, match=r"^the monitor watches another model$"):
        ask(model, optimizer, monitor=GradMonitor(model[0]))


def test_a_gradient_that_the_optimizer_does_not_use_neither_clips_nor_skips():
    model, theirs = network(), network()
    plant(model, "0.weight", math.inf)
    optimizer = torch.optim.SGD(model[2].parameters(), lr=0.1)
    other = torch.optim.SGD(theirs[2].parameters(), lr=0.1)
    (batch,) = batches(1)
    assert not training_step(model, optimizer, loss_fn, batch, max_norm=0.1).skipped
    loss_fn(theirs, batch).backward()
    torch.nn.utils.clip_grad_norm_(theirs[2].parameters(), 0.1)
    other.step()
    for ours, its in zip(model.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(ours, its)


def test_an_overflow_that_the_optimizer_does_not_use_leaves_a_scaler_alone():
    model = network()
    plant(model, "0.weight", math.inf)
    optimizer = torch.optim.SGD(model[2].parameters(), lr=0.1)
    record = ask(model, optimizer, scaler=GradScaler("cpu"), max_norm=1.0)
    assert (record.skipped, math.isfinite(record.norm)) == (False, True)


def test_under_a_monitor_such_a_gradient_is_refused_in_words():
    model = network()
    optimizer = torch.optim.SGD(model[2].parameters(), lr=0.1)
    with pytest.raises(ValueError, match=r"^0\.weight has a gradient, by which the monitor would"):
        ask(model, optimizer, monitor=GradMonitor(model))


def test_micro_batches_may_come_from_a_generator():
    (model, optimizer), (theirs, other) = pair(), pair()
    parts = batches(3)
    ours = training_step(model, optimizer, loss_fn, micro_batches=(part for part in parts))
    assert ours == training_step(theirs, other, loss_fn, micro_batches=parts)


def test_a_loss_that_is_no_tensor_is_refused_in_words():
    with pytest.raises(TypeError, match=r"^loss_fn must return a tensor, got float$"):
        ask(function=lambda model, batch: loss_fn(model, batch).item())


def test_an_optimizer_that_needs_a_closure_is_refused_in_words():
    model = network()
    with pytest.raises(TypeError, match=r"^LBFGS needs a closure"):
        ask(model, torch.optim.LBFGS(model.parameters()))


def test_a_scheduler_that_needs_a_metric_is_refused_in_words():
    model, optimizer = pair()
    with pytest.raises(TypeError, match=r"^ReduceLROnPlateau needs a metric; step it yourself$"):
        ask(model, optimizer, scheduler=ReduceLROnPlateau(optimizer))
