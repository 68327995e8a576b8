"""What is shipped, and the environment that `make` builds, in good and in bad circumstances."""

from __future__ import annotations

import itertools
import os
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml

import gradcourse

ROOT = Path(__file__).resolve().parent.parent
SCRIPT = ROOT / "tools" / "environment.sh"
posix_only = pytest.mark.skipif(os.name != "posix", reason="make is for Linux and macOS")


def test_binder_s_environment_is_a_copy_of_the_root_s() -> None:
    assert (ROOT / "binder/environment.yml").read_bytes() == (ROOT / "environment.yml").read_bytes()


def test_the_version_is_the_same_everywhere() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == gradcourse.__version__
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert project["project"]["dynamic"] == ["version"]


def test_the_conda_environment_holds_every_dependency_of_the_package() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = project["dependencies"] + project["optional-dependencies"]["test"]
    conda = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    names = {re.split(r"[=<> ]", line)[0] for line in conda}
    renamed = {"torch": "pytorch-cpu", "matplotlib": "matplotlib-base"}
    for requirement in wanted:
        name = re.split(r"[=<>]", requirement)[0]
        assert renamed.get(name, name) in names


def test_the_constraints_pin_every_dependency_and_nothing_odd() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.]+", pin) for pin in pins)
    pinned = {re.sub(r"[-_.]+", "-", pin.split("==")[0]).lower() for pin in pins}
    extras = project["optional-dependencies"]
    for requirement in itertools.chain(project["dependencies"], *extras.values()):
        name = re.split(r"[=<>\[]", requirement)[0]
        assert name == "gradcourse" or name in pinned


@posix_only
@pytest.mark.parametrize("name", ["binder/postBuild", "binder/start", ".ci/run", str(SCRIPT)])
def test_scripts_are_well_formed_and_can_be_run(name: str) -> None:
    assert os.access(ROOT / name, os.X_OK)
    subprocess.run(["bash", "-n", str(ROOT / name)], check=True)


# make's environment: a false Python shows each trouble without harm to this machine


def make_environment(
    tmp_path: Path, python: str, extra: str = "test", **variables: str
) -> subprocess.CompletedProcess[str]:
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "PYTHON": python,
        "VENV": str(tmp_path / "venv"),
    }
    return subprocess.run(
        ["bash", str(SCRIPT), extra],
        env=environment | variables,
        capture_output=True,
        text=True,
        check=False,
    )


def false_python(tmp_path: Path, body: str) -> str:
    path = tmp_path / "false-python"
    path.write_text(f'#!/bin/sh\n{body}\nexec "{sys.executable}" "$@"\n')
    path.chmod(0o755)
    return str(path)


def refused(done: subprocess.CompletedProcess[str], tmp_path: Path) -> str:
    assert done.returncode == 1
    assert not (tmp_path / "venv").exists()
    (line,) = done.stderr.strip().splitlines()
    return line


@posix_only
def test_a_python_that_is_too_old_is_named(tmp_path: Path) -> None:
    body = 'case "$*" in *version_info*) exit 1;; --version) echo Python 3.8.18; exit 0;; esac'
    said = refused(make_environment(tmp_path, false_python(tmp_path, body)), tmp_path)
    assert "is Python 3.8.18; the course needs Python 3.11 to 3.13" in said


@posix_only
def test_a_python_that_is_missing_is_named(tmp_path: Path) -> None:
    said = refused(make_environment(tmp_path, "no-such-python"), tmp_path)
    assert "no-such-python is not a program" in said


@posix_only
def test_no_python_at_all_is_said(tmp_path: Path) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("bash", "cat", "cksum", "dirname"):
        (tools / name).symlink_to(
            f"/usr/bin/{name}" if Path(f"/usr/bin/{name}").exists() else f"/bin/{name}"
        )
    said = refused(make_environment(tmp_path, "", PATH=str(tools)), tmp_path)
    assert "no Python 3.11 to 3.13 was found" in said


@posix_only
def test_a_missing_venv_names_debian_s_package(tmp_path: Path) -> None:
    python = false_python(tmp_path, 'case "$*" in *ensurepip*) exit 1;; esac')
    said = refused(make_environment(tmp_path, python), tmp_path)
    assert f"sudo apt install python3.{sys.version_info[1]}-venv" in said


@posix_only
def test_an_environment_that_make_did_not_make_is_left_alone(tmp_path: Path) -> None:
    mine = tmp_path / "venv" / "mine"
    mine.parent.mkdir()
    mine.write_text("mine")
    done = make_environment(tmp_path, sys.executable)
    assert done.returncode == 1
    assert "was not made by make" in done.stderr
    assert mine.read_text() == "mine"


@posix_only
@pytest.mark.parametrize("made_for", ["test", "dev", "bench"])
@pytest.mark.parametrize("asked_for", ["test", "dev", "bench"])
def test_an_environment_made_for_more_is_ready_for_less(
    tmp_path: Path, made_for: str, asked_for: str
) -> None:
    python = tmp_path / "venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text('#!/bin/sh\ncase "$*" in *pip*) echo No space left; exit 1;; esac\n')
    python.chmod(0o755)
    count = "cat pyproject.toml constraints.txt | cksum"
    counted = subprocess.run(["bash", "-c", count], cwd=ROOT, capture_output=True, text=True)
    state = f"{made_for} {ROOT} {counted.stdout}"
    (tmp_path / "venv" / ".installed").write_text(state)
    done = make_environment(tmp_path, "", extra=asked_for)
    holds = ["test", "dev", "bench"]
    ready = holds.index(made_for) >= holds.index(asked_for)
    assert (done.returncode, "Installing" in done.stdout) == ((0, False) if ready else (1, True))


@posix_only
@pytest.mark.slow
def test_no_network_is_said_and_no_half_made_environment_stays(tmp_path: Path) -> None:
    nowhere = {
        "PIP_INDEX_URL": "http://127.0.0.1:9/",
        "PIP_EXTRA_INDEX_URL": "",
        "PIP_FIND_LINKS": "",
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_NO_CACHE_DIR": "1",
    }
    done = make_environment(tmp_path, sys.executable, **nowhere)
    assert "could not be reached; connect to the network" in refused(done, tmp_path)


# The wheel and the source archive


@pytest.fixture(scope="module")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build both from the committed files, with a checkpoint lying about."""
    base = tmp_path_factory.mktemp("dist")
    tree = base / "tree"
    subprocess.run(["git", "clone", "-q", str(ROOT), str(tree)], check=True)
    for folder in ("notebooks", "notebooks/source", "gradcourse"):
        checkpoint = tree / folder / ".ipynb_checkpoints"
        checkpoint.mkdir(parents=True, exist_ok=True)
        (checkpoint / "stray.ipynb").write_text("{}")
    # The wheel is built from the source archive, so the archive is shown to be whole as well.
    command = [sys.executable, "-m", "build", "--outdir", str(base), str(tree)]
    subprocess.run(command, check=True)
    return base


def held(archive: Path) -> dict[str, int]:
    """Return the files of a wheel, each with its checksum."""
    with zipfile.ZipFile(archive) as packed:
        return {one.filename: one.CRC for one in packed.infolist()}


@pytest.mark.slow
def test_the_wheel_holds_the_course_and_no_stray_file(distributions: Path) -> None:
    (wheel,) = distributions.glob("*.whl")
    tree = distributions / "tree"
    command = ["git", "ls-files", "gradcourse"]
    listed = subprocess.run(command, cwd=tree, check=True, capture_output=True, text=True)
    lessons = {f"gradcourse/notebooks/{path.name}" for path in (tree / "notebooks").glob("*.ipynb")}
    named = {name for name in held(wheel) if ".dist-info/" not in name}
    assert named == set(listed.stdout.split()) | lessons
    # What is no Python is forgotten most easily.
    numbers = [Path(name).name[:2] for name in sorted(lessons)]
    notes = [Path(name).name[:2] for name in sorted(named) if "/lecture/notes/" in name]
    assert notes == numbers
    for wanted in ("py.typed", "live/page.html", "lecture/template/index.html.j2"):
        assert f"gradcourse/{wanted}" in named
    others = set(held(wheel)) - named
    assert any(name.endswith("dist-info/licenses/LICENSE") for name in others)
    assert {name.split("-")[0] for name in others} == {"gradcourse"}


@pytest.mark.slow
def test_the_source_archive_makes_the_wheel_that_the_tree_makes(
    distributions: Path, tmp_path: Path
) -> None:
    # The one beside it was made from the source archive.
    (wheel,) = distributions.glob("*.whl")
    command = [sys.executable, "-m", "build", "--wheel", "--outdir", str(tmp_path)]
    subprocess.run([*command, str(distributions / "tree")], check=True)
    (from_tree,) = tmp_path.glob("*.whl")
    assert held(from_tree) == held(wheel)


@pytest.mark.slow
def test_the_source_archive_holds_what_a_reader_needs(distributions: Path) -> None:
    (archive,) = distributions.glob("*.tar.gz")
    with tarfile.open(archive) as packed:
        names = [name.partition("/")[2] for name in packed.getnames()]
    for wanted in (
        "LICENSE",
        "README.md",
        "CHANGELOG.md",
        "docs/live_figure.gif",
        "pyproject.toml",
    ):
        assert wanted in names
    assert not [name for name in names if "checkpoint" in name]
