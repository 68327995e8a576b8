"""The benchmarks run and print their tables; what they print is never judged here."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def printed(name, *options):
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", f"benchmarks.{name}", *options],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "options", "rows"),
    [
        ("monitor", ["--rounds", "4"], ["our monitor + clip", "6-layer MLP"]),
        ("picture", ["--rounds", "3"], ["PNG, palette kept (ours)", "mesh (ours)"]),
        (
            "sweep",
            ["--rounds", "1", "--profile-rounds", "2", "--layers", "6"],
            ["ours", "NumPy, by hand", "vmap"],
        ),
        ("course", ["01", "--quick", "--no-browser"], ["import gradcourse", "01_vanishing"]),
    ],
)
def test_a_benchmark_runs_and_prints_its_rows(name, options, rows):
    text = printed(name, *options)
    assert "Python" in text.splitlines()[0]
    for row in rows:
        assert row in text


def test_the_readme_names_every_benchmark_that_make_has():
    makefile = (ROOT / "Makefile").read_text()
    readme = (ROOT / "benchmarks/README.md").read_text()
    targets = [line.split(":")[0] for line in makefile.splitlines() if line.startswith("bench-")]
    assert len(targets) >= 5
    for target in targets:
        assert f"`make {target}`" in readme
