"""Run the notebooks' tests many times over: what fails once in fifty runs is a defect too.

    python tools/repeat_tests.py
    python tools/repeat_tests.py --runs 20 --logs folder -n 2 --dist loadfile tests/live

The tests are every committed notebook, cell by cell, unless others are named; what follows is for
pytest. Each run is a line; the whole output of a run that fails, or does not end, is kept.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = [
    "--nbval",
    "--nbval-current-env",
    f"--nbval-sanitize-with={ROOT / 'tests/notebooks/sanitize.cfg'}",
    str(ROOT / "notebooks"),
]
# A reply that never comes is then a failure with a name, and says where the tests wait.
PATIENCE = ["--nbval-cell-timeout=600", "-o", "faulthandler_timeout=630"]


def run_once(arguments: Sequence[str], seconds: float) -> tuple[str, str]:
    """Run pytest once; return what went wrong, or nothing, and all that it printed."""
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments]
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        text=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            output, _ = process.communicate(timeout=30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            output, _ = process.communicate()
        return f"did not end within {seconds / 60:g} minutes", output
    return ("" if process.returncode == 0 else f"FAILED, {process.returncode}"), output


def repeat(runs: int, logs: Path, arguments: Sequence[str], seconds: float) -> int:
    """Run pytest so often, tell of each run, and return how many of them failed."""
    logs.mkdir(parents=True, exist_ok=True)
    began, failed = time.monotonic(), 0
    for run in range(1, runs + 1):
        started = time.monotonic()
        wrong, output = run_once(arguments, seconds)
        last = (output.strip().splitlines() or ["nothing was printed"])[-1].strip("= ")
        took = f"{time.monotonic() - started:.0f} s"
        if wrong:
            failed += 1
            log = logs / f"run-{run:03}.log"
            log.write_text(output)
            print(f"run {run} of {runs}: {wrong} ({took}; {last}), see {log}", flush=True)
        else:
            print(f"run {run} of {runs}: {last}", flush=True)
    minutes = (time.monotonic() - began) / 60
    print(f"{runs} runs, {failed} failed, {minutes:.0f} minutes")
    return failed


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the command line and repeat the tests; 1 if a run failed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=50)
    parser.add_argument("--logs", type=Path, default=ROOT / "build/steady", metavar="FOLDER")
    parser.add_argument("--minutes", type=float, default=30, help="the longest that a run may take")
    options, others = parser.parse_known_args(arguments)
    if options.runs < 1 or options.minutes <= 0:
        parser.error("runs and minutes must be above 0")
    named = any((ROOT / one.partition("::")[0]).exists() for one in others)
    tests = [*PATIENCE, *others] if named else [*PATIENCE, *NOTEBOOKS, *others]
    return int(repeat(options.runs, options.logs, tests, 60 * options.minutes) > 0)


if __name__ == "__main__":
    sys.exit(main())
