"""Where the course's notebooks are, and which one a learner means."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import gradcourse

__all__ = ["Refusal", "find_course", "list_lessons", "pick_lessons"]

COURSE_VARIABLE = "GRADCOURSE_NOTEBOOKS"


class Refusal(Exception):  # noqa: N818 - an answer to the reader, not a fault of the program
    """A request that is not carried out, told in one sentence.

    Attributes
    ----------
    code
        The exit code: 1 when the world is in the way, 2 when the request itself is wrong.
    """

    def __init__(self, sentence: str, code: int = 2) -> None:
        super().__init__(sentence)
        self.code = code


def find_course() -> Path:
    """Return the folder of the course's notebooks.

    An installed wheel carries them inside the package; an editable install finds them beside it.
    ``GRADCOURSE_NOTEBOOKS`` names another folder, for people who write their own lessons.
    """
    named = os.environ.get(COURSE_VARIABLE)
    if named:
        if not Path(named).is_dir():
            raise Refusal(f"{COURSE_VARIABLE} names {named}, which is not a folder")
        return Path(named).resolve()
    package = Path(gradcourse.__file__).resolve().parent
    inside, beside = package / "notebooks", package.parent / "notebooks"
    if inside.is_dir():
        return inside
    if beside.is_dir() and (package.parent / "pyproject.toml").is_file():
        return beside
    raise Refusal("this installation holds no notebooks; install gradcourse again", code=1)


def list_lessons(course: Path) -> list[Path]:
    """Return the lessons of a course folder in teaching order."""
    lessons = sorted(path for path in course.glob("*.ipynb") if not path.name.startswith("."))
    if not lessons:
        raise Refusal(f"there are no lessons in {course}", code=1)
    return lessons


def pick_lessons(words: Sequence[str], course: Path) -> list[Path]:
    """Return the lessons that the words mean, each once; no word means every lesson.

    Parameters
    ----------
    words
        A number (``"01"`` or ``"1"``), a file name with or without its ending, or any part of one
        name and no other.
    course
        The folder of the notebooks.
    """
    lessons = list_lessons(course)
    if not words:
        return lessons
    return list(dict.fromkeys(_pick(word, lessons) for word in words))


def _pick(word: str, lessons: list[Path]) -> Path:
    stem = Path(word).name.removesuffix(".ipynb").casefold()
    exact = [lesson for lesson in lessons if lesson.stem.casefold() == stem]
    if stem.isdecimal():
        found = exact or [lesson for lesson in lessons if _number(lesson) == int(stem)]
    else:
        found = exact or [lesson for lesson in lessons if stem and stem in lesson.stem.casefold()]
    if len(found) == 1:
        return found[0]
    if found:
        raise Refusal(f"{word!r} could be {_listed(found)}; write more of the name")
    raise Refusal(f"there is no lesson {word!r}; the lessons are {_listed(lessons)}")


def _number(lesson: Path) -> int | None:
    head = lesson.stem.split("_")[0]
    return int(head) if head.isdecimal() else None


def _listed(lessons: Iterable[Path]) -> str:
    return ", ".join(lesson.stem for lesson in lessons)
