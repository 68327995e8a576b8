"""What a reader of the course waits for: imports, the first picture, each lesson, the install.

    python -m benchmarks.course               everything
    python -m benchmarks.course 01 09         these lessons
    python -m benchmarks.course --quick       two rounds of each, and rougher
    python -m benchmarks.course --no-browser  without JupyterLab and Chromium

Every measurement is taken in fresh processes, on as many threads as a reader has. Files are read
from the system's cache, as on a second start; the first one after an installation takes longer.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import nbformat

from benchmarks.browser import UnusableError, open_chromium
from benchmarks.first_picture import in_a_kernel, in_jupyterlab
from benchmarks.install_size import environment_size, own_size, required_sizes
from benchmarks.report import interleaved, machine, ratios, spread, table
from gradcourse.cli.course import Refusal, find_course, pick_lessons

BASE = "import torch"
MODULES = ("signals", "live", "theory", "clipping", "diagnosis", "training", "initialization")
# Beyond these a lesson is named.
LONGEST, LARGEST = 60.0, 1.5e9
# The last cell of a lesson's copy: the kernel says what it needed at most.
PEAK = """\
import sys
if sys.platform == "win32":
    import psutil
    print(psutil.Process().memory_info().peak_wset)
else:
    import resource
    unit = 1 if sys.platform == "darwin" else 1024
    print(unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""
Times = dict[str, list[float]]


def main(arguments: list[str] | None = None) -> None:
    """Measure, and print the tables as they are ready."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("lessons", nargs="*", metavar="LESSON", help="01, a name, or part of one")
    parser.add_argument("--rounds", type=int, default=10, help="measurements of each (default 10)")
    parser.add_argument("--quick", action="store_true", help="two rounds, lessons run once")
    parser.add_argument("--no-browser", dest="browser", action="store_false")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep every measurement here")
    chosen = parser.parse_args(arguments)
    rounds = 2 if chosen.quick else chosen.rounds
    try:
        lessons = pick_lessons(chosen.lessons, find_course())
    except Refusal as refusal:
        parser.error(str(refusal))
    where = machine(*(f"{name} {version(name)}" for name in ("torch", "ipywidgets", "jupyterlab")))
    print(where, flush=True)
    kept = {
        "machine": where,
        "imports": show_imports(lessons, rounds),
        "first picture in a kernel": show_kernels(lessons[:2], rounds),
        "first picture in JupyterLab": show_pages(lessons, rounds) if chosen.browser else {},
        "lessons": show_lessons(lessons, max(rounds // 3, 1)),
        "bytes": show_install(),
    }
    if chosen.json:
        chosen.json.write_text(json.dumps(kept, indent=1), encoding="utf-8")


def show_imports(lessons: Sequence[Path], rounds: int) -> Times:
    """Print what imports cost, each in an interpreter of its own."""
    statements = {"python -c pass": "pass", BASE: BASE, "import gradcourse": "import gradcourse"}
    statements |= {f"import gradcourse.{name}": f"import gradcourse.{name}" for name in MODULES}
    statements |= {f"the imports of {one.stem}": imports_of(one) for one in lessons}
    ways: dict[str, Callable[[], object]] = {
        label: partial(subprocess.run, [sys.executable, "-c", statement], check=True)
        for label, statement in statements.items()
    }
    times = interleaved(ways, rounds, warm_up=1)
    compared = ratios(times, BASE)
    rows = [[label, spread(times[label]), spread(compared[label])] for label in times]
    show("Imports, each in a fresh interpreter", ["", "seconds", f"ratio to {BASE}"], rows)
    return times


def imports_of(lesson: Path) -> str:
    """Return the import statements of a lesson's code cells."""
    cells = nbformat.read(lesson, as_version=4).cells
    code = "\n".join(cell.source for cell in cells if cell.cell_type == "code")
    kinds = (ast.Import, ast.ImportFrom)
    return "\n".join(ast.unparse(line) for line in ast.parse(code).body if isinstance(line, kinds))


def show_kernels(lessons: Sequence[Path], rounds: int) -> dict[str, Times]:
    """Print how soon a fresh kernel gives a lesson's first live figure, without a page."""
    ways = {lesson.stem: partial(in_a_kernel, lesson) for lesson in lessons}
    stages = {name: gathered([way() for _ in range(rounds)]) for name, way in ways.items()}
    for name, times in stages.items():
        show_stages(f"{name}: from a kernel's start to its first live figure, no page", times)
    return stages


def show_pages(lessons: Sequence[Path], rounds: int) -> Times:
    """Print how soon JupyterLab shows a lesson's first live picture, or why it was not timed."""
    two = lessons[0], lessons[min(1, len(lessons) - 1)]
    try:
        with open_chromium() as browser:
            times = gathered([in_jupyterlab(browser, *two) for _ in range(rounds)])
            chromium = f"Chromium {browser.version}, headless and started beforehand"
    except UnusableError as reason:
        print(f"\nNo picture was timed in JupyterLab: {reason}", flush=True)
        return {}
    show_stages(f"JupyterLab and the first live picture painted ({chromium})", times)
    return times


def gathered(rounds: Sequence[Mapping[str, float]]) -> Times:
    """Return the measurements of each stage."""
    return {stage: [one[stage] for one in rounds] for stage in rounds[0]}


def show_stages(title: str, times: Times) -> None:
    """Print the seconds of each stage."""
    show(title, ["", "seconds"], [[stage, spread(seconds)] for stage, seconds in times.items()])


@dataclass(frozen=True)
class Run:
    """One run of a lesson.

    Attributes
    ----------
    seconds
        Of ``gradcourse run``.
    peak
        The most memory that its kernel held, in bytes; None if the lesson failed.
    failure
        What the command said, if it failed.
    """

    seconds: float
    peak: int | None
    failure: str


def show_lessons(lessons: Sequence[Path], rounds: int) -> dict[str, list[dict[str, Any]]]:
    """Print each lesson's run time and peak memory, and name those beyond the limits."""
    runs: dict[str, list[Run]] = {lesson.stem: [] for lesson in lessons}
    with tempfile.TemporaryDirectory(prefix="gradcourse-bench-") as folder:
        for lesson in lessons:
            copy_with_peak(lesson, Path(folder))
        for _ in range(rounds):
            for name, so_far in runs.items():
                so_far.append(run_lesson(name, Path(folder)))
    rows, beyond = [], []
    for name, so_far in runs.items():
        seconds = [run.seconds for run in so_far]
        peaks = [run.peak for run in so_far if run.peak is not None]
        failures = [run.failure for run in so_far if run.failure]
        memory = spread([peak / 1e9 for peak in peaks]) if peaks else "-"
        rows.append([name, spread(seconds), memory, failures[0] if failures else ""])
        if median(seconds) > LONGEST or max(peaks, default=0) > LARGEST:
            beyond.append(name)
    show("Each lesson by `gradcourse run`", ["", "seconds", "peak memory, GB", "failure"], rows)
    limits = f"{LONGEST:.0f} s or {LARGEST / 1e9:.1f} GB"
    print(f"Beyond {limits}: {', '.join(beyond)}." if beyond else f"No lesson is beyond {limits}.")
    return {name: [asdict(run) for run in so_far] for name, so_far in runs.items()}


def copy_with_peak(lesson: Path, folder: Path) -> None:
    """Copy a lesson, with a last cell that prints the peak memory of its kernel."""
    notebook = nbformat.read(lesson, as_version=4)
    notebook.cells.append(nbformat.v4.new_code_cell(PEAK))
    nbformat.write(notebook, folder / lesson.name)


def run_lesson(name: str, folder: Path) -> Run:
    """Run the copy of a lesson by the course's own command."""
    with tempfile.TemporaryDirectory(prefix="gradcourse-bench-") as output:
        began = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-m", "gradcourse", "run", name, "-o", output],
            cwd=output,
            env=os.environ | {"GRADCOURSE_NOTEBOOKS": str(folder)},
            capture_output=True,
            text=True,
            check=False,
        )
        seconds = time.perf_counter() - began
        if done.returncode:
            return Run(seconds, None, done.stderr.strip().rpartition("\n")[2])
        executed = nbformat.read(Path(output) / f"{name}.ipynb", as_version=4)
        return Run(seconds, int(executed.cells[-1].outputs[0].text), "")


def show_install() -> dict[str, int]:
    """Print what the installation takes on the disk."""
    sizes = required_sizes()
    plain, packed = own_size()
    rows = [[name, f"{size / 1e6:.1f}"] for name, size in list(sizes.items())[:10]]
    rows += [
        [f"the {len(sizes)} packages that gradcourse needs", f"{sum(sizes.values()) / 1e6:.0f}"],
        ["gradcourse itself, with its notebooks", f"{plain / 1e6:.2f}"],
        ["gradcourse itself, packed as its wheel is", f"{packed / 1e6:.2f}"],
        ["every package of this environment", f"{environment_size() / 1e6:.0f}"],
    ]
    show("The install: the ten largest packages, and sums", ["", "MB"], rows)
    return sizes | {"gradcourse": plain, "gradcourse, packed": packed}


def show(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table under its title at once, for the next one takes a while."""
    print(f"\n{title}\n\n{table(head, rows)}", flush=True)


if __name__ == "__main__":
    main()
