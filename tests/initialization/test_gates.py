"""Memory of LSTM and GRU against running them with weights of zero."""

import math

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

from gradcourse.initialization import chrono_, forget_gate_bias_, initialize, update_gate_bias_


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def without_biases(layer):
    """Biases of zero, so that what enters the state is zero."""
    initialize(layer, "he_normal")
    return layer


@torch.no_grad()
def remembered(layer, steps):
    """The share of each unit's state that is left after ``steps`` steps, with weights of zero."""
    for name, parameter in layer.named_parameters():
        if "weight" in name:
            parameter.zero_()
    units = layer.hidden_size
    state = torch.linspace(0.5, 1, units, dtype=torch.float64).expand(1, 1, units).contiguous()
    layer = layer.double()
    inputs = torch.randn(steps, 1, layer.input_size, dtype=torch.float64, generator=seeded())
    if isinstance(layer, nn.LSTM):
        _, (_, after) = layer(inputs, (torch.zeros_like(state), state))
    else:
        _, after = layer(inputs, state)
    return (after / state).flatten()


@pytest.mark.parametrize("value", [-1.0, 1.0, 3.0])
def test_an_lstm_without_weights_forgets_by_the_sigmoid_of_its_bias(value):
    lstm = without_biases(nn.LSTM(3, 5))
    assert forget_gate_bias_(lstm, value) is lstm
    expected = torch.full((5,), value).double().sigmoid() ** 50
    torch.testing.assert_close(remembered(lstm, 50), expected, rtol=1e-9, atol=0)


def test_the_forget_bias_of_one_is_the_number_of_the_theory():
    share = remembered(forget_gate_bias_(without_biases(nn.LSTM(3, 5))), 50)
    torch.testing.assert_close(share, torch.full_like(share, 1.576e-7), rtol=1e-3, atol=0)


@pytest.mark.parametrize("value", [-1.0, 1.0, 3.0])
def test_a_gru_without_weights_forgets_by_the_sigmoid_of_its_update_bias(value):
    gru = without_biases(nn.GRU(3, 5))
    assert update_gate_bias_(gru, value) is gru
    expected = torch.full((5,), value).double().sigmoid() ** 50
    torch.testing.assert_close(remembered(gru, 50), expected, rtol=1e-6, atol=0)


def test_chrono_gives_each_lstm_unit_its_own_memory():
    lstm = chrono_(without_biases(nn.LSTM(3, 500)), 101, generator=seeded())
    enter, forget, _, _ = (lstm.bias_ih_l0 + lstm.bias_hh_l0).detach().double().chunk(4)
    assert torch.equal(enter, -forget)
    check_memory(lstm, forget)


def test_chrono_gives_each_gru_unit_its_own_memory():
    gru = chrono_(without_biases(nn.GRU(3, 500)), 101, generator=seeded())
    check_memory(gru, (gru.bias_ih_l0 + gru.bias_hh_l0).detach().double().chunk(3)[1])


def check_memory(layer, bias):
    odds = bias.exp()  # U(1, 100): mean 50.5, variance 99**2 / 12
    assert 1 <= float(odds.min()) < 2
    assert 99 < float(odds.max()) <= 100.001
    assert abs(float(odds.mean()) - 50.5) < 4 * 99 / math.sqrt(12 * 500)
    assert float(odds.var()) == pytest.approx(99**2 / 12, rel=0.15)
    torch.testing.assert_close(remembered(layer, 37), bias.sigmoid() ** 37, rtol=1e-5, atol=0)
    # A unit remembers for about T steps: 1/e of its state is left after them.
    slowest = bias.argmax()
    left = float(bias.sigmoid()[slowest] ** float(odds[slowest] + 1))
    assert left == pytest.approx(math.exp(-1), rel=0.01)


@pytest.mark.parametrize(
    ("set_", "make", "gates", "changed"),
    [
        (forget_gate_bias_, lambda: nn.LSTM(2, 3, 2, bidirectional=True, proj_size=2), 4, {1}),
        (forget_gate_bias_, lambda: nn.LSTMCell(2, 3), 4, {1}),
        (update_gate_bias_, lambda: nn.GRU(2, 3, 2, bidirectional=True), 3, {1}),
        (update_gate_bias_, lambda: nn.GRUCell(2, 3), 3, {1}),
        (lambda m: chrono_(m, 50), lambda: nn.LSTM(2, 3, 2, bidirectional=True), 4, {0, 1}),
        (lambda m: chrono_(m, 50), lambda: nn.GRUCell(2, 3), 3, {1}),
        (lambda m: chrono_(m, 50), lambda: nn.LSTMCell(2, 3), 4, {0, 1}),
    ],
)
def test_only_the_gate_in_question_changes_in_every_layer_and_direction(set_, make, gates, changed):
    layer = make()
    before = {name: p.detach().clone() for name, p in layer.named_parameters()}
    set_(nn.Sequential(nn.Linear(2, 2), layer))
    for name, parameter in layer.named_parameters():
        if "weight" in name:
            assert torch.equal(parameter, before[name])
            continue
        old, new = before[name].chunk(gates), parameter.detach().chunk(gates)
        for gate in range(gates):
            assert torch.equal(old[gate], new[gate]) == (gate not in changed), (name, gate)
        if "_hh" in name:
            assert not any(new[gate].any() for gate in changed)


def test_half_precision_and_generators():
    one = chrono_(nn.LSTM(2, 3).bfloat16(), 50, generator=seeded(4))
    before = torch.get_rng_state()
    two = chrono_(nn.LSTM(2, 3).bfloat16(), 50, generator=seeded(4)).bias_ih_l0[:6]
    assert torch.equal(one.bias_ih_l0[:6], two)
    torch.set_rng_state(before)
    first, second = chrono_(nn.GRU(2, 3), 50).bias_ih_l0[3:6], chrono_(nn.GRU(2, 3), 50).bias_ih_l0
    assert not torch.equal(first, second[3:6])
    assert not chrono_(nn.GRU(2, 3), 2).bias_ih_l0[3:6].any()  # U(1, 1), whose logarithm is 0


def normed_bias():
    return parametrizations.weight_norm(nn.LSTM(2, 2), "bias_ih_l0", dim=None)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: forget_gate_bias_(nn.GRU(2, 2)), "^GRU holds no LSTM: a GRU has update_gate_bi"),
        (lambda: update_gate_bias_(nn.LSTM(2, 2)), "^LSTM holds no GRU: an LSTM has forget_gate"),
        (lambda: chrono_(nn.RNN(2, 2), 9), "^RNN holds no LSTM and no GRU: no other layer has ga"),
        (lambda: forget_gate_bias_(nn.LSTM(2, 2), math.nan), "value must be a finite number, go"),
        (lambda: update_gate_bias_(nn.GRU(2, 2), math.inf), "value must be a finite number, got"),
        (lambda: chrono_(nn.LSTM(2, 2), 1.5), "max_time must be a finite number, 2 or more, got 1"),
        (lambda: chrono_(nn.LSTM(2, 2), math.inf), "max_time must be a finite number, 2 or more"),
        (lambda: forget_gate_bias_(nn.LSTM(2, 2, device="meta")), "^bias_ih_l0 is on the meta dev"),
        (
            lambda: forget_gate_bias_(
                parametrizations.weight_norm(nn.LSTM(2, 2), "bias_ih_l0", -1)
            ),
            "^bias_ih_l0 is parametrized: set it before",
        ),
    ],
)
def test_bad_input_is_answered_in_words(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call()


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: forget_gate_bias_(nn.LSTM(2, 2), "1"), "^value must be a number, got '1'$"),
        (lambda: update_gate_bias_(nn.GRU(2, 2), None), "^value must be a number, got None$"),
        (lambda: chrono_(nn.LSTM(2, 2), "long"), "^max_time must be a number, got 'long'$"),
    ],
)
def test_what_is_no_number_is_answered_in_words(call, sentence):
    with pytest.raises(TypeError, match=sentence):
        call()


def test_one_layer_without_biases_stops_all():
    net = nn.Sequential(nn.LSTM(2, 2), nn.LSTM(2, 2, bias=False))
    before = net[0].bias_ih_l0.detach().clone()
    with pytest.raises(ValueError, match=r"^1 .LSTM. was made with bias=False: it has no bias"):
        forget_gate_bias_(net)
    assert torch.equal(net[0].bias_ih_l0, before)
