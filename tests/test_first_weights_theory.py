"""Theory of first weights: fans, gradient maps, spread of gains and of singular values."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gradcourse import theory


@given(
    activation=st.sampled_from(["tanh", "relu", "sigmoid", "gelu"]),
    depth=st.integers(1, 20),
    scales=st.lists(st.floats(0.3, 3.0), min_size=1, max_size=4),
    bias=st.floats(0.0, 1.0),
)
@settings(max_examples=20, deadline=None)
def test_a_gradient_map_is_the_profile_of_each_network(activation, depth, scales, bias):
    variances = np.square(scales)
    found = theory.gradient_map(activation, depth, variances, bias, input_variance=0.7)
    for row, variance in zip(found, variances, strict=True):
        for layers in {1, depth}:
            profile = theory.mean_field_profile(activation, layers, variance, bias, 0.7)
            assert row[layers - 1] == pytest.approx(profile.log10_gradient[0], abs=1e-9)


def test_relu_maps_are_powers():
    found = theory.gradient_map("relu", 7, [1 / 3, 1.0, 2.0])
    expected = np.outer(np.log10([1 / 6, 1 / 2, 1]) / 2, np.arange(1, 8))
    assert found == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"depth": 0}, "depth must be 1 or more, got 0"),
        ({"weight_variances": [1.0, -1.0]}, "every weight variance must be .* above 0, got -1"),
        ({"weight_variances": []}, "weight_variances must be numbers of shape"),
        ({"bias_variance": -0.1}, "bias_variance must be .* 0 or more, got -0.1"),
        ({"input_variance": 0.0}, "input_variance must be .* above 0, got 0"),
    ],
)
def test_bad_maps_get_one_sentence(settings, sentence):
    good = {"activation": "tanh", "depth": 3, "weight_variances": [1.0]}
    with pytest.raises(ValueError, match=sentence):
        theory.gradient_map(**{**good, **settings})


def test_a_crossing_lies_between_the_depths_on_both_sides():
    rows = [
        [0.5, 1.0, 1.5, 2.0],
        [-0.4, -0.8, -1.2, -1.6],
        [2.0, 3.0, 4.0, 5.0],
        [0.1, -0.1, 0.1, -0.1],
        [0.5, np.inf, np.inf, np.inf],
        [-0.5, 1.5, 0.0, 0.0],
    ]
    found = theory.crossing_depths(rows, 1.0)
    assert found == pytest.approx([2.0, 2.5, 0.5, np.nan, 2.0, 1.5], nan_ok=True)


@pytest.mark.parametrize(
    ("rows", "decades", "sentence"),
    [([[1.0]], 0.0, "decades must be .* above 0"), ([1.0], 1.0, "must have shape")],
)
def test_bad_crossings_get_one_sentence(rows, decades, sentence):
    with pytest.raises(ValueError, match=sentence):
        theory.crossing_depths(rows, decades)


@pytest.mark.parametrize(
    ("scheme", "fill"),
    [
        ("xavier", torch.nn.init.xavier_uniform_),
        ("he", torch.nn.init.kaiming_normal_),
        ("he_fan_out", lambda weight: torch.nn.init.kaiming_normal_(weight, mode="fan_out")),
        ("lecun", lambda weight: torch.nn.init.kaiming_normal_(weight, nonlinearity="linear")),
        ("default", lambda weight: torch.nn.init.kaiming_uniform_(weight, a=math.sqrt(5))),
    ],
)
def test_fan_factors_are_those_of_torch(scheme, fill):
    torch.manual_seed(0)
    variance = float(fill(torch.empty(900, 300)).var())
    forward, backward = theory.fan_factors(scheme, 300, 900)
    assert forward == pytest.approx(300 * variance, rel=0.02)
    assert backward == pytest.approx(900 * variance, rel=0.02)


def test_fan_factors_refuse_what_they_do_not_know():
    with pytest.raises(ValueError, match=r"scheme must be one of xavier, .*, got 'hi'"):
        theory.fan_factors("hi", 3, 4)
    with pytest.raises(ValueError, match="fan_in must be 1 or more, got 0"):
        theory.fan_factors("he", 0, 4)


def test_five_is_the_variance_of_what_a_relu_layer_averages():
    z = np.random.default_rng(0).standard_normal(2_000_000)
    squares = 2 * np.maximum(z, 0) ** 2
    mean, variance = theory.relu_log_gain(width=1000, depth=[1, 10])
    assert squares.mean() == pytest.approx(1, abs=0.01)
    assert variance == pytest.approx(squares.var() / 1000 * np.array([1, 10]), rel=0.02)
    # Then the mean of the squared gain is 1: exp(mean + variance / 2).
    assert mean + variance / 2 == pytest.approx(0)


def test_the_spread_of_a_jacobian_is_that_of_its_slopes_and_weights():
    assert theory.jacobian_spread("linear", [1, 7], 1.0) == pytest.approx([1, 7])
    assert theory.jacobian_spread("linear", 7, 1.0, orthogonal=True) == pytest.approx(0)
    assert theory.jacobian_spread("relu", 3, 2.0) == pytest.approx(6)
    # For tanh by another route: samples of the slope.
    length = theory.length_fixed_point("tanh", 1.761, 0.05)
    z = np.random.default_rng(1).standard_normal(1_000_000)
    slope = 1 / np.cosh(math.sqrt(length) * z) ** 2
    expected = np.mean(slope**4) / np.mean(slope**2) ** 2
    assert theory.jacobian_spread("tanh", 1, 1.761, 0.05) == pytest.approx(expected, rel=0.01)
    turned = theory.jacobian_spread("tanh", 4, 1.761, 0.05, orthogonal=True)
    assert turned == pytest.approx(4 * (expected - 1), rel=0.03)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: theory.log10_product_band([1, -1], 0.0, 1.0), "factors must be .* got -1"),
        (lambda: theory.log10_product_band(1, 0.0, -1.0), "variance must be .* got -1"),
        (lambda: theory.relu_log_gain(4, -1), "depth must be finite, 0 or more, got -1"),
        (
            lambda: theory.jacobian_spread("tanh", [1, -2], 2.0),
            "depth must be finite, 0 or more, got -2",
        ),
    ],
)
def test_negative_counts_and_variances_get_one_sentence(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call()


def test_no_factors_and_no_layers_are_a_limit():
    assert [float(one) for one in theory.log10_product_band(0, -0.1, 0.0)] == [0, 0, 0]
    assert [float(one) for one in theory.relu_log_gain(4, 0)] == [0, 0]
    assert float(theory.jacobian_spread("tanh", 0, 2.0)) == 0


def test_a_signal_that_settles_on_no_length_has_no_spread():
    with pytest.raises(ValueError, match="settles on no length"):
        theory.jacobian_spread("tanh", 3, 0.5)
