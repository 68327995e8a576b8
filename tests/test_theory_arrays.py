"""Arrays of numbers that theory takes, and what it refuses in one sentence."""

import math
from fractions import Fraction

import numpy as np
import pytest
import torch

from gradcourse.theory.arrays import all_above, all_at_least, numbers


@pytest.mark.parametrize(
    "values", [2, 2.5, [1, 2], (Fraction(1, 2), 3), np.float16(2), torch.ones(2, 3), [True], []]
)
def test_every_kind_of_number_is_taken(values):
    found = numbers("size", values)
    assert found.dtype == np.float64
    assert found.shape == np.shape(values)


@pytest.mark.parametrize("values", ["2", ["2", "3"], [1, None, "a"], [1, [2, 3]], [1j], [10**400]])
def test_what_holds_no_numbers_is_refused(values):
    with pytest.raises(TypeError, match=r"^size must be numbers, got "):
        numbers("size", values)


@pytest.mark.parametrize(
    ("check", "wrong", "sentence"),
    [
        (all_at_least, -0.5, "size must be finite, 0 or more, got -0.5"),
        (all_at_least, math.nan, "size must be finite, 0 or more, got nan"),
        (all_at_least, math.inf, "size must be finite, 0 or more, got inf"),
        (all_above, 0, "size must be finite and above 0, got 0"),
        (all_above, math.nan, "size must be finite and above 0, got nan"),
        (all_above, math.inf, "size must be finite and above 0, got inf"),
    ],
)
def test_one_wrong_number_is_named(check, wrong, sentence):
    with pytest.raises(ValueError) as error:
        check(0, "size", [[1.0, 2.0], [wrong, 3.0]])
    assert str(error.value) == sentence
    assert check(0, "size", [[1.0, 2.0], [4.0, 3.0]]).shape == (2, 2)


def test_a_limit_may_be_infinite_where_that_means_never():
    assert all_above(0, "size", [1, math.inf], infinite=True).tolist() == [1, math.inf]
    with pytest.raises(ValueError, match="size must be above 0, got nan"):
        all_above(0, "size", math.nan, infinite=True)
