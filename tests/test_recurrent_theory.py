"""Closed forms for recurrent networks, against matrices multiplied out and random draws."""

import math

import numpy as np
import pytest
import scipy
from hypothesis import given, settings
from hypothesis import strategies as st

from gradcourse import theory


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 60), st.floats(0.3, 1.5), st.floats(0, 20))
def test_a_jordan_block_is_what_its_powers_are(steps, radius, shear):
    block = np.array([[radius, shear], [0.0, radius]])
    power = np.linalg.matrix_power(block, steps)
    largest, mean = theory.jordan_power_norm(steps, radius, shear)
    assert largest == pytest.approx(np.linalg.norm(power, 2), rel=1e-9)
    # A random direction of the plane has mean square 1/2 along each axis.
    assert mean == pytest.approx(np.linalg.norm(power) / math.sqrt(2), rel=1e-9)


def test_the_quoted_block_peaks_at_the_ninth_step():
    largest, _ = theory.jordan_power_norm(np.arange(200), 0.9, 5.0)
    assert largest.argmax() == 9
    assert largest.max() == pytest.approx(19.37, rel=0.01)
    assert largest[-1] < 1e-5


def test_powers_of_a_wide_gaussian_matrix_have_the_predicted_norm():
    for seed in range(2):
        drawn = np.random.default_rng(seed).standard_normal((600, 600)) / math.sqrt(600)
        power = np.eye(600)
        for steps in range(5):
            norm = np.linalg.norm(power, 2)
            assert norm == pytest.approx(theory.gaussian_power_norm(steps), rel=0.04), steps
            power = power @ drawn


def test_the_norm_of_gaussian_powers_grows_like_a_root():
    late = theory.gaussian_power_norm([1000, 4000])
    assert late[1] / late[0] == pytest.approx(2, rel=1e-3)
    assert late[0] == pytest.approx(math.sqrt(math.e * 1001), rel=1e-3)


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 200), st.floats(-8, 8))
def test_a_gate_keeps_a_power_of_its_sigmoid(steps, bias):
    kept = 1.0
    for _ in range(steps):
        kept *= 1 / (1 + math.exp(-bias))
    assert theory.gate_memory(steps, bias) == pytest.approx(kept, rel=1e-9)


def test_gates_have_the_quoted_numbers_and_broadcast():
    assert theory.gate_memory(50, 1.0) == pytest.approx(1.576e-7, abs=1e-9)
    both = theory.gate_memory(np.arange(3)[:, None], np.array([0.0, 1.0]))
    assert both.shape == (3, 2)
    assert both[2, 0] == 0.25
    # ln(T - 1) keeps (1 - 1/T)**T: about 1/e.
    assert theory.gate_memory(100, math.log(99)) == pytest.approx(0.99**100)


def _square_kept(memory, steps):
    return math.exp(-2 * steps * math.log1p(1 / memory))


@pytest.mark.parametrize("max_time", [2, 5, 100, 2000])
def test_chrono_units_keep_the_mean_over_their_biases(max_time):
    for steps in (0, 1, 7, 100, 1500):
        wanted, _ = scipy.integrate.quad(_square_kept, 1, max_time - 1, (steps,), limit=200)
        # At 2 the interval has no length, and every unit has a bias of 0.
        wanted = wanted / (max_time - 2) if max_time > 2 else 0.25**steps
        found = theory.chrono_memory(steps, max_time)
        assert found == pytest.approx(math.sqrt(wanted), rel=1e-5), steps


def test_chrono_memories_are_those_of_drawn_units():
    memory = np.random.default_rng(0).uniform(1, 99, 200_000)
    drawn = np.sqrt(np.mean((memory / (1 + memory)) ** (2 * 60)))
    assert theory.chrono_memory(60, 100) == pytest.approx(drawn, rel=0.01)
    assert theory.chrono_memory([0, 60], 100).shape == (2,)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: theory.jordan_power_norm(-1, 0.9, 5.0), "steps must be finite, 0 or more, got -1"),
        (lambda: theory.jordan_power_norm(3, 0.0, 5.0), "radius must be a finite number above 0"),
        (lambda: theory.jordan_power_norm(3, 0.9, -5.0), "shear must be a finite number, 0 or"),
        (lambda: theory.gaussian_power_norm([0, -2]), "steps must be finite, 0 or more, got -2"),
        (lambda: theory.gate_memory(-3, 1.0), "steps must be finite, 0 or more, got -3"),
        (lambda: theory.chrono_memory(5, 1.5), "max_time must be a finite number, 2 or more"),
        (lambda: theory.chrono_memory(5, math.inf), "max_time must be a finite number, 2 or more"),
    ],
)
def test_bad_numbers_get_one_sentence(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call()
