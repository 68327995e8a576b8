"""Recurrent layers step by step, against torch's own and against a float64 run with autograd."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from gradcourse.models import Unrolled, seeded
from gradcourse.training import Ensemble, tbptt

KINDS = {
    "tanh": nn.RNN,
    "relu": lambda *sizes, **options: nn.RNN(*sizes, nonlinearity="relu", **options),
    "gru": nn.GRU,
    "lstm": nn.LSTM,
}


def parts(state):
    return state if isinstance(state, tuple) else (state,)


@given(
    kind=st.sampled_from(list(KINDS)),
    steps=st.integers(1, 6),
    batch=st.integers(1, 4),
    features=st.integers(1, 4),
    hidden=st.integers(1, 5),
    bias=st.booleans(),
    batch_first=st.booleans(),
    started=st.booleans(),
    seed=st.integers(0, 1000),
)
@settings(deadline=None, max_examples=60)
def test_outputs_states_and_gradients_are_those_of_torch(
    kind, steps, batch, features, hidden, bias, batch_first, started, seed
):
    options = {"bias": bias, "batch_first": batch_first, "dtype": torch.float64}
    layer = seeded(seed, lambda: KINDS[kind](features, hidden, **options))
    source = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(*shape, generator=source, dtype=torch.float64)

    inputs = draw(batch, steps, features) if batch_first else draw(steps, batch, features)
    state = None
    if started:
        state = draw(1, batch, hidden)
        state = (state, draw(1, batch, hidden)) if kind == "lstm" else state
    runs = []
    for run in (layer, Unrolled(layer)):
        layer.zero_grad()
        outputs, last = run(inputs, state)
        (outputs.square().sum() + sum(one.sin().sum() for one in parts(last))).backward()
        gradients = [parameter.grad.clone() for parameter in layer.parameters()]
        runs.append([outputs, *parts(last), *gradients])
    for torchs, ours in zip(*runs, strict=True):
        torch.testing.assert_close(ours, torchs, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("batch_first", [False, True])
def test_a_nudge_gets_the_gradient_of_every_state(kind, batch_first):
    """The oracle runs torch's layer from each state to the end."""
    layer = seeded(0, lambda: KINDS[kind](2, 3, dtype=torch.float64, batch_first=batch_first))
    inputs = seeded(1, lambda: torch.randn(6, 4, 2, dtype=torch.float64))

    def as_taken(part):
        return part.transpose(0, 1) if batch_first else part

    count = 2 if kind == "lstm" else 1
    nudges = [torch.zeros(6, 4, 3, dtype=torch.float64, requires_grad=True) for _ in range(count)]
    nudge = tuple(nudges) if count == 2 else nudges[0]
    outputs, _ = Unrolled(layer)(as_taken(inputs), nudge=nudge)
    plain, _ = layer(as_taken(inputs))
    torch.testing.assert_close(outputs, plain)
    as_taken(outputs)[-1].square().sum().backward()
    for step in range(5):
        _, state = layer(as_taken(inputs[: step + 1]))
        state = [part.detach().requires_grad_() for part in parts(state)]
        rest, _ = layer(as_taken(inputs[step + 1 :]), tuple(state) if count == 2 else state[0])
        wanted = torch.autograd.grad(as_taken(rest)[-1].square().sum(), state)
        if count == 2:
            # A cell counts for its own hidden state too: h = o * tanh(c).
            alone = copy.deepcopy(layer)
            cell = state[1].detach().requires_grad_()
            before = layer(as_taken(inputs[:step]))[1] if step else None
            gates = inputs[step] @ alone.weight_ih_l0.T + alone.bias_ih_l0 + alone.bias_hh_l0
            if before is not None:
                gates = gates + before[0][0] @ alone.weight_hh_l0.T
            hidden = torch.sigmoid(gates[:, 9:]) * torch.tanh(cell)
            rest, _ = layer(as_taken(inputs[step + 1 :]), (hidden, cell))
            through = torch.autograd.grad(as_taken(rest)[-1].square().sum(), cell)
            wanted = (wanted[0], through[0])
        for one, found in zip(wanted, nudges, strict=True):
            torch.testing.assert_close(found.grad[step], one[0], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_an_ensemble_of_them_is_the_networks_one_by_one(kind):
    networks = [
        seeded(seed, lambda: nn.Sequential(Unrolled(KINDS[kind](2, 3)))) for seed in range(4)
    ]
    inputs = seeded(9, lambda: torch.randn(5, 2, 2))
    ensemble = Ensemble(networks)
    outputs, _ = ensemble(inputs)
    outputs.square().sum().backward()
    for number, network in enumerate(networks):
        alone, _ = network[0].layer(inputs)
        alone.square().sum().backward()
        torch.testing.assert_close(outputs[number], alone)
    for name, parameter in ensemble.stacked.named_parameters():
        wanted = [network.get_parameter(name).grad for network in networks]
        torch.testing.assert_close(parameter.grad, torch.stack(wanted))


@pytest.mark.parametrize(
    ("layer", "error", "sentence"),
    [
        (nn.Linear(2, 2), TypeError, "layer must be an RNN, an LSTM or a GRU, got Linear"),
        (nn.RNN(2, 2, num_layers=2), ValueError, "got 2, False and 0"),
        (nn.GRU(2, 2, bidirectional=True), ValueError, "got 1, True and 0"),
        (nn.LSTM(2, 4, proj_size=3), ValueError, "got 1, False and 3"),
    ],
)
def test_other_layers_are_refused(layer, error, sentence):
    with pytest.raises(error, match=sentence):
        Unrolled(layer)


def test_a_nudge_of_another_length_is_refused():
    with pytest.raises(ValueError):
        Unrolled(nn.RNN(2, 3))(torch.zeros(5, 1, 2), nudge=torch.zeros(4, 1, 3))


def test_what_is_no_batch_of_sequences_is_refused():
    layer = Unrolled(nn.RNN(3, 4))
    with pytest.raises(ValueError, match=r"inputs must have three dimensions.*got shape \(5, 3\)"):
        layer(torch.ones(5, 3))
    packed = nn.utils.rnn.pack_sequence([torch.ones(5, 3)])
    with pytest.raises(TypeError, match="inputs must be a tensor, got PackedSequence"):
        layer(packed)


def test_tbptt_knows_which_dimension_comes_first():
    layer = Unrolled(nn.RNN(3, 4, batch_first=True))
    assert layer.batch_first
    with pytest.raises(ValueError, match="batch_first is False, but the model was made with"):
        tbptt(layer, torch.ones(8, 2, 3), torch.zeros(8, 2, 4), nn.MSELoss(), 4)
