"""What counts as a number, and what is refused in one sentence."""

import math
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
import torch

from gradcourse.checks import at_least_zero, between, more_than_zero, number


@pytest.mark.parametrize(
    "value",
    [
        2,
        2.0,
        Fraction(2),
        Decimal(2),
        np.float32(2),
        np.int64(2),
        np.array(2.0),
        torch.tensor(2),
    ],
)
def test_every_kind_of_number_is_one(value):
    found = number("size", value)
    assert type(found) is float
    assert found == 2


@pytest.mark.parametrize("value", [True, np.True_, torch.tensor(True)])
def test_true_is_one(value):
    assert number("size", value) == 1


def test_what_is_not_finite_is_a_number():
    assert number("size", -math.inf) == -math.inf
    assert math.isnan(number("size", math.nan))


@pytest.mark.parametrize("value", ["2", "two", "", b"2", np.str_("2"), None, [2], 2j])
def test_what_is_no_number_is_refused(value):
    with pytest.raises(TypeError, match=r"^size must be a number, got .*$"):
        number("size", value)


@pytest.mark.parametrize("value", [10**400, Fraction(10**400), -(10**5000)], ids="abc")
@pytest.mark.parametrize(
    "check",
    [number, at_least_zero, more_than_zero, lambda name, value: between(0, 1, name, value)],
)
def test_what_no_float_holds_is_refused_without_its_digits(check, value):
    with pytest.raises(ValueError, match=r"^size must be a number that a float holds, up to"):
        check("size", value)
