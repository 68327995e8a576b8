"""Lesson 01: its chains, its matrices, its networks and its checks."""

import math

import numpy as np
import pytest
import torch

from gradcourse import theory
from gradcourse.lessons import vanishing_and_exploding as lesson


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
@pytest.mark.parametrize("weight", [0.3, 0.95, 1.0, 1.05, 2.5])
def test_a_chain_is_what_the_dtype_multiplies(weight, dtype):
    chain = lesson.measure_chain(weight, 60, dtype)
    value = torch.ones((), dtype=getattr(torch, dtype))
    for layer in range(61):
        expected = torch.log10(value.double()).item()
        assert chain.log10[layer] == pytest.approx(expected), layer
        value = value * torch.tensor(weight, dtype=getattr(torch, dtype))


def test_a_chain_reports_where_it_leaves_its_dtype():
    assert lesson.measure_chain(1.5, 300).overflow_layer == theory.overflow_depth(1.5)
    assert "overflows at layer 219 (theory: 219)" in lesson.measure_chain(1.5, 300).summary()
    assert lesson.measure_chain(0.25, 300).zero_layer == theory.underflow_depth(0.25)
    assert "exactly 0 from layer 75" in lesson.measure_chain(0.25, 300).summary()
    stuck = lesson.measure_chain(0.9, 300, "float16")
    assert stuck.zero_layer is None
    assert f"from layer {stuck.stuck_layer} on" in stuck.summary()
    assert lesson.measure_chain(1.0, 10).summary().endswith("10^0.0 (theory: 10^0.0)")


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"depth": 0}, "depth must be 1 or more, got 0"),
        ({"weight": 0.0}, "weight must be a finite number other than 0, got 0"),
        ({"weight": math.nan}, "weight must be a finite number other than 0, got nan"),
        ({"dtype": "int8"}, "dtype must be one of float16, bfloat16, float32, float64, got 'int8'"),
    ],
)
def test_bad_chains_get_one_sentence(settings, sentence):
    with pytest.raises(ValueError, match=sentence):
        lesson.measure_chain(**settings)


def test_matrices_carry_the_prediction_for_their_kind():
    gaussian = lesson.measure_matrices(8, 50, 1.2)
    mean, variance = theory.product_log_norm(8, 1.44)
    assert gaussian.typical[-1] == pytest.approx(50 * mean / math.log(10))
    assert gaussian.high[-1] - gaussian.typical[-1] == pytest.approx(
        1.645 * math.sqrt(50 * variance) / math.log(10)
    )
    rotation = lesson.measure_matrices(8, 50, 1.2, "orthogonal")
    assert rotation.signal.log10_norm[:, -1] == pytest.approx(50 * math.log10(1.2))
    assert np.array_equal(rotation.typical, rotation.low)
    with pytest.raises(ValueError, match="kind must be one of Gaussian, orthogonal, got 'sparse'"):
        lesson.measure_matrices(kind="sparse")


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"depth": 0}, "depth must be 1 or more, got 0"),
        ({"weight_scale": -1.0}, "weight_scale must be .*, got -1"),
        ({"weight_scale": math.nan}, "weight_scale must be .*, got nan"),
        ({"activation": "swish"}, "activation must be one of .*, got 'swish'"),
        ({"width": 0}, "width must be 1 or more, got 0"),
    ],
)
def test_bad_networks_get_one_sentence(settings, sentence):
    with pytest.raises(ValueError, match=sentence):
        lesson.measure_network(**settings)


@pytest.mark.parametrize(
    ("measure", "asked", "other"),
    [
        (lesson.measure_chain, {}, {"weight": 1.4}),
        (lesson.measure_chain, {"depth": 300}, {"dtype": "float16"}),
        (lesson.measure_matrices, {}, {"width": 4}),
        (lesson.measure_matrices, {"weight_scale": 1 + 1e-15}, {"weight_scale": 1.1}),
        (lesson.measure_network, {"activation": "sigmoid"}, {"activation": "tanh"}),
        (lesson.measure_network, {"activation": "sigmoid", "width": 16}, {"depth": 49}),
    ],
)
def test_a_prediction_is_shown_only_where_it_was_asked_for(measure, asked, other):
    assert measure(**asked, prediction=-3).prediction == -3
    assert measure(**{**asked, **other}, prediction=-3).prediction is None


def test_digits_are_real_and_scaled_to_one():
    digits = lesson.digit_batch(32)
    assert digits.shape == (32, 64)
    assert digits.square().mean(1).numpy() == pytest.approx(1, abs=1e-5)
    assert not torch.equal(digits, lesson.digit_batch(32, seed=1))


def test_the_summary_says_overflow_in_words():
    network = lesson.measure_network(200, 3.0, "relu")
    assert f"overflows at layer {network.signal.overflow_layer}" in network.summary()
    assert "nan" not in network.summary()


def test_predicted_and_measured_factors_use_the_same_layers():
    # He weights: the exact factor is 1 at every layer, whatever is left out.
    assert lesson.measure_network(30, math.sqrt(2), "relu").predicted_per_layer == pytest.approx(1)
    shallow = lesson.measure_network(2, 1.0, "relu")
    assert shallow.predicted_per_layer == pytest.approx(math.sqrt(0.5))


@pytest.mark.parametrize(
    ("function", "right", "said"),
    [
        (lambda s: s / math.sqrt(2), True, "right"),
        (lambda _s: ..., False, "returns nothing"),
        (lambda s: s**2 / 2, False, "take its root"),
        (lambda s: s, False, "half of the ReLUs are off"),
        (lambda s: s / 2, False, "belongs under the root"),
        (lambda s: math.sqrt(s / 2), False, "chi takes the weight *variance*"),
        (lambda s: 3 * s, False, "should be"),
    ],
)
def test_the_first_exercise(function, right, said):
    verdict = lesson.check_gradient_factor(function)
    assert bool(verdict) is right
    assert said in repr(verdict)


@pytest.mark.parametrize(
    ("answer", "right", "said"),
    [
        (math.sqrt(theory.critical_weight_variance("tanh", 0.3**2)), True, "right"),
        (..., False, "replace the dots"),
        (theory.critical_weight_variance("tanh", 0.3**2), False, "weight *variance*"),
        (math.sqrt(theory.critical_weight_variance("tanh", 0.3)), False, "square of the bias"),
        (theory.critical_weight_variance("tanh", 0.3), False, "square the bias scale first"),
        (math.nan, False, "NaN"),
        (1.0, False, "without biases"),
        (5.0, False, "too high"),
    ],
)
def test_the_second_exercise(answer, right, said):
    verdict = lesson.check_weight_scale(answer)
    assert bool(verdict) is right
    assert said in repr(verdict)
