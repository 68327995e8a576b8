"""A step whose loss or gradient is not finite: skipped to the bit, counted, named."""

import math

import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import StepLR
from training_loops import (
    batches,
    every_optimizer,
    everything,
    loss_fn,
    pair,
    plant,
    plus_inf,
    same,
    scaled_inf,
    scaled_nan,
    skip_once,
)

from gradcourse.training import NonFiniteError, StepGuard, training_step
from gradcourse.training.guard import describe_gradients


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
    assert describe_gradients(dict(model.named_parameters())) == "a gradient on another process"


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


def test_a_guard_goes_on_from_a_checkpoint(tmp_path):
    guard = StepGuard(patience=3)
    guard.skip("the loss is NaN")
    guard.take()
    guard.skip("the loss is NaN")
    guard.skip("the loss is NaN")
    torch.save({"guard": guard.state_dict()}, tmp_path / "run.pt")
    resumed = StepGuard(patience=3)
    resumed.load_state_dict(torch.load(tmp_path / "run.pt")["guard"])
    assert (resumed.skipped, resumed.in_a_row) == (3, 2)
    with pytest.raises(NonFiniteError, match="3 steps in a row were skipped"):
        resumed.skip("the loss is NaN")


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


def test_after_a_stop_that_was_caught_a_search_does_not_stop_again():
    guard = StepGuard(patience=1)
    with pytest.raises(NonFiniteError):
        guard.skip("the loss is NaN")
    guard.skip("overflow", counts=False)
    assert (guard.skipped, guard.in_a_row) == (2, 1)


def test_a_patience_below_1_is_refused():
    with pytest.raises(ValueError, match=r"^patience must be 1 or more, got 0$"):
        StepGuard(patience=0)
