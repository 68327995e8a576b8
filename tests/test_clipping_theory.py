"""Closed forms of clipping and of the cliff, against integrals, samples and long recurrences."""

import math

import numpy as np
import pytest
import scipy.integrate
import scipy.optimize
import scipy.special
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from gradcourse import theory


def moment(function):
    """Return the mean of a function of a standard normal number, by quadrature."""
    value, _ = scipy.integrate.quad(
        lambda z: function(z) * scipy.stats.norm.pdf(z), -12, 12, points=[-3, 0, 3], limit=200
    )
    return value


@settings(deadline=None, max_examples=25)
@given(st.floats(0.02, 6.0))
def test_value_clipping_of_a_gaussian_gradient_is_what_integrals_say(clip):
    square = moment(lambda z: np.clip(z, -clip, clip) ** 2)
    product = moment(lambda z: z * np.clip(z, -clip, clip))
    assert theory.value_clip_length(clip) == pytest.approx(math.sqrt(square), rel=1e-5)
    assert theory.value_clip_cosine(clip) == pytest.approx(product / math.sqrt(square), rel=1e-5)


def test_the_quoted_angle_and_both_ends():
    assert theory.value_clip_cosine(0.5) == pytest.approx(0.8900, abs=1e-4)
    signs = math.sqrt(2 / math.pi)
    tiny = np.array([1e-12, 1e-6])
    assert theory.value_clip_cosine(tiny) == pytest.approx(signs, rel=1e-6)
    assert theory.value_clip_length(tiny) == pytest.approx(tiny, rel=1e-5)
    assert theory.value_clip_cosine(math.inf) == 1 == theory.value_clip_length(math.inf)
    assert math.degrees(math.acos(signs)) == pytest.approx(37.1, abs=0.05)


@given(st.floats(0.01, 100), st.floats(0.01, 100), st.floats(0.1, 5))
def test_the_clip_rate_is_the_tail_of_a_lognormal(max_norm, typical, spread):
    expected = scipy.stats.lognorm(spread, scale=typical).sf(max_norm)
    rate = theory.lognormal_clip_rate(max_norm, typical, spread)
    assert rate == pytest.approx(expected, rel=1e-6, abs=1e-300)


def settle(weight, bias, start, steps=20_000):
    for _ in range(steps):
        start = weight * scipy.special.expit(start) + bias
    return scipy.special.expit(start)


@settings(deadline=None, max_examples=25)
@given(st.floats(4.4, 9.0), st.floats(-0.3, 0.3))
def test_a_unit_falls_to_another_side_on_each_side_of_the_wall(weight, start):
    wall = float(theory.cliff_wall(weight, start))
    value = scipy.special.expit(start)
    assert math.isnan(wall) == (weight * value * (1 - value) <= 1)
    if weight * value * (1 - value) > 1.01:
        low, high = (settle(weight, wall + side, start) for side in (-1e-5, 1e-5))
        assert low < value - 1e-3
        assert high > value + 1e-3


@settings(deadline=None, max_examples=25)
@given(st.floats(-4.0, 5.5), st.sampled_from([0.3, 0.5, 0.7, 0.8]))
def test_in_the_valley_the_unit_gives_the_target(weight, target):
    valley = float(theory.cliff_valley(weight, target))
    bias = math.log(target / (1 - target)) - weight * target
    reached = abs(settle(weight, bias, 0.5) - target) < 1e-4
    near_the_end = abs(abs(weight) * target * (1 - target) - 1) < 0.02
    near_the_wall = abs(theory.cliff_wall(weight) - bias) < 1e-3
    if not near_the_end and not near_the_wall:
        assert (not math.isnan(valley)) == reached
    if not math.isnan(valley):
        assert valley == pytest.approx(bias)


def test_the_quoted_wall():
    assert theory.cliff_wall(5.0) == pytest.approx(-2.6123, abs=1e-4)
    walls = theory.cliff_wall(np.array([4.25, 4.26]))
    assert np.isnan(walls).tolist() == [True, False]


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: theory.value_clip_cosine(0.0), "clip_value must be above 0, got 0"),
        (lambda: theory.value_clip_length([1.0, -2.0]), "clip_value must be above 0, got -2"),
        (lambda: theory.lognormal_clip_rate(0, 1, 1), "max_norm must be above 0, got 0"),
        (lambda: theory.lognormal_clip_rate(1, 0, 1), "typical must be .* above 0, got 0"),
        (lambda: theory.lognormal_clip_rate(1, 1, -1), "spread must be .* above 0, got -1"),
        (lambda: theory.cliff_valley(4.0, 1.0), "target must lie inside of 0 and 1, got 1"),
        (lambda: theory.cliff_valley(4.0, 2.0), "target must be between 0 and 1, got 2"),
    ],
)
def test_bad_numbers_get_one_sentence(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call()
