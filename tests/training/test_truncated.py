"""Truncated back-propagation against loops over single cells, and against closed forms."""

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sequences import (
    FEATURES,
    MODELS,
    UNITS,
    accumulated,
    assert_same,
    mean_square,
    network,
    sequence,
)
from torch import nn
from torch.autograd.graph import saved_tensors_hooks

from gradcourse.training import tbptt

CELLS = {"rnn": nn.RNNCell, "lstm": nn.LSTMCell, "gru": nn.GRUCell}


def cell_of(kind, model):
    """A single cell that shares the parameters of a network, not only their numbers."""
    cell = CELLS[kind](FEATURES, UNITS, dtype=torch.float64)
    for name, _ in list(cell.named_parameters()):
        setattr(cell, name, getattr(model, f"{name}_l0"))
    return cell


def cut(state):
    return tuple(map(torch.Tensor.detach, state)) if isinstance(state, tuple) else state.detach()


def by_hand(kind, model, inputs, targets, chunk, overlap):
    """Gradients of each step's loss, the state cut at the first step that it may see."""
    cell = cell_of(kind, model)
    total = 0.0
    for step, target in enumerate(targets):
        first = step - step % chunk - overlap
        state = None
        for now in range(step + 1):
            if now == first and now > 0:
                state = cut(state)
            state = cell(inputs[now], state)
        output = state[0] if isinstance(state, tuple) else state
        total = total + (output - target).square().mean() / len(targets)
    return torch.autograd.grad(total, list(model.parameters()))


@settings(deadline=None, max_examples=40)
@given(
    st.sampled_from(["rnn", "lstm", "gru"]),
    st.integers(1, 11),
    st.integers(1, 12),
    st.integers(0, 13),
    st.booleans(),
)
@example("lstm", 11, 4, 0, False)
@example("lstm", 11, 4, 2, False)
@example("gru", 11, 3, 5, True)
@example("rnn", 10, 5, 5, False)
def test_the_gradient_is_that_of_each_loss_cut_where_it_may_no_longer_look(
    kind, steps, chunk, overlap, batch_first
):
    model = network(kind, batch_first=batch_first)
    inputs, targets = sequence(steps)
    expected = by_hand(kind, model, inputs, targets, chunk, overlap)
    if batch_first:
        inputs, targets = inputs.transpose(0, 1), targets.transpose(0, 1)
    found = accumulated(
        model, inputs, targets, mean_square, chunk, overlap=overlap, batch_first=batch_first
    )
    assert_same(found, expected)


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("options", [{"chunk": 9}, {"chunk": 50}, {"chunk": 2, "overlap": 9}])
def test_a_reach_of_the_whole_sequence_is_full_back_propagation(kind, options):
    model = network(kind, num_layers=2)
    inputs, targets = sequence(9)
    mean_square(model(inputs)[0], targets).backward()
    full = [parameter.grad.clone() for parameter in model.parameters()]
    assert_same(accumulated(model, inputs, targets, mean_square, **options), full)


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 12), st.integers(1, 13), st.integers(0, 13))
def test_losses_and_outputs_are_those_of_one_run_whatever_the_chunks(steps, chunk, overlap):
    model = network("lstm")
    inputs, targets = sequence(steps)
    outputs, state = model(inputs)
    pieces = list(tbptt(model, inputs, targets, mean_square, chunk, overlap))
    assert_same([sum(piece.loss for piece in pieces)], [mean_square(outputs, targets)])
    assert_same([torch.cat([piece.outputs for piece in pieces])], [outputs])
    assert_same(pieces[-1].state, state)
    assert [piece.start for piece in pieces] == list(range(0, steps, chunk))
    assert [piece.stop for piece in pieces] == [*range(chunk, steps, chunk), steps]
    for piece in pieces:
        its = slice(piece.start, piece.stop)
        assert piece.weight == (piece.stop - piece.start) / steps
        assert_same([piece.loss / piece.weight], [mean_square(outputs[its], targets[its])])


# The scalar linear recurrence h = a h + w x with x = 1: dh_t/dw is the sum of a**j for j below t.


def line(a):
    model = nn.RNN(1, 1, nonlinearity="relu", bias=False, dtype=torch.float64)
    with torch.no_grad():
        model.weight_hh_l0.fill_(a)
        model.weight_ih_l0.fill_(1.0)
    return model


def product(outputs, targets):
    return (outputs * targets).mean()


def share(a, steps, chunk, overlap, counted):
    """Truncated over full gradient of the sum of the outputs that are counted, 1 or 0 a step."""
    model, ones = line(a), torch.ones(steps, 1, 1, dtype=torch.float64)
    truncated = accumulated(model, ones, counted, product, chunk, overlap=overlap)[0]
    return float(truncated / accumulated(model, ones, counted, product, steps)[0])


def last_only(steps):
    counted = torch.zeros(steps, 1, 1, dtype=torch.float64)
    counted[-1] = 1.0
    return counted


def test_chunks_of_10_keep_65_percent_of_the_last_step_s_gradient_over_100_steps():
    expected = (1 - 0.9**10) / (1 - 0.9**100)
    assert round(expected, 4) == 0.6513
    assert share(0.9, 100, 10, 0, last_only(100)) == pytest.approx(expected, rel=1e-12)


@settings(deadline=None, max_examples=40)
@given(st.floats(0.1, 1.3), st.integers(1, 40), st.integers(1, 40), st.integers(0, 40))
def test_the_last_step_keeps_the_share_of_its_chunk_and_the_overlap(a, steps, chunk, overlap):
    reach = min(steps, (steps - 1) % chunk + 1 + overlap)
    expected = sum(a**j for j in range(reach)) / sum(a**j for j in range(steps))
    found = share(a, steps, chunk, overlap, last_only(steps))
    assert found == pytest.approx(expected, rel=1e-12)


@settings(deadline=None, max_examples=40)
@given(st.floats(0.1, 1.3), st.integers(1, 40), st.integers(1, 40), st.integers(0, 40))
def test_each_step_reaches_back_to_the_overlap_before_its_chunk(a, steps, chunk, overlap):
    reaches = [min(step + 1, step % chunk + 1 + overlap) for step in range(steps)]
    kept = sum(a**j for reach in reaches for j in range(reach))
    full = sum(a**j for step in range(steps) for j in range(step + 1))
    found = share(a, steps, chunk, overlap, torch.ones(steps, 1, 1, dtype=torch.float64))
    assert found == pytest.approx(kept / full, rel=1e-12)


# Updates between the chunks


def descend(model, pieces, lr=0.5):
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    for piece in pieces:
        optimizer.zero_grad()
        piece.loss.backward()
        optimizer.step()
    return [parameter.detach().clone() for parameter in model.parameters()]


def test_with_an_update_after_each_chunk_it_is_the_loop_that_people_write():
    inputs, targets = sequence(10)
    ours, theirs = network("lstm"), network("lstm")
    found = descend(ours, tbptt(ours, inputs, targets, mean_square, chunk=4))

    optimizer = torch.optim.SGD(theirs.parameters(), lr=0.5)
    state = None
    for its in (slice(0, 4), slice(4, 8), slice(8, 10)):
        optimizer.zero_grad()
        outputs, state = theirs(inputs[its], state)
        loss = mean_square(outputs, targets[its]) * ((its.stop - its.start) / 10)
        loss.backward()
        optimizer.step()
        state = tuple(part.detach() for part in state)
    assert all(map(torch.equal, found, theirs.parameters()))


def test_with_updates_the_overlap_is_run_again_with_the_parameters_of_now():
    inputs, targets = sequence(7)
    ours, theirs = network("gru"), network("gru")
    found = descend(ours, tbptt(ours, inputs, targets, mean_square, chunk=3, overlap=2))

    # Windows of steps 0-2, 1-5 and 4-6; each starts from a state of the window before.
    optimizer = torch.optim.SGD(theirs.parameters(), lr=0.5)
    held = None
    for window, start, following in ((0, 0, 1), (1, 3, 4), (4, 6, 5)):
        stop = min(start + 3, 7)
        cell, state = cell_of("gru", theirs), held
        loss = 0.0
        for step in range(window, stop):
            state = cell(inputs[step], state)
            held = state.detach() if step + 1 == following else held
            if step >= start:
                loss = loss + mean_square(state, targets[step]) / 7
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert_same(found, [parameter.detach() for parameter in theirs.parameters()])


def test_the_model_runs_when_the_loop_asks_for_a_chunk_and_not_before():
    model, calls = network(), []
    model.register_forward_hook(lambda *_: calls.append(1))
    pieces = tbptt(model, *sequence(6), mean_square, chunk=2)
    assert len(calls) == 0
    next(pieces)
    assert len(calls) == 1


# Memory


class Saved:
    """A tensor kept for the backward pass, counted as long as it lives."""

    alive, peak = 0, 0

    def __init__(self, tensor):
        # Without its graph, which would keep itself alive in a ring.
        self.tensor = tensor.detach()
        Saved.alive += tensor.numel()
        Saved.peak = max(Saved.peak, Saved.alive)

    def __del__(self):
        Saved.alive -= self.tensor.numel()


def peak_memory(steps, chunk, overlap=0):
    """The most numbers that wait for a backward pass at one time."""
    model, (inputs, targets) = network("gru"), sequence(steps)
    Saved.alive = Saved.peak = 0
    with saved_tensors_hooks(Saved, lambda saved: saved.tensor):
        for piece in tbptt(model, inputs, targets, mean_square, chunk, overlap):
            piece.loss.backward()
    return Saved.peak


def test_memory_grows_with_the_chunk_and_not_with_the_sequence():
    assert peak_memory(80, 10) == peak_memory(20, 10)
    assert peak_memory(80, 80) > 6 * peak_memory(80, 10)
    assert peak_memory(80, 10, overlap=10) == peak_memory(40, 10, overlap=10)
    assert peak_memory(80, 10, overlap=10) < 3 * peak_memory(80, 10)


def test_a_loss_without_a_backward_pass_is_let_go_with_its_chunk():
    model, (inputs, targets) = network(), sequence(40)

    def peak(steps):
        Saved.alive = Saved.peak = 0
        with saved_tensors_hooks(Saved, lambda saved: saved.tensor):
            pieces = tbptt(model, inputs[:steps], targets[:steps], mean_square, chunk=10)
            for _ in range(steps // 10):
                next(pieces)
        return Saved.peak

    assert peak(40) == peak(10)
