"""Weight schemes against torch.nn.init, closed forms and the papers' own claims."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import init
from torch.nn.utils import parametrizations

from gradcourse.initialization import SCHEME_NAMES, initialize, mean_field_
from gradcourse.models import MLP

SIMPLE = [name for name in SCHEME_NAMES if name not in ("mean_field", "torch")]
RANDOM = ["xavier_normal", "xavier_uniform", "he_normal", "he_uniform", "lecun_normal"]


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def z_of_variance(tensor, std, kurtosis):
    """How many standard errors the mean square lies from ``std**2``, for a mean of 0."""
    values = tensor.detach().double().flatten() / std
    return float((values.square().mean() - 1) * math.sqrt(len(values) / (kurtosis - 1)))


def z_of_mean(tensor, std):
    values = tensor.detach().double().flatten() / std
    return float(values.mean() * math.sqrt(len(values)))


def record_of(report, path):
    return next(record for record in report if record.path == path)


TORCH_CALLS = {
    "xavier_uniform": lambda w, g: init.xavier_uniform_(w, 3.0, generator=g),
    "glorot_normal": lambda w, g: init.xavier_normal_(w, 3.0, generator=g),
    "he_uniform": lambda w, g: init.kaiming_uniform_(w, nonlinearity="linear", generator=g).mul_(3),
    "kaiming_normal": lambda w, g: init.kaiming_normal_(w, 0, "fan_in", "linear", g).mul_(3),
    "lecun_normal": lambda w, g: init.normal_(w, 0, 3 / math.sqrt(w[0].numel()), generator=g),
    "orthogonal": lambda w, g: init.orthogonal_(w, 3.0, generator=g),
}


@pytest.mark.parametrize("layer", [nn.Linear(20, 30), nn.Conv2d(4, 6, 3), nn.Bilinear(4, 5, 6)])
@pytest.mark.parametrize("scheme", TORCH_CALLS)
@torch.no_grad()
def test_a_scheme_draws_the_very_numbers_of_torch_nn_init(scheme, layer):
    expected = TORCH_CALLS[scheme](torch.empty_like(layer.weight), seeded(5))
    report = initialize(layer, scheme, gain=3.0, generator=seeded(5))
    torch.testing.assert_close(layer.weight.detach(), expected, rtol=1e-6, atol=0)
    assert not layer.bias.any()
    assert report.scheme == scheme


# Layer, parameter, and fan in and fan out of one block, counted by hand.
LAYERS = [
    (lambda: nn.Linear(150, 60), "weight", 1, (150, 60)),
    (lambda: nn.Bilinear(12, 9, 40), "weight", 1, (12 * 9, 40 * 9)),
    (lambda: nn.Conv1d(20, 44, 5), "weight", 1, (20 * 5, 44 * 5)),
    (lambda: nn.Conv2d(24, 60, 3, groups=3), "weight", 3, (8 * 9, 20 * 9)),
    (lambda: nn.Conv3d(4, 24, (3, 2, 5)), "weight", 1, (4 * 30, 24 * 30)),
    (lambda: nn.ConvTranspose1d(16, 60, 5), "weight", 1, (16 * 5, 60 * 5)),
    (lambda: nn.ConvTranspose2d(24, 60, 3, groups=3), "weight", 3, (8 * 9, 20 * 9)),
    (lambda: nn.ConvTranspose3d(4, 24, (3, 2, 5), groups=2), "weight", 2, (2 * 30, 12 * 30)),
    (lambda: nn.RNN(90, 40), "weight_ih_l0", 1, (90, 40)),
    (lambda: nn.LSTM(90, 40, 2, bidirectional=True), "weight_ih_l0_reverse", 4, (90, 40)),
    (lambda: nn.LSTM(90, 40, 2, bidirectional=True), "weight_ih_l1", 4, (80, 40)),
    (lambda: nn.LSTM(90, 40, 2, proj_size=20), "weight_ih_l1", 4, (20, 40)),
    (lambda: nn.GRU(90, 40), "weight_ih_l0", 3, (90, 40)),
    (lambda: nn.RNNCell(90, 40), "weight_ih", 1, (90, 40)),
    (lambda: nn.LSTMCell(90, 40), "weight_ih", 4, (90, 40)),
    (lambda: nn.GRUCell(90, 40, bias=False), "weight_ih", 3, (90, 40)),
    (lambda: nn.MultiheadAttention(60, 2), "in_proj_weight", 3, (60, 60)),
    (lambda: nn.MultiheadAttention(60, 2, kdim=90, vdim=70), "k_proj_weight", 1, (90, 60)),
    (lambda: nn.MultiheadAttention(60, 2, kdim=90, vdim=70), "v_proj_weight", 1, (70, 60)),
    (lambda: nn.MultiheadAttention(60, 2, kdim=90, vdim=70), "q_proj_weight", 1, (60, 60)),
]


def variance_by_hand(scheme, fan_in, fan_out):
    kind = scheme.split("_")[0]
    return {"xavier": 2 / (fan_in + fan_out), "he": 2 / fan_in, "lecun": 1 / fan_in}[kind]


@pytest.mark.parametrize("scheme", RANDOM)
@pytest.mark.parametrize(("make", "name", "count", "fans"), LAYERS)
def test_every_block_has_the_variance_of_its_own_fans(make, name, count, fans, scheme):
    layer = make()
    report = initialize(layer, scheme, generator=seeded(1))
    weight = layer.get_parameter(name)
    std = math.sqrt(variance_by_hand(scheme, *fans))
    for block in weight.chunk(count):
        # Kurtosis is 3 for normal and 9/5 for uniform elements.
        kurtosis = 1.8 if "uniform" in scheme else 3
        assert abs(z_of_variance(block, std, kurtosis)) < 4.5
        assert abs(z_of_mean(block, std)) < 4.5
        limit = math.sqrt(3) * std * (1 + 1e-6)
        assert (float(block.detach().abs().max()) <= limit) == ("uniform" in scheme)
    record = record_of(report, name)
    assert record.std_predicted == pytest.approx(std)
    assert record.std == pytest.approx(float(weight.detach().std()), rel=1e-3)
    assert (f"{count} blocks of" in record.done) == (count > 1)


@pytest.mark.parametrize("scheme", ["he_normal", "he_uniform"])
@pytest.mark.parametrize(("make", "name", "count", "fans"), LAYERS[::3])
def test_fan_out_keeps_the_variance_on_the_way_back(make, name, count, fans, scheme):
    layer = make()
    report = initialize(layer, scheme, mode="fan_out", nonlinearity="tanh", generator=seeded(2))
    std = 5 / 3 / math.sqrt(fans[1])
    kurtosis = 1.8 if "uniform" in scheme else 3
    assert abs(z_of_variance(layer.get_parameter(name), std, kurtosis)) < 4.5
    assert record_of(report, name).std_predicted == pytest.approx(std)
    assert "fan_out" in record_of(report, name).done
    assert count >= 1


@given(
    st.sampled_from(SIMPLE),
    st.integers(1, 5),
    st.integers(0, 4),
    st.lists(st.integers(1, 4), max_size=3),
    st.integers(1, 3),
    st.booleans(),
    st.floats(0.1, 3),
)
@settings(max_examples=60, deadline=None)
def test_the_prediction_holds_for_layers_of_any_shape(
    scheme, inputs, more, taps, groups, turned, gain
):
    outputs = inputs + more
    if taps:
        kinds = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
        kinds = kinds if turned else (nn.Conv1d, nn.Conv2d, nn.Conv3d)
        kind = kinds[len(taps) - 1]
        layer = kind(inputs * groups, outputs * groups, tuple(taps), groups=groups)
    else:
        layer = nn.Linear(inputs, outputs)
    report = initialize(layer, scheme, gain=gain, generator=seeded(3))
    record = record_of(report, "weight")
    values = layer.weight.detach().double()
    if "orthogonal" in scheme:
        assert float(values.square().mean().sqrt()) == pytest.approx(record.std_predicted, rel=1e-5)
    else:
        kurtosis = 1.8 if "uniform" in scheme else 3
        # The statistic of few elements is not normal; its right tail is that of chi square.
        assert -4.5 < z_of_variance(values, record.std_predicted, kurtosis) < 7
    assert record.shape == tuple(layer.weight.shape)


def test_xavier_is_a_compromise_between_forward_and_backward():
    layer = nn.Linear(128, 512, bias=False)
    initialize(layer, "xavier_normal", generator=seeded())
    x = torch.randn(400, 128, generator=seeded(1), requires_grad=True)
    y = layer(x)
    y.backward(torch.randn(y.shape, generator=seeded(2)))
    assert float(y.detach().var()) == pytest.approx(0.4, rel=0.03)
    assert float(x.grad.var()) == pytest.approx(1.6, rel=0.03)


@pytest.mark.parametrize(
    ("scheme", "expected"), [("he_normal", 1.0), ("xavier_normal", 0.5), ("torch", 1 / 6)]
)
def test_relu_layers_multiply_the_squared_gradient_by_half_the_weight_variance(scheme, expected):
    # A layer's own ratio, because the product over layers spreads widely between seeds.
    ratios = []
    for seed in range(20):
        layer = nn.Linear(300, 300)
        initialize(layer, scheme, generator=seeded(seed))
        x = torch.randn(50, 300, generator=seeded(seed), requires_grad=True)
        y = layer(x).relu()
        y.backward(torch.randn(y.shape, generator=seeded(seed + 100)))
        ratios.append(float(x.grad.square().mean()))
    assert sum(ratios) / len(ratios) == pytest.approx(expected, rel=0.02)


def test_orthogonal_weights_have_orthonormal_rows_or_columns():
    for make in (lambda: nn.Linear(12, 7), lambda: nn.Linear(7, 12), lambda: nn.Conv2d(5, 9, 3)):
        layer = make()
        report = initialize(layer, "orthogonal", gain=2.0, generator=seeded())
        matrix = layer.weight.detach().flatten(1)
        small = matrix @ matrix.T if len(matrix) <= matrix.shape[1] else matrix.T @ matrix
        torch.testing.assert_close(small, 4 * torch.eye(len(small)), atol=1e-5, rtol=0)
        rms = float(matrix.square().mean().sqrt())
        assert report.records[0].std_predicted == pytest.approx(rms, rel=1e-5)


def test_a_transposed_convolution_is_orthogonal_from_its_inputs_on():
    layer = nn.ConvTranspose2d(20, 12, 3, groups=2)
    initialize(layer, "orthogonal", generator=seeded())
    for block in layer.weight.detach().chunk(2):
        matrix = block.transpose(0, 1).flatten(1)  # 6 outputs, 10 inputs of 9 taps
        torch.testing.assert_close(matrix @ matrix.T, torch.eye(6), atol=1e-5, rtol=0)


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("outputs", [4, 6])
@pytest.mark.parametrize(
    ("kind", "taps"), [(nn.Conv1d, (5,)), (nn.Conv2d, (3, 5)), (nn.Conv3d, (3, 1, 3))]
)
def test_delta_orthogonal_makes_a_circular_convolution_an_isometry(kind, taps, outputs, groups):
    same_size = tuple(tap // 2 for tap in taps)
    layer = kind(4, outputs, taps, padding=same_size, padding_mode="circular", groups=groups)
    report = initialize(layer, "delta_orthogonal", generator=seeded())
    image = torch.randn(3, 4, *(6,) * len(taps), generator=seeded(1))
    norm = layer(image).flatten(1).norm(dim=1)
    torch.testing.assert_close(norm, image.flatten(1).norm(dim=1), rtol=1e-5, atol=0)
    # The centre tap keeps an image in its place, too.
    centre = layer.weight.detach()[(..., *same_size)]
    assert int(layer.weight.count_nonzero()) == centre.numel()
    rms = float(layer.weight.detach().square().mean().sqrt())
    assert report.records[0].std_predicted == pytest.approx(rms, rel=1e-5)


def test_delta_orthogonal_takes_the_middle_tap_of_a_transposed_convolution():
    layer = nn.ConvTranspose1d(4, 6, 3, padding=1)
    initialize(layer, "delta_orthogonal", gain=2.0, generator=seeded())
    image = torch.randn(3, 4, 10, generator=seeded(1))
    norms = layer(image).flatten(1).norm(dim=1) / image.flatten(1).norm(dim=1)
    torch.testing.assert_close(norms, torch.full((3,), 2.0))


def test_delta_orthogonal_needs_enough_outputs_in_convolutions_only():
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Flatten(), nn.Linear(8, 2), nn.LSTM(2, 3))
    initialize(net, "delta_orthogonal", generator=seeded())
    weight = net[2].weight.detach()
    torch.testing.assert_close(weight @ weight.T, torch.eye(2), atol=1e-5, rtol=0)
    for bad, got in (
        (nn.Conv2d(8, 3, 3), "8 inputs and 3 outputs$"),
        (nn.ConvTranspose2d(8, 3, 3), "8 inputs and 3 outputs$"),
        (nn.Conv2d(8, 4, 3, groups=2), "4 inputs and 2 outputs a group"),
    ):
        with pytest.raises(ValueError, match=f"model itself .Conv.*delta_orthogonal needs.*{got}"):
            initialize(bad, "delta_orthogonal")


@pytest.mark.parametrize(
    ("make", "gates"),
    [
        (lambda: nn.RNN(5, 8, 2, bidirectional=True), 1),
        (lambda: nn.LSTM(5, 8, 2, bidirectional=True, proj_size=3), 4),
        (lambda: nn.GRU(5, 8, 2), 3),
        (lambda: nn.LSTMCell(5, 8), 4),
        (lambda: nn.GRUCell(5, 8), 3),
        (lambda: nn.RNNCell(5, 8), 1),
        (lambda: nn.LSTM(5, 8, bias=False), 4),
    ],
)
def test_hidden_weights_are_orthogonal_gate_by_gate_and_biases_are_zero(make, gates):
    layer = make()
    initialize(layer, "he_normal", generator=seeded())
    for name, parameter in layer.named_parameters():
        if "bias" in name:
            assert not parameter.any()
        if "_hh" in name and "weight" in name:
            for gate in parameter.detach().chunk(gates):
                size = gate.shape[1]
                torch.testing.assert_close(gate.T @ gate, torch.eye(size), atol=1e-5, rtol=0)
        if "_hr" in name:
            torch.testing.assert_close(
                parameter @ parameter.T, torch.eye(3), atol=1e-5, rtol=0, check_stride=False
            )


def test_orthogonal_and_mean_field_set_hidden_weights_by_their_own_numbers():
    cell = nn.LSTMCell(5, 8)
    initialize(cell, "orthogonal", gain=2.0, generator=seeded())
    for gate in cell.weight_hh.detach().chunk(4):
        torch.testing.assert_close(gate.T @ gate, 4 * torch.eye(8), atol=1e-5, rtol=0)
    rnn = nn.RNN(50, 200)
    report = initialize(
        rnn, "mean_field", weight_variance=1.69, bias_variance=0.3, generator=seeded()
    )
    assert abs(z_of_variance(rnn.weight_hh_l0, 1.3 / math.sqrt(200), 3)) < 4
    assert abs(z_of_variance(rnn.weight_ih_l0, 1.3 / math.sqrt(50), 3)) < 4
    # The sum of torch's two biases has the variance.
    assert abs(z_of_variance(rnn.bias_ih_l0 + rnn.bias_hh_l0, math.sqrt(0.3), 3)) < 4
    assert record_of(report, "bias_ih_l0").std_predicted == pytest.approx(math.sqrt(0.3))
    assert record_of(report, "bias_hh_l0").std_predicted == 0


def test_mean_field_by_name_and_by_function_are_the_same_ensemble():
    net = MLP(300, 300, 2)
    report = initialize(
        net, "mean_field", weight_variance=1.5**2, bias_variance=0.3**2, generator=seeded()
    )
    other = mean_field_(MLP(300, 300, 2), 1.5, 0.3, seeded(1))
    for one, two in zip(net.parameters(), other.parameters(), strict=True):
        assert float(one.detach().std() / two.detach().std()) == pytest.approx(1, rel=0.2)
    assert [round(record.std_predicted, 4) for record in report] == [0.0866, 0.3] * 2
    with pytest.raises(ValueError, match="mean_field needs weight_variance"):
        initialize(net, "mean_field", bias_variance=1.0)


def test_mean_field_function_draws_as_it_always_has():
    net = mean_field_(nn.Sequential(nn.Linear(2, 1), nn.Linear(1, 1)), 2.0, 0.5, seeded(0))
    draws = seeded(0)
    for layer in net:
        size = layer.weight.shape
        expected = torch.empty(size).normal_(0, 2 / math.sqrt(size[1]), generator=draws)
        assert torch.equal(layer.weight, expected)
        assert torch.equal(layer.bias, torch.empty(1).normal_(0, 0.5, generator=draws))
    net[0].weight = nn.Parameter(torch.empty(1, 0))
    assert mean_field_(net[0], 1.0, 0.0) is net[0]
    with pytest.raises(ValueError, match=r"^weight is parametrized: set it before"):
        mean_field_(parametrizations.weight_norm(nn.Linear(3, 3)), 1.0)


@pytest.mark.parametrize(
    ("nonlinearity", "gain"),
    [(None, math.sqrt(2)), ("linear", 1), ("identity", 1), ("tanh", 5 / 3), ("selu", 0.75)],
)
def test_the_gain_is_that_of_the_nonlinearity(nonlinearity, gain):
    layer = nn.Linear(100, 10)
    report = initialize(layer, "he_normal", nonlinearity=nonlinearity)
    assert report.records[0].std_predicted == pytest.approx(gain / 10)
