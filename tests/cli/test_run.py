"""``gradcourse run``: parameters, and every way in which a lesson can fail."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from typing import Any

import papermill
import pytest
from said import Course, last_line, sentence

from gradcourse.cli import execution, main
from gradcourse.cli.execution import find_problems
from gradcourse.cli.run import parse_parameters


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


@pytest.mark.parametrize(("taken", "code"), [(1, 0), (execution.STARTS, 1)])
def test_a_kernel_whose_port_was_taken_is_started_again(
    course: Course,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    taken: int,
    code: int,
) -> None:
    starts = 0

    def quicker(*arguments: Any, **options: Any) -> Any:
        nonlocal starts
        starts += 1
        if starts <= taken:
            options["extra_arguments"] = [*options["extra_arguments"], f"--shell={port}"]
        return run(*arguments, **options)

    run = papermill.execute_notebook
    monkeypatch.setattr(papermill, "execute_notebook", quicker)
    course(_01_a=["print(6 * 7)"])
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        assert main(["run", "01"]) == code
    assert starts == min(taken + 1, execution.STARTS)
    if code:
        assert "01_a, the kernel: it died at its start" in last_line(capsys)
    else:
        assert "42" in Path("gradcourse-runs/01_a.ipynb").read_text()


def test_problems_of_a_widget_that_no_cell_shows_are_found() -> None:
    error = {"output_type": "error", "ename": "KeyError", "evalue": "'x'"}
    state: dict[str, Any] = {"abc": {"state": {"outputs": [error]}}, "other": {"state": {}}}
    widgets = {"application/vnd.jupyter.widget-state+json": {"state": state}}
    notebook = {"cells": [{"cell_type": "markdown"}], "metadata": {"widgets": widgets}}
    assert [str(one) for one in find_problems(notebook)] == ["a widget's callback: KeyError: 'x'"]
