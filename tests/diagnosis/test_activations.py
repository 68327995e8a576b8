"""Activation statistics against cases worked out by hand."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from gradcourse.diagnosis.activations import activation_statistics, dead_units


def measured(module, values, **options):
    """The one record of a module that is called on the given values."""
    report = activation_statistics(nn.Sequential(module), torch.as_tensor(values), **options)
    (record,) = report.records
    return record


def test_a_unit_is_dead_only_if_it_is_zero_for_the_whole_batch():
    # Columns: never on, on once, always on, exactly 0.
    record = measured(nn.ReLU(), [[-1.0, -2.0, 3.0, 0.0], [-3.0, 5.0, 1.0, 0.0]])
    assert (record.units, record.dead, record.zeros) == (4, 2 / 4, 5 / 8)
    assert record.saturated is None
    assert record.mean == 9 / 8
    assert record.std == pytest.approx(math.sqrt((9 + 25 + 1) / 8 - (9 / 8) ** 2))
    assert (record.module, record.call, record.kind) == ("0", 0, "ReLU")
    assert (record.shape, record.dtype) == ((2, 4), torch.float32)


def test_a_leaky_relu_is_never_dead():
    record = measured(nn.LeakyReLU(), [[-1.0], [-2.0]])
    assert (record.dead, record.zeros) == (0, 0)


def test_a_relu6_is_off_and_not_saturated_at_0():
    record = measured(nn.ReLU6(), [[-1.0], [-2.0]])
    assert (record.dead, record.zeros, record.saturated) == (1, 1, None)


@pytest.mark.parametrize(
    ("layer", "inputs", "units", "dead"),
    [
        # Biases kill the second of the three channels, or features.
        (nn.Conv1d(3, 3, 1), torch.ones(2, 3, 5), 3, 1 / 3),
        (nn.Conv2d(3, 3, 1), torch.ones(2, 3, 4, 5), 3, 1 / 3),
        (nn.Conv2d(3, 3, 1), torch.ones(3, 4, 5), 3, 1 / 3),
        (nn.Linear(3, 3), torch.ones(2, 3), 3, 1 / 3),
        (nn.Linear(3, 3), torch.ones(2, 7, 3), 3, 1 / 3),
        (nn.Linear(3, 3), torch.ones(2, 4, 5, 3), 3, 1 / 3),
        (nn.BatchNorm1d(3), torch.ones(2, 3, 5), 3, 1 / 3),
        (nn.GroupNorm(1, 3), torch.ones(2, 3, 5), 3, 1 / 3),
        (nn.LayerNorm(3), torch.ones(2, 5, 3), 3, 1 / 3),
        (nn.Linear(3, 3), torch.ones(3), 3, 1 / 3),
    ],
)
def test_a_unit_is_a_channel_after_a_convolution_and_a_feature_after_a_linear_layer(
    layer, inputs, units, dead
):
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.zero_()
        layer.bias.copy_(torch.tensor([1.0, -1.0, 1.0]))
    (record,) = activation_statistics(nn.Sequential(layer, nn.ReLU()), inputs).records
    assert (record.units, record.dead) == (units, dead)


def test_features_come_last_again_after_flattening_a_convolution():
    model = nn.Sequential(nn.Conv2d(1, 2, 1), nn.Flatten(), nn.ReLU())
    assert activation_statistics(model, torch.ones(4, 1, 3, 3)).records[0].units == 18


def test_without_a_layer_images_have_channels_and_sequences_features():
    assert measured(nn.ReLU(), torch.ones(5, 3, 4, 6)).units == 3
    assert measured(nn.ReLU(), torch.ones(5, 4, 6)).units == 6
    assert measured(nn.ReLU(), torch.tensor(2.0)).units == 1


def test_tanh_saturates_above_its_threshold():
    inputs = torch.atanh(torch.tensor([[0.0, 0.969, -0.971, 0.999]], dtype=torch.float64))
    assert measured(nn.Tanh(), inputs).saturated == 0.5
    assert measured(nn.Tanh(), inputs, saturation=0.96).saturated == 0.75
    assert measured(nn.Tanh(), inputs, saturation=0.98).saturated == 0.25


@given(st.floats(-8, 8), st.floats(0.05, 0.99))
@settings(max_examples=40, deadline=None)
def test_a_sigmoid_saturates_where_the_tanh_of_half_its_input_does(x, saturation):
    half = torch.tensor([[x / 2]], dtype=torch.float64)
    by_tanh = measured(nn.Tanh(), half, saturation=saturation).saturated
    assert measured(nn.Sigmoid(), half * 2, saturation=saturation).saturated == by_tanh


@pytest.mark.parametrize(
    "module", [nn.Tanh(), nn.Sigmoid(), nn.Softsign(), nn.Hardtanh(-2, 3), nn.Hardsigmoid()]
)
def test_saturated_is_where_autograd_finds_the_slope_below_its_share(module):
    z = torch.linspace(-9, 9, 1801, dtype=torch.float64).requires_grad_()
    (slope,) = torch.autograd.grad(module(z).sum(), z)
    expected = (slope < (1 - 0.97**2) * slope.max()).double().mean()
    assert measured(module, z.detach()[None]).saturated == pytest.approx(float(expected), abs=2e-3)


def test_the_hidden_states_of_a_tanh_rnn_count_and_those_of_a_relu_rnn_do_not_saturate():
    class Net(nn.Module):
        def __init__(self, nonlinearity):
            super().__init__()
            self.rnn = nn.RNN(1, 2, nonlinearity=nonlinearity)
            nn.init.zeros_(self.rnn.weight_hh_l0)
            nn.init.zeros_(self.rnn.weight_ih_l0)
            nn.init.zeros_(self.rnn.bias_hh_l0)
            self.rnn.bias_ih_l0.data = torch.tensor([0.0, 5.0])

        def forward(self, inputs):
            return self.rnn(inputs)

    (record,) = activation_statistics(Net("tanh"), torch.ones(3, 2, 1)).records
    assert (record.shape, record.saturated, record.dead) == ((3, 2, 2), 0.5, 0.5)
    (record,) = activation_statistics(Net("relu"), torch.ones(3, 2, 1)).records
    assert record.saturated is None
    packed = nn.utils.rnn.pack_sequence([torch.ones(3, 1), torch.ones(2, 1)])
    (record,) = activation_statistics(Net("tanh"), (packed,)).records
    assert record.shape == (5, 2)


@pytest.mark.parametrize(
    ("dtype", "value", "overflowing", "beyond"),
    [
        (torch.float32, 65504.0, 0.0, 0.0),
        (torch.float32, 65536.0, 0.0, 0.5),
        (torch.float32, 1.8e38, 0.5, 0.5),
        (torch.float32, 1.6e38, 0.0, 0.5),
        (torch.float16, 32752.0, 0.0, 0.0),
        (torch.float16, 32768.0, 0.5, 0.0),
        (torch.float64, 1.8e38, 0.0, 0.5),
        (torch.float32, math.inf, 0.5, 0.5),
        (torch.float32, math.nan, 0.5, 0.5),
    ],
)
def test_overflow_is_more_than_half_of_the_largest_number(dtype, value, overflowing, beyond):
    record = measured(nn.ReLU(), torch.tensor([[value, 1.0]], dtype=dtype))
    assert (record.overflowing, record.beyond_float16) == (overflowing, beyond)
    negative = measured(nn.LeakyReLU(1.0), torch.tensor([[-value, 1.0]], dtype=dtype))
    assert (negative.overflowing, negative.beyond_float16) == (overflowing, beyond)


def test_a_mean_of_large_half_precision_numbers_does_not_overflow():
    record = measured(nn.ReLU(), torch.full((4, 4), 60_000.0, dtype=torch.float16))
    assert (record.mean, record.std) == (60_000.0, 0.0)
    # In half precision the mean itself would be rounded.
    thirds = torch.tensor([1.0, 1.0, 2.0], dtype=torch.float16)
    assert measured(nn.ReLU(), thirds).mean == pytest.approx(4 / 3, rel=1e-12)


def test_a_shared_module_gives_a_record_for_each_call():
    relu = nn.ReLU()
    model = nn.Sequential(relu, nn.Linear(2, 2), relu)
    records = activation_statistics(model, torch.ones(3, 2)).records
    assert [(record.module, record.call) for record in records] == [("0", 0), ("0", 1)]


def test_modules_are_chosen_by_path_and_by_class():
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Sequential(nn.Linear(2, 2)), nn.Tanh())

    def chosen(modules):
        report = activation_statistics(model, torch.ones(1, 2), modules=modules)
        return [record.module for record in report.records]

    assert chosen(None) == ["1", "3"]
    assert chosen(["2.0", nn.Tanh]) == ["2.0", "3"]
    with pytest.raises(ValueError, match="the model has no module 'nine': it has"):
        chosen(["nine"])


def test_saturation_must_be_a_share():
    with pytest.raises(ValueError, match="saturation must be between 0 and 1, got 2"):
        activation_statistics(nn.ReLU(), torch.ones(1), saturation=2)


def test_the_summary_names_the_worst():
    model = nn.Sequential(nn.Linear(1, 2), nn.ReLU(), nn.Linear(2, 4), nn.Tanh())
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        model[0].bias.copy_(torch.tensor([-1.0, 1.0]))
        model[2].bias.copy_(torch.tensor([5.0, 0.5, 0.5, 0.5]))
    assert activation_statistics(model, torch.ones(2, 1)).summary() == (
        "2 activations, at worst 50% dead in '1', 25% saturated in '3', 0% overflowing, "
        "0% beyond float16"
    )


def test_integer_outputs_are_left_out():
    class Rank(nn.Module):
        def forward(self, inputs):
            return inputs.argsort()

    assert activation_statistics(Rank(), torch.ones(2, 2), modules=[Rank]).records == ()


def test_the_model_and_the_batch_are_left_as_they_were():
    model = nn.Sequential(nn.BatchNorm1d(2), nn.ReLU(inplace=True), nn.Dropout())
    before = {name: value.clone() for name, value in model.state_dict().items()}
    batch, state = torch.randn(4, 2), torch.get_rng_state()
    kept = batch.clone()
    activation_statistics(nn.Sequential(nn.ReLU(inplace=True), model), batch)
    assert torch.equal(batch, kept)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert model.training
    assert not any(module._forward_hooks for module in model.modules())


def test_no_hook_is_left_after_an_error():
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        activation_statistics(model, torch.ones(1, 3))
    assert not any(module._forward_hooks for module in model.modules())


def test_a_compiled_model_is_seen_inside_and_run_eagerly():
    def refuse(*_):
        raise AssertionError("compiled")

    parts = [nn.Sequential(nn.ReLU()), torch.compile(nn.Sequential(nn.Tanh()), backend=refuse)]
    parts.append(nn.Sequential(nn.ReLU()))
    parts[2].compile(backend=refuse)
    model = torch.compile(nn.Sequential(*parts), backend=refuse)
    records = activation_statistics(model, -torch.ones(2, 3)).records
    assert [(r.module, r.kind) for r in records] == [
        ("0.0", "ReLU"),
        ("1.0", "Tanh"),
        ("2.0", "ReLU"),
    ]
    (record,) = activation_statistics(model, -torch.ones(2, 3), modules=["1.0"]).records
    assert record.module == "1.0"
    assert activation_statistics(parts[2], torch.ones(1)).records[0].module == "0"


def test_a_unit_that_is_never_above_zero_is_not_dead_for_that() -> None:
    values = torch.tensor([[-1.0, 0.0, 0.0], [0.0, 0.0, 2.0]])
    assert dead_units(values, None).tolist() == [False, True, False]
    assert dead_units(torch.tensor([-1.0, 0.0]), None).tolist() == [False, True]
