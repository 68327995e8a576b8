"""What a figure says: of a result, of an error, and where it stands on the page."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any

from gradcourse.live.controls import words

__all__ = ["in_words", "status", "summary_of"]

# What still fits into a picture that says a sentence instead.
LONGEST_SENTENCE = 400


def in_words(error: BaseException) -> str:
    """Return an error as a sentence; of one that is meant for the reader, its own."""
    said = " ".join(str(error).split())
    if not isinstance(error, ValueError) or not said:
        said = f"{type(error).__name__}: {said}".removesuffix(": ")
    return textwrap.shorten(said, LONGEST_SENTENCE, placeholder=" …")


def summary_of(result: Any, settings: Mapping[str, Any]) -> str:
    """Return the line of text of a result; without one, its settings."""
    summary = getattr(result, "summary", None)
    if summary is None:
        return words(settings)
    return str(summary() if callable(summary) else summary)


def status(text: str) -> str:
    """Return HTML that a screen reader says whenever it changes."""
    return (
        f'<div role="status" style="font-size:1.1em;line-height:1.4;min-height:4.4em">{text}</div>'
    )
