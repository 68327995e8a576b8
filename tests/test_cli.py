"""The command line: what a learner types, and every mistake answered in one sentence."""

from __future__ import annotations

import errno
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import nbformat
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gradcourse.cli import lab as lab_module
from gradcourse.cli import main
from gradcourse.cli.copying import MANIFEST, Copied, copy_course
from gradcourse.cli.course import Refusal, pick_lessons
from gradcourse.cli.execution import find_problems
from gradcourse.cli.ledger import table
from gradcourse.cli.run import parse_parameters

Course = Callable[..., Path]


@pytest.fixture
def course(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Course:
    """Make a small course: each lesson is a list of code cells; a dict is the parameters cell."""
    folder = tmp_path / "course"
    folder.mkdir()
    monkeypatch.setenv("GRADCOURSE_NOTEBOOKS", str(folder))
    monkeypatch.chdir(tmp_path)

    def make(**lessons: Sequence[str]) -> Path:
        for name, sources in lessons.items():
            cells = [nbformat.v4.new_code_cell(source) for source in sources]
            if sources and sources[0].startswith("# parameters"):
                cells[0].metadata["tags"] = ["parameters"]
            kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
            notebook = nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel})
            nbformat.write(notebook, folder / f"{name.lstrip('_')}.ipynb")
        return folder

    return make


def sentence(capsys: pytest.CaptureFixture[str]) -> str:
    """Return what was said on standard error, checked to be one line and no traceback."""
    said = capsys.readouterr().err.strip()
    assert "Traceback" not in said
    assert len(said.splitlines()) == 1
    return said


def last_line(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().err.replace("\r", "\n").strip().splitlines()[-1]


# The whole command


def test_help_and_version_load_nothing_heavy() -> None:
    script = (
        "import sys\nfrom gradcourse.cli import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit: pass\n"
        "heavy = {'torch', 'papermill', 'matplotlib', 'nbformat'} & set(sys.modules)\n"
        "sys.exit(f'loaded {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for command in ("lab", "run", "claims", "info"):
        assert command in done.stdout


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["teach"],
        ["run"],
        ["lab", "--port", "0"],
        ["lab", "--port", "http"],
        ["lab", "--port", "65536"],
        ["claims", "--seeds", "0"],
        ["claims", "--seeds", "-1"],
    ],
)
def test_a_malformed_request_exits_with_2(words: list[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(words)
    assert stopped.value.code == 2


def test_info_names_versions_and_device(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRADCOURSE_DEVICE", "cpu")
    assert main(["info"]) == 0
    said = capsys.readouterr().out
    for word in ("gradcourse", "python", "torch", "ipywidgets", "memory", "threads"):
        assert f"\n{word} " in f"\n{said}"
    assert "cpu (asked for by GRADCOURSE_DEVICE)" in said


def test_info_refuses_a_device_that_is_none(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRADCOURSE_DEVICE", "abacus")
    assert main(["info"]) == 2
    assert "abacus" in sentence(capsys)


# Which lesson is meant


@pytest.mark.parametrize(
    ("word", "stem"),
    [
        ("01", "01_vanishing"),
        ("1", "01_vanishing"),
        ("10", "10_transformers"),
        ("01_vanishing", "01_vanishing"),
        ("01_vanishing.ipynb", "01_vanishing"),
        ("notebooks/01_vanishing.ipynb", "01_vanishing"),
        ("VANISH", "01_vanishing"),
        ("start", "00_start_here"),
    ],
)
def test_a_lesson_is_found_by_number_name_or_part(course: Course, word: str, stem: str) -> None:
    folder = course(_00_start_here=[], _01_vanishing=[], _10_transformers=[])
    assert [lesson.stem for lesson in pick_lessons([word], folder)] == [stem]


@pytest.mark.parametrize("word", ["07", "attention", "", "."])
def test_an_unknown_lesson_is_answered_with_the_known_ones(course: Course, word: str) -> None:
    folder = course(_00_start_here=[], _01_vanishing=[])
    with pytest.raises(Refusal, match="00_start_here, 01_vanishing"):
        pick_lessons([word], folder)


def test_an_ambiguous_lesson_is_answered_with_the_candidates(course: Course) -> None:
    folder = course(_01_vanishing=[], _02_watching=[], _03_clipping=[])
    with pytest.raises(Refusal, match=r"could be 01_vanishing, 02_watching, 03_clipping"):
        pick_lessons(["ing"], folder)


def test_each_lesson_is_taken_once_and_no_word_means_all(course: Course) -> None:
    folder = course(_01_a=[], _02_b=[])
    assert [one.stem for one in pick_lessons(["2", "b", "1"], folder)] == ["02_b", "01_a"]
    assert [one.stem for one in pick_lessons([], folder)] == ["01_a", "02_b"]


# Copying the course


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


# gradcourse lab


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    calls: list[list[str]] = []

    def remember(options: list[str]) -> int:
        calls.append(options)
        return 0

    monkeypatch.setattr(lab_module, "_open_jupyterlab", remember)
    return calls


def test_lab_copies_and_opens_the_first_lesson(
    course: Course, opened: list[list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    course(_00_start_here=["1"])
    assert main(["lab", "--no-browser"]) == 0
    assert (tmp_path / "gradcourse-notebooks" / "00_start_here.ipynb").is_file()
    (options,) = opened
    assert "--LabApp.default_url=/lab/tree/00_start_here.ipynb" in options
    assert "--LabApp.news_url=None" in options
    assert "--ServerApp.open_browser=False" in options
    assert f"--ServerApp.root_dir={tmp_path / 'gradcourse-notebooks'}" in options
    assert "1 added" in capsys.readouterr().out


def test_lab_says_what_it_kept(
    course: Course, opened: list[list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    course(_01_a=["1"])
    main(["lab", "mine"])
    Path("mine/01_a.ipynb").write_text("mine")
    capsys.readouterr()
    assert main(["lab", "mine"]) == 0
    said = capsys.readouterr().out
    assert "Kept, because you changed them: 01_a.ipynb" in said
    assert "--new" in said
    assert main(["lab", "mine", "--new"]) == 0
    assert "01_a.new.ipynb" in capsys.readouterr().out
    assert "--LabApp.default_url=/lab" in opened[-1]


def test_lab_refuses_a_port_in_use_and_copies_nothing(
    course: Course, opened: list[list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    course(_01_a=["1"])
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert main(["lab", "--port", str(port)]) == 1
    assert f"port {port}" in sentence(capsys)
    assert not opened
    assert not Path("gradcourse-notebooks").exists()


def test_lab_refuses_a_file_for_a_folder(
    course: Course, opened: list[list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    course(_01_a=["1"])
    Path("mine").write_text("a file")
    assert main(["lab", "mine"]) == 2
    assert "mine is a file" in sentence(capsys)
    assert main(["lab", "mine/deeper"]) == 1
    assert "cannot write in" in sentence(capsys)
    assert not opened


def test_lab_refuses_the_course_s_own_folder(
    course: Course, opened: list[list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = course(_01_a=["1"])
    assert main(["lab", str(folder)]) == 2
    assert "own folder" in sentence(capsys)
    assert not (folder / MANIFEST).exists()
    assert not opened


@pytest.mark.parametrize("code", [errno.EACCES, errno.EROFS, errno.ENOSPC])
def test_lab_answers_a_folder_that_cannot_be_written(
    course: Course,
    opened: list[list[str]],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    code: int,
) -> None:
    course(_01_a=["1"])

    def refuse(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", refuse)
    assert main(["lab", "mine"]) == 1
    assert os.strerror(code) in sentence(capsys)
    assert list(Path("mine").iterdir()) == []
    assert not opened


def test_a_course_without_lessons_is_said(
    course: Course, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    course()
    assert main(["lab", "mine"]) == 1
    assert "no lessons" in sentence(capsys)
    monkeypatch.setenv("GRADCOURSE_NOTEBOOKS", "nowhere")
    assert main(["lab", "mine"]) == 2
    assert "nowhere" in sentence(capsys)


@pytest.mark.slow
def test_lab_serves_the_copy_with_news_off(course: Course, tmp_path: Path) -> None:
    course(_00_start_here=["1"])
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    log = tmp_path / "lab.log"
    words = [sys.executable, "-m", "gradcourse", "lab", "mine", "--no-browser", "--port", str(port)]
    environment = os.environ | {"JUPYTER_TOKEN": "secret"}
    with log.open("w") as out:
        server_process = subprocess.Popen(words, stdout=out, stderr=out, env=environment)
    try:
        address = f"http://127.0.0.1:{port}/lab/tree/00_start_here.ipynb?token=secret"
        page = _patiently(address, log)
    finally:
        server_process.terminate()
        server_process.wait(30)
    assert '"news": {"disabled": true}' in page
    assert "00_start_here.ipynb" in log.read_text()


def _patiently(address: str, log: Path) -> str:
    for _ in range(120):
        try:
            with urllib.request.urlopen(address, timeout=5) as answer:
                text: str = answer.read().decode()
                return text
        except OSError:
            time.sleep(0.5)
    raise AssertionError(log.read_text())


# gradcourse run


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("depth=80", 80),
        ("rate=1e-3", 1e-3),
        ("rate=0.5", 0.5),
        ("flag=true", True),
        ("nothing=null", None),
        ("names=[tanh, relu]", ["tanh", "relu"]),
        ("name=tanh", "tanh"),
        ("name='1e-3 or so'", "1e-3 or so"),
        ("text=a=b", "a=b"),
    ],
)
def test_values_are_read_as_yaml_and_numbers(text: str, value: object) -> None:
    assert list(parse_parameters([text]).values()) == [value]


@pytest.mark.parametrize("text", ["depth", "=3", "de pth=3", "depth=[1", "1st=2"])
def test_a_malformed_parameter_is_refused(
    course: Course, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    course(_01_a=["# parameters\ndepth = 1"])
    assert main(["run", "01", "-p", text]) == 2
    assert text in sentence(capsys)


def test_an_unknown_parameter_is_answered_with_the_known_ones(
    course: Course, capsys: pytest.CaptureFixture[str]
) -> None:
    course(_01_a=["# parameters\ndepth = 1\nseed = 0"], _02_b=["1"])
    assert main(["run", "01", "-p", "depht=3"]) == 2
    assert sentence(capsys).endswith("no parameter 'depht'; its parameters are depth, seed")
    assert main(["run", "01", "02", "-p", "depth=3"]) == 2
    assert sentence(capsys).endswith("02_b has no parameter 'depth'; it has no parameters")
    assert not Path("gradcourse-runs").exists()


@pytest.mark.parametrize("folder", ["taken", "taken/deeper"])
def test_run_refuses_a_file_for_a_folder(
    course: Course, folder: str, capsys: pytest.CaptureFixture[str]
) -> None:
    course(_01_a=["1"])
    Path("taken").write_text("a file")
    assert main(["run", "01", "-o", folder]) in (1, 2)
    assert "taken" in sentence(capsys)


def test_run_executes_with_the_parameter_and_never_overwrites(
    course: Course, capsys: pytest.CaptureFixture[str]
) -> None:
    course(_01_a=["# parameters\ndepth = 1", "print('depth', depth)"])
    folder = "my {runs}"
    assert main(["run", "01", "-p", "depth=80", "-o", folder]) == 0
    assert main(["run", "01", "-o", folder]) == 0
    said = capsys.readouterr()
    assert said.out.splitlines() == [f"{folder}/01_a.ipynb", f"{folder}/01_a-2.ipynb"]
    assert "cell" in said.err, "the progress bar"
    for name, depth in (("01_a", 80), ("01_a-2", 1)):
        assert f"depth {depth}\\n" in Path(folder, f"{name}.ipynb").read_text()


WIDGET_ERRORS = {
    "_01_click": [
        "from ipywidgets import Button\nbutton = Button()\nbutton.on_click(lambda _: 1 / 0)",
        "button.click()",
        "print('the lesson goes on')",
    ],
    "_02_interact": [
        "from ipywidgets import interactive\ndef show(depth):\n    assert depth < 5, 'too deep'",
        "figure = interactive(show, depth=(0, 9))\nfigure.children[0].value = 1\nfigure",
        "figure.children[0].value = 8",
        "print('the lesson goes on')",
    ],
}


def test_an_error_in_a_widget_s_callback_makes_the_run_fail(
    course: Course, capsys: pytest.CaptureFixture[str]
) -> None:
    course(**WIDGET_ERRORS, _03_fine=["print(1)"])
    assert main(["run", "01", "02", "03"]) == 1
    said = capsys.readouterr()
    assert "01_click, cell In [2]: ZeroDivisionError: division by zero" in said.err
    assert "02_interact, cell In [2], in a widget's callback: AssertionError: too deep" in said.err
    assert said.out.splitlines() == [f"gradcourse-runs{os.sep}03_fine.ipynb"]
    assert "the lesson goes on" in Path("gradcourse-runs/01_click.ipynb").read_text()


def test_a_failing_cell_is_named_and_its_notebook_kept(
    course: Course, capsys: pytest.CaptureFixture[str]
) -> None:
    course(_01_a=["x = 1", "raise ValueError('first line\\nsecond line')", "print(2)"])
    assert main(["run", "01"]) == 1
    kept = Path("gradcourse-runs/01_a.ipynb")
    assert last_line(capsys).endswith(f"01_a, cell In [2]: ValueError: first line; see {kept}")
    assert any(cell.get("outputs") for cell in json.loads(kept.read_text())["cells"])


def test_a_kernel_that_dies_is_said(course: Course, capsys: pytest.CaptureFixture[str]) -> None:
    course(_01_a=["import os\nos._exit(1)"])
    assert main(["run", "01"]) == 1
    assert "01_a, the kernel: it died" in last_line(capsys)


def test_problems_of_a_widget_that_no_cell_shows_are_found() -> None:
    error = {"output_type": "error", "ename": "KeyError", "evalue": "'x'"}
    state: dict[str, Any] = {"abc": {"state": {"outputs": [error]}}, "other": {"state": {}}}
    widgets = {"application/vnd.jupyter.widget-state+json": {"state": state}}
    notebook = {"cells": [{"cell_type": "markdown"}], "metadata": {"widgets": widgets}}
    assert [str(one) for one in find_problems(notebook)] == ["a widget's callback: KeyError: 'x'"]


# gradcourse claims

CLAIMING = [
    "# parameters\nseed = 0",
    "from gradcourse.claims import claim\n"
    "claim('two is above one', 2, above=1, source='arithmetic')\n"
    "claim('the seed is below two', seed, below=2, source='luck')",
]


def test_a_true_ledger_is_printed(course: Course, capsys: pytest.CaptureFixture[str]) -> None:
    course(_00_start_here=["1"], _01_a=CLAIMING)
    assert main(["claims"]) == 0
    said = capsys.readouterr().out
    assert "2 claims, 2 true, 0 false" in said
    (line,) = [line for line in said.splitlines() if "two is above one" in line]
    assert " ".join(line.split()) == "true two is above one 2 above 1 arithmetic"
    assert "GRADCOURSE_LEDGER" not in os.environ


def test_a_claim_that_a_seed_contradicts_is_false(
    course: Course, capsys: pytest.CaptureFixture[str]
) -> None:
    course(_01_a=CLAIMING, _02_b=["1"])
    assert main(["claims", "--seeds", "2"]) == 1
    said = capsys.readouterr().out
    assert "true 3/3" in said
    assert "FALSE 2/3" in said
    assert "0 (0 to 2)" in said
    assert "2 (2 to 2)" not in said
    assert "no parameter named seed" in said
    assert "2 claims, 1 true, 1 false" in said


def test_a_lesson_that_fails_is_named_and_its_claims_still_printed(
    course: Course, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    course(_01_a=[*CLAIMING, "1 / 0"])
    before = sorted(tmp_path.iterdir())
    assert main(["claims", "01"]) == 1
    said = capsys.readouterr()
    assert "2 claims, 2 true, 0 false; 1 of 1 lessons failed" in said.out
    assert "  FAILED in cell In [3]: ZeroDivisionError" in said.out
    assert "01_a, cell In [3]: ZeroDivisionError" in said.err
    assert sorted(tmp_path.iterdir()) == before


def test_a_table_folds_long_cells_to_the_width() -> None:
    rows = [("", "claim"), ("true", "word " * 40), ("FALSE", "short")]
    lines = table(rows, 80).splitlines()
    assert max(map(len, lines)) <= 80
    assert " ".join(line[9:] for line in lines).split().count("word") == 40
