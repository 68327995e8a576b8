"""The repository's address: from one line in pyproject.toml to every badge, link and lesson."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from tools import build_notebooks, stamp_links

ROOT = Path(__file__).resolve().parent.parent
LESSONS = ["00_start_here", "09_truncated_bptt", "13_the_clinic"]
MADE_UP = "https://github.com/made-up-owner/made.up_name"
# Where Binder and Colab would look for the repository.
ELSEWHERE = re.compile(
    r"https://(?:colab\.research\.google\.com/github|mybinder\.org/v2)[^)\s\"\\]*"
)
Call = tuple[list[str], dict[str, object]]


def tree(folder: Path, address: str | None, lessons: list[str] = LESSONS) -> Path:
    """Copy what is stamped, with another address."""
    (folder / "notebooks/source").mkdir(parents=True)
    texts = [f"notebooks/{name}.ipynb" for name in lessons]
    texts += [f"notebooks/source/{name}.py" for name in lessons]
    for name in ("pyproject.toml", "README.md", "CITATION.cff", *texts):
        shutil.copy(ROOT / name, folder / name)
    set_address(folder, address)
    return folder


def set_address(root: Path, address: str | None) -> None:
    path = root / "pyproject.toml"
    text = re.sub(r"^Repository = .*\n", "", path.read_text(), flags=re.MULTILINE)
    line = f'Repository = "{address}"\n' if address is not None else ""
    assert text.count("[project.urls]\n") == 1
    path.write_text(text.replace("[project.urls]\n", f"[project.urls]\n{line}"))


def stamp(root: Path, *words: str) -> int:
    return stamp_links.main([*words, "--root", str(root)])


def stamped(folder: Path, address: str | None) -> Path:
    root = tree(folder, address)
    assert stamp(root) == 0
    return root


def contents(root: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and path.name != "pyproject.toml"
    }


def opening(root: Path, lesson: str = LESSONS[0]) -> str:
    """Return the cell that installs the course, as a learner has it."""
    notebook = build_notebooks.read_source(root / f"notebooks/source/{lesson}.py")
    source: str = next(cell for cell in notebook["cells"] if cell["cell_type"] == "code")["source"]
    return source


def test_everything_agrees_with_pyproject() -> None:
    assert stamp_links.main(["--check"]) == 0


def test_an_address_comes_and_goes_and_leaves_nothing(tmp_path: Path) -> None:
    root = tree(tmp_path, None, [path.stem for path in (ROOT / "notebooks").glob("*.ipynb")])
    shutil.copy(ROOT / "pyproject.toml", root)
    before = contents(root)
    set_address(root, MADE_UP)
    assert stamp(root, "--check") == 1
    assert contents(root) == before
    assert stamp(root) == stamp(root, "--check") == 0
    between = contents(root)
    assert between.keys() == before.keys()
    assert all(between[name] != before[name] for name in before)
    shutil.copy(ROOT / "pyproject.toml", root)
    assert stamp(root, "--check") == 1
    assert stamp(root) == 0
    assert contents(root) == before


def test_a_new_address_replaces_the_old_one_everywhere(tmp_path: Path) -> None:
    moved = stamped(tmp_path / "moved", "https://github.com/first/place")
    set_address(moved, MADE_UP)
    assert stamp(moved) == 0
    assert contents(moved) == contents(stamped(tmp_path / "fresh", MADE_UP))


def test_without_an_address_there_is_no_badge_and_no_link(tmp_path: Path) -> None:
    root = stamped(tmp_path, None)
    assert not [name for name, text in contents(root).items() if b"made-up" in text]
    assert not [name for name, text in contents(root).items() if ELSEWHERE.search(text.decode())]
    assert "badge" not in (root / "README.md").read_text()


def test_every_link_names_the_repository_and_a_lesson_that_is_there(tmp_path: Path) -> None:
    root = stamped(tmp_path, MADE_UP)
    colab = "https://colab.research.google.com/github/made-up-owner/made.up_name/blob/main/"
    binder = "https://mybinder.org/v2/gh/made-up-owner/made.up_name/HEAD?urlpath=lab/tree/"
    found = ELSEWHERE.findall((root / "README.md").read_text())
    assert found.count(f"{binder}notebooks/00_start_here.ipynb") == 1
    assert set(found) == {
        f"{binder}notebooks/00_start_here.ipynb",
        *(f"{colab}notebooks/{name}.ipynb" for name in LESSONS),
    }
    for lesson in LESSONS:
        for name in (f"notebooks/{lesson}.ipynb", f"notebooks/source/{lesson}.py"):
            text = (root / name).read_text()
            assert ELSEWHERE.findall(text) == [f"{colab}notebooks/{lesson}.ipynb"], name
    citation = yaml.safe_load((root / "CITATION.cff").read_text())
    assert citation["repository-code"] == MADE_UP


@pytest.mark.parametrize("address", [None, MADE_UP])
def test_stamped_notebooks_agree_with_their_sources_and_keep_their_outputs(
    tmp_path: Path, address: str | None
) -> None:
    root = stamped(tmp_path, address)
    for lesson in LESSONS:
        assert (
            build_notebooks.differences(root / f"notebooks/source/{lesson}.py", root / "notebooks")
            is None
        )
        before, after = (
            json.loads((base / f"notebooks/{lesson}.ipynb").read_text())["cells"]
            for base in (ROOT, root)
        )
        assert [cell.get("outputs") for cell in before] == [cell.get("outputs") for cell in after]


def test_a_lesson_that_waits_to_be_built_is_not_stamped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tree(tmp_path, MADE_UP)
    source = root / f"notebooks/source/{LESSONS[1]}.py"
    source.write_text(source.read_text().replace("seed = 0", "seed = 1"))
    edited = source.read_text()
    assert stamp(root) == 1
    assert f"{LESSONS[1]}.ipynb differs from its source in cell" in capsys.readouterr().err
    assert source.read_text() == edited


@pytest.mark.parametrize(
    "address",
    [
        "",
        "github.com/owner/name",
        "http://github.com/owner/name",
        "https://gitlab.com/owner/name",
        "https://github.com/owner",
        "https://github.com/owner/name/",
        "https://github.com/owner/name.git",
        "https://github.com/owner/..",
        "https://github.com/owner/name/tree/main",
        "https://github.com/own er/name",
        "git@github.com:owner/name.git",
    ],
)
def test_another_kind_of_address_is_refused_in_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], address: str
) -> None:
    root = tree(tmp_path, address)
    before = contents(root)
    assert stamp(root) == 1
    (said,) = capsys.readouterr().err.splitlines()
    assert "must be https://github.com/OWNER/NAME" in said
    assert said.endswith(repr(address))
    assert contents(root) == before


@pytest.mark.parametrize(
    ("name", "lost", "said"),
    [
        ("README.md", "<!-- /links -->\n", "README.md has lost the marks"),
        ("CITATION.cff", "license: MIT\n", "CITATION.cff has no line 'license:'"),
        (
            f"notebooks/source/{LESSONS[1]}.py",
            "# Installed or on Binder, this cell",
            f"{LESSONS[1]}: its second cell must be the one that installs",
        ),
    ],
)
def test_a_place_that_is_gone_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, lost: str, said: str
) -> None:
    root = tree(tmp_path, MADE_UP)
    text = (root / name).read_text()
    assert lost in text
    (root / name).write_text(text.replace(lost, ""))
    assert stamp(root) == 1
    assert said in capsys.readouterr().err


# The cell that installs the course


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Call]:
    """Let a cell run in an empty folder without the course, and keep what it starts."""
    made: list[Call] = []

    def run(command: list[str], **options: object) -> SimpleNamespace:
        made.append((list(map(str, command)), options))
        return SimpleNamespace(returncode=0, stderr="")

    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    monkeypatch.setattr("subprocess.run", run)
    return made


@pytest.mark.parametrize("address", [None, MADE_UP])
def test_the_cell_is_short_and_the_same_in_every_lesson(
    tmp_path: Path, address: str | None
) -> None:
    root = stamped(tmp_path, address)
    cells = {opening(root, lesson) for lesson in LESSONS}
    (cell,) = cells
    assert len([line for line in cell.splitlines() if line]) <= 12
    assert cell.startswith("# Installed or on Binder, this cell does nothing.")


@pytest.mark.parametrize("address", [None, MADE_UP])
def test_where_the_course_is_installed_the_cell_does_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, calls: list[Call], address: str | None
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: object())
    exec(opening(stamped(tmp_path / "tree", address)), {})
    assert calls == []


@pytest.mark.parametrize("address", [None, MADE_UP])
def test_a_wheel_beside_the_notebook_is_installed_and_nothing_else(
    tmp_path: Path, calls: list[Call], address: str | None
) -> None:
    Path("gradcourse-0.1.0-py3-none-any.whl").touch()
    exec(opening(stamped(tmp_path / "tree", address)), {})
    ((command, options),) = calls
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps"]
    assert command == [*pip, "gradcourse-0.1.0-py3-none-any.whl"]
    assert options in ({"check": True}, {"capture_output": True, "text": True})


def test_with_an_address_the_course_is_installed_from_there_without_its_dependencies(
    tmp_path: Path, calls: list[Call]
) -> None:
    exec(opening(stamped(tmp_path / "tree", MADE_UP)), {})
    ((command, _),) = calls
    assert command[1:] == [
        *("-m", "pip", "install", "-q", "--no-deps"),
        f"{MADE_UP}/archive/refs/heads/main.zip",
    ]


@pytest.mark.usefixtures("calls")
def test_what_pip_says_reaches_the_learner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failed = SimpleNamespace(returncode=1, stderr="ERROR: no network")
    monkeypatch.setattr("subprocess.run", lambda *_, **__: failed)
    cell = opening(stamped(tmp_path / "tree", MADE_UP))
    with pytest.raises(RuntimeError, match=r"could not be installed; pip says: ERROR: no network$"):
        exec(cell, {})


def test_without_address_and_wheel_the_cell_says_what_to_do(
    tmp_path: Path, calls: list[Call]
) -> None:
    cell = opening(stamped(tmp_path / "tree", None))
    with pytest.raises(
        RuntimeError, match=r"has no address to install from\. Put gradcourse-\*\.whl beside this"
    ):
        exec(cell, {})
    assert calls == []


def test_the_tool_runs_from_the_command_line() -> None:
    command = [sys.executable, "-m", "tools.stamp_links", "--check"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "everything agrees with pyproject.toml\n"
