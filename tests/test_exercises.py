"""Checks accept what is right and answer each typical mistake with its own hint."""

import math

import pytest

from gradcourse.exercises import as_prediction, check_function, check_number


def number(answer):
    return check_number(answer, 100.0, mistakes={50.0: "you halved it"}, hint="Try again.")


@pytest.mark.parametrize(
    ("answer", "right", "said"),
    [
        (100, True, "✓ right: 100"),
        (100.5, True, "✓ right"),
        (None, False, "replace the dots by your answer. Try again."),
        (..., False, "replace the dots"),
        (50, False, "you halved it"),
        (102, False, "102 is too high. Try again."),
        (-3, False, "-3 is too low"),
        (math.nan, False, "the answer is NaN"),
        ("many", False, "must be a number, got 'many'"),
        ([1, 2], False, "must be a number"),
        (10**400, False, "must be a number"),
    ],
)
def test_check_number(answer, right, said):
    verdict = number(answer)
    assert bool(verdict) is right
    assert said in repr(verdict)


def root(x):
    return math.sqrt(x)


@pytest.mark.parametrize(
    ("function", "right", "said"),
    [
        (lambda x: x**0.5, True, "agrees in all 2 cases"),
        (lambda _x: None, False, "returns nothing. Try again."),
        (lambda _x: ..., False, "returns nothing"),
        (lambda x: x, False, "you forgot the root"),
        (lambda x: x**0.5 + 1, False, "should be 2, got 3. Try again."),
        (lambda x: x / 0, False, "raised ZeroDivisionError"),
        (lambda _x: "many", False, "must return a number, got 'many'"),
        (lambda _x: math.nan, False, "got nan"),
    ],
)
def test_check_function(function, right, said):
    verdict = check_function(
        function,
        root,
        [(4.0,), (9.0,)],
        mistakes=[(lambda x: x, "you forgot the root")],
        hint="Try again.",
    )
    assert bool(verdict) is right
    assert said in repr(verdict)


@pytest.mark.parametrize(
    ("value", "expected"), [(None, None), (..., None), (3, 3.0), (-2.5, -2.5), (1e6, 1e6)]
)
def test_a_prediction_is_a_number_or_nothing_yet(value, expected):
    assert as_prediction(value) == expected


@pytest.mark.parametrize("value", ["219", math.inf, math.nan, 10**400, True, [1]])
def test_anything_else_is_no_prediction(value):
    with pytest.raises(ValueError, match="prediction must be a number up to a million, or None"):
        as_prediction(value)
