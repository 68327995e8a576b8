"""The memory that graphs hold, against what is known of each operation."""

import contextlib

import pytest
import torch
from torch import nn

from gradcourse.signals import SavedTensors


def test_only_what_backward_needs_is_counted_and_each_storage_once():
    x = torch.ones(10, 100, requires_grad=True)
    with SavedTensors() as saved:
        added = x + 1
        assert saved.bytes == 0
        added.tanh()
        assert saved.bytes == 0, "the result of tanh is gone, and its graph with it"
        squared = added * added
        assert saved.bytes == 4000
        kept = squared.exp()
        assert saved.bytes == 8000
        views = kept.view(-1).sin(), kept.cos()
        assert saved.bytes == 8000
        (views[0].sum() + views[1].sum()).backward()
        assert saved.bytes == 0


def test_parameters_do_not_count():
    layer, inputs = nn.Linear(50, 20), torch.ones(8, 50)
    with SavedTensors(layer.parameters()) as saved:
        first = layer(inputs)
        assert saved.bytes == 8 * 50 * 4
        second = torch.tanh(first) @ torch.ones(20, 3)
        assert saved.bytes > 8 * 50 * 4
        second.sum().backward()
    assert saved.bytes == 0


def test_gradients_are_those_without_counting():
    x = torch.linspace(-1, 1, 7, dtype=torch.float64, requires_grad=True)
    (plain,) = torch.autograd.grad((x.sin() * x).sum(), x)
    with SavedTensors():
        (counted,) = torch.autograd.grad((x.sin() * x).sum(), x)
    assert torch.equal(plain, counted)


def held_by(layer, steps):
    with SavedTensors(layer.parameters()) as saved:
        outputs, state = layer(torch.ones(steps, 2, 3))
        held = saved.bytes
        del outputs, state
    assert saved.bytes == 0
    return held


def test_an_rnn_holds_its_inputs_and_states():
    for steps in (1, 16, 64):
        expected = 4 * 2 * ((3 + 16) * steps + 16)
        assert held_by(nn.RNN(3, 16), steps) == pytest.approx(expected, rel=0.1)


@pytest.mark.parametrize("kind", [nn.RNN, nn.LSTM, nn.GRU])
def test_a_recurrent_layer_holds_more_for_more_steps(kind):
    layer = kind(3, 16)
    # The CPU kernel of an LSTM holds some memory whatever the length.
    assert held_by(layer, 256) > 3 * held_by(layer, 64)


def test_second_derivatives_still_work():
    x = torch.tensor([0.3, 2.0], dtype=torch.float64, requires_grad=True)
    with SavedTensors():
        (first,) = torch.autograd.grad((x.exp() * x).sum(), x, create_graph=True)
        (second,) = torch.autograd.grad(first.sum(), x)
    torch.testing.assert_close(second, (x.exp() * (x + 2)).detach())


def test_a_tensor_modified_in_place_is_refused_as_without_counting():
    x = torch.tensor([1.0, 2.0], requires_grad=True)
    for counting in (False, True):
        with SavedTensors([x]) if counting else contextlib.nullcontext():
            y = x.exp()
            y.add_(1.0)
            with pytest.raises(RuntimeError, match="modified by an inplace operation"):
                torch.autograd.grad(y.sum(), x)
