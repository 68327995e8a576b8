"""All depths and weight scales in one sweep, against one network at a time."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_signals import autograd_run, log_norms

from gradcourse import theory
from gradcourse.models import ACTIVATION_NAMES
from gradcourse.signals import mlp, mlp_signal, phase, phase_diagram
from gradcourse.tasks import digits

SCALES = (0.2, 1.0, 1.5)


@pytest.mark.parametrize("activation", ACTIVATION_NAMES)
@pytest.mark.parametrize(
    ("batch", "width", "bias_scale"), [(7, 12, 0.3), (20, 6, 0.0), (1, 9, 2.0)]
)
def test_every_network_is_what_autograd_finds(activation, batch, width, bias_scale):
    inputs = torch.randn(batch, 5, generator=torch.Generator().manual_seed(1))
    diagram = phase_diagram(inputs, activation, width, 9, SCALES, bias_scale, seed=3)
    assert diagram.log10_gradient.shape == (3, 9)
    assert diagram.log10_activation.shape == (3, 10)
    for row, scale in enumerate(SCALES):
        for depth in (1, 4, 9):
            settings_ = (inputs, activation, width, depth, scale, bias_scale, 3, torch.float64)
            kept, gradients, _ = autograd_run(*settings_)
            (exact,) = log_norms(gradients[:1])
            assert diagram.log10_gradient[row, depth - 1] == pytest.approx(exact, abs=2e-5)
        sizes = log_norms(kept) - np.log10([h.numel() for h in kept]) / 2
        assert diagram.log10_activation[row] == pytest.approx(sizes, abs=2e-5)


@pytest.mark.parametrize("activation", ["tanh", "sigmoid", "relu", "gelu", "softplus"])
def test_deep_networks_at_the_ends_of_a_slider_are_those_of_mlp_signal(activation):
    inputs = digits(8)[0]
    scales = np.array([0.01, 0.3, 1.0])
    diagram = phase_diagram(inputs, activation, 24, 120, scales, seed=5)
    for row, scale in enumerate(scales):
        for depth in (30, 120):
            one = mlp_signal(inputs, activation, 24, depth, scale, seeds=1, first_seed=5)
            found = diagram.log10_gradient[row, depth - 1]
            assert found == pytest.approx(one.log10_gradient[0, 0], abs=1e-3)


def test_a_power_of_the_scale_is_all_that_changes_in_a_linear_network():
    scales = np.array([1e-6, 0.5, 3.0, 1e6])
    inputs = torch.randn(4, 16, generator=torch.Generator().manual_seed(0))
    one = phase_diagram(inputs, "linear", 16, 100, 1.0)
    many = phase_diagram(inputs, "linear", 16, 100, scales)
    steps = np.log10(scales)[:, None] * np.arange(1, 101)
    assert many.log10_gradient == pytest.approx(one.log10_gradient + steps, abs=1e-4)
    assert many.log10_activation[:, 1:] == pytest.approx(
        one.log10_activation[:, 1:] + steps, abs=1e-4
    )


@settings(deadline=None, max_examples=20)
@given(
    slope=st.sampled_from([1e-12, 1e-7, 1e-3, 1.0, 1e4, 1e9]),
    depth=st.integers(1, 40),
    batch=st.sampled_from([2, 30]),
)
def test_sizes_that_change_too_fast_for_seldom_looks_are_measured_all_the_same(slope, depth, batch):
    inputs = torch.ones(batch, 12)
    change = math.log10(slope) * np.arange(depth + 1)

    def steep(x):
        return slope * x

    plain = mlp_signal(inputs, "linear", 12, depth, seeds=2)
    found = mlp_signal(inputs, steep, 12, depth, seeds=2)
    assert found.log10_activation == pytest.approx(plain.log10_activation + change, abs=1e-4)
    assert found.log10_gradient == pytest.approx(plain.log10_gradient + change[::-1], abs=1e-4)
    by_weight = plain.log10_weight_gradient + change[-1]
    assert found.log10_weight_gradient == pytest.approx(by_weight, abs=1e-4)
    diagram = phase_diagram(inputs, steep, 12, depth, 1.0)
    one = phase_diagram(inputs, "linear", 12, depth, 1.0)
    assert diagram.log10_gradient == pytest.approx(one.log10_gradient + change[1:], abs=1e-4)


def test_groups_change_nothing(monkeypatch):
    inputs = digits(6)[0]
    scales = np.linspace(0.5, 1.5, 5)
    whole = phase_diagram(inputs, "tanh", 10, 12, scales, 0.2)
    seeds = mlp_signal(inputs, "tanh", 10, 12, seeds=5, first_seed=2)
    monkeypatch.setattr(phase, "GROUP_NUMBERS", 1500)
    monkeypatch.setattr(mlp, "GROUP_NUMBERS", 1500)
    groups = phase_diagram(inputs, "tanh", 10, 12, scales, 0.2)
    some = mlp_signal(inputs, "tanh", 10, 12, seeds=5, first_seed=2)
    assert groups.log10_gradient == pytest.approx(whole.log10_gradient, abs=1e-6)
    assert some.log10_gradient == pytest.approx(seeds.log10_gradient, abs=1e-6)
    assert some.log10_weight_gradient == pytest.approx(seeds.log10_weight_gradient, abs=1e-6)
    assert some.seeds == 5


def test_dead_networks_are_minus_infinity_and_overflowing_activations_infinity():
    inputs = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
    dead = phase_diagram(inputs, "relu", 1, 30, [1.0])
    assert np.isneginf(dead.log10_gradient[:, -1]).all()
    huge = phase_diagram(10 * inputs, lambda x: x**9, 8, 12, [3.0])
    assert np.isposinf(huge.log10_gradient[:, -1]).all()
    assert not np.isnan(huge.log10_activation).any()


def test_the_edge_lies_where_mean_field_theory_says():
    inputs = digits(16)[0]
    edge = math.sqrt(theory.critical_weight_variance("tanh", 0.05))
    scales = edge * np.array([0.8, 1.0, 1.3])
    diagram = phase_diagram(inputs, "tanh", 256, 40, scales, math.sqrt(0.05))
    rates = np.polyfit(np.arange(10, 40), diagram.log10_gradient[:, 10:].T, 1)[0]
    lengths = [theory.length_fixed_point("tanh", scale**2, 0.05) for scale in scales]
    chis = [theory.chi("tanh", q, scale**2) for q, scale in zip(lengths, scales, strict=True)]
    assert rates == pytest.approx(np.log10(chis) / 2, abs=0.01)


def test_the_summary_says_where_the_gradient_keeps_its_size():
    inputs = digits(8)[0]
    both = phase_diagram(inputs, "relu", 64, 30, [0.5, 1.27, 1.4, 1.45, 3.0]).summary()
    assert both == (
        "150 relu networks of 1 to 30 layers, width 64: the deepest keep their gradient within a "
        "factor 10 at weight scales 1.4 to 1.45"
    )
    none = phase_diagram(inputs, "relu", 64, 30, [0.5]).summary()
    assert none.endswith("none of the deepest keeps its gradient within a factor 10")


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"depth": 0}, "depth must be 1 or more, got 0"),
        ({"width": 0}, "width must be 1 or more, got 0"),
        ({"seed": -1}, "seed must be 0 or more, got -1"),
        ({"weight_scales": []}, r"weight_scales must be numbers of shape \(scales,\), got \(0,\)"),
        ({"weight_scales": [[1.0]]}, r"weight_scales must .* got \(1, 1\)"),
        (
            {"weight_scales": [1.0, 0.0]},
            "every weight scale must be between 1e-06 and 1e\\+06, got 0",
        ),
        ({"bias_scale": -1}, "bias_scale must be between 0 and 1e\\+06, got -1"),
        ({"activation": "swish"}, "activation must be one of"),
        ({"inputs": torch.ones(3)}, r"inputs must be a tensor of shape \(batch, features\)"),
    ],
)
def test_bad_settings_are_refused_in_words(changed, sentence):
    with pytest.raises(ValueError, match=sentence):
        phase_diagram(**({"inputs": torch.ones(2, 3)} | changed))
