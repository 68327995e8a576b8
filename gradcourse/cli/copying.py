"""Copy the course into a learner's folder and never lose a learner's work.

A hidden manifest in that folder remembers, by its hashes, every version that the course put there.
A notebook that is remembered, or differs from one only by what running it writes, may be replaced;
any other is the learner's. One that was run is replaced only when there is another lesson to bring,
so that its results stay as long as they can. The manifest is written before the notebooks and each
file appears whole or not at all, so a copy that is stopped at any moment is completed by the next
one.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gradcourse import __version__
from gradcourse.cli.course import Refusal, list_lessons

__all__ = ["Copied", "copy_course"]

MANIFEST = ".gradcourse.json"
PARTIAL_ENDING = ".gradcourse-part"
# What running or looking at a notebook writes into the metadata of a cell, and of the whole.
OF_A_RUN = {"collapsed", "execution", "jupyter", "scrolled", "trusted"}
OF_A_KERNEL = {"kernelspec", "language_info", "widgets"}


@dataclass
class Copied:
    """What one copy did, as file names.

    Attributes
    ----------
    added
        Notebooks that were not there.
    updated
        Notebooks that were as shipped, or only run, and are now the course's present version.
    kept
        Notebooks that the learner changed; they were not touched.
    beside
        Present versions that now lie beside a kept notebook, under a name of their own.
    """

    added: list[str] = field(default_factory=list)
    updated: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    beside: list[str] = field(default_factory=list)


def copy_course(course: Path, folder: Path, *, beside: bool = False) -> Copied:
    """Copy the lessons of a course into a learner's folder.

    Parameters
    ----------
    course
        The folder of the course's notebooks; it is only read.
    folder
        The learner's folder; it is made if need be.
    beside
        Whether the present version of a changed notebook is put beside it as ``NAME.new.ipynb``.
        A changed ``NAME.new.ipynb`` is not overwritten either: the next one is
        ``NAME.new-2.ipynb``.

    Raises
    ------
    Refusal
        If the folder is a file, the course's own folder, or cannot be written.
    """
    if folder.exists() and not folder.is_dir():
        raise Refusal(f"{folder} is a file; give a folder")
    if folder.resolve() == course.resolve():
        raise Refusal(f"{folder} is the course's own folder; give one for your copies")
    lessons = list_lessons(course)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return _copy(lessons, folder, beside)
    except OSError as error:
        reason = error.strerror or str(error)
        raise Refusal(
            f"cannot write in {folder}: {reason}; give another folder: gradcourse lab DIR", code=1
        ) from error


def _copy(lessons: list[Path], folder: Path, beside: bool) -> Copied:
    _remove_leftovers(folder)
    contents = {lesson.name: lesson.read_bytes() for lesson in lessons}
    shipped = _remember(folder, contents)
    done = Copied()
    for name, content in contents.items():
        path = folder / name
        match _state(path, content, shipped[name]):
            case "absent":
                _write(path, content)
                done.added.append(name)
            case "as shipped":
                _write(path, content)
                done.updated.append(name)
            case "changed":
                done.kept.append(name)
                if beside:
                    done.beside.append(_put_beside(path, content, shipped[name]))
    return done


def _put_beside(kept: Path, content: bytes, shipped: list[str]) -> str:
    number = 1
    while True:
        suffix = ".new" if number == 1 else f".new-{number}"
        path = kept.with_name(f"{kept.stem}{suffix}.ipynb")
        state = _state(path, content, shipped)
        if state != "changed":
            if state != "present":
                _write(path, content)
            return path.name
        number += 1


def _state(path: Path, content: bytes, shipped: list[str]) -> str:
    if not os.path.lexists(path):
        return "absent"
    try:
        here = path.read_bytes()
    except OSError:
        # A folder, a broken link, a file that may not be read: not ours to replace.
        return "changed"
    if here == content:
        return "present"
    if _digest(here) in shipped:
        return "as shipped"
    lesson = _lesson(here)
    if lesson is None:
        return "changed"
    if lesson == _lesson(content):
        return "present"
    return "as shipped" if _digest(lesson) in shipped else "changed"


def _remember(folder: Path, contents: dict[str, bytes]) -> dict[str, list[str]]:
    shipped = _read_manifest(folder)
    before = json.dumps(shipped)
    for name, content in contents.items():
        known = shipped.setdefault(name, [])
        for version in (content, _lesson(content)):
            if version is not None and _digest(version) not in known:
                known.append(_digest(version))
    if json.dumps(shipped) != before or not (folder / MANIFEST).is_file():
        text = json.dumps({"gradcourse": __version__, "shipped": shipped}, indent=1)
        _write(folder / MANIFEST, (text + "\n").encode())
    return shipped


def _read_manifest(folder: Path) -> dict[str, list[str]]:
    try:
        shipped = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["shipped"]
        return {str(name): [str(one) for one in known] for name, known in shipped.items()}
    except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError):
        # Without a readable manifest every notebook that differs counts as the learner's.
        return {}


def _lesson(content: bytes) -> bytes | None:
    """Return what a person wrote into a notebook, or None if it is none that can be read."""
    try:
        notebook = json.loads(content)
        cells = [
            {
                "type": cell["cell_type"],
                "source": "".join(cell["source"]),
                "metadata": _without(cell.get("metadata", {}), OF_A_RUN),
                "attachments": cell.get("attachments", {}),
            }
            for cell in notebook["cells"]
        ]
        whole = {"cells": cells, "metadata": _without(notebook["metadata"], OF_A_KERNEL)}
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    return json.dumps(whole, sort_keys=True).encode()


def _without(metadata: dict[str, Any], names: set[str]) -> dict[str, Any]:
    return {name: value for name, value in metadata.items() if name not in names}


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _write(path: Path, content: bytes) -> None:
    partial = path.with_name(f".{path.name}.{os.getpid()}{PARTIAL_ENDING}")
    try:
        with partial.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _remove_leftovers(folder: Path) -> None:
    import psutil

    for partial in folder.glob(f".*{PARTIAL_ENDING}"):
        writer = partial.name.removesuffix(PARTIAL_ENDING).rpartition(".")[2]
        if not (writer.isdecimal() and psutil.pid_exists(int(writer))):
            partial.unlink(missing_ok=True)
