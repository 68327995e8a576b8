"""Measured signals against autograd, closed forms and a plain float32 run."""

import math
import re
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from gradcourse import theory
from gradcourse.models import ACTIVATION_NAMES, MLP, activation_module
from gradcourse.signals import (
    mlp_signal,
    phase_diagram,
    product_exponents,
    product_signal,
    weights,
)
from gradcourse.signals.activations import value_and_slope
from gradcourse.signals.mlp import _typical
from gradcourse.signals.products import _matrices
from gradcourse.signals.weights import base_weights, measuring, random_generator
from gradcourse.signals.words import slope_per_layer
from gradcourse.tasks import digits

CPU = torch.device("cpu")


def network(inputs, activation, width, depth, weight_scale, bias_scale, seed, dtype):
    """The same network as a module, filled from the same base weights."""
    net = MLP(inputs.shape[1], width, depth, activation=activation).to(dtype)
    base = base_weights(inputs.shape[1], width, seed, 1, CPU)
    linear = [layer for layer in net if isinstance(layer, nn.Linear)]
    with torch.no_grad():
        for number, layer in enumerate(linear, start=1):
            weight, bias = base.layer(number)
            scale = weight_scale / math.sqrt(layer.in_features)
            layer.weight.copy_(weight[0].to(dtype) * scale)
            layer.bias.copy_(bias[0, 0].to(dtype) * bias_scale)
    return net, linear


def autograd_run(inputs, activation, width, depth, weight_scale, bias_scale, seed, dtype):
    """Activations, activation gradients and weight gradients of one plain run."""
    net, linear = network(inputs, activation, width, depth, weight_scale, bias_scale, seed, dtype)
    h = inputs.to(dtype).requires_grad_()
    kept = [h]
    for number, layer in enumerate(net):
        h = layer(h)
        if number % 2:
            h.retain_grad()
            kept.append(h)
    draw = random_generator(seed, 0).standard_normal((len(inputs), width))
    cotangent = torch.from_numpy(draw / np.linalg.norm(draw)).to(dtype)
    (h * cotangent).sum().backward()
    return kept, [k.grad for k in kept], [layer.weight.grad for layer in linear]


def logs(values):
    return torch.stack([v.detach().double() for v in values]).log10().numpy()


def log_norms(tensors):
    """log10 of norms whose squares may leave float64."""
    tensors = [t.detach().double() for t in tensors]
    tops = [t.abs().max() for t in tensors]
    return logs(tops) + logs([(t / top).norm() for t, top in zip(tensors, tops, strict=True)])


@pytest.mark.parametrize("activation", ACTIVATION_NAMES)
@pytest.mark.parametrize(
    ("batch", "width", "depth", "weight_scale", "bias_scale"),
    [
        (7, 12, 9, 1.4, 0.3),
        (20, 6, 5, 2.0, 0.0),
        (1, 9, 1, 0.7, 0.2),
        (3, 10, 30, 2.5, 0.0),
        (5, 10, 20, 3.0, 9.0),
    ],
)
def test_mlp_signal_is_what_autograd_finds(
    activation, batch, width, depth, weight_scale, bias_scale
):
    inputs = torch.randn(batch, 5, generator=torch.Generator().manual_seed(1))
    arguments = (activation, width, depth, weight_scale, bias_scale)
    signal = mlp_signal(inputs, *arguments, seeds=2, first_seed=3, device="cpu")
    for row, seed in enumerate((3, 4)):
        h, gradient, by_weight = autograd_run(inputs, *arguments, seed, torch.float64)
        rms = [v.square().mean().sqrt() for v in h]
        # Far from 0 a unit whose sum nearly cancels has few right digits in float32.
        near = {"atol": 2e-3 if depth >= 20 else 2e-5, "rtol": 0}
        np.testing.assert_allclose(signal.log10_activation[row], logs(rms), **near)
        norms = log_norms(gradient)
        np.testing.assert_allclose(signal.log10_gradient[row], norms, **near)
        norms = log_norms(by_weight)
        np.testing.assert_allclose(signal.log10_weight_gradient[row], norms, **near)


@pytest.mark.parametrize("activation", ACTIVATION_NAMES)
@pytest.mark.parametrize("weight_scale", [0.05, 3.0])
def test_200_layers_are_finite_and_follow_float64(activation, weight_scale):
    inputs = torch.randn(4, 16, generator=torch.Generator().manual_seed(0))
    signal = mlp_signal(inputs, activation, 16, 200, weight_scale, seeds=2, device="cpu")
    for profile in (signal.log10_activation, signal.log10_gradient, signal.log10_weight_gradient):
        assert np.isfinite(profile).all()
    assert (signal.log10_gradient[:, -1] == 0).all()
    assert len(signal.summary()) <= 175
    # float64 itself holds 100 layers of all of these.
    some = (activation, 16, 100, weight_scale, 0.0)
    signal = mlp_signal(inputs, *some, seeds=1, device="cpu")
    h, gradient, by_weight = autograd_run(inputs, *some, 0, torch.float64)
    chaotic = activation in ("tanh", "erf") and weight_scale == 3.0
    reach = 10 if chaotic else 100  # beyond, rounding errors have grown to the size of the signal
    rms = logs([v.square().mean().sqrt() for v in h])
    np.testing.assert_allclose(signal.log10_activation[0, :reach], rms[:reach], atol=5e-3)
    if not chaotic:
        norms = log_norms(gradient)
        np.testing.assert_allclose(signal.log10_gradient[0], norms, atol=5e-3)
        norms = log_norms(by_weight)
        np.testing.assert_allclose(signal.log10_weight_gradient[0], norms, atol=5e-3)


@pytest.mark.parametrize(
    ("activation", "weight_scale"),
    [("relu", 3.0), ("gelu", 3.0), ("softplus", 4.0), ("tanh", 8.0), ("linear", 2.5)],
)
def test_overflow_is_reported_where_a_plain_float32_run_overflows(activation, weight_scale):
    inputs = torch.randn(8, 32, generator=torch.Generator().manual_seed(0))
    depth = 250
    signal = mlp_signal(inputs, activation, 32, depth, weight_scale, seeds=1, device="cpu")
    net, _ = network(inputs, activation, 32, depth, weight_scale, 0.0, 0, torch.float32)
    h, forward = inputs, None
    for number, layer in enumerate(net):
        h = layer(h)
        if forward is None and not torch.isfinite(h).all():
            forward = number // 2 + 1
    assert signal.forward_overflow_layer == forward
    if forward is not None:
        assert signal.overflow_layer == forward
        assert f"plain float32 overflows at layer {forward}" in signal.summary()
    else:
        plain = autograd_run(inputs, activation, 32, depth, weight_scale, 0.0, 0, torch.float32)[1]
        backward = max(i for i, g in enumerate(plain) if not torch.isfinite(g).all())
        assert abs(signal.overflow_layer - backward) <= 1
        assert signal.overflow_layer == signal.backward_overflow_layer


@pytest.mark.parametrize("activation", ["tanh", "sigmoid", "gelu", "relu", "leaky_relu"])
def test_underflow_is_reported_where_a_plain_float32_run_flushes_to_zero(activation):
    inputs = torch.randn(8, 32, generator=torch.Generator().manual_seed(0))
    some = (activation, 32, 120, 0.1, 0.0)
    signal = mlp_signal(inputs, *some, seeds=1, device="cpu")
    plain = autograd_run(inputs, *some, 0, torch.float32)[1]
    zero = max(i for i, g in enumerate(plain) if not g.any())
    assert abs(signal.underflow_layer - zero) <= 1
    assert f"plain float32 has 0 up to layer {signal.underflow_layer}" in signal.summary()
    assert np.isfinite(signal.log10_gradient).all()


@pytest.mark.parametrize("activation", ["relu", "linear"])
@pytest.mark.parametrize("weight_scale", [0.03, 0.06, 0.08, 0.12, 0.14, 0.2, 1.8, 2.5, 3.0, 3.5])
def test_events_of_straight_activations_are_met_in_the_very_layer(activation, weight_scale):
    inputs = torch.randn(8, 32, generator=torch.Generator().manual_seed(0))
    some = (activation, 32, 200, weight_scale, 0.0)
    signal = mlp_signal(inputs, *some, seeds=1, device="cpu")
    kept, gradients, _ = autograd_run(inputs.clone(), *some, 0, torch.float32)
    wild = [layer for layer, h in enumerate(kept) if not torch.isfinite(h).all()]
    assert signal.forward_overflow_layer == min(wild, default=None)
    if activation == "linear" or not wild:
        wild = [layer for layer, g in enumerate(gradients) if not torch.isfinite(g).all()]
        assert signal.backward_overflow_layer == max(wild, default=None)
    if activation == "relu" and not wild:
        zero = [layer for layer, g in enumerate(gradients) if not g.any()]
        assert signal.underflow_layer == max(zero, default=None)


def test_an_event_is_typical_once_half_of_the_seeds_have_met_it():
    assert _typical([10, 20, math.nan]) == 20
    assert _typical([10, 20, math.nan], last=True) == 10
    assert _typical([10, 20, 30, 40]) == 20
    assert _typical([10, 20, 30, 40], last=True) == 30
    assert _typical([0, 0, math.nan, math.nan], last=True) == 0
    assert _typical([5, math.nan, math.nan]) is None


@pytest.mark.parametrize(("weight_scale", "name"), [(0.5, "underflow"), (3.0, "backward_overflow")])
def test_the_layer_of_an_event_is_that_of_the_median_seed(weight_scale, name):
    some = (torch.ones(2, 8), "linear", 3, 250, weight_scale, 0.5)
    alone = [
        getattr(mlp_signal(*some, seeds=1, first_seed=seed, device="cpu"), f"{name}_layer")
        for seed in range(4)
    ]
    # On the way back the first is the deepest layer.
    second = sorted(alone)[-2]
    assert second != sorted(alone)[1]
    assert getattr(mlp_signal(*some, seeds=4, device="cpu"), f"{name}_layer") == second


def test_shallow_networks_report_neither():
    signal = mlp_signal(torch.ones(2, 3), "tanh", depth=3, device="cpu")
    assert signal.overflow_layer is None
    assert signal.underflow_layer is None


def test_a_shallow_network_is_the_beginning_of_a_deep_one_and_seeds_do_not_mix():
    inputs = digits(8)[0]
    weights.base_weights.cache_clear()
    deep = mlp_signal(inputs, "relu", 16, 100, seeds=5, device="cpu").log10_activation
    shallow = mlp_signal(inputs, "relu", 16, 60, seeds=5, device="cpu").log10_activation
    np.testing.assert_array_equal(shallow, deep[:, :61])
    weights.base_weights.cache_clear()
    other = mlp_signal(inputs, "relu", 16, 60, seeds=2, first_seed=3, device="cpu")
    np.testing.assert_allclose(other.log10_activation, shallow[3:], atol=1e-5)
    assert len({round(float(row[-1]), 6) for row in deep}) == 5


def test_weights_beyond_the_memory_limit_are_drawn_again_the_same(monkeypatch):
    inputs = digits(4)[0]
    weights.base_weights.cache_clear()
    kept = mlp_signal(inputs, "tanh", 16, 20, bias_scale=0.2, device="cpu")
    monkeypatch.setattr(weights, "CACHE_BYTES", 20_000)
    weights.base_weights.cache_clear()
    again = mlp_signal(inputs, "tanh", 16, 20, bias_scale=0.2, device="cpu")
    np.testing.assert_array_equal(kept.log10_weight_gradient, again.log10_weight_gradient)
    assert len(base_weights(64, 16, 0, 8, CPU)._kept) < 20
    weights.base_weights.cache_clear()


@settings(deadline=None, max_examples=25)
@given(
    scale=st.floats(-30, 30),
    activation=st.sampled_from(["relu", "leaky_relu", "linear"]),
)
def test_inputs_of_any_size_are_measured_in_proportion(scale, activation):
    inputs = digits(3)[0].double()
    one = mlp_signal(inputs, activation, 8, 4, seeds=2, device="cpu")
    scaled = mlp_signal(inputs * 10**scale, activation, 8, 4, seeds=2, device="cpu")
    near = {"atol": 1e-5}
    np.testing.assert_allclose(scaled.log10_activation, one.log10_activation + scale, **near)
    np.testing.assert_allclose(scaled.log10_gradient, one.log10_gradient, **near)
    rescaled = one.log10_weight_gradient + np.where(np.arange(4) >= 0, scale, 0)
    np.testing.assert_allclose(scaled.log10_weight_gradient, rescaled, **near)


@pytest.mark.parametrize("name", ACTIVATION_NAMES)
def test_closed_slopes_are_those_of_autograd_and_of_theory(name):
    x = torch.cat([torch.linspace(-6, 6, 101, dtype=torch.float64), torch.tensor([30.0, -30.0])])
    leaf = x.clone().requires_grad_()
    module = activation_module(name)
    expected = module(leaf)
    (slope,) = torch.autograd.grad(expected.sum(), leaf)
    value, closed = value_and_slope(name)[1](x)
    torch.testing.assert_close(value, expected.detach())
    torch.testing.assert_close(closed, slope)
    named = theory.activation(name)
    np.testing.assert_allclose(named.function(x.numpy()), value, atol=1e-9)
    np.testing.assert_allclose(named.derivative(x.numpy()), closed, atol=1e-9)


def test_any_function_of_a_tensor_is_an_activation():
    inputs = digits(4)[0]
    named = mlp_signal(inputs, "tanh", 8, 10, device="cpu")
    own = mlp_signal(inputs, torch.tanh, 8, 10, device="cpu")
    np.testing.assert_allclose(own.log10_weight_gradient, named.log10_weight_gradient, atol=1e-5)
    assert own.activation == "tanh"
    flat = mlp_signal(inputs, lambda x: torch.ones_like(x), 8, 3, device="cpu")
    assert "the gradient is exactly 0 in 8 of 8 seeds" in flat.summary()


def test_an_activation_that_overflows_says_so():
    signal = mlp_signal(digits(4)[0], lambda x: x**2, 16, 40, weight_scale=3.0, device="cpu")
    assert not np.isnan(signal.log10_activation).any()
    assert not np.isnan(signal.log10_gradient).any()
    assert not np.isnan(signal.log10_weight_gradient).any()
    layer = signal.forward_overflow_layer
    assert layer is not None
    assert np.isfinite(signal.log10_activation[:, 1]).all()
    assert np.isposinf(signal.log10_activation[:, -1]).all()
    assert f"the activation overflows float32 at layer {layer}" in signal.summary()


OWN = {
    "shifted relu": lambda x: torch.relu(x) + 1,
    "steep softsign": lambda x: 1e4 * nn.functional.softsign(x),
}


@pytest.mark.parametrize("activation", ["tanh", "sigmoid", "elu", "softplus", *OWN])
@pytest.mark.parametrize("size", [1e-40, 1e-15, 300.0, 1e9])
@pytest.mark.parametrize("bias_scale", [0.0, 0.5])
@pytest.mark.parametrize("batch", [2, 9])
def test_an_activation_sees_the_true_size_of_inputs_and_biases(activation, size, bias_scale, batch):
    inputs = torch.randn(batch, 5, generator=torch.Generator().manual_seed(2)).double() * size
    function = OWN.get(activation, activation)
    found = mlp_signal(inputs, function, 6, 9, 0.9, bias_scale, seeds=1, device="cpu")
    base, module = base_weights(5, 6, 0, 1, CPU), OWN.get(activation)
    module = module or activation_module(activation)
    h, root = inputs.requires_grad_(), math.sqrt(5)
    kept, made = [h], []
    for layer in range(1, 10):
        weight, bias = (part[0].double() for part in base.layer(layer))
        made.append((weight * 0.9 / root).requires_grad_())
        h, root = module(h @ made[-1].T + bias_scale * bias), math.sqrt(6)
        kept.append(h)
    loss = (h * base.cotangents(batch)[0].double()).sum()
    gradients = torch.autograd.grad(loss, [*kept, *made])
    rms = log_norms(kept) - np.log10([h.numel() for h in kept]) / 2
    assert found.log10_activation[0] == pytest.approx(rms, abs=2e-4)
    diagram = phase_diagram(inputs, function, 6, 9, [0.9, 2.0], bias_scale, device="cpu")
    assert diagram.log10_activation[0] == pytest.approx(rms, abs=2e-4)
    # Units so far out have slopes that float32 rounds to 0.
    if size < 1 or activation in ("softplus", "shifted relu"):
        exact = log_norms(gradients[:10])
        assert found.log10_gradient[0] == pytest.approx(exact, abs=2e-3)
        assert found.log10_weight_gradient[0] == pytest.approx(log_norms(gradients[10:]), abs=2e-3)
        assert diagram.log10_gradient[0, -1] == pytest.approx(exact[0], abs=2e-3)


def test_flat_activations_whose_slopes_have_no_square_in_float32():
    inputs = torch.ones(3, 4)
    for width in (2, 8):
        plain = mlp_signal(inputs, "linear", width, 12, seeds=1, device="cpu")
        flat = mlp_signal(inputs, lambda x: 1e-24 * x, width, 12, seeds=1, device="cpu")
        falls = -24.0 * np.arange(13)
        gradient = plain.log10_gradient + falls[::-1]
        assert flat.log10_activation == pytest.approx(plain.log10_activation + falls, abs=1e-3)
        assert flat.log10_gradient == pytest.approx(gradient, abs=1e-3)
        by_weight = plain.log10_weight_gradient + falls[-1]
        assert flat.log10_weight_gradient == pytest.approx(by_weight, abs=1e-3)
        diagram = phase_diagram(inputs, lambda x: 1e-24 * x, width, 12, [1.0], device="cpu")
        linear = phase_diagram(inputs, "linear", width, 12, [1.0], device="cpu").log10_gradient
        assert diagram.log10_gradient == pytest.approx(linear + falls[1:], abs=1e-3)


def test_biases_revive_units_that_died_far_beyond_float32():
    inputs = torch.full((1, 1), 1e60, dtype=torch.float64)
    found = mlp_signal(inputs, "relu", 1, 6, 1.0, 0.5, seeds=30, device="cpu")
    diagrams = [
        phase_diagram(inputs, "relu", 1, 6, [1.0], 0.5, seed, device="cpu") for seed in range(30)
    ]
    base, h = base_weights(1, 1, 0, 30, CPU), inputs.expand(30, 1, 1)
    revived = 0
    for layer in range(1, 7):
        weight, bias = (part.double() for part in base.layer(layer))
        before, h = h, torch.relu(h @ weight.mT + 0.5 * bias)
        exact = h.log10()[:, 0, 0]
        revived += int(((before == 0) & (h > 0)).sum())
        assert found.log10_activation[:, layer] == pytest.approx(exact, abs=1e-5)
        ours = [diagram.log10_activation[0, layer] for diagram in diagrams]
        assert ours == pytest.approx(exact.tolist(), abs=1e-5)
    assert revived > 5


def both(inputs, activation):
    """What the two measurements give of one setting."""
    signal = mlp_signal(inputs, activation, 6, 9, 1.2, 0.3, seeds=2, device="cpu")
    diagram = phase_diagram(inputs, activation, 6, 9, [0.5, 1.2], 0.3, device="cpu")
    return np.concatenate([signal.log10_gradient[0], *diagram.log10_gradient])


@pytest.mark.parametrize("activation", ["tanh", torch.tanh])
def test_the_state_of_torch_and_numpy_changes_nothing(activation):
    inputs = digits(4)[0]
    expected = both(inputs, activation)
    weights.base_weights.cache_clear()
    with torch.inference_mode():
        np.testing.assert_array_equal(both(inputs * 1, activation), expected)
        product_signal(6, 3)
        inferred = inputs * 1
    np.testing.assert_array_equal(both(inferred, activation), expected)
    weights.base_weights.cache_clear()
    torch.set_default_dtype(torch.float64)
    torch.set_default_device("meta")
    try:
        np.testing.assert_array_equal(both(inputs, activation), expected)
        assert product_exponents(6, 3).shape == (8, 6)
        assert product_signal(6, 3).log10_norm.shape == (8, 4)
    finally:
        torch.set_default_dtype(torch.float32)
        torch.set_default_device(None)
    with np.errstate(all="raise"):
        np.testing.assert_array_equal(both(inputs, activation), expected)


def test_threads_take_turns_with_the_memory_that_is_kept():
    inputs = digits(8)[0]

    def measure(weight_scale):
        return mlp_signal(inputs, "tanh", 16, 40, weight_scale, seeds=3, device="cpu")

    scales = [0.5, 1.0, 1.5, 2.0] * 6
    alone = [measure(scale).log10_weight_gradient for scale in scales]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(measure, scales))
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_array_equal(other.log10_weight_gradient, one)


def test_an_own_activation_may_work_in_place_share_what_it_returns_or_change_the_dtype():
    inputs = digits(4)[0]
    relu = both(inputs, "relu")
    np.testing.assert_array_equal(both(inputs, nn.ReLU(inplace=True)), relu)
    np.testing.assert_allclose(both(inputs, lambda x: x.double().relu()), relu)
    returned = []

    def keeps(x):
        returned.append(1e4 * x)
        returned.append(returned[-1].detach().clone())
        return returned[-2]

    both(inputs, keeps)
    for shared, copy in zip(returned[::2], returned[1::2], strict=True):
        torch.testing.assert_close(shared, copy, equal_nan=True, rtol=0, atol=0)
    constant = nn.Parameter(torch.ones(()))
    assert np.isneginf(both(inputs, lambda x: constant.expand_as(x))[:9]).all()


def test_dead_units_are_zero_and_said():
    signal = mlp_signal(digits(4)[0], "relu", 1, 40, device="cpu")
    assert np.isneginf(signal.log10_gradient[:, 0]).all()
    assert signal.gradient_per_layer == 0
    assert "exactly 0 in 8 of 8 seeds" in signal.summary()
    low, high = signal.band()
    assert not np.isnan(low).any()
    assert not np.isnan(high).any()
    assert not np.isnan(signal.median("weight_gradient")).any()


def assert_mean_is(log10_measured, log10_expected):
    """The mean square over seeds is within 4 standard errors, and 3 % for the finite width."""
    ratio = 10 ** (2 * (log10_measured - log10_expected))
    error = ratio.std(axis=0) / math.sqrt(len(ratio))
    assert (np.abs(ratio.mean(axis=0) - 1) < 4 * error + 0.03).all()


def test_mean_field_theory_is_met_by_wide_networks():
    inputs = digits(24)[0]
    lengths = inputs.square().mean(1).numpy()
    for activation, weight_scale, bias_scale in (
        ("tanh", 1.5, 0.3),
        ("relu", math.sqrt(2), 0.0),
        ("gelu", 1.2, 0.2),
        ("sigmoid", 2.0, 0.0),
    ):
        some = (activation, 256, 12, weight_scale, bias_scale)
        signal = mlp_signal(inputs, *some, seeds=12, device="cpu")
        expected = theory.mean_field_profile(
            activation, 12, weight_scale**2, bias_scale**2, lengths, input_ratio=64 / 256
        )
        assert_mean_is(signal.log10_activation, expected.log10_activation)
        assert_mean_is(signal.log10_gradient, expected.log10_gradient)
        last = np.log10(np.mean(10 ** (2 * signal.log10_weight_gradient[:, -1]))) / 2
        by_weight = expected.log10_weight_gradient + last
        assert_mean_is(signal.log10_weight_gradient, by_weight)
    weights.base_weights.cache_clear()


def test_t09_relu_rates_of_he_xavier_and_the_default():
    inputs = torch.randn(16, 256, generator=torch.Generator().manual_seed(0))
    for scheme, rate in (("he", 1.0), ("xavier", 1 / 2), ("default", 1 / 6)):
        scale = math.sqrt(theory.weight_variance_of(scheme))
        signal = mlp_signal(inputs, "relu", 256, 20, scale, seeds=8, device="cpu")
        assert signal.gradient_per_layer**2 == pytest.approx(rate, rel=0.04)


def test_t13_xavier_relu_has_equal_weight_gradients_and_falling_activation_gradients():
    inputs = torch.randn(128, 128, generator=torch.Generator().manual_seed(0))
    signal = mlp_signal(inputs, "relu", 128, 24, 1.0, seeds=12, device="cpu")
    assert np.log(signal.gradient_per_layer**2) == pytest.approx(-math.log(2), abs=0.04)
    inner = signal.median("weight_gradient")[3:-3]
    slope = np.polyfit(np.arange(len(inner)), inner, 1)[0]
    assert 2 * slope * math.log(10) == pytest.approx(0, abs=0.04)
    weights.base_weights.cache_clear()


def test_t03_products_shrink_as_newman_says():
    for width, scale in ((32, 1.0), (5, 1.7), (1, 0.5)):
        signal = product_signal(width, 100, scale, seeds=64)
        steps = np.diff(signal.log10_norm, axis=1).ravel() * math.log(10)
        mean, variance = theory.product_log_norm(width, scale**2)
        assert abs(steps.mean() - mean) / math.sqrt(variance / steps.size) < 4
        assert steps.var() == pytest.approx(variance, rel=0.1)


def test_t04_singular_values_spread_unless_orthogonal():
    measured = product_exponents(16, 300, 1.3, seeds=16).mean(axis=0)
    expected = theory.lyapunov_exponents(16, 1.69)
    np.testing.assert_allclose(measured, expected, atol=0.02)
    assert measured[0] - measured[-1] == pytest.approx(expected[0] - expected[-1], rel=0.01)
    assert abs(product_exponents(16, 200, orthogonal=True)).max() < 1e-10
    rotated = product_signal(16, 200, 3.0, orthogonal=True)
    steps = np.diff(rotated.log10_norm, axis=1)
    np.testing.assert_allclose(steps, math.log10(3), atol=1e-12)


def test_product_is_the_product():
    signal = product_signal(6, 5, 1.5, seeds=2, first_seed=4)
    base = base_weights(6, 6, 4, 2, CPU)
    for row, seed in enumerate((4, 5)):
        vector = random_generator(seed, 0).standard_normal(6)
        vector /= np.linalg.norm(vector)
        for layer in range(1, 6):
            matrix = base.layer(layer)[0][row].double().numpy() * 1.5 / math.sqrt(6)
            vector = matrix @ vector
            norm = np.log10(np.linalg.norm(vector))
            assert signal.log10_norm[row, layer] == pytest.approx(norm, abs=1e-10)


def test_product_summaries():
    grows = product_signal(32, 200, 3.0)
    assert grows.overflow_layer is not None
    assert f"float32 overflows at matrix {grows.overflow_layer}" in grows.summary()
    falls = product_signal(32, 200, 0.05)
    assert falls.underflow_layer is not None
    assert f"float32 holds 0 from matrix {falls.underflow_layer} on" in falls.summary()
    assert product_signal(8, 1, 2.0, seeds=1, orthogonal=True).summary() == (
        "1 orthogonal matrix, width 8, weight scale 2: "
        "the norm grows by a factor 2 per matrix (10^0.3 over all); 1 seed"
    )
    still = product_signal(8, 10, orthogonal=True)
    assert "the norm keeps its size (10^0.0 over all)" in still.summary()
    low, high = still.band()
    assert low.shape == high.shape == still.median().shape == (11,)


def test_edges_of_one():
    signal = mlp_signal(torch.ones(1, 1), "tanh", 1, 1, seeds=1, device="cpu")
    assert (signal.depth, signal.seeds, signal.batch) == (1, 1, 1)
    assert signal.log10_gradient[0, -1] == 0
    assert signal.summary().startswith("1 tanh layer, width 1, weight scale 1: ")
    tiny = torch.full((2, 3), 1e-310, dtype=torch.float64)
    kept = mlp_signal(tiny, "linear", 4, 3, seeds=2, device="cpu").log10_activation
    assert kept[:, 0] == pytest.approx(-310, abs=1e-5)
    zero = mlp_signal(torch.zeros(2, 3), "tanh", 4, 3, seeds=2, device="cpu")
    assert np.isneginf(zero.log10_activation).all()
    assert np.isfinite(zero.log10_gradient).all()
    assert np.isneginf(zero.log10_weight_gradient).all()


def test_threads_are_restored_even_after_an_error():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with measuring():
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 2
        with pytest.raises(ZeroDivisionError), measuring():
            raise ZeroDivisionError
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_the_inputs_and_their_graph_are_left_alone():
    inputs = torch.ones(2, 3, requires_grad=True)
    mlp_signal(inputs, nn.Softsign(), 4, 3, device="cpu")
    assert inputs.grad is None
    assert torch.equal(inputs, torch.ones(2, 3))


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"depth": 0}, "depth must be 1 or more, got 0"),
        ({"depth": 1.5}, "depth must be a whole number, 1 or more, got 1.5"),
        ({"width": 0}, "width must be 1 or more, got 0"),
        ({"seeds": 0}, "seeds must be 1 or more, got 0"),
        ({"first_seed": -1}, "first_seed must be 0 or more, got -1"),
        ({"weight_scale": -1.0}, "weight_scale must be between 1e-06 and 1e+06, got -1"),
        ({"weight_scale": 0.0}, "weight_scale must be between 1e-06 and 1e+06, got 0"),
        ({"weight_scale": math.nan}, "weight_scale must be between 1e-06 and 1e+06, got nan"),
        ({"bias_scale": -0.1}, "bias_scale must be between 0 and 1e+06, got -0.1"),
        ({"activation": "swosh"}, "activation must be one of linear, sigmoid, tanh, relu"),
        ({"activation": 3}, "activation must be a name or a function, got 3"),
        ({"activation": torch.sum}, "activation must map a tensor to a tensor of the same shape"),
        ({"inputs": torch.ones(3)}, "inputs must be a tensor of shape (batch, features), got"),
        ({"inputs": [1.0]}, "inputs must be a tensor of shape (batch, features), got list"),
        ({"inputs": torch.full((1, 2), math.nan)}, "inputs must be finite numbers"),
        ({"device": "toaster"}, "the device argument must be cpu, cuda"),
    ],
)
def test_bad_settings_are_refused_in_words(changed, sentence):
    arguments = {"inputs": torch.ones(2, 3), "device": "cpu"} | changed
    with pytest.raises(ValueError, match=re.escape(sentence)):
        mlp_signal(**arguments)


def test_bad_products_and_profiles_are_refused():
    with pytest.raises(ValueError, match="depth must be 1 or more, got 0"):
        product_signal(4, 0)
    with pytest.raises(ValueError, match="weight_scale must be between"):
        product_exponents(4, 2, weight_scale=math.inf)
    with pytest.raises(ValueError, match="profile must be one of activation, gradient"):
        mlp_signal(torch.ones(1, 2), depth=1, device="cpu").median("loss")


def test_a_slope_leaves_out_three_layers_at_each_end():
    profile = 0.1 * np.arange(20.0)
    bent = profile.copy()
    bent[:3] += 5
    bent[-3:] -= 7
    assert slope_per_layer(np.stack([bent, bent])) == pytest.approx(0.1)
    assert slope_per_layer(profile[None, :2]) == pytest.approx(0.1)


def test_rotations_prefer_no_direction():
    entries = _matrices(1, 4, 0, 2000, True)
    assert abs(float(entries[:, 0, 0].mean())) < 4 * 0.5 / math.sqrt(2000)
    base_weights.cache_clear()
