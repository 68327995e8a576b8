"""``gradcourse lecture``: a lesson at projector size, its live figures one after the other."""

from __future__ import annotations

import socket
from importlib.util import find_spec
from pathlib import Path

import nbformat

from gradcourse.cli.course import Refusal, find_course, pick_lessons
from gradcourse.cli.ports import refuse_taken

__all__ = ["lecture", "print_notes"]

NOTES = Path(__file__).parents[1] / "lecture" / "notes"
EXTRA = ("voila", "latex2mathml")


def lecture(word: str, *, host: str, port: int | None, browser: bool, scheme: str | None) -> int:
    """Show the course's version of a lesson as slides until Ctrl-C is pressed."""
    lesson = _lesson(word)
    if any(find_spec(name) is None for name in EXTRA):
        raise Refusal(
            'a lecture needs Voila, which is not installed: pip install "gradcourse[lecture]"',
            code=1,
        )
    _refuse_foreign(host)
    if port is not None:
        refuse_taken(port, host)
    from gradcourse.lecture.server import serve
    from gradcourse.lecture.slides import make_lecture

    try:
        slides = make_lecture(nbformat.read(lesson, as_version=4))
    except ValueError as error:
        raise Refusal(f"{lesson.stem} makes no lecture: {error}") from None
    serve(slides, host=host, port=port, browser=browser, scheme=scheme)
    return 0


def print_notes(word: str) -> int:
    """Print what the lecturer asks, moves and says at each figure of a lesson."""
    lesson = _lesson(word)
    notes = NOTES / f"{lesson.stem}.md"
    if not notes.is_file():
        raise Refusal(f"there are no speaker notes for {lesson.stem}", code=1)
    print(notes.read_text(encoding="utf-8").strip())
    return 0


def _lesson(word: str) -> Path:
    (lesson,) = pick_lessons([word], find_course())
    return lesson


def _refuse_foreign(host: str) -> None:
    """Refuse a host on which nobody can listen, before Voila would say so in its own way."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.bind(address)
    except OSError:
        raise Refusal(
            f"{host} is no address of this machine; 0.0.0.0 means all of its addresses"
        ) from None
