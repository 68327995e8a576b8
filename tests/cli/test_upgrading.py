"""A learner installs the next version of the course, and the one before it again."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest

import gradcourse
from gradcourse.cli.copying import MANIFEST

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
OLD, NEW = gradcourse.__version__, "9.0.0"
LESSONS = sorted(path.name for path in (ROOT / "notebooks").glob("*.ipynb"))
START, UNTOUCHED, EDITED, RUN, RUN_AND_SAME = LESSONS[:5]
REMOVED, ADDED = LESSONS[-1], "99_new.ipynb"

Install = Callable[[str], dict[str, bytes]]
Open = Callable[..., list[str]]


def write_a_cell(path: Path, source: str) -> bytes:
    """Write a cell into a notebook, save it, and return what it now holds."""
    notebook = nbformat.read(path, as_version=4)
    notebook.cells.append(nbformat.v4.new_code_cell(source))
    nbformat.write(notebook, path)
    return path.read_bytes()


def save_other_results(path: Path) -> bytes:
    """Save a notebook as after a run of its cells."""
    notebook = nbformat.read(path, as_version=4)
    for number, cell in enumerate(notebook.cells):
        if cell.cell_type == "code":
            cell.execution_count = number + 100
            cell.outputs = [nbformat.v4.new_output("stream", text="another run")]
    nbformat.write(notebook, path)
    return path.read_bytes()


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Build the course as it is, and a next version: lessons changed, added, removed."""
    base = tmp_path_factory.mktemp("wheels")
    tree = base / "tree"
    ignored = shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints")
    tree.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree)
    for name in ("gradcourse", "notebooks"):
        shutil.copytree(ROOT / name, tree / name, ignore=ignored)

    def build(version: str) -> Path:
        command = [sys.executable, "-m", "build", "--wheel", "--outdir", str(base), str(tree)]
        subprocess.run(command, check=True)
        (wheel,) = base.glob(f"*-{version}-*.whl")
        return wheel

    old = build(OLD)
    init = tree / "gradcourse" / "__init__.py"
    init.write_text(init.read_text().replace(f'"{OLD}"', f'"{NEW}"'))
    for name in (UNTOUCHED, EDITED, RUN):
        write_a_cell(tree / "notebooks" / name, "'the next version'")
    shutil.copy(tree / "notebooks" / START, tree / "notebooks" / ADDED)
    (tree / "notebooks" / REMOVED).unlink()
    return {OLD: old, NEW: build(NEW)}


@pytest.fixture
def learner(tmp_path: Path, wheels: dict[str, Path]) -> tuple[Install, Open]:
    """Give two commands: install a version, and open the course in an empty folder."""
    venv = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(venv)], check=True)
    scripts = venv / ("Scripts" if os.name == "nt" else "bin")
    # Dependencies are read where these tests have theirs; gradcourse itself is not.
    environment = os.environ | {"PYTHONPATH": sysconfig.get_path("purelib")}
    home = tmp_path / "home"
    home.mkdir()

    def install(version: str) -> dict[str, bytes]:
        command = [sys.executable, "-m", "pip", "--python", str(scripts / "python"), "install"]
        subprocess.run([*command, "-q", "--no-deps", str(wheels[version])], check=True)
        asked = "import gradcourse; print(gradcourse.__version__, gradcourse.__path__[0])"
        command = [str(scripts / "python"), "-c", asked]
        said = subprocess.run(
            command, env=environment, cwd=home, check=True, capture_output=True, text=True
        )
        found, _, package = said.stdout.strip().partition(" ")
        assert found == version
        assert package.startswith(str(venv))
        return {path.name: path.read_bytes() for path in Path(package, "notebooks").iterdir()}

    def lab(*words: str) -> list[str]:
        """Open the course, end the server once the report is there, and return the report."""
        command = [str(scripts / "gradcourse"), "lab", "mine", "--no-browser", *words]
        with subprocess.Popen(
            command,
            env=environment,
            cwd=home,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        ) as process:
            assert process.stdout is not None
            first = process.stdout.readline()
            process.terminate()
            return (first + process.stdout.read()).splitlines()

    return install, lab


def test_an_upgrade_brings_what_is_new_and_keeps_what_the_learner_wrote(
    learner: tuple[Install, Open], tmp_path: Path
) -> None:
    install, lab = learner
    mine = tmp_path / "home" / "mine"

    def here() -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in mine.iterdir() if path.name != MANIFEST}

    old = install(OLD)
    assert lab() == [f"Notebooks in mine: {len(LESSONS)} added."]
    assert here() == old
    edit = write_a_cell(mine / EDITED, "'mine'")
    save_other_results(mine / RUN)
    results = save_other_results(mine / RUN_AND_SAME)
    assert edit != old[EDITED]
    learners = {EDITED: edit, RUN_AND_SAME: results}

    new = install(NEW)
    kept = f"Kept, because you changed them: {EDITED}"
    and_how = f"{kept}; --new puts the course's version beside yours."
    assert lab() == ["Notebooks in mine: 1 added, 2 updated.", and_how]
    # A lesson that the course no longer has is the learner's to remove.
    after = new | {REMOVED: old[REMOVED]} | learners
    assert here() == after
    assert "99_new.ipynb" in after
    assert after[UNTOUCHED] != old[UNTOUCHED]
    assert lab() == ["Notebooks in mine: nothing to add or update.", and_how]
    assert here() == after

    beside = EDITED.replace(".ipynb", ".new.ipynb")
    lies = f"The course's version lies beside yours: {beside}."
    assert lab("--new")[1:] == [f"{kept}.", lies]
    assert here() == after | {beside: new[EDITED]}

    assert install(OLD) == old
    assert lab() == ["Notebooks in mine: 2 updated.", and_how]
    assert here() == old | learners | {ADDED: new[ADDED], beside: new[EDITED]}
