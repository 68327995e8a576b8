"""Theory of lesson 02: the size of an update, and the error of a numerical derivative."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize

from gradcourse import theory

sizes = st.floats(1e-3, 1e3)


@settings(deadline=None)
@given(sizes, sizes, st.floats(0, 1e3))
def test_an_update_ratio_is_that_of_torchs_own_sgd_and_clipping(learning_rate, max_norm, other):
    weight = torch.nn.Parameter(torch.tensor([3.0, -4.0], dtype=torch.float64))
    bias = torch.nn.Parameter(torch.zeros(1, dtype=torch.float64))
    weight.grad = torch.tensor([0.6, 0.8], dtype=torch.float64)
    bias.grad = torch.tensor([other], dtype=torch.float64)
    before = weight.detach().clone()
    total = torch.nn.utils.clip_grad_norm_([weight, bias], max_norm).item()
    torch.optim.SGD([weight, bias], lr=learning_rate).step()
    measured = float((weight.detach() - before).norm()) / 5
    predicted = theory.sgd_update_ratio(learning_rate, 1.0, 5.0, total, max_norm)
    # torch divides by the norm plus 1e-6.
    assert measured == pytest.approx(predicted, rel=2e-6, abs=1e-15)


def test_an_update_without_clipping_is_the_gradient_times_the_learning_rate():
    assert theory.sgd_update_ratio(0.1, 0.6, 8.0) == pytest.approx(0.0075)
    assert theory.sgd_update_ratio(0.1, 0.6, 8.0, 0.9, 1.0) == pytest.approx(0.0075)
    assert theory.sgd_update_ratio(0.1, 0.6, 8.0, 2.0, 0.0) == 0


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((-1.0, 1.0, 1.0), "learning_rate must be a finite number, 0 or more, got -1"),
        ((0.1, math.nan, 1.0), "gradient_norm must be a finite number, 0 or more, got nan"),
        ((0.1, 1.0, 0.0), "weight_norm must be a finite number above 0, got 0"),
        ((0.1, 1.0, 1.0, 1.0, math.nan), "max_norm must be 0 or more, got nan"),
        ((0.1, 1.0, 1.0, 1.0, -2.0), "max_norm must be 0 or more, got -2"),
    ],
)
def test_bad_updates_get_one_sentence(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        theory.sgd_update_ratio(*arguments)


@pytest.mark.parametrize(("kind", "order"), [("central", 2), ("forward", 1)])
def test_truncation_is_that_of_the_exponential(kind, order):
    # exp in float64 with long steps: rounding plays no part, all derivatives at 0 are 1.
    for step in (1e-2, 1e-3):
        behind = math.exp(-step) if kind == "central" else 1.0
        measured = (math.exp(step) - behind) / (step * order) - 1
        predicted = theory.difference_error(step, 1.0, 1.0, 1e-300, kind)
        assert measured == pytest.approx(predicted, rel=step)


@pytest.mark.parametrize("kind", ["central", "forward"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rounding_bounds_what_was_measured_and_is_near_it(kind, dtype):
    roundoff = float(np.finfo(dtype).eps) / 2
    points = np.linspace(0.5, 1.0, 400).astype(dtype)
    # A power of two, so that the places themselves are not rounded.
    step = dtype(2.0**-10 * roundoff**0.5)
    ahead, behind = points + step, points - step if kind == "central" else points
    true = np.cos(points.astype(np.float64))
    span = (ahead - behind).astype(np.float64)
    measured = np.abs((np.sin(ahead) - np.sin(behind)).astype(np.float64) / span - true)
    predicted = theory.difference_error(float(step), np.sin(points), 0.0, roundoff, kind)
    assert (measured <= 1.1 * predicted).mean() > 0.99
    assert np.sqrt(np.mean(measured**2)) > 0.2 * predicted.mean()


@settings(deadline=None)
@given(sizes, sizes, st.sampled_from([2.0**-24, 2.0**-53]), st.sampled_from(["central", "forward"]))
def test_the_best_step_is_the_minimum(value, bend, roundoff, kind):
    def error(log_step):
        return float(np.log(theory.difference_error(np.exp(log_step), value, bend, roundoff, kind)))

    found = optimize.minimize_scalar(error, bounds=(-40, 10), method="bounded")
    best = theory.best_difference_step(value, bend, roundoff, kind)
    assert math.log(best) == pytest.approx(found.x, abs=1e-3)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (
            lambda: theory.difference_error([1.0, 0.0], 1, 1, 1e-16),
            "step must be finite and above 0, got 0",
        ),
        (lambda: theory.difference_error(1.0, 1, 1, 0.0), "unit_roundoff must be .*, got 0"),
        (lambda: theory.difference_error(1.0, 1, 1, 1e-16, "both"), "kind must be central or"),
        (lambda: theory.best_difference_step(1, 1, 1e-16, "both"), "kind must be central or"),
        (lambda: theory.best_difference_step(0, 1, 1e-16), "the size of value must be .*, got 0"),
        (lambda: theory.best_difference_step(1, 0, 1e-16), "the size of bend must be .*, got 0"),
    ],
)
def test_bad_differences_get_one_sentence(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call()
