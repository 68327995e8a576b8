"""Execute one lesson with papermill, and find the errors that papermill overlooks.

An exception inside a widget's callback leaves its cell in order: the traceback is an output among
others, or hides in the state of an ``Output`` widget. For a course that is a failed lesson.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gradcourse.cli.course import Refusal
from gradcourse.kernel import QUIET_KERNEL

__all__ = ["Problem", "execute", "find_problems", "parameters_of", "refuse_unknown"]

VIEW = "application/vnd.jupyter.widget-view+json"
STATE = "application/vnd.jupyter.widget-state+json"
# A kernel's ports are looked for, let go, and taken at its start: another one that starts at that
# moment may have been quicker. No cell has run by then.
STARTS = 3
DIED_AT_ITS_START = "Kernel died before replying"
MODEL_REFERENCE = re.compile(r"IPY_MODEL_([0-9A-Za-z-]+)")


@dataclass(frozen=True)
class Problem:
    """An error in an executed notebook.

    Attributes
    ----------
    place
        Where it arose: ``"cell In [7]"``.
    message
        The exception's one line.
    """

    place: str
    message: str

    def __str__(self) -> str:
        return f"{self.place}: {self.message}"


def execute(
    lesson: Path, output: Path, parameters: Mapping[str, Any], *, progress: bool = True
) -> list[Problem]:
    """Execute a lesson, leave the executed notebook, and return what went wrong.

    Parameters
    ----------
    lesson
        The notebook; it is only read.
    output
        Where the executed notebook goes, whether or not an error stops it.
    parameters
        Values for the lesson's parameters.
    progress
        Whether papermill draws its progress bar on standard error.
    """
    import nbformat
    import papermill
    from jupyter_client.kernelspec import NoSuchKernel
    from nbclient.exceptions import DeadKernelError

    died: list[Problem] = []
    for _ in range(STARTS):
        died = []
        try:
            papermill.execute_notebook(
                _literal(lesson),
                _literal(output),
                parameters=dict(parameters),
                kernel_name="python3",
                progress_bar=progress,
                extra_arguments=QUIET_KERNEL,
            )
        except papermill.PapermillExecutionError:
            pass  # The executed notebook holds it, together with any error before it.
        except DeadKernelError:
            died = [Problem("the kernel", "it died, perhaps for want of memory")]
        except NoSuchKernel:
            raise Refusal("there is no Python kernel here; install ipykernel", code=1) from None
        except RuntimeError as error:
            if DIED_AT_ITS_START not in str(error):
                raise
            died = [Problem("the kernel", f"it died at its start, {STARTS} times")]
            continue
        break
    return find_problems(nbformat.read(output, as_version=4)) + died


def find_problems(notebook: Mapping[str, Any]) -> list[Problem]:
    """Return every error that an executed notebook holds, in reading order.

    Parameters
    ----------
    notebook
        A notebook of format 4 as papermill or JupyterLab leaves it, widget state included.
    """
    models: Mapping[str, Any] = (
        notebook.get("metadata", {}).get("widgets", {}).get(STATE, {}).get("state", {})
    )
    failing = {
        name: messages
        for name, model in models.items()
        if (messages := list(_errors(model.get("state", {}).get("outputs", ()))))
    }
    problems = []
    for cell in notebook["cells"]:
        outputs = cell.get("outputs", ())
        place = f"cell In [{cell.get('execution_count')}]"
        problems += [Problem(place, message) for message in _errors(outputs)]
        for name in _shown_models(outputs, models):
            inside = f"{place}, in a widget's callback"
            problems += [Problem(inside, message) for message in failing.pop(name, ())]
    for messages in failing.values():
        problems += [Problem("a widget's callback", message) for message in messages]
    return problems


def parameters_of(lesson: Path) -> list[str]:
    """Return the names of the parameters of a lesson."""
    import papermill

    return list(papermill.inspect_notebook(_literal(lesson)))


def refuse_unknown(names: Iterable[str], lesson: Path) -> None:
    """Refuse parameters that a lesson does not have, naming those that it has."""
    known = parameters_of(lesson)
    unknown = [name for name in names if name not in known]
    if unknown:
        has = f"its parameters are {', '.join(known)}" if known else "it has no parameters"
        raise Refusal(f"{lesson.stem} has no parameter {unknown[0]!r}; {has}")


def _errors(outputs: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    for output in outputs:
        if output.get("output_type") == "error":
            first_line = str(output.get("evalue", "")).strip().partition("\n")[0]
            yield f"{output.get('ename')}: {first_line}".removesuffix(": ")


def _shown_models(outputs: Sequence[Mapping[str, Any]], models: Mapping[str, Any]) -> list[str]:
    waiting = [
        output["data"][VIEW]["model_id"] for output in outputs if VIEW in output.get("data", {})
    ]
    seen: dict[str, None] = {}
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen[name] = None
            waiting += MODEL_REFERENCE.findall(str(models.get(name, {}).get("state", {})))
    return list(seen)


def _literal(path: Path) -> str:
    # Papermill reads a path as a format string, and a bare name as one of its own addresses.
    return str(path.resolve()).replace("{", "{{").replace("}", "}}")
