"""Closed forms against scipy.integrate, exact arithmetic, and the points quoted in the plan."""

import itertools
import math
import re
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate

from gradcourse import theory
from gradcourse.theory import ACTIVATIONS
from gradcourse.theory import profile as profile_module

SMOOTH = ["sigmoid", "tanh", "elu", "gelu", "silu", "softplus", "erf", "linear"]
FLOATS = {"float16": np.float16, "float32": np.float32, "float64": np.float64}


def quad_mean(function, variance):
    """The same mean by adaptive quadrature, split where a steep function bends."""
    root = math.sqrt(variance)
    bend = min(1.0, 8 / root) if root else 1.0

    def integrand(z):
        density = math.exp(-z * z / 2) / math.sqrt(2 * math.pi)
        return float(function(np.array(root * z))) * density

    edges = [-12, -bend, 0, bend, 12]
    parts = (
        integrate.quad(integrand, low, high, epsabs=1e-13, epsrel=1e-11, limit=200)[0]
        for low, high in itertools.pairwise(edges)
    )
    return sum(parts)


# T01


def test_t01_quoted_depth():
    assert theory.overflow_depth(1.5) == 219


@settings(deadline=None, max_examples=60)
@given(weight=st.floats(1.001, 60000), sign=st.sampled_from([-1, 1]))
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_overflow_is_where_the_exact_power_passes_the_largest_number(dtype, weight, sign):
    number = FLOATS[dtype]
    depth = theory.overflow_depth(sign * weight, dtype)
    exact = Fraction(float(number(weight)))
    if exact == 1:
        assert depth == math.inf
        return
    if depth > 3000:
        return
    info = np.finfo(number)
    half_step = Fraction(float(info.max)) - Fraction(float(np.nextafter(info.max, number(0))))
    limit = Fraction(float(info.max)) + half_step / 2
    assert exact ** int(depth) >= limit
    assert exact ** (int(depth) - 1) < limit


@settings(deadline=None, max_examples=60)
@given(weight=st.floats(1e-4, 0.99))
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_underflow_is_where_the_exact_power_rounds_to_zero(dtype, weight):
    number = FLOATS[dtype]
    depth = theory.underflow_depth(weight, dtype)
    exact = Fraction(float(number(weight)))
    if depth > 3000:
        return
    limit = Fraction(float(np.finfo(number).smallest_subnormal)) / 2
    assert exact ** int(depth) <= limit
    assert exact ** (int(depth) - 1) > limit or depth == 1


@pytest.mark.parametrize("dtype", list(FLOATS))
@pytest.mark.parametrize("weight", [1.5, 2.0, 3.0, 1.1])
def test_a_running_product_overflows_there_too_give_or_take_its_rounding(dtype, weight):
    number = FLOATS[dtype]
    product, depth = number(1), 0
    with np.errstate(over="ignore"):
        while np.isfinite(product):
            product, depth = product * number(weight), depth + 1
    assert abs(theory.overflow_depth(weight, dtype) - depth) <= 1


def test_a_running_product_never_reaches_zero_above_one_half():
    number = np.float32(1)
    with np.errstate(under="ignore"):
        for _ in range(5000):
            number = number * np.float32(0.9)
    assert number > 0
    assert theory.underflow_depth(0.9) == 987
    number, depth = np.float32(1), 0
    with np.errstate(under="ignore"):
        while number:
            number, depth = number * np.float32(0.5), depth + 1
    assert theory.underflow_depth(0.5) == depth == 150


def test_depths_at_the_edges():
    assert theory.overflow_depth(1.0) == theory.overflow_depth(-1.0) == math.inf
    assert theory.underflow_depth(1.0) == theory.underflow_depth(2.0) == math.inf
    assert theory.overflow_depth(0.5) == math.inf
    assert theory.overflow_depth(1 + 1e-9) == math.inf  # is 1 in float32
    assert theory.overflow_depth(1 + 1e-9, "float64") < math.inf
    assert theory.overflow_depth(1e39) == 1
    assert theory.overflow_depth(65520, "float16") == 1
    assert theory.overflow_depth(65519, "float16") == 2
    assert theory.overflow_depth(2.0, "bfloat16") == theory.overflow_depth(2.0) == 128
    assert theory.underflow_depth(0.0) == 1
    assert theory.underflow_depth(1e-50) == 1
    assert theory.underflow_depth(0.5, "float16") == 25
    assert theory.underflow_depth(0.5, "float64") == 1075


# T02


def test_t02_quoted_fixed_point():
    point, rate = theory.chain_fixed_point("sigmoid")
    assert point == pytest.approx(0.6590, abs=1e-4)
    assert rate == pytest.approx(0.224704, abs=1e-6)
    assert rate == pytest.approx(point * (1 - point), abs=1e-12)


def test_t02_gelu_is_steeper_than_one():
    x = np.linspace(-5, 5, 100_001)
    assert ACTIVATIONS["gelu"].derivative(x).max() == pytest.approx(1.129, abs=5e-4)


@settings(deadline=None, max_examples=60)
@given(
    name=st.sampled_from(["sigmoid", "tanh", "erf"]),
    weight=st.floats(-0.85, 4),
    bias=st.floats(-2, 2),
)
def test_a_settled_chain_is_a_fixed_point(name, weight, bias):
    point, rate = theory.chain_fixed_point(name, weight, bias)
    phi = ACTIVATIONS[name]
    assert float(phi.function(np.array(weight * point + bias))) == pytest.approx(point, abs=1e-8)
    step = 1e-6
    ahead, behind = (
        float(phi.function(np.array(weight * (point + d) + bias))) for d in (step, -step)
    )
    assert rate == pytest.approx(abs(ahead - behind) / (2 * step), abs=1e-6)
    assert rate <= 1 + 1e-5


def test_chains_that_run_away_or_stand_still():
    assert theory.chain_fixed_point("relu", 1.5) == (math.inf, 1.5)
    assert theory.chain_fixed_point("relu", 1.0) == (1.0, 1.0)
    assert theory.chain_fixed_point("linear", -3.0)[1] == 3.0
    assert theory.chain_fixed_point("relu", 1.0, bias=1.0)[0] == math.inf
    point, rate = theory.chain_fixed_point("tanh", 1.0)
    assert point == pytest.approx(0, abs=1e-6)
    assert rate == pytest.approx(1, abs=1e-6)
    assert theory.chain_fixed_point("tanh", 2.0, start=-1.0)[0] < -0.9
    with pytest.raises(ValueError, match="does not settle: it ends in a cycle"):
        theory.chain_fixed_point("tanh", -2.0)


# Activations and Gaussian means


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_derivatives_are_derivatives(name):
    phi = ACTIVATIONS[name]
    x = np.array([-30.0, -5.0, -1.3, -0.2, 0.3, 1.1, 4.0, 30.0])
    own = theory.activation(phi.function)
    np.testing.assert_allclose(phi.derivative(x), own.derivative(x), atol=1e-7)
    for end in (-1e150, 1e150):
        assert np.isfinite(phi.function(np.array(end)))
        assert np.isfinite(phi.derivative(np.array(end)))


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("variance", [1e-6, 0.3, 1.0, 30.0, 1000.0])
def test_gaussian_mean_is_that_of_quad(name, variance):
    phi = ACTIVATIONS[name]
    for function in (phi.function, phi.derivative):
        mean = theory.gaussian_mean(lambda x, f=function: f(x) ** 2, variance)
        expected = quad_mean(lambda x, f=function: f(x) ** 2, variance)
        assert mean == pytest.approx(expected, rel=1e-6)


def test_gaussian_mean_of_kinks_and_constants():
    assert theory.gaussian_mean(lambda x: np.maximum(x, 0), 4.0) == pytest.approx(
        2 / math.sqrt(2 * math.pi), rel=1e-12
    )
    assert theory.gaussian_mean(lambda x: 3.0 + 0 * x, 0.0) == pytest.approx(3, rel=1e-12)
    assert theory.gaussian_mean(lambda x: x**4, 2.0) == pytest.approx(12, rel=1e-9)


def test_a_plain_function_is_an_activation():
    own = theory.chi(lambda x: np.tanh(x), 0.57, 1.761)
    assert own == pytest.approx(theory.chi("tanh", 0.57, 1.761), rel=1e-6)
    assert theory.activation(ACTIVATIONS["relu"]) is ACTIVATIONS["relu"]
    assert theory.activation(np.tanh).name == "tanh"


# T03, T04


def test_t03_quoted_mean_and_sampled_norms():
    assert theory.product_log_norm(32)[0] == pytest.approx(-0.01579, abs=1e-5)
    generator = np.random.default_rng(0)
    for width, variance in ((32, 1.0), (3, 2.5), (1, 1.0)):
        mean, spread = theory.product_log_norm(width, variance)
        rows = generator.normal(0, math.sqrt(variance / width), (100_000, width))
        logs = np.log(np.linalg.norm(rows, axis=1))
        assert abs(logs.mean() - mean) / math.sqrt(spread / len(logs)) < 4
        assert logs.var() == pytest.approx(spread, rel=0.03)


def test_t04_quoted_spread_and_determinant():
    exponents = theory.lyapunov_exponents(16)
    assert exponents[0] - exponents[-1] == pytest.approx(1.99, rel=0.01)
    assert exponents[0] == theory.product_log_norm(16)[0]
    assert (np.diff(exponents) < 0).all()
    # Their sum is the mean of ln of the determinant's size.
    generator = np.random.default_rng(1)
    sampled = np.linalg.slogdet(generator.normal(0, math.sqrt(1.7 / 8), (40_000, 8, 8)))[1]
    error = sampled.std() / math.sqrt(len(sampled))
    assert abs(sampled.mean() - theory.lyapunov_exponents(8, 1.7).sum()) < 4 * error


# T05 to T09


@settings(deadline=None, max_examples=40)
@given(q=st.floats(1e-6, 1e6), weight=st.floats(0.01, 10), bias=st.floats(0, 2))
def test_relu_and_leaky_relu_maps_are_straight_lines(q, weight, bias):
    assert theory.length_map("relu", q, weight, bias) == pytest.approx(weight * q / 2 + bias)
    assert theory.chi("relu", q, weight) == pytest.approx(weight / 2)
    both = (1 + 0.01**2) / 2
    assert theory.length_map("leaky_relu", q, weight, bias) == pytest.approx(
        weight * both * q + bias
    )
    assert theory.chi("leaky_relu", q, weight) == pytest.approx(weight * both)


@settings(deadline=None, max_examples=40)
@given(q=st.floats(1e-3, 1e4), weight=st.floats(0.1, 5))
def test_erf_has_closed_forms(q, weight):
    length = 2 / math.pi * math.asin(2 * q / (1 + 2 * q))
    assert theory.length_map("erf", q, weight, 0.1) == pytest.approx(weight * length + 0.1)
    slope = 4 / math.pi / math.sqrt(1 + 4 * q)
    assert theory.chi("erf", q, weight) == pytest.approx(weight * slope)


@settings(deadline=None, max_examples=40)
@given(
    name=st.sampled_from(["tanh", "sigmoid", "erf", "relu", "elu", "gelu"]),
    weight=st.floats(0.05, 1.9),
    bias=st.floats(1e-3, 1.0),
)
def test_a_fixed_length_is_fixed_and_stable(name, weight, bias):
    q = theory.length_fixed_point(name, weight, bias)
    assert 0 < q < math.inf
    assert theory.length_map(name, q, weight, bias) == pytest.approx(q, rel=1e-9)
    above = theory.length_map(name, 1.01 * q, weight, bias)
    assert above < 1.01 * q


def test_lengths_that_die_out_grow_or_stay():
    assert theory.length_fixed_point("tanh", 0.9) == 0
    assert theory.length_fixed_point("tanh", 1.0) == 0
    assert theory.length_fixed_point("tanh", 1.0 + 1e-6) == pytest.approx(5e-7, rel=1e-3)
    assert theory.length_fixed_point("relu", 1.99) == 0
    assert theory.length_fixed_point("relu", 2.01) == math.inf
    assert theory.length_fixed_point("relu", 2.0) == 1.0
    assert theory.length_fixed_point("relu", 2.0, start=7.0) == 7.0
    assert theory.length_fixed_point("relu", 2.0, 0.1) == math.inf
    assert theory.length_fixed_point("relu", 1.9999, 0.1) == pytest.approx(2000, rel=1e-6)
    assert theory.length_fixed_point("gelu", 3.0, start=1e-3) == 0
    assert theory.length_fixed_point("gelu", 3.0, start=10.0) == math.inf
    assert theory.length_fixed_point("tanh", 0.0, 0.3) == 0.3


def test_t06_quoted_critical_point():
    weight = theory.critical_weight_variance("tanh", 0.05)
    q = theory.length_fixed_point("tanh", weight, 0.05)
    assert weight == pytest.approx(1.7610, abs=1e-4)
    assert q == pytest.approx(0.5700, abs=1e-4)
    assert theory.chi("tanh", q, weight) == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize(
    ("name", "bias", "critical"),
    [
        ("tanh", 0.0, 1.0),
        ("linear", 0.0, 1.0),
        ("linear", 0.3, 1.0),
        ("relu", 0.0, 2.0),
        ("relu", 0.3, 2.0),
        ("leaky_relu", 0.0, 2 / 1.0001),
        ("erf", 0.0, math.pi / 4),
        ("softplus", 0.1, 2.0),
    ],
)
def test_known_critical_weight_variances(name, bias, critical):
    assert theory.critical_weight_variance(name, bias) == pytest.approx(critical, rel=1e-6)


@pytest.mark.parametrize(("name", "bias"), [("sigmoid", 0.0), ("sigmoid", 0.5), ("elu", 0.3)])
def test_other_critical_points_have_chi_1(name, bias):
    weight = theory.critical_weight_variance(name, bias)
    q = theory.length_fixed_point(name, weight, bias)
    phi = ACTIVATIONS[name]
    assert weight * quad_mean(lambda x: phi.function(x) ** 2, q) + bias == pytest.approx(
        q, rel=1e-6
    )
    assert weight * quad_mean(lambda x: phi.derivative(x) ** 2, q) == pytest.approx(1, rel=1e-6)


def test_gelu_jumps_past_one():
    weight = theory.critical_weight_variance("gelu")
    below, above = (
        theory.chi("gelu", theory.length_fixed_point("gelu", w), w)
        for w in (weight - 1e-6, weight + 1e-6)
    )
    assert below < 0.7
    assert above > 1.1


def test_chi_at_the_ends():
    for name, share in (("relu", 0.5), ("gelu", 0.5), ("tanh", 0), ("linear", 1), ("elu", 0.5)):
        assert theory.chi(name, math.inf, 3.0) == pytest.approx(3 * share, abs=1e-12)
    assert theory.chi("gelu", 1e30, 2.0) == pytest.approx(1, rel=1e-6)
    assert theory.chi("tanh", 0, 1.5) == pytest.approx(1.5)
    assert theory.chi("relu", 0, 2.0) == pytest.approx(1)
    # tanh' integrates to 4/3 when squared, however steep the step.
    expected = 4 / 3 / math.sqrt(2 * math.pi * 1e20)
    assert theory.chi("tanh", 1e20, 1.0) == pytest.approx(expected, rel=1e-4)


def test_t08_t09_depth_scales_and_schemes():
    for scheme, rate in (("he", 1.0), ("xavier", 1 / 2), ("default", 1 / 6)):
        variance = theory.weight_variance_of(scheme)
        assert theory.chi("relu", 1.0, variance) == pytest.approx(rate)
    assert theory.depth_scale(1.0) == math.inf
    assert theory.depth_scale(math.exp(-0.1)) == pytest.approx(10)
    assert theory.depth_scale(math.exp(0.1)) == pytest.approx(10)
    assert theory.depth_scale(0.0) == theory.depth_scale(math.inf) == 0


# The profile


@pytest.mark.parametrize("name", SMOOTH)
def test_the_profile_is_the_map_layer_by_layer(name):
    weight, bias, ratio = 1.3, 0.2, 0.5
    inputs = np.array([0.4, 0.4, 2.5])
    got = theory.mean_field_profile(name, 6, weight, bias, inputs, ratio)
    paths = []
    for start in inputs:
        squares, slopes, qs = [start], [], []
        for _ in range(6):
            qs.append(weight * squares[-1] + bias)
            phi = ACTIVATIONS[name]
            squares.append(quad_mean(lambda x, f=phi.function: f(x) ** 2, qs[-1]))
            slopes.append(quad_mean(lambda x, f=phi.derivative: f(x) ** 2, qs[-1]))
        gradient = [1.0]
        for slope in reversed(slopes):
            gradient.insert(0, gradient[0] * weight * slope)
        by_weight = [gradient[i + 1] * slopes[i] * squares[i] for i in range(6)]
        by_weight[0] *= ratio
        paths.append((qs, squares, gradient, by_weight))
    q, square, gradient, by_weight = (np.mean([p[i] for p in paths], axis=0) for i in range(4))
    near = {"rtol": 1e-6, "atol": 1e-9}
    np.testing.assert_allclose(got.q, q, **near)
    np.testing.assert_allclose(got.mean_square, square, **near)
    np.testing.assert_allclose(got.log10_activation, np.log10(square) / 2, **near)
    np.testing.assert_allclose(got.log10_gradient, np.log10(gradient) / 2, **near)
    expected = np.log10(by_weight / by_weight[-1]) / 2
    np.testing.assert_allclose(got.log10_weight_gradient, expected, **near)
    assert got.depth == 6


def test_t13_xavier_relu_profile():
    got = theory.mean_field_profile("relu", 30, 1.0)
    slope = 2 * np.diff(got.log10_gradient) * math.log(10)
    np.testing.assert_allclose(slope, 0.693, atol=1e-3)
    np.testing.assert_allclose(got.log10_weight_gradient, 0, atol=1e-9)


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("weight_scale", [1e-5, 0.05, 3.0, 1e5])
def test_200_layers_stay_finite(name, weight_scale):
    got = theory.mean_field_profile(name, 200, weight_scale**2, input_variance=[0.5, 2.0])
    for profile in (got.log10_activation, got.log10_gradient, got.log10_weight_gradient):
        assert np.isfinite(profile).all()
    if name == "relu":
        rate = math.log10(weight_scale**2 / 2) / 2
        np.testing.assert_allclose(np.diff(got.log10_gradient), -rate, rtol=1e-9)
        np.testing.assert_allclose(np.diff(got.log10_activation), rate, rtol=1e-9)


def test_profile_edges():
    one = theory.mean_field_profile("tanh", 1, 1.0)
    assert one.log10_weight_gradient.tolist() == [0.0]
    assert one.log10_gradient[-1] == 0
    zero = theory.mean_field_profile("tanh", 3, 1.0, input_variance=0.0)
    np.testing.assert_allclose(zero.log10_gradient, 0, atol=1e-9)
    assert (zero.q == 0).all()


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: theory.mean_field_profile("tanh", 0, 1.0), "depth must be 1 or more, got 0"),
        (lambda: theory.mean_field_profile("tanh", 2.5, 1.0), "depth must be a whole number"),
        (
            lambda: theory.mean_field_profile("tanh", 2, -1.0),
            "weight_variance must be a finite number above 0, got -1",
        ),
        (
            lambda: theory.mean_field_profile("tanh", 2, math.nan),
            "weight_variance must be a finite number above 0, got nan",
        ),
        (
            lambda: theory.mean_field_profile("tanh", 2, 1.0, -0.1),
            "bias_variance must be a finite number, 0 or more, got -0.1",
        ),
        (
            lambda: theory.mean_field_profile("tanh", 2, 1.0, input_variance=[1.0, -1.0]),
            "input_variance must be a finite number, 0 or more, got -1",
        ),
        (
            lambda: theory.mean_field_profile("tanh", 2, 1.0, input_variance=np.ones((2, 2))),
            "input_variance must be a number or one per sample, got shape (2, 2)",
        ),
        (lambda: theory.chi("swosh", 1.0, 1.0), "activation must be one of linear, sigmoid, tanh"),
        (lambda: theory.chi(3, 1.0, 1.0), "activation must be a name or a function, got 3"),
        (lambda: theory.chi("tanh", math.nan, 1.0), "q must be 0 or more, got nan"),
        (lambda: theory.length_map("tanh", -1.0, 1.0), "q must be a finite number, 0 or more"),
        (
            lambda: theory.length_fixed_point("tanh", 1.0, start=0.0),
            "start must be a finite number",
        ),
        (
            lambda: theory.gaussian_mean(np.tanh, -1.0),
            "variance must be a finite number, 0 or more",
        ),
        (lambda: theory.depth_scale(-1.0), "chi must be 0 or more, got -1"),
        (lambda: theory.weight_variance_of("hi"), "scheme must be one of he, kaiming, xavier"),
        (lambda: theory.overflow_depth(1.5, "float8"), "dtype must be one of float16, bfloat16"),
        (lambda: theory.underflow_depth(math.nan), "weight must be a finite number, got nan"),
        (lambda: theory.chain_fixed_point("tanh", math.inf), "weight must be a finite number"),
        (lambda: theory.product_log_norm(0), "width must be 1 or more, got 0"),
        (
            lambda: theory.lyapunov_exponents(4, 0.0),
            "weight_variance must be a finite number above",
        ),
        (
            lambda: theory.critical_weight_variance(lambda x: 0 * x + 1.0),
            "no weight variance up to 1e+06 makes gradients explode through <lambda>",
        ),
    ],
)
def test_bad_input_is_answered_in_words(call, sentence):
    with pytest.raises(ValueError, match=re.escape(sentence)):
        call()


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: theory.chain_fixed_point("tanh", "1"), "weight must be a number, got '1'"),
        (lambda: theory.chain_fixed_point("tanh", bias=None), "bias must be a number, got None"),
    ],
)
def test_what_is_no_number_is_answered_in_words(call, sentence):
    with pytest.raises(TypeError, match=re.escape(sentence)):
        call()


@pytest.mark.parametrize("lengths", [1.0, [0.0, 1.0, 1.0, 4.0], list(np.linspace(0.5, 2, 100))])
def test_the_order_in_which_depths_are_asked_for_changes_nothing(lengths):
    settings_ = {"weight_variance": 1.7, "bias_variance": 0.1, "input_variance": lengths}
    depths = [3, 40, 12, 41]
    grown = [theory.mean_field_profile("tanh", depth, **settings_) for depth in depths]
    assert [profile.depth for profile in grown] == depths
    for profile in grown:
        profile_module._kept_path.cache_clear()
        alone = theory.mean_field_profile("tanh", profile.depth, **settings_)
        for name in ("q", "mean_square", "log10_gradient", "log10_weight_gradient"):
            found, wanted = getattr(profile, name), getattr(alone, name)
            assert found == pytest.approx(wanted, rel=1e-12, abs=1e-12)


def test_an_activation_of_ones_own_is_not_mistaken_for_one_that_is_kept():
    kept = theory.mean_field_profile("tanh", 5, 1.0).log10_gradient[0]
    own = theory.Activation("tanh", lambda x: x, np.ones_like)
    assert theory.mean_field_profile(own, 5, 1.0).log10_gradient[0] == pytest.approx(0.0)
    assert kept < -0.1
