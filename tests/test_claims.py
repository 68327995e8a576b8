"""A claim is printed when true, raised when false, and written down when a ledger is kept."""

import math
import re

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gradcourse.claims import LEDGER_VARIABLE, ClaimError, claim, read_ledger


@pytest.fixture(autouse=True)
def no_ledger(monkeypatch):
    monkeypatch.delenv(LEDGER_VARIABLE, raising=False)


@pytest.mark.parametrize(
    ("measured", "expectation", "line"),
    [
        (0.25, {"equals": 0.25}, "✓ it is  [measured 0.25; expected 0.25]"),
        (3, {"equals": 3}, "✓ it is  [measured 3; expected 3]"),
        (
            0.22471,
            {"equals": 0.224704, "within": 1e-5},
            "✓ it is  [measured 0.2247; expected 0.2247 within 1e-05]",
        ),
        (1, {"between": (1, 3)}, "✓ it is  [measured 1; expected 1 to 3]"),
        (0.1, {"below": 0.2}, "✓ it is  [measured 0.1; expected below 0.2]"),
        (1e9, {"above": 1e6}, "✓ it is  [measured 1e+09; expected above 1e+06]"),
        (math.inf, {"equals": math.inf}, "✓ it is  [measured inf; expected inf]"),
    ],
)
def test_a_true_claim_prints_one_line(capsys, measured, expectation, line):
    claim("it is", measured, **expectation)
    assert capsys.readouterr().out == line + "\n"


def test_the_source_is_printed(capsys):
    claim("it is", 1, equals=1, source="calculus")
    assert "expected 1; calculus]" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("measured", "expectation"),
    [
        (0.2500001, {"equals": 0.25}),
        (0.3, {"equals": 0.25, "within": 0.04}),
        (3.1, {"between": (1, 3)}),
        (0.2, {"below": 0.2}),
        (0.2, {"above": 0.2}),
        (math.nan, {"equals": math.nan}),
        (math.nan, {"between": (-math.inf, math.inf)}),
        (math.nan, {"below": 1}),
        (math.nan, {"above": 1}),
    ],
)
def test_a_false_claim_raises_and_prints_nothing(capsys, measured, expectation):
    with pytest.raises(ClaimError, match=re.escape("✗ FALSE: it is  [measured")):
        claim("it is", measured, **expectation)
    assert capsys.readouterr().out == ""


@given(
    measured=st.floats(allow_nan=False),
    low=st.floats(allow_nan=False),
    high=st.floats(allow_nan=False),
)
def test_between_is_true_exactly_inside(measured, low, high):
    low, high = min(low, high), max(low, high)
    if low <= measured <= high:
        claim("inside", measured, between=(low, high))
    else:
        with pytest.raises(ClaimError):
            claim("inside", measured, between=(low, high))


def test_a_tensor_is_a_number(capsys):
    claim("it is", torch.tensor(2.0), above=1)
    assert "measured 2;" in capsys.readouterr().out


def test_the_ledger_keeps_true_and_false_and_does_not_stop(monkeypatch, tmp_path, capsys):
    path = tmp_path / "ledger"
    monkeypatch.setenv(LEDGER_VARIABLE, str(path))
    claim("größer", 2, above=1, source="calculus")
    claim("smaller", 2, below=1)
    claim("a number", math.nan, below=1)
    ledger = read_ledger(path)
    assert [one.true for one in ledger] == [True, False, False]
    assert ledger[0].sentence == "größer"
    assert (ledger[0].measured, ledger[0].expected) == (2.0, "above 1")
    assert math.isnan(ledger[2].measured)
    assert "✗ FALSE: smaller" in capsys.readouterr().out
    assert str(ledger[0]).startswith("✓ größer")


@pytest.mark.parametrize(
    ("expectation", "sentence"),
    [
        ({}, "give exactly one of equals, between, below and above"),
        ({"below": 1, "above": 0}, "give exactly one of equals, between, below and above"),
        ({"below": 1, "within": 1}, "within must be 0 or more and goes with equals"),
        ({"equals": 1, "within": -1}, "within must be 0 or more and goes with equals"),
        ({"equals": 1, "within": math.nan}, "within must be 0 or more and goes with equals"),
        ({"between": (2, 1)}, "between must be (low, high) with low <= high, got (2, 1)"),
    ],
)
def test_a_malformed_expectation_is_refused(expectation, sentence):
    with pytest.raises(ValueError, match=re.escape(sentence)):
        claim("it is", 1, **expectation)


def test_a_line_too_long_for_a_projector_breaks_before_the_numbers(capsys):
    claim("short", 1, equals=1)
    claim("a sentence that goes on " * 3, 1, equals=1, source="a source")
    first, second, third = capsys.readouterr().out.splitlines()
    assert first == "✓ short  [measured 1; expected 1]"
    assert second.startswith("✓ a sentence")
    assert third == "  [measured 1; expected 1; a source]"


def test_numpy_bounds_reach_the_ledger(tmp_path, monkeypatch):
    ledger = tmp_path / "ledger.jsonl"
    monkeypatch.setenv("GRADCOURSE_LEDGER", str(ledger))
    claim("numpy", np.float64(1.0), equals=np.float64(1.1), within=np.sqrt(0.04))
    claim("numpy", np.float32(1.0), between=np.array([0.5, 2.0]))
    claim("numpy", 1.0, below=np.float64(0.5))
    assert [made.true for made in read_ledger(ledger)] == [True, True, False]


def test_a_tensor_with_a_graph_is_a_number():
    claim("one", torch.ones((), requires_grad=True) * 1, equals=1)
