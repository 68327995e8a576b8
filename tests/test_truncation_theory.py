"""What truncation keeps, against exact fractions, brute force and autograd."""

import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gradcourse import theory


def exact_share(memory, steps, kept):
    """Return the ratio of the two geometric sums, in fractions."""
    powers = [Fraction(memory) ** j for j in range(steps)]
    return sum(powers[:kept]) / sum(powers)


@given(
    st.floats(-1.5, 1.5).filter(lambda a: abs(a + 1) > 1e-3), st.integers(1, 60), st.integers(0, 60)
)
def test_the_share_is_the_ratio_of_two_geometric_sums(memory, steps, kept):
    kept = min(kept, steps)
    share = theory.truncated_share(memory, steps, kept)
    assert share == pytest.approx(float(exact_share(memory, steps, kept)), rel=1e-12)


@pytest.mark.parametrize("memory", [1 - 1e-15, 1.0, 1 + 1e-15, 1 + 1e-9])
def test_near_one_the_share_is_that_of_the_steps(memory):
    assert theory.truncated_share(memory, 1000, 10) == pytest.approx(0.01, rel=1e-6)


def test_the_quoted_point():
    assert theory.truncated_share(0.9, 100, 10) == pytest.approx(
        (1 - 0.9**10) / (1 - 0.9**100), abs=1e-12
    )


def test_a_share_of_an_overflowing_gradient_is_a_number():
    assert theory.truncated_share(3.0, 5000, 4999) == pytest.approx(1 / 3)
    assert theory.truncated_share(3.0, 5000, 10) == 0.0
    assert theory.mean_truncated_share(3.0, 500, 500) == 1.0


@given(st.floats(0.01, 1.3), st.integers(1, 200), st.floats(0.01, 0.99))
def test_the_horizon_holds_the_share(memory, steps, share):
    horizon = theory.truncation_horizon(memory, share, steps)
    assert 0 < horizon <= steps * (1 + 1e-9)
    # The share as a function of a real number of steps.
    if memory == 1:
        assert horizon / steps == pytest.approx(share)
    else:
        whole = math.expm1(steps * math.log(memory))
        found = math.expm1(horizon * math.log(memory)) / whole
        assert found == pytest.approx(share, rel=1e-6, abs=1e-9)


def test_in_a_long_sequence_the_horizon_is_a_ratio_of_logarithms():
    assert theory.truncation_horizon(0.9, 0.9) == pytest.approx(math.log(0.1) / math.log(0.9))
    k = math.ceil(theory.truncation_horizon(0.95, 0.9))
    shares = [theory.truncated_share(0.95, 5000, kept) for kept in (k - 1, k)]
    assert shares[0] < 0.9 <= shares[1]


@given(st.integers(1, 30), st.integers(1, 35), st.integers(0, 35))
def test_pairs_are_counted_one_by_one(steps, chunk, overlap):
    counts = np.zeros(steps, int)
    for loss in range(steps):
        first = max(0, (loss // chunk) * chunk - overlap)
        for earlier in range(first, loss + 1):
            counts[loss - earlier] += 1
    assert theory.kept_pairs(steps, chunk, overlap).tolist() == counts.tolist()


@pytest.mark.parametrize("memory", [0.0, 0.7, 1.0, 1.1])
@pytest.mark.parametrize(("chunk", "overlap"), [(1, 0), (4, 0), (5, 3), (50, 0)])
def test_the_mean_share_is_what_autograd_gives(memory, chunk, overlap):
    steps = 23
    gradients = {}
    for cut, back in ((chunk, overlap), (steps, 0)):
        w = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
        total = torch.zeros((), dtype=torch.float64)
        for loss in range(steps):
            h = torch.zeros((), dtype=torch.float64)
            for step in range(loss + 1):
                if step == max(0, loss // cut * cut - back):
                    h = h.detach()
                h = memory * h + w
            total = total + h
        total.backward()
        gradients[cut] = float(w.grad)
    share = theory.mean_truncated_share(memory, steps, chunk, overlap)
    assert share == pytest.approx(gradients[chunk] / gradients[steps], rel=1e-12)


def test_with_a_loss_at_every_step_less_is_kept():
    assert theory.mean_truncated_share(0.9, 100, 10) < theory.truncated_share(0.9, 100, 10)
    assert theory.mean_truncated_share(0.9, 100, 1, overlap=9) == pytest.approx(
        theory.truncated_share(0.9, 100, 10), rel=0.1
    )


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: theory.truncated_share(math.nan, 5, 2), "memory must be a finite number, got nan"),
        (lambda: theory.truncated_share(0.9, 0, 0), "steps must be 1 or more, got 0"),
        (lambda: theory.truncated_share(0.9, 5, 6), "kept must be between 0 and 5, got 6"),
        (lambda: theory.truncated_share(0.9, 5, -1), "kept must be 0 or more, got -1"),
        (lambda: theory.truncated_share(-1, 4, 2), "the whole gradient is 0"),
        (lambda: theory.truncation_horizon(1.0, 0.9), "memory must be below 1 for endlessly"),
        (lambda: theory.truncation_horizon(0.0, 0.9), "memory must be above 0, got 0"),
        (lambda: theory.truncation_horizon(0.9, 1.0), "share must be above 0 and below 1, got 1"),
        (lambda: theory.truncation_horizon(0.9, 0.5, 0), "steps must be 1 or more, got 0"),
        (lambda: theory.kept_pairs(5, 0), "chunk must be 1 or more, got 0"),
        (lambda: theory.kept_pairs(5, 1, -1), "overlap must be 0 or more, got -1"),
        (lambda: theory.mean_truncated_share(-0.5, 5, 1), "memory must be 0 or more, got -0.5"),
    ],
)
def test_bad_arguments_get_one_sentence(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call()
