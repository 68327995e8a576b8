"""A claim: one sentence of the course, checked against a measurement each time it is read.

``claim`` prints a line and raises when the sentence is false, so a notebook cannot state what it
does not show. ``gradcourse claims`` collects the claims of the whole course into one ledger: it
names a file in the environment variable ``GRADCOURSE_LEDGER``, and every claim then writes itself
there, true or false, instead of stopping at the first false one.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import SupportsFloat

__all__ = ["Claim", "ClaimError", "claim", "read_ledger"]

LEDGER_VARIABLE = "GRADCOURSE_LEDGER"


class ClaimError(AssertionError):
    """A sentence of the course that the measurement contradicts."""


@dataclass(frozen=True)
class Claim:
    """One checked sentence.

    Attributes
    ----------
    sentence
        What the course says.
    measured
        The number that was measured.
    expected
        What the sentence allows, in words: ``"0.33 to 3"``, ``"0.2247 within 1e-06"``.
    source
        Where the statement comes from: a paper and an equation, or "calculus".
    true
        Whether the measurement agrees.
    """

    sentence: str
    measured: float
    expected: str
    source: str
    true: bool

    def __str__(self) -> str:
        mark = "✓" if self.true else "✗ FALSE:"
        source = f"; {self.source}" if self.source else ""
        sentence = f"{mark} {self.sentence}"
        # Four digits can hide by how little a claim is false.
        measured = _number(self.measured) if self.true else f"{self.measured:.9g}"
        numbers = f"[measured {measured}; expected {self.expected}{source}]"
        # A projected notebook is about this wide, and would break a longer line inside a word.
        fits = len(sentence) + len(numbers) + 2 <= 88
        return f"{sentence}  {numbers}" if fits else f"{sentence}\n  {numbers}"


def claim(
    sentence: str,
    measured: SupportsFloat,
    *,
    equals: float | None = None,
    within: float | None = None,
    between: Sequence[float] | None = None,
    below: float | None = None,
    above: float | None = None,
    source: str = "",
) -> None:
    """Check one sentence, print it with its measurement, and raise if it is false.

    Parameters
    ----------
    sentence
        The statement, in the reader's words.
    measured
        The measured number. NaN makes any claim false.
    equals, within
        The claim holds if ``abs(measured - equals) <= within``; ``within`` is 0 unless given.
    between
        A pair ``(low, high)``; the claim holds if ``low <= measured <= high``.
    below, above
        The claim holds if ``measured < below`` (or ``measured > above``).
    source
        Paper and equation, or the branch of mathematics, that predicts it.

    Raises
    ------
    ClaimError
        If the measurement contradicts the sentence (and no ledger is being kept).
    ValueError
        If not exactly one kind of expectation is given, or it is malformed.

    Examples
    --------
    >>> claim("sigmoid' is at most 1/4", 0.25, equals=0.25, source="calculus")
    ✓ sigmoid' is at most 1/4  [measured 0.25; expected 0.25; calculus]
    """
    # Torch warns when a tensor that still has its graph becomes a number.
    detach = getattr(measured, "detach", None)
    number = float(measured if detach is None else detach())
    true, expected = _judge(number, equals, within, between, below, above)
    # A comparison with a NumPy bound is a NumPy bool, which JSON does not know.
    made = Claim(sentence, number, expected, source, bool(true))
    ledger = os.environ.get(LEDGER_VARIABLE)
    if ledger:
        with Path(ledger).open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(made)) + "\n")
    elif not true:
        raise ClaimError(str(made))
    print(made)


def read_ledger(path: str | os.PathLike[str]) -> list[Claim]:
    """Return the claims that were written to a ledger file, in the order they were made."""
    lines = Path(path).read_text(encoding="utf-8").splitlines()
    return [Claim(**json.loads(line)) for line in lines]


def _judge(
    measured: float,
    equals: float | None,
    within: float | None,
    between: Sequence[float] | None,
    below: float | None,
    above: float | None,
) -> tuple[bool, str]:
    if sum(bound is not None for bound in (equals, between, below, above)) != 1:
        raise ValueError("give exactly one of equals, between, below and above")
    if within is not None and (equals is None or not within >= 0):
        raise ValueError(f"within must be 0 or more and goes with equals, got within={within}")
    if equals is not None:
        tolerance = within or 0.0
        suffix = f" within {tolerance:.2g}" if tolerance else ""
        near = measured == equals or abs(measured - equals) <= tolerance
        return near, f"{_number(equals)}{suffix}"
    if between is not None:
        low, high = between
        if not low <= high:
            raise ValueError(f"between must be (low, high) with low <= high, got {between}")
        return low <= measured <= high, f"{_number(low)} to {_number(high)}"
    if below is not None:
        return measured < below, f"below {_number(below)}"
    assert above is not None
    return measured > above, f"above {_number(above)}"


def _number(value: float) -> str:
    if math.isfinite(value) and value == int(value) and abs(value) < 1e6:
        return str(int(value))
    return f"{value:.4g}"
