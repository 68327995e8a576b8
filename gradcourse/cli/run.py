"""``gradcourse run``: execute lessons and keep the executed notebooks."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gradcourse.cli.course import Refusal, find_course, pick_lessons
from gradcourse.cli.execution import execute, refuse_unknown

__all__ = ["parse_parameters", "run"]


def run(words: Sequence[str], *, parameters: Sequence[str], folder: Path) -> int:
    """Execute lessons, print where each executed notebook lies, and report what failed."""
    lessons = pick_lessons(words, find_course())
    values = parse_parameters(parameters)
    if values:
        for lesson in lessons:
            refuse_unknown(values, lesson)
    _make(folder)
    failed = False
    for lesson in lessons:
        output = _reserve(folder, lesson.stem)
        try:
            problems = execute(lesson, output, values)
        finally:
            if not output.stat().st_size:
                output.unlink()
        for problem in problems[:1]:
            more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
            print(f"gradcourse: {lesson.stem}, {problem}{more}; see {output}", file=sys.stderr)
            failed = True
        if not problems:
            print(output)
    return int(failed)


def parse_parameters(texts: Sequence[str]) -> dict[str, Any]:
    """Read ``name=value`` words; values are YAML, so numbers, lists and true or false work.

    Examples
    --------
    >>> parse_parameters(["depth=80", "rate=1e-3", "activation=[tanh, relu]"])
    {'depth': 80, 'rate': 0.001, 'activation': ['tanh', 'relu']}
    """
    import yaml

    values: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not (equals and name.isidentifier()):
            raise Refusal(f"a parameter is written name=value, such as depth=80, got {text!r}")
        try:
            values[name] = _number_if_it_is_one(yaml.safe_load(value))
        except yaml.YAMLError:
            raise Refusal(f"the value in {text!r} cannot be read; put it in quotes") from None
    return values


def _number_if_it_is_one(value: Any) -> Any:
    # YAML 1.1 takes 1e-3 for a word, and learning rates are written that way.
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return value


def _make(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise Refusal(f"{folder} is a file; give a folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(folder, error) from error


def _reserve(folder: Path, stem: str) -> Path:
    number = 1
    while True:
        output = folder / (f"{stem}.ipynb" if number == 1 else f"{stem}-{number}.ipynb")
        try:
            output.open("x").close()
        except FileExistsError:
            number += 1
        except OSError as error:
            raise _unwritable(folder, error) from error
        else:
            return output


def _unwritable(folder: Path, error: OSError) -> Refusal:
    reason = error.strerror or str(error)
    return Refusal(f"cannot write in {folder}: {reason}; give another folder with -o", code=1)
