"""Copying the course: nothing that a learner changed is ever overwritten."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import nbclient
import nbformat
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from said import Course

from gradcourse.cli.copying import MANIFEST, Copied, copy_course


def test_a_first_copy_brings_every_lesson(course: Course, tmp_path: Path) -> None:
    folder = course(_00_start_here=["1"], _01_a=["2"])
    (folder / "source").mkdir()
    (folder / "source" / "01_a.py").write_text("# %%")
    (folder / ".ipynb_checkpoints").mkdir()
    mine = tmp_path / "deep" / "mine"
    assert copy_course(folder, mine).added == ["00_start_here.ipynb", "01_a.ipynb"]
    assert sorted(path.name for path in mine.iterdir()) == [
        MANIFEST,
        "00_start_here.ipynb",
        "01_a.ipynb",
    ]
    assert copy_course(folder, mine) == Copied()


def test_a_new_version_reaches_unchanged_notebooks_and_spares_changed_ones(
    course: Course, tmp_path: Path
) -> None:
    folder, mine = course(_01_a=["1"], _02_b=["1"]), tmp_path / "mine"
    copy_course(folder, mine)
    (mine / "02_b.ipynb").write_text("my notes")
    course(_01_a=["2"], _02_b=["2"])
    done = copy_course(folder, mine)
    assert (done.updated, done.kept, done.beside) == (["01_a.ipynb"], ["02_b.ipynb"], [])
    assert (mine / "01_a.ipynb").read_bytes() == (folder / "01_a.ipynb").read_bytes()
    assert (mine / "02_b.ipynb").read_text() == "my notes"


def run(path: Path) -> None:
    """Execute a notebook, and save it with all that a front end writes on that occasion."""
    notebook = nbclient.NotebookClient(nbformat.read(path, as_version=4)).execute()
    for cell in notebook.cells:
        cell.metadata |= {"collapsed": False, "scrolled": True, "jupyter": {"outputs_hidden": True}}
    notebook.metadata["widgets"] = {"state": {}}
    nbformat.write(notebook, path)


def test_a_notebook_that_was_only_run_keeps_its_results_until_the_lesson_changes(
    course: Course, tmp_path: Path
) -> None:
    folder, mine = course(_01_a=["print(1)"], _02_b=["print(1)"]), tmp_path / "mine"
    copy_course(folder, mine)
    run(mine / "01_a.ipynb")
    run(mine / "02_b.ipynb")
    results = (mine / "02_b.ipynb").read_bytes()
    assert b"1\\n" in results
    assert copy_course(folder, mine) == Copied()
    course(_01_a=["print(2)"])
    assert copy_course(folder, mine) == Copied(updated=["01_a.ipynb"])
    assert (mine / "01_a.ipynb").read_bytes() == (folder / "01_a.ipynb").read_bytes()
    assert (mine / "02_b.ipynb").read_bytes() == results


def test_new_pictures_of_the_same_lesson_reach_a_copy_that_was_not_run(
    course: Course, tmp_path: Path
) -> None:
    folder, mine = course(_01_a=["print(1)"]), tmp_path / "mine"
    copy_course(folder, mine)
    run(folder / "01_a.ipynb")
    assert copy_course(folder, mine) == Copied(updated=["01_a.ipynb"])
    assert (mine / "01_a.ipynb").read_bytes() == (folder / "01_a.ipynb").read_bytes()


@pytest.mark.parametrize("edit", ["source", "kind", "tag", "picture", "another cell", "title"])
def test_whatever_a_person_writes_into_a_notebook_is_kept(
    course: Course, tmp_path: Path, edit: str
) -> None:
    folder, mine = course(_01_a=["1"]), tmp_path / "mine"
    copy_course(folder, mine)
    notebook = nbformat.read(mine / "01_a.ipynb", as_version=4)
    match edit:
        case "source":
            notebook.cells[0].source += "  # mine"
        case "kind":
            notebook.cells[0] = nbformat.v4.new_raw_cell(notebook.cells[0].source)
        case "tag":
            notebook.cells[0].metadata["slideshow"] = {"slide_type": "slide"}
        case "picture":
            notebook.cells[0]["attachments"] = {"mine.png": {"image/png": ""}}
        case "another cell":
            notebook.cells.append(nbformat.v4.new_markdown_cell("mine"))
        case "title":
            notebook.metadata["title"] = "mine"
    edited = json.dumps(notebook)
    (mine / "01_a.ipynb").write_text(edited)
    course(_01_a=["2"])
    assert copy_course(folder, mine).kept == ["01_a.ipynb"]
    assert (mine / "01_a.ipynb").read_text() == edited


def test_a_manifest_of_an_older_course_still_tells_what_was_shipped(
    course: Course, tmp_path: Path
) -> None:
    folder, mine = course(_01_a=["1"]), tmp_path / "mine"
    mine.mkdir()
    shutil.copy(folder / "01_a.ipynb", mine)
    digest = hashlib.sha256((mine / "01_a.ipynb").read_bytes()).hexdigest()
    (mine / MANIFEST).write_text(json.dumps({"shipped": {"01_a.ipynb": [digest]}}))
    course(_01_a=["2"])
    assert copy_course(folder, mine).updated == ["01_a.ipynb"]


def test_a_deleted_notebook_comes_back(course: Course, tmp_path: Path) -> None:
    folder, mine = course(_01_a=["1"]), tmp_path / "mine"
    copy_course(folder, mine)
    (mine / "01_a.ipynb").unlink()
    assert copy_course(folder, mine).added == ["01_a.ipynb"]


def test_a_foreign_file_of_the_same_name_is_kept(course: Course, tmp_path: Path) -> None:
    folder, mine = course(_01_a=["1"], _02_b=["1"], _03_c=["1"]), tmp_path / "mine"
    mine.mkdir()
    (mine / "01_a.ipynb").write_text("older than the course")
    (mine / "02_b.ipynb").mkdir()
    (mine / "03_c.ipynb").symlink_to(mine / "nowhere")
    done = copy_course(folder, mine, beside=True)
    assert done.kept == ["01_a.ipynb", "02_b.ipynb", "03_c.ipynb"]
    assert done.beside == ["01_a.new.ipynb", "02_b.new.ipynb", "03_c.new.ipynb"]
    assert (mine / "01_a.ipynb").read_text() == "older than the course"
    assert (mine / "03_c.ipynb").is_symlink()


def test_new_versions_beside_are_never_overwritten_once_edited(
    course: Course, tmp_path: Path
) -> None:
    folder, mine = course(_01_a=["1"]), tmp_path / "mine"
    copy_course(folder, mine)
    (mine / "01_a.ipynb").write_text("mine")
    assert copy_course(folder, mine, beside=True).beside == ["01_a.new.ipynb"]
    assert copy_course(folder, mine, beside=True).beside == ["01_a.new.ipynb"]
    (mine / "01_a.new.ipynb").write_text("mine too")
    course(_01_a=["2"])
    assert copy_course(folder, mine, beside=True).beside == ["01_a.new-2.ipynb"]
    assert (mine / "01_a.new.ipynb").read_text() == "mine too"
    course(_01_a=["3"])
    assert copy_course(folder, mine, beside=True).beside == ["01_a.new-2.ipynb"]
    assert (mine / "01_a.new-2.ipynb").read_bytes() == (folder / "01_a.ipynb").read_bytes()


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"shipped": 3}', '{"shipped": {"01_a": 3}}'])
def test_a_damaged_manifest_loses_nothing(course: Course, tmp_path: Path, damage: str) -> None:
    folder, mine = course(_01_a=["1"]), tmp_path / "mine"
    copy_course(folder, mine)
    (mine / "01_a.ipynb").write_text("mine")
    (mine / MANIFEST).write_text(damage)
    assert copy_course(folder, mine).kept == ["01_a.ipynb"]
    assert (mine / "01_a.ipynb").read_text() == "mine"


@pytest.mark.parametrize("moment", [1, 2, 3])
@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_copy_that_is_killed_leaves_nothing_half_written(
    course: Course, tmp_path: Path, moment: int, call: str
) -> None:
    folder, mine = course(_01_a=["1"], _02_b=["1"], _03_c=["1"]), tmp_path / "mine"
    copy_course(folder, mine)
    (mine / "03_c.ipynb").write_text("mine")
    old = {path.name: path.read_bytes() for path in mine.glob("*.ipynb")}
    course(_01_a=["2"], _02_b=["2"], _03_c=["2"])
    new = {path.name: path.read_bytes() for path in folder.glob("*.ipynb")}
    script = (
        "import os, sys\nfrom pathlib import Path\nfrom gradcourse.cli.copying import copy_course\n"
        "calls = 0\n"
        "def die(*_):\n"
        "    global calls\n    calls += 1\n"
        f"    if calls == {moment}: os._exit(9)\n"
        "    return real(*_)\n"
        f"owner = {'os' if call == 'fsync' else 'Path'}\n"
        f"real = owner.{call}\nowner.{call} = die\n"
        "copy_course(Path(sys.argv[1]), Path(sys.argv[2]))"
    )
    killed = subprocess.run([sys.executable, "-c", script, str(folder), str(mine)], check=False)
    assert killed.returncode == 9
    for path in mine.glob("*.ipynb"):
        assert path.read_bytes() in (old[path.name], new[path.name])
    done = copy_course(folder, mine)
    assert done.kept == ["03_c.ipynb"]
    new["03_c.ipynb"] = b"mine"
    assert {path.name: path.read_bytes() for path in mine.iterdir() if path.name != MANIFEST} == new


EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just("edit"), st.integers(0, 5), st.integers(0, 3)),
        st.tuples(st.just("delete"), st.integers(0, 5), st.just(0)),
        st.tuples(st.just("upgrade"), st.integers(0, 1), st.integers(0, 3)),
        st.tuples(st.just("lab"), st.integers(0, 1), st.just(0)),
        st.tuples(st.just("lose manifest"), st.just(0), st.just(0)),
    ),
    max_size=25,
)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(events=EVENTS)
def test_no_sequence_of_events_overwrites_an_edit(
    tmp_path_factory: pytest.TempPathFactory, events: list[tuple[str, int, int]]
) -> None:
    base = tmp_path_factory.mktemp("copy")
    folder, mine = base / "course", base / "mine"
    folder.mkdir()
    mine.mkdir()
    lessons = ["01_a.ipynb", "02_b.ipynb"]
    names = [f"{n[:4]}{s}.ipynb" for n in lessons for s in ("", ".new", ".new-2")]
    for name in lessons:
        (folder / name).write_text(f"{name} version 0")
    edited: dict[str, str] = {}
    for kind, which, value in events:
        if kind == "edit":
            edited[names[which]] = f"edit {value}"
            (mine / names[which]).write_text(edited[names[which]])
        elif kind == "delete":
            edited.pop(names[which], None)
            (mine / names[which]).unlink(missing_ok=True)
        elif kind == "upgrade":
            (folder / lessons[which]).write_text(f"{lessons[which]} version {value}")
        elif kind == "lose manifest":
            (mine / MANIFEST).unlink(missing_ok=True)
        else:
            copy_course(folder, mine, beside=bool(which))
            assert {name for name in lessons if (mine / name).exists()} == set(lessons)
        for name, text in edited.items():
            assert (mine / name).read_text() == text
    shutil.rmtree(base)
