"""Checks for exercises: they accept a right answer and say what a wrong one got wrong.

A check prints one line and returns whether the answer is right. It never raises for a wrong or a
missing answer, so that a notebook with an untouched exercise still runs from top to bottom.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

__all__ = ["check_function", "check_number"]

NOT_YET = "… not yet:"


def check_number(
    answer: Any,
    expected: float,
    *,
    within: float = 0.01,
    mistakes: Mapping[float, str] | None = None,
    hint: str = "",
) -> bool:
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
        return _say(NOT_YET, f"replace the dots by your answer. {hint}")
    try:
        number = float(answer)
    except (TypeError, ValueError):
        return _say(NOT_YET, f"the answer must be a number, got {answer!r}")
    if math.isclose(number, expected, rel_tol=within):
        return _say("✓ right:", f"{number:.6g}")
    for wrong, why in (mistakes or {}).items():
        if math.isclose(number, wrong, rel_tol=within):
            return _say(NOT_YET, why)
    return _say(NOT_YET, f"{number:.6g} is too {'high' if number > expected else 'low'}. {hint}")


def check_function(
    function: Callable[..., Any],
    expected: Callable[..., float],
    cases: Sequence[tuple[Any, ...]],
    *,
    within: float = 0.01,
    mistakes: Sequence[tuple[Callable[..., float], str]] = (),
    hint: str = "",
) -> bool:
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
            return _say(NOT_YET, f"{call} raised {type(error).__name__}: {error}")
        if answer is None or answer is ...:
            return _say(NOT_YET, f"{call} returns nothing. {hint}")
        try:
            answers.append(float(answer))
        except (TypeError, ValueError):
            return _say(NOT_YET, f"{call} must return a number, got {answer!r}")
    if _agree(answers, expected, cases, within):
        return _say("✓ right:", f"{name} agrees in all {len(cases)} cases")
    for wrong, why in mistakes:
        if _agree(answers, wrong, cases, within):
            return _say(NOT_YET, why)
    for case, answer in zip(cases, answers, strict=True):
        if not math.isclose(answer, expected(*case), rel_tol=within):
            call = f"{name}({', '.join(f'{argument!r}' for argument in case)})"
            return _say(
                NOT_YET, f"{call} should be {expected(*case):.4g}, got {answer:.4g}. {hint}"
            )
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


def _say(mark: str, words: str) -> bool:
    print(f"{mark} {words}".rstrip())
    return mark.startswith("✓")
