"""Checks for exercises: they accept a right answer and say what a wrong one got wrong.

A check returns a verdict, which a notebook shows as one line and a test reads as a bool. It never
raises for a wrong or a missing answer, so that a notebook with an untouched exercise still runs
from top to bottom.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["Verdict", "as_prediction", "check_function", "check_number"]


@dataclass(frozen=True, repr=False)
class Verdict:
    """What a check says of an answer; true if the answer is right."""

    right: bool
    words: str

    def __bool__(self) -> bool:
        return self.right

    def __repr__(self) -> str:
        return f"{'✓ right:' if self.right else '… not yet:'} {self.words}".rstrip()


def as_prediction(value: Any) -> float | None:
    """Return what the learner predicts as a number; ``None`` and ``...`` mean no prediction yet.

    Raises
    ------
    ValueError
        If it is something else, or too large to be drawn.
    """
    if value is None or value is ...:
        return None
    if isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= 1e6:
        return float(value)
    raise ValueError(
        f"prediction must be a number up to a million, or None, got {repr(value)[:60]}"
    )


def check_number(
    answer: Any,
    expected: float,
    *,
    within: float = 0.01,
    mistakes: Mapping[float, str] | None = None,
    hint: str = "",
) -> Verdict:
    """Check a number that the learner computed.

    Parameters
    ----------
    answer
        The learner's number; ``None`` or ``...`` means "not answered yet".
    expected
        The right number.
    within
        Relative tolerance, also for recognising a mistake.
    mistakes
        Typical wrong numbers, each with a hint that fits.
    hint
        What to say to any other wrong number.
    """
    if answer is None or answer is ...:
        return Verdict(False, f"replace the dots by your answer. {hint}")
    try:
        number = float(answer)
    except (TypeError, ValueError, OverflowError):
        return Verdict(False, f"the answer must be a number, got {repr(answer)[:60]}")
    if math.isnan(number):
        return Verdict(False, f"the answer is NaN: the logarithm of a negative number? {hint}")
    if math.isclose(number, expected, rel_tol=within):
        return Verdict(True, f"{number:.6g}")
    for wrong, why in (mistakes or {}).items():
        if math.isclose(number, wrong, rel_tol=within):
            return Verdict(False, why)
    return Verdict(False, f"{number:.6g} is too {'high' if number > expected else 'low'}. {hint}")


def check_function(
    function: Callable[..., Any],
    expected: Callable[..., float],
    cases: Sequence[tuple[Any, ...]],
    *,
    within: float = 0.01,
    mistakes: Sequence[tuple[Callable[..., float], str]] = (),
    hint: str = "",
) -> Verdict:
    """Check a function that the learner wrote, on several cases.

    Parameters
    ----------
    function
        The learner's function.
    expected
        A right one.
    cases
        The arguments to try, one tuple for each call.
    within
        Relative tolerance, also for recognising a mistake.
    mistakes
        Functions that make a typical mistake, each with a hint that fits.
    hint
        What to say to any other wrong function.
    """
    name = getattr(function, "__name__", "the function")
    answers: list[float] = []
    for case in cases:
        call = f"{name}({', '.join(f'{argument!r}' for argument in case)})"
        try:
            answer = function(*case)
        except Exception as error:
            return Verdict(False, f"{call} raised {type(error).__name__}: {error}")
        if answer is None or answer is ...:
            return Verdict(False, f"{call} returns nothing. {hint}")
        try:
            answers.append(float(answer))
        except (TypeError, ValueError, OverflowError):
            return Verdict(False, f"{call} must return a number, got {answer!r}")
    if _agree(answers, expected, cases, within):
        return Verdict(True, f"{name} agrees in all {len(cases)} cases")
    for wrong, why in mistakes:
        if _agree(answers, wrong, cases, within):
            return Verdict(False, why)
    for case, answer in zip(cases, answers, strict=True):
        if not math.isclose(answer, expected(*case), rel_tol=within):
            call = f"{name}({', '.join(f'{argument!r}' for argument in case)})"
            wanted = expected(*case)
            return Verdict(False, f"{call} should be {wanted:.4g}, got {answer:.4g}. {hint}")
    raise AssertionError("unreachable: some case disagrees")


def _agree(
    answers: Sequence[float],
    function: Callable[..., float],
    cases: Sequence[tuple[Any, ...]],
    within: float,
) -> bool:
    return all(
        math.isclose(answer, function(*case), rel_tol=within)
        for answer, case in zip(answers, cases, strict=True)
    )
