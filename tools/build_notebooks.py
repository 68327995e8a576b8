"""Build notebooks/*.ipynb from notebooks/source/*.py: execute, keep what is not by chance.

    python tools/build_notebooks.py             every lesson
    python tools/build_notebooks.py 01_name     the named lessons
    python tools/build_notebooks.py --check     compare without executing

The source is what an author edits. Two builds of the same source give the same bytes, unless a
lesson shows what time something took: cell ids come from the cells' text, and widget state and
model numbers are left out.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jupytext
import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

NOTEBOOKS = Path(__file__).resolve().parent.parent / "notebooks"
VIEW = "application/vnd.jupyter.widget-view+json"
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}
LANGUAGE = {"file_extension": ".py", "mimetype": "text/x-python", "name": "python"}
CELL_TIMEOUT = 300

Notebook = dict[str, Any]


class BuildError(Exception):
    """A lesson that cannot be built, told in one sentence."""


def read_source(source: Path) -> Notebook:
    """Return the notebook that a source describes, not executed, with ids made from its text."""
    try:
        parsed = jupytext.read(source, fmt="py:percent")
    except (ValueError, nbformat.ValidationError) as error:
        raise BuildError(f"the source cannot be read: {error}".partition("\n")[0]) from None
    seen: dict[str, int] = {}
    cells = []
    for cell in parsed.cells:
        text = f"{cell.cell_type}\n{cell.source}"
        turn = seen[text] = seen.get(text, -1) + 1
        digest = hashlib.sha256(f"{text}\n{turn}".encode()).hexdigest()[:12]
        built = {
            "cell_type": cell.cell_type,
            "id": digest,
            "metadata": json.loads(json.dumps(cell.metadata)),
            "source": cell.source,
        }
        if cell.cell_type == "code":
            built |= {"execution_count": None, "outputs": []}
        cells.append(built)
    metadata = {"kernelspec": KERNEL, "language_info": LANGUAGE}
    return {"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}


def execute(notebook: Notebook, folder: Path, timeout: int = CELL_TIMEOUT) -> Notebook:
    """Return the notebook with the outputs of a fresh kernel that runs in a folder.

    No cell may run for more than ``timeout`` seconds.

    Raises
    ------
    BuildError
        If a cell raises or runs too long, a widget's callback raises, or anything is written to
        standard error.
    """
    node = nbformat.from_dict(notebook)
    client = NotebookClient(
        node,
        timeout=timeout,
        kernel_name="python3",
        coalesce_streams=True,
        record_timing=False,
        extra_arguments=["--IPKernelApp.log_level=40"],
        resources={"metadata": {"path": str(folder)}},
    )
    try:
        client.execute(env=_environment())
    except CellExecutionError as error:
        raise BuildError(f"{error.ename}: {error.evalue}\n{error.traceback}") from None
    except CellTimeoutError:
        raise BuildError(f"a cell ran for more than {timeout} s") from None
    except DeadKernelError:
        raise BuildError("the kernel died") from None
    executed: Notebook = json.loads(nbformat.writes(node))
    _refuse_errors(executed)
    return _without_chance(executed)


def serialise(notebook: Notebook) -> str:
    """Return the notebook's text, one way only."""
    return json.dumps(notebook, indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def differences(source: Path, notebooks: Path) -> str | None:
    """Return how a committed notebook departs from its source, or nothing if it does not."""
    path = notebooks / f"{source.stem}.ipynb"
    if not path.exists():
        return "has never been built"
    try:
        committed = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return "is not a notebook"
    wanted = read_source(source)
    if committed.get("metadata") != wanted["metadata"]:
        return "has other notebook metadata than a build writes"
    pairs = zip(wanted["cells"], committed["cells"], strict=False)
    for number, (want, have) in enumerate(pairs, start=1):
        for key in ("cell_type", "source", "metadata", "id"):
            text = have.get(key)
            if key == "source" and isinstance(text, list):
                text = "".join(text)
            if text != want[key]:
                return f"differs from its source in cell {number} ({key})"
        if want["cell_type"] == "code" and want["source"] and have.get("execution_count") is None:
            return f"was not executed in cell {number}"
    if len(wanted["cells"]) != len(committed["cells"]):
        return f"has {len(committed['cells'])} cells, its source {len(wanted['cells'])}"
    return None


def build(source: Path, notebooks: Path) -> bool:
    """Build one lesson; return whether the committed notebook changed."""
    path = notebooks / f"{source.stem}.ipynb"
    text = serialise(execute(read_source(source), notebooks))
    if path.exists() and path.read_text(encoding="utf-8") == text:
        return False
    partial = path.with_name(f".{path.name}.part")
    partial.write_text(text, encoding="utf-8", newline="\n")
    partial.replace(path)
    return True


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    parser = argparse.ArgumentParser(description="Build the notebooks from their sources.")
    parser.add_argument("lessons", nargs="*", help="names such as 01_name; all unless given")
    parser.add_argument("--check", action="store_true", help="compare, execute nothing")
    parser.add_argument("--notebooks", type=Path, default=NOTEBOOKS, help=argparse.SUPPRESS)
    asked = parser.parse_args(arguments)
    notebooks: Path = asked.notebooks.resolve()
    sources = sorted((notebooks / "source").glob("*.py"))
    if asked.lessons:
        names = {Path(name).stem for name in asked.lessons}
        unknown = sorted(names - {source.stem for source in sources})
        if unknown:
            known = ", ".join(source.stem for source in sources)
            print(f"there is no source {unknown[0]!r}; there are {known}", file=sys.stderr)
            return 2
        sources = [source for source in sources if source.stem in names]
    if not sources:
        print(f"there are no sources in {notebooks / 'source'}", file=sys.stderr)
        return 1
    if asked.check:
        return _check(sources, notebooks, every=not asked.lessons)
    return _build(sources, notebooks)


def _build(sources: Sequence[Path], notebooks: Path) -> int:
    failed = False
    for source in sources:
        try:
            print(f"{source.stem}: {'built' if build(source, notebooks) else 'unchanged'}")
        except BuildError as error:
            print(f"{source.stem}: {error}", file=sys.stderr)
            failed = True
    return int(failed)


def _check(sources: Sequence[Path], notebooks: Path, *, every: bool) -> int:
    problems = []
    for source in sources:
        try:
            found = differences(source, notebooks)
        except BuildError as error:
            found = f"has no readable source ({error})"
        if found:
            problems.append((source.stem, found))
    if every:
        stems = {source.stem for source in sources}
        orphans = (path.stem for path in sorted(notebooks.glob("*.ipynb")))
        problems += [(stem, "has no source") for stem in orphans if stem not in stems]
    for stem, problem in problems:
        print(
            f"notebooks/{stem}.ipynb {problem}; edit notebooks/source/{stem}.py and run "
            "'make notebooks'",
            file=sys.stderr,
        )
    if not problems:
        print(f"{len(sources)} notebooks agree with their sources")
    return int(bool(problems))


def _environment() -> dict[str, str]:
    environment = dict(os.environ)
    # With a ledger a false claim would not stop the build.
    environment.pop("GRADCOURSE_LEDGER", None)
    # One thread, as in the tests: the order of a sum decides its last digit. The debugger's warning
    # on standard error is no part of a lesson.
    return environment | {"OMP_NUM_THREADS": "1", "PYDEVD_DISABLE_FILE_VALIDATION": "1"}


def _refuse_errors(notebook: Notebook) -> None:
    from gradcourse.cli.execution import find_problems

    for problem in find_problems(notebook):
        raise BuildError(str(problem))
    for cell in notebook["cells"]:
        for output in cell.get("outputs", ()):
            if output.get("name") == "stderr":
                text = "".join(output["text"]).strip()
                raise BuildError(f"cell In [{cell['execution_count']}] wrote to stderr: {text}")


def _without_chance(notebook: Notebook) -> Notebook:
    notebook["metadata"] = {"kernelspec": KERNEL, "language_info": LANGUAGE}
    for cell in notebook["cells"]:
        cell["metadata"].pop("execution", None)
        if "outputs" in cell:
            cell["outputs"] = [
                kept for output in cell["outputs"] for kept in _without_kernel(output)
            ]
    return notebook


def _without_kernel(output: dict[str, Any]) -> list[dict[str, Any]]:
    """Return what a reader without this kernel can see of an output."""
    data = output.get("data", {})
    # A view names a model by a random number, which means nothing once the kernel is gone.
    viewed = data.pop(VIEW, None) is not None
    if viewed and "image/png" in data and "text/plain" in data:
        # A reader's page shows the richest form of an output only: the words get one of their own.
        words = {"data": {"text/plain": data.pop("text/plain")}, "metadata": {}}
        return [output, {"output_type": "display_data", **words}]
    return [output] if output.get("data", True) else []


if __name__ == "__main__":
    sys.exit(main())
