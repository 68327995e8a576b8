"""The same tests many times over: each run is counted, and what failed is kept."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

TOOL = Path(__file__).parents[1] / "tools" / "repeat_tests.py"

# Fails every second time that it is run.
MOODY = """
from pathlib import Path

def test_it():
    count = Path(__file__).with_name("count")
    times = int(count.read_text()) + 1 if count.exists() else 1
    count.write_text(str(times))
    assert times % 2, f"planted at {times}"
"""


def repeat(folder, text, *arguments):
    """Repeat a file of tests; return the exit status, the lines and the logs."""
    tests = folder / "test_planted.py"
    tests.write_text(text)
    logs = folder / "logs"
    done = subprocess.run(
        [sys.executable, TOOL, *arguments, "--logs", logs, tests],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"},
    )
    kept = {log.name: log.read_text() for log in logs.iterdir()}
    return done.returncode, done.stdout.splitlines(), kept


@pytest.mark.slow
def test_every_run_is_a_line_and_the_log_of_a_failure_is_kept(tmp_path):
    code, lines, logs = repeat(tmp_path, MOODY, "--runs", "4")
    assert code == 1
    assert [line.split(" in ")[0] for line in lines[0:3:2]] == [
        "run 1 of 4: 1 passed",
        "run 3 of 4: 1 passed",
    ]
    assert "run 2 of 4: FAILED, 1" in lines[1]
    assert "1 failed" in lines[1]
    assert lines[-1].startswith("4 runs, 2 failed, ")
    assert sorted(logs) == ["run-002.log", "run-004.log"]
    assert "planted at 2" in logs["run-002.log"]


@pytest.mark.slow
def test_a_run_that_does_not_end_is_ended_and_counted(tmp_path):
    forever = "import time\n\ndef test_it():\n    print('began', flush=True)\n    time.sleep(600)\n"
    code, lines, logs = repeat(tmp_path, forever, "--runs", "1", "--minutes", "0.1", "-s")
    assert code == 1
    assert "did not end within 0.1 minutes" in lines[0]
    assert lines[-1].startswith("1 runs, 1 failed, ")
    assert "began" in logs["run-001.log"]


@pytest.mark.slow
def test_when_nothing_fails_no_log_is_left(tmp_path):
    code, lines, logs = repeat(tmp_path, "def test_it():\n    pass\n", "--runs", "1", "-n", "1")
    assert code == 0
    assert lines[-1].startswith("1 runs, 0 failed, ")
    assert not logs


def test_no_runs_at_all_is_refused():
    done = subprocess.run([sys.executable, TOOL, "--runs", "0"], capture_output=True, text=True)
    assert done.returncode == 2
    assert "must be above 0" in done.stderr
