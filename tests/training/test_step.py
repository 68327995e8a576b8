"""A guarded step against loops written by hand in plain torch."""

import copy
import math
import re
from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.amp import GradScaler
from torch.optim.lr_scheduler import ReduceLROnPlateau, StepLR

from gradcourse.clipping import PercentileClip, SpikeClip
from gradcourse.diagnosis import GradMonitor
from gradcourse.training import (
    NonFiniteError,
    StepGuard,
    StepRecord,
    tbptt,
    training_step,
)
from gradcourse.training.guard import describe_gradients

OPTIMIZERS = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9),
    "adam": lambda p: torch.optim.Adam(p, lr=0.01),
    "adamw": lambda p: torch.optim.AdamW(p, lr=0.01, weight_decay=0.1),
}
every_optimizer = pytest.mark.parametrize("make", OPTIMIZERS.values(), ids=OPTIMIZERS)


def network(device="cpu"):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 1)).to(device)


def pair(make=OPTIMIZERS["sgd"], device="cpu"):
    model = network(device)
    return model, make(model.parameters())


def batches(count, size=8, device="cpu"):
    generator = torch.Generator().manual_seed(1)
    return [
        (
            torch.randn(size, 3, generator=generator).to(device),
            torch.randn(size, 1, generator=generator).to(device),
        )
        for _ in range(count)
    ]


def loss_fn(model, batch):
    inputs, targets = batch
    return nn.functional.mse_loss(model(inputs), targets)


def plant(model, name, value):
    """From now on the gradient of one parameter holds a value that is no number."""

    def spoil(gradient):
        spoilt = gradient.clone()
        spoilt.view(-1)[0] = value
        return spoilt

    return dict(model.named_parameters())[name].register_hook(spoil)


def everything(model, optimizer):
    """All tensors of a model and its optimizer, for a comparison to the bit."""
    states = [optimizer.state_dict()["state"][key] for key in optimizer.state_dict()["state"]]
    inner = [value for state in states for value in state.values() if value is not None]
    return copy.deepcopy([*model.state_dict().values(), *inner])


def same(one, other):
    return len(one) == len(other) and all(map(torch.equal, one, other))


def gradients_at_step(optimizer):
    """A list that fills with the gradients that the optimizer is given."""
    seen = []

    def look(optimizer, *_):
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        seen.append([parameter.grad.clone() for parameter in parameters])

    optimizer.register_step_pre_hook(look)
    return seen


def norm_of(gradients):
    return math.sqrt(sum(float(g.double().square().sum()) for g in gradients))


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
    assert record.norm == pytest.approx(norm_of(p.grad for p in other.parameters()))


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
    monitor, clipper = GradMonitor(model, norm_type=norm_type), PercentileClip(50)
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


class CountingScaler(GradScaler):
    """Counts its calls."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.calls = Counter()

    def scale(self, outputs):
        self.calls["scale"] += 1
        return super().scale(outputs)

    def unscale_(self, optimizer):
        self.calls["unscale_"] += 1
        super().unscale_(optimizer)

    def step(self, optimizer):
        self.calls["step"] += 1
        return super().step(optimizer)

    def update(self):
        self.calls["update"] += 1
        super().update()


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


# The guard


def scaled_nan(model, batch):
    return loss_fn(model, batch) * math.nan


def scaled_inf(model, batch):
    return loss_fn(model, batch) * math.inf


def plus_inf(model, batch):
    """A loss that is not finite although its gradients are."""
    return loss_fn(model, batch) + math.inf


@every_optimizer
@pytest.mark.parametrize("kind", ["nan loss", "inf loss", "inf constant", "nan hook", "inf hook"])
@pytest.mark.parametrize("bad", [0, 3])
def test_a_run_with_a_bad_step_is_bit_for_bit_the_run_without_it(make, kind, bad):
    model, optimizer = pair(make)
    scheduler = StepLR(optimizer, 1, 0.9)
    theirs, their_optimizer = pair(make)
    their_scheduler = StepLR(their_optimizer, 1, 0.9)
    losses = {"nan loss": scaled_nan, "inf loss": scaled_inf, "inf constant": plus_inf}
    hooks = {"nan hook": math.nan, "inf hook": math.inf}
    for number, batch in enumerate(batches(6)):
        if number == bad:
            before = everything(model, optimizer)
            hook = plant(model, "2.weight", hooks[kind]) if kind in hooks else None
            function = losses.get(kind, loss_fn)
            record = training_step(
                model, optimizer, function, batch, max_norm=1.0, scheduler=scheduler
            )
            if hook:
                hook.remove()
            assert record.skipped
            assert not record.clipped
            assert math.isfinite(record.loss) == (kind in hooks)
            assert math.isfinite(record.norm) == (kind == "inf constant")
            assert all(parameter.grad is None for parameter in model.parameters())
            assert same(everything(model, optimizer), before)
        else:
            for m, o, s in (
                (model, optimizer, scheduler),
                (theirs, their_optimizer, their_scheduler),
            ):
                assert not training_step(m, o, loss_fn, batch, max_norm=1.0, scheduler=s).skipped
    assert same(everything(model, optimizer), everything(theirs, their_optimizer))
    assert scheduler.last_epoch == their_scheduler.last_epoch == 5


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (scaled_nan, "the loss is NaN"),
        (scaled_inf, "the loss is Inf"),
        (lambda model, batch: -plus_inf(model, batch), "the loss is Inf"),
    ],
)
def test_the_reason_names_a_loss_that_is_not_finite(function, said):
    model, optimizer = pair()
    record = training_step(model, optimizer, function, *batches(1))
    assert record.reason == said


def test_the_reason_names_the_first_micro_batch_that_is_not_finite():
    model, optimizer = pair()
    parts = batches(4)
    parts[2] = (parts[2][0], torch.full((8, 1), math.inf))
    record = training_step(model, optimizer, loss_fn, micro_batches=parts)
    assert record.reason == "the loss of micro_batches[2] is Inf"
    assert record.skipped


def test_losses_that_are_finite_one_by_one_and_overflow_in_their_sum_are_a_loss_of_inf():
    model, optimizer = pair()

    def largest(model, _):
        return model(torch.ones(1, 3)).sum() * 0 + torch.finfo(torch.float32).max

    record = training_step(model, optimizer, largest, micro_batches=[None] * 10)
    assert record.reason == "the loss is Inf"


@pytest.mark.parametrize(
    ("planted", "said"),
    [
        ({"0.weight": math.nan}, "the gradient of 0.weight (NaN)"),
        ({"2.bias": -math.inf}, "the gradient of 2.bias (Inf)"),
        (
            {"0.weight": math.inf, "2.bias": math.nan},
            "the gradients of 0.weight (Inf) and 2.bias (NaN)",
        ),
        (
            dict.fromkeys(("0.weight", "0.bias", "2.weight", "2.bias"), math.nan),
            "the gradients of 0.weight (NaN), 0.bias (NaN), 2.weight (NaN) and 1 more",
        ),
    ],
)
def test_the_reason_names_the_first_gradients_that_are_not_finite(planted, said):
    model, optimizer = pair()
    for name, value in planted.items():
        plant(model, name, value)
    assert training_step(model, optimizer, loss_fn, *batches(1)).reason == said


def test_a_gradient_that_is_only_known_to_another_process_is_said_to_be_there():
    model, _ = pair()
    loss_fn(model, *batches(1)).backward()
    assert describe_gradients(model) == "a gradient on another process"


def test_both_kinds_in_one_gradient_are_named():
    model, optimizer = pair()
    model[2].weight.register_hook(lambda g: g + torch.tensor([[math.nan, math.inf, 0.0, 0.0, 0.0]]))
    record = training_step(model, optimizer, loss_fn, *batches(1))
    assert record.reason == "the gradient of 2.weight (NaN and Inf)"


def test_a_sparse_gradient_is_named_and_a_compiled_model_by_its_own_names():
    table = nn.Embedding(4, 2, sparse=True)
    optimizer = torch.optim.SGD(table.parameters(), lr=0.1)
    table.weight.register_hook(lambda g: g * math.nan)
    record = training_step(table, optimizer, lambda m, t: m(t).sum(), torch.tensor([1]))
    assert record.reason == "the gradient of weight (NaN)"

    model, optimizer = pair()
    compiled = torch.compile(model, backend="eager")
    plant(model, "0.bias", math.nan)
    record = training_step(compiled, optimizer, loss_fn, *batches(1))
    assert record.reason == "the gradient of 0.bias (NaN)"


def skip_once(model, optimizer, **options):
    return training_step(model, optimizer, scaled_nan, *batches(1), **options)


def test_the_guard_stops_the_run_after_its_patience_and_names_the_culprit():
    model, optimizer = pair()
    guard = StepGuard(patience=3)
    before = everything(model, optimizer)
    assert skip_once(model, optimizer, guard=guard).skipped
    assert skip_once(model, optimizer, guard=guard).skipped
    with pytest.raises(
        NonFiniteError, match=r"^3 steps in a row were skipped: the loss is NaN$"
    ) as stopped:
        skip_once(model, optimizer, guard=guard)
    assert isinstance(stopped.value, RuntimeError)
    assert (guard.skipped, guard.in_a_row) == (3, 3)
    assert same(everything(model, optimizer), before)
    assert all(parameter.grad is None for parameter in model.parameters())
    with pytest.raises(NonFiniteError, match=r"^4 steps"):
        skip_once(model, optimizer, guard=guard)


def test_a_step_that_is_taken_gives_the_patience_back():
    model, optimizer = pair()
    guard = StepGuard(patience=2)
    for _ in range(3):
        skip_once(model, optimizer, guard=guard)
        assert guard.in_a_row == 1
        assert not training_step(model, optimizer, loss_fn, *batches(1), guard=guard).skipped
        assert guard.in_a_row == 0
    assert guard.skipped == 3


def test_a_patience_of_1_stops_at_once():
    with pytest.raises(NonFiniteError, match=r"^1 step was skipped: the loss is NaN$"):
        skip_once(*pair(), guard=StepGuard(patience=1))


def test_without_a_guard_each_optimizer_has_one_with_a_patience_of_10():
    one, other = pair(), pair()
    for _ in range(9):
        skip_once(*one)
    skip_once(*other)
    with pytest.raises(NonFiniteError, match=r"^10 steps in a row were skipped"):
        skip_once(*one)
    skip_once(*other)


def test_a_patience_below_1_is_refused():
    with pytest.raises(ValueError, match=r"^patience must be 1 or more, got 0$"):
        StepGuard(patience=0)


# Mixed precision


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
    record = training_step(
        model, optimizer, plus_inf, *batches(1), guard=StepGuard(2), scaler=scaler
    )
    # Its gradients are finite, so the scaler has nothing to back off from.
    assert record.reason == "the loss is Inf"
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

    training_step(model, optimizer, look, *batches(1), autocast=dtype)
    assert seen == [(dtype, True), False]


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
