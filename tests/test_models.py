"""Plain modules and their initialisation."""

import math

import pytest
import torch
from torch import nn

from gradcourse.initialization import mean_field_
from gradcourse.models import ACTIVATION_NAMES, MLP, activation_module, seeded
from gradcourse.theory import ACTIVATIONS


def test_layers_and_shapes():
    net = MLP(in_features=5, width=7, depth=3, out_features=2, activation="relu")
    kinds = [type(layer).__name__ for layer in net]
    assert kinds == ["Linear", "ReLU"] * 3 + ["Linear"]
    assert net(torch.zeros(4, 5)).shape == (4, 2)
    bare = MLP(5, 7, 1, bias=False)
    assert [type(layer).__name__ for layer in bare] == ["Linear", "Tanh"]
    assert bare(torch.zeros(4, 5)).shape == (4, 7)
    assert bare[0].bias is None


def test_every_activation_of_theory_has_a_module():
    assert set(ACTIVATION_NAMES) == set(ACTIVATIONS)
    for name in ACTIVATION_NAMES:
        assert activation_module(name)(torch.zeros(2, 3)).shape == (2, 3)


def test_mean_field_fills_weights_and_biases_by_fan_in():
    net = MLP(400, 200, 2, out_features=3)
    generator = torch.Generator().manual_seed(0)
    assert mean_field_(net, 1.5, 0.3, generator=generator) is net
    linear = [layer for layer in net if isinstance(layer, nn.Linear)]
    for layer in linear[:2]:
        expected = 1.5 / math.sqrt(layer.in_features)
        assert float(layer.weight.detach().std()) == pytest.approx(expected, rel=0.02)
        assert float(layer.bias.detach().std()) == pytest.approx(0.3, rel=0.15)
        assert layer.weight.requires_grad
    again = mean_field_(MLP(400, 200, 2, 3), 1.5, 0.3, torch.Generator().manual_seed(0))
    for one, other in zip(net.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, other)


def test_mean_field_without_biases():
    net = mean_field_(MLP(4, 4, 2), 1.0)
    assert not net[0].bias.any()
    mean_field_(MLP(4, 4, 2, bias=False), 1.0, 0.5)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: MLP(0, 2, 2), "in_features must be 1 or more, got 0"),
        (lambda: MLP(2, 0, 2), "width must be 1 or more, got 0"),
        (lambda: MLP(2, 2, 0), "depth must be 1 or more, got 0"),
        (lambda: MLP(2, 2, 2, 0), "out_features must be 1 or more, got 0"),
        (lambda: MLP(2, 2, 2, activation="swosh"), "activation must be one of linear, sigmoid"),
        (lambda: mean_field_(MLP(2, 2, 2), -1.0), "weight_scale must be a finite number, 0 or mo"),
        (lambda: mean_field_(MLP(2, 2, 2), math.nan), "weight_scale must be .* got nan"),
        (lambda: mean_field_(MLP(2, 2, 2), 1.0, -2.0), "bias_scale must be .* got -2"),
    ],
)
def test_bad_input_is_answered_in_words(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call()


def test_a_seed_makes_the_same_module_and_touches_nothing_else(monkeypatch):
    def reseed_every_gpu(_seed):
        raise AssertionError("the seeds of the GPUs are not ours to change")

    torch.manual_seed(5)
    expected = nn.Linear(3, 2).weight
    torch.manual_seed(11)
    following = torch.randn(4)

    torch.manual_seed(11)
    monkeypatch.setattr(torch.cuda, "manual_seed_all", reseed_every_gpu)
    made = seeded(5, lambda: nn.Linear(3, 2))
    assert torch.equal(made.weight, expected)
    assert torch.equal(torch.randn(4), following)


def test_what_fails_while_it_is_made_leaves_the_random_numbers_as_well():
    torch.manual_seed(11)
    following = torch.randn(4)
    torch.manual_seed(11)
    with pytest.raises(ZeroDivisionError):
        seeded(5, lambda: torch.randn(1) / (1 // 0))
    assert torch.equal(torch.randn(4), following)
