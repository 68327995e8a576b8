"""Lesson 00 measures what its closed form predicts, and its check answers each mistake."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate

from gradcourse.lessons import start_here as lesson
from gradcourse.theory import uniform_log_moments


@given(st.floats(0, 1))
def test_moments_of_the_logarithm_agree_with_quadrature(spread):
    mean, variance = uniform_log_moments(spread)
    if spread < 1e-6:
        assert mean == pytest.approx(0, abs=1e-12)
        return

    def moment(power):
        def density(x):
            return math.log1p(spread * x) ** power / 2

        return integrate.quad(density, -1, 1, epsabs=1e-13, limit=200)[0]

    expected = moment(1)
    assert mean == pytest.approx(expected, rel=1e-5, abs=1e-11)
    assert variance == pytest.approx(moment(2) - expected**2, rel=1e-5, abs=1e-11)


@pytest.mark.parametrize("spread", [-0.1, 1.1, math.nan, math.inf])
def test_moments_refuse_what_is_no_spread(spread):
    with pytest.raises(ValueError, match="spread must be"):
        uniform_log_moments(spread)


@pytest.mark.parametrize("spread", [0.1, 0.5, 0.9])
def test_measured_products_follow_the_closed_form(spread):
    product = lesson.measure_product(factors=50, spread=spread, runs=2000)
    mean, variance = uniform_log_moments(spread)
    logs = product.log10[:, -1] * math.log(10)
    assert abs(logs.mean() - 50 * mean) < 4 * math.sqrt(50 * variance / 2000)
    assert logs.var() == pytest.approx(50 * variance, rel=0.15)


def test_a_product_is_the_product_of_its_factors():
    product = lesson.measure_product(factors=7, spread=0.5, runs=3, seed=5)
    for run in range(3):
        factors = 1 + 0.5 * np.random.default_rng([5, run]).uniform(-1, 1, 7)
        assert product.log10[run] == pytest.approx(
            np.log10(np.concatenate([[1], np.cumprod(factors)])), abs=1e-12
        )


def test_more_factors_or_runs_keep_those_drawn_before():
    small = lesson.measure_product(factors=20, runs=5)
    large = lesson.measure_product(factors=150, runs=50)
    assert np.array_equal(small.log10, large.log10[:5, :21])


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"factors": 0}, "factors must be 1 or more, got 0"),
        ({"runs": 0}, "runs must be 1 or more, got 0"),
        ({"spread": 1.0}, r"spread must be between 0 and 0\.99, got 1\.0"),
        ({"spread": math.nan}, "spread must be between 0 and 0.99, got nan"),
    ],
)
def test_bad_settings_get_one_sentence(settings, sentence):
    with pytest.raises(ValueError, match=sentence):
        lesson.measure_product(**settings)


def test_a_prediction_is_shown_only_where_it_was_asked_for():
    assert lesson.measure_product(prediction=-2).prediction == -2
    assert lesson.measure_product(factors=101, prediction=-2).prediction is None
    assert lesson.measure_product(spread=0.6, prediction=-2).prediction is None


MEAN, VARIANCE = uniform_log_moments(0.5)


@pytest.mark.parametrize(
    ("answer", "right", "said"),
    [
        (math.ceil(math.log(1e-6) / MEAN), True, "right"),
        (306, True, "right"),
        (..., False, "replace the dots"),
        (math.ceil(-6 / MEAN), False, r"6 \* ln\(10\)"),
        (-306, False, "the sign"),
        (20, False, "not the smallest one"),
        (100, False, "too low"),
    ],
)
def test_the_exercise(answer, right, said):
    verdict = lesson.check_factors(answer)
    assert bool(verdict) is right
    assert said.replace("\\", "") in repr(verdict)
