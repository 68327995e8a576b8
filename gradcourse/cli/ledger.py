"""``gradcourse claims``: every sentence of the course with its measurement, in one ledger."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import sys
import tempfile
import textwrap
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from gradcourse.claims import LEDGER_VARIABLE, Claim, read_ledger
from gradcourse.cli.course import find_course, pick_lessons
from gradcourse.cli.execution import Problem, execute, parameters_of

__all__ = ["Entry", "check_claims", "table"]

HEADINGS = ("", "claim", "measured", "expected", "source")
NARROWEST = 72


@dataclass
class Entry:
    """One sentence of the ledger with its measurements, the default settings' first.

    Attributes
    ----------
    claims
        The same claim as each seed measured it.
    """

    claims: list[Claim] = field(default_factory=list)

    @property
    def true(self) -> int:
        """How many of the measurements agree with the sentence."""
        return sum(claim.true for claim in self.claims)

    def row(self, runs: int) -> tuple[str, str, str, str, str]:
        """Return the entry as the cells of a table.

        Parameters
        ----------
        runs
            How often the lesson ran; with 1 the verdict is a word, else a count.
        """
        first = self.claims[0]
        agreed = self.true == runs
        measured = f"{first.measured:.4g}"
        if runs > 1:
            values = [claim.measured for claim in self.claims]
            low, high = f"{min(values):.4g}", f"{max(values):.4g}"
            measured += f" ({low} to {high})" if low != high else ""
            verdict = f"{'true' if agreed else 'FALSE'} {self.true}/{runs}"
        else:
            verdict = "true" if agreed else "FALSE"
        return verdict, first.sentence, measured, first.expected, first.source


def check_claims(words: Sequence[str], *, seeds: int = 0, jobs: int = 1) -> int:
    """Run lessons in a temporary folder and print the ledger of their claims.

    Parameters
    ----------
    words
        The lessons, as :func:`gradcourse.cli.course.pick_lessons` reads them.
    seeds
        How many further runs each lesson gets, with ``seed=1`` and so on.
    jobs
        How many lessons run at the same time.

    Returns
    -------
    int
        1 if a claim is false in any run or a lesson fails, else 0.
    """
    lessons = pick_lessons(words, find_course())
    further = [seeds if seeds and "seed" in parameters_of(lesson) else 0 for lesson in lessons]
    total, false, failed = 0, 0, []
    measured = _measure_all(lessons, further, min(jobs, len(lessons)))
    for lesson, seeded, (entries, problems) in zip(lessons, further, measured, strict=True):
        runs = 1 + seeded
        print(f"\n{lesson.stem}" + (f", {runs} runs" if seeds and seeded else ""))
        if seeds and not seeded:
            print("  (has no parameter named seed: one run)")
        if entries:
            print(table([HEADINGS, *(entry.row(runs) for entry in entries)]))
        elif not problems:
            print("  makes no claims")
        for problem in problems[:1]:
            print(f"  FAILED in {problem}")
        total += len(entries)
        false += sum(entry.true != runs for entry in entries)
        failed += [f"{lesson.stem}, {problem}" for problem in problems[:1]]
    ending = f"; {len(failed)} of {len(lessons)} lessons failed" if failed else ""
    print(f"\n{total} claims, {total - false} true, {false} false{ending}")
    for failure in failed:
        print(f"gradcourse: {failure}", file=sys.stderr)
    return int(bool(false or failed))


def table(rows: Sequence[Sequence[str]], width: int | None = None) -> str:
    """Lay rows of text out in columns that fit the terminal, folding long cells.

    Parameters
    ----------
    rows
        Rows with equally many cells; the first is the heading.
    width
        Characters in a line; ``None`` asks the terminal.
    """
    room = max(NARROWEST, width or shutil.get_terminal_size((110, 24)).columns) - 2
    natural = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    widths = list(natural)
    while sum(widths) + 2 * (len(widths) - 1) > room and max(widths) > 12:
        # The second column holds sentences: it stays twice as wide as any other.
        widest = max(range(len(widths)), key=lambda at: widths[at] / (2 if at == 1 else 1))
        widths[widest] -= 1
    lines = []
    for row in rows:
        cells = [textwrap.wrap(cell, size) or [""] for cell, size in zip(row, widths, strict=True)]
        for number in range(max(map(len, cells))):
            parts = (
                (cell[number] if number < len(cell) else "").ljust(size)
                for cell, size in zip(cells, widths, strict=True)
            )
            lines.append("  " + "  ".join(parts).rstrip())
    return "\n".join(lines)


def _measure_all(
    lessons: Sequence[Path], seeds: Sequence[int], jobs: int
) -> Iterator[tuple[list[Entry], list[Problem]]]:
    """Yield each lesson's ledger in the order of the lessons, as soon as it is complete."""
    if jobs == 1:
        yield from map(_measure, lessons, seeds)
        return
    # Processes, because a lesson's folder and its ledger are set for a whole process.
    pool = ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn"))
    try:
        yield from pool.map(partial(_measure, progress=False), lessons, seeds)
    finally:
        pool.shutdown(cancel_futures=True)


def _measure(lesson: Path, seeds: int, progress: bool = True) -> tuple[list[Entry], list[Problem]]:
    entries: dict[tuple[str, int], Entry] = {}
    for seed in range(seeds + 1):
        label = f"{lesson.stem} with seed={seed}" if seed else lesson.stem
        print(f"Running {label}", file=sys.stderr)
        claims, problems = _run_once(lesson, {"seed": seed} if seed else {}, progress)
        repeats: dict[str, int] = {}
        for claim in claims:
            # A sentence made twice in one lesson is two entries: match them by their order.
            turn = repeats[claim.sentence] = repeats.get(claim.sentence, -1) + 1
            entries.setdefault((claim.sentence, turn), Entry()).claims.append(claim)
        if problems:
            where = f"with seed={seed}, " if seed else ""
            return list(entries.values()), [Problem(where + problems[0].place, problems[0].message)]
    return list(entries.values()), []


def _run_once(
    lesson: Path, parameters: dict[str, int], progress: bool
) -> tuple[list[Claim], list[Problem]]:
    with tempfile.TemporaryDirectory(prefix="gradcourse-claims-") as folder, _inside(Path(folder)):
        ledger = Path(folder) / "ledger.jsonl"
        problems = execute(lesson, Path(folder) / lesson.name, parameters, progress=progress)
        return (read_ledger(ledger) if ledger.exists() else []), problems


@contextmanager
def _inside(folder: Path) -> Iterator[None]:
    before, outside = os.environ.get(LEDGER_VARIABLE), Path.cwd()
    os.environ[LEDGER_VARIABLE] = str(folder / "ledger.jsonl")
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(outside)
        if before is None:
            del os.environ[LEDGER_VARIABLE]
        else:
            os.environ[LEDGER_VARIABLE] = before
