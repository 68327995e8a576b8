"""What initialize sets and leaves in whole models, and what it says of it."""

import copy
import math

import pytest
import torch
from odd_models import Scale, numbers, same, seeded, weight_normed, with_weight
from torch import nn
from torch.nn.utils import parametrizations

from gradcourse.initialization import ReZero, initialize


def rms(tensor):
    return float(tensor.detach().square().mean().sqrt())


def record_of(report, path):
    return next(record for record in report if record.path == path)


def test_embeddings_are_standard_normal_and_keep_a_padding_row_of_zeros():
    net = nn.Sequential(nn.Embedding(40, 50, padding_idx=3), nn.EmbeddingBag(40, 50))
    report = initialize(net, "he_normal", generator=seeded())
    table = net[0].weight.detach()
    assert not table[3].any()
    others = torch.cat([table[:3], table[4:]])
    assert rms(others) == pytest.approx(1, rel=0.05)
    assert rms(net[1].weight) == pytest.approx(1, rel=0.05)
    assert report.records[0].std_predicted == pytest.approx(math.sqrt(39 / 40))
    assert report.records[0].done == "normal, std 1, row 3 zeros"
    assert report.records[1].std_predicted == 1


def test_norms_start_as_new_with_their_running_statistics():
    norms = [
        nn.LayerNorm(6),
        nn.RMSNorm(6),
        nn.GroupNorm(2, 6),
        nn.BatchNorm1d(6),
        nn.BatchNorm2d(6),
        nn.BatchNorm3d(6),
        nn.SyncBatchNorm(6),
        nn.InstanceNorm1d(6, affine=True, track_running_stats=True),
        nn.BatchNorm1d(6, affine=False),
        nn.BatchNorm1d(6, track_running_stats=False),
    ]
    model = nn.ModuleList(norms)
    for tensor in model.state_dict().values():
        tensor.fill_(7)
    report = initialize(model, "xavier_normal")
    for name, tensor in model.state_dict().items():
        expected = 1 if name.endswith(("weight", "running_var")) else 0
        assert (tensor == expected).all(), name
    assert {record.std for record in report} == {0.0}
    # Records are in the order of the model, with statistics after the parameters of their norm.
    assert [record.path for record in report if record.module in "3489"] == [
        *("3.weight", "3.bias", "3.running_mean", "3.running_var"),
        *("4.weight", "4.bias", "4.running_mean", "4.running_var"),
        *("8.running_mean", "8.running_var"),
        *("9.weight", "9.bias"),
    ]


def test_prelu_and_rezero_get_their_starting_values():
    model = nn.Sequential(nn.PReLU(3, init=0.1), ReZero(nn.Linear(2, 2)))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(9)
    report = initialize(model, "he_normal")
    assert torch.equal(model[0].weight.detach(), torch.full((3,), 0.1))
    assert float(model[1].alpha.detach()) == 0
    assert record_of(report, "0.weight").done == "0.1"
    assert float(model[1].branch.weight.detach().abs().max()) < 9


def test_attention_adds_tokens_as_torch_does():
    attention = nn.MultiheadAttention(400, 4, add_bias_kv=True)
    report = initialize(attention, "he_normal", generator=seeded())
    for name in ("bias_k", "bias_v"):
        assert rms(attention.get_parameter(name)) == pytest.approx(1 / 20, rel=0.15)
        assert record_of(report, name).std_predicted == pytest.approx(1 / 20)
    assert not attention.in_proj_bias.any()
    assert rms(attention.out_proj.weight) == pytest.approx(math.sqrt(2 / 400), rel=0.02)


def test_a_name_leaves_all_that_is_inside_and_a_class_its_own_parameters_only():
    def left(leave):
        net = nn.ModuleDict({"a": Scale(), "ab": Scale()})
        before = numbers(net)
        report = initialize(net, "he_normal", leave=leave)
        after = numbers(net)
        unset = {record.path for record in report if not record.was_set}
        # Biases are set to what they must not have been by chance.
        assert unset == {name for name in before if torch.equal(before[name], after[name])}
        return unset

    inner = {"a.inner.weight", "a.inner.bias"}
    assert left(Scale) == {"a.scale", "ab.scale"}
    assert left(("a.scale", "ab.scale")) == {"a.scale", "ab.scale"}
    assert left(["a", Scale]) == {"a.scale", "ab.scale", *inner}
    assert left({"a.inner", "ab.inner.bias", Scale}) == {
        "a.scale",
        "ab.scale",
        *inner,
        "ab.inner.bias",
    }


def test_a_class_that_is_left_keeps_its_running_statistics():
    for scheme in ("he_normal", "torch"):
        for leave in (nn.BatchNorm1d, "0"):
            net = nn.Sequential(nn.BatchNorm1d(2), nn.BatchNorm1d(2, affine=False))
            for norm in net:
                norm.running_mean.fill_(7)
            initialize(net, scheme, leave=leave)
            assert float(net[0].running_mean[0]) == 7
            assert float(net[1].running_mean[0]) == (0 if leave == "0" else 7)


@pytest.mark.parametrize("scheme", ["he_normal", "torch"])
def test_frozen_parameters_stay_and_are_reported(scheme):
    net = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3), nn.Linear(3, 3), nn.BatchNorm1d(3))
    for tensor in net.state_dict().values():
        tensor.fill_(7)
    for name in ("0.weight", "1.weight", "1.bias", "3.weight"):
        net.get_parameter(name).requires_grad_(False)
    frozen = {"0.weight", "1.weight", "1.bias", "3.weight"}
    report = initialize(net, scheme, generator=seeded())
    for name, tensor in net.state_dict().items():
        # A norm that is frozen as a whole is not forgotten either.
        kept = name in frozen or name.startswith("1.")
        assert bool((tensor == 7).all()) == kept, name
    assert {record.path for record in report if record.done == "frozen"} == frozen
    assert all(record.std is None for record in report if not record.was_set)


def test_integer_weights_cannot_be_trained_and_stay_as_frozen_ones():
    layer = nn.Linear(3, 3)
    layer.weight = nn.Parameter(torch.ones(3, 3, dtype=torch.int8), requires_grad=False)
    report = initialize(layer, "he_normal")
    assert [record.done for record in report] == ["frozen", "zeros"]


@pytest.mark.parametrize(("scheme", "variance"), [("he_normal", 2 / 40), ("torch", 1 / 120)])
@pytest.mark.parametrize("embedding_first", [True, False])
def test_a_weight_shared_with_an_embedding_is_set_once_for_the_layer(
    scheme, variance, embedding_first
):
    parts = [nn.Embedding(500, 40), nn.Linear(40, 500)]
    parts[1].weight = parts[0].weight
    net = nn.Sequential(*(parts if embedding_first else parts[::-1]))
    report = initialize(net, scheme, generator=seeded())
    assert net[1].weight is net[0].weight
    assert rms(net[0].weight) == pytest.approx(variance**0.5, rel=0.05)
    layer, embedding = (1, 0) if embedding_first else (0, 1)
    assert record_of(report, f"{embedding}.weight").done == f"tied to {layer}.weight"
    assert record_of(report, f"{layer}.bias").was_set
    assert report.summary() == f"{scheme}: set 2 of 3 tensors; not set: {embedding}.weight"


@pytest.mark.parametrize("scheme", ["he_normal", "torch"])
def test_a_module_in_two_places_is_set_once(scheme):
    shared = nn.Linear(3, 3)
    net = nn.Sequential(shared, nn.Linear(3, 3), shared)
    report = initialize(net, scheme, generator=seeded())
    assert [record.done for record in report][4:] == ["tied to 0.weight", "tied to 0.bias"]
    alone = nn.Sequential(shared, net[1])
    before = numbers(alone)
    initialize(alone, scheme, generator=seeded())
    assert same(before, numbers(alone))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("scheme", ["he_normal", "orthogonal", "delta_orthogonal", "torch"])
def test_any_real_dtype_is_set_and_kept(scheme, dtype):
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Linear(8, 8)).to(dtype)
    report = initialize(net, scheme, generator=seeded())
    assert {parameter.dtype for parameter in net.parameters()} == {dtype}
    if scheme != "torch":
        again = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Linear(8, 8))
        if dtype == torch.float64:
            again.double()
        initialize(again, scheme, generator=seeded())
        # Half precision is the float32 draw, rounded once.
        assert same(numbers(again.to(dtype)), numbers(net))
    assert record_of(report, "0.weight").std == pytest.approx(
        float(net[0].weight.detach().double().std(correction=0)), rel=1e-4
    )
    if scheme == "orthogonal" and dtype == torch.float64:
        weight = net[1].weight.detach()
        torch.testing.assert_close(weight @ weight.T, torch.eye(8, dtype=dtype), atol=1e-12, rtol=0)


@pytest.mark.parametrize("scheme", ["he_normal", "torch"])
def test_empty_parameters_are_passed_over(scheme):
    net = nn.Sequential(with_weight(nn.Parameter(torch.ones(3, 0))), nn.Linear(3, 3))
    net[0].in_features = 0
    report = initialize(net, scheme)
    assert next(record.done for record in report) == "empty"
    assert sum(record.was_set for record in report) == 3
    assert len(initialize(nn.ReLU(), scheme)) == 0
    assert initialize(nn.ReLU(), scheme).summary() == f"{scheme}: set 0 of 0 tensors"


def test_weight_norm_is_set_through_its_inverse():
    layer = weight_normed()
    twin = nn.Linear(40, 40)
    held = [id(parameter) for parameter in layer.parameters()]
    report = initialize(layer, "he_normal", generator=seeded())
    initialize(twin, "he_normal", generator=seeded())
    torch.testing.assert_close(layer.weight.detach(), twin.weight.detach())
    assert [id(parameter) for parameter in layer.parameters()] == held
    half = weight_normed().half()
    initialize(half, "he_normal", generator=seeded())
    assert half.weight.dtype == torch.float16
    torch.testing.assert_close(half.weight.float(), layer.weight, rtol=5e-3, atol=1e-4)
    record = record_of(report, "weight")
    assert record.kind == "Linear"
    assert record.std == pytest.approx(float(twin.weight.detach().std()), rel=1e-3)


def test_a_parametrized_bias_that_cannot_be_zero_is_refused():
    layer = parametrizations.weight_norm(nn.Linear(4, 4), "bias", dim=None)
    with pytest.raises(ValueError, match="bias is parametrized by WeightNorm, which does not"):
        initialize(layer, "he_normal")


def test_a_spectrally_normalized_layer_that_is_left_keeps_its_state():
    layer = parametrizations.spectral_norm(nn.Linear(5, 5))
    before = numbers(layer)
    report = initialize(layer, "he_normal", leave="weight")
    after = numbers(layer)
    assert all(torch.equal(before[name], after[name]) for name in before if name != "bias")
    assert record_of(report, "weight").shape == (5, 5)


def torch_zoo():
    return nn.Sequential(
        nn.Embedding(7, 4, padding_idx=0),
        nn.Conv2d(4, 4, 3),
        nn.BatchNorm2d(4),
        nn.LSTM(4, 4, 2),
        nn.MultiheadAttention(4, 2, add_bias_kv=True),
        nn.TransformerEncoderLayer(4, 2, 8, batch_first=True),
        nn.PReLU(),
        ReZero(nn.Linear(4, 4)),
        nn.Transformer(4, 2, 1, 1, 8, batch_first=True),
    )


def test_torch_makes_the_model_as_its_constructor_does():
    with torch.random.fork_rng():
        torch.default_generator.manual_seed(3)
        expected = numbers(torch_zoo())
        net = torch_zoo()
        torch.default_generator.manual_seed(3)
        initialize(net, "torch")
    for name, tensor in net.state_dict().items():
        if not name.startswith("8."):
            assert torch.equal(tensor, expected[name]), name
        elif tensor.dim() == 2:
            # The last word on a Transformer's matrices is its own: uniform within Xavier's limit.
            limit = math.sqrt(6 / sum(tensor.shape))
            assert 0.7 * limit < float(tensor.abs().max()) <= limit


def test_torch_with_a_generator_leaves_the_global_random_state_alone():
    before = torch.get_rng_state()
    one, two, other = torch_zoo(), torch_zoo(), torch_zoo()
    torch.set_rng_state(before)
    generator = seeded(1)
    initialize(one, "torch", generator=generator)
    initialize(other, "torch", generator=generator)
    initialize(two, "torch", generator=seeded(1))
    assert torch.equal(before, torch.get_rng_state())
    assert same(numbers(one), numbers(two))
    assert not same(numbers(one), numbers(other))


@pytest.mark.parametrize("scheme", ["xavier_uniform", "orthogonal", "lecun_normal"])
def test_a_generator_makes_draws_reproducible_and_leaves_the_global_state_alone(scheme):
    one, two = nn.LSTM(3, 4), nn.LSTM(3, 4)
    before = torch.get_rng_state()
    initialize(one, scheme, generator=seeded(1))
    initialize(two, scheme, generator=seeded(1))
    assert torch.equal(before, torch.get_rng_state())
    assert same(numbers(one), numbers(two))
    initialize(two, scheme)
    assert not torch.equal(before, torch.get_rng_state())


class Own(nn.Module):
    """A module that resets what is inside of it, too."""

    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(2, 2)
        self.lazy = nn.LazyLinear(2)
        self.scale = nn.Parameter(torch.ones(2))

    def reset_parameters(self):
        for parameter in (self.scale, *self.inner.parameters()):
            nn.init.constant_(parameter, 5.0)


def test_any_class_with_reset_parameters_is_set_by_torch_and_what_is_left_is_put_back():
    net = nn.Sequential(Own(), nn.Linear(2, 2))
    net[1].bias = net[0].inner.bias
    before = numbers(net)
    initialize(net, "torch", leave=("0.inner.weight", "0.lazy"))
    assert torch.equal(net[0].inner.weight, before["0.inner.weight"])
    assert net[0].scale.tolist() == [5, 5]
    assert net[1].bias.tolist() == [5, 5]


def test_the_report_says_what_was_set():
    net = nn.Sequential(nn.Linear(4, 2), nn.Linear(2, 2), Scale())
    net[1].bias.requires_grad_(False)
    net[1].weight.requires_grad_(False)
    report = initialize(net, "glorot_uniform", leave=Scale)
    assert report.summary() == (
        "glorot_uniform: set 4 of 7 tensors; not set: 1.weight, 1.bias, 2.scale"
    )
    lines = str(report).splitlines()
    assert lines[0] == report.summary()
    assert lines[1].split() == ["tensor", "shape", "std", "predicted", "set", "to"]
    assert lines[2].split()[:2] == ["0.weight", "2x4"]
    assert lines[2].split()[3:] == ["0.577", "xavier_uniform"]
    assert lines[4].split() == ["1.weight", "2x2", "not", "set:", "frozen"]
    assert len(report) == len(list(report)) == 7
    everything = initialize(nn.ModuleList(nn.ReLU() for _ in range(3)), "torch")
    assert str(everything).splitlines()[0] == "torch: set 0 of 0 tensors"
    more = initialize(nn.LSTM(2, 2), "torch", leave=nn.LSTM)
    assert more.summary().endswith("weight_ih_l0, weight_hh_l0, bias_ih_l0 and 1 more")
    rezero = initialize(ReZero(nn.ReLU()), "torch")
    assert "scalar" in str(rezero)
    lazy = initialize(nn.LazyLinear(2), "torch", leave=nn.LazyLinear)
    assert str(lazy).splitlines()[2].split()[:2] == ["weight", "?"]


def test_parameters_stay_the_same_objects_and_keep_their_graph_settings():
    net = nn.Sequential(nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last), nn.GRU(4, 4))
    before = list(net.parameters())
    strides = net[0].weight.stride()
    assert initialize(net, "he_normal") is not None
    assert all(a is b for a, b in zip(before, net.parameters(), strict=True))
    assert all(parameter.is_leaf and parameter.requires_grad for parameter in net.parameters())
    assert net[0].weight.stride() == strides
    assert copy.deepcopy(net)[1](torch.zeros(2, 4))[0].shape == (2, 4)
