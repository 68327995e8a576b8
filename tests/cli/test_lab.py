"""``gradcourse lab``: every mistake answered in one sentence, and a real server."""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from said import Course, sentence

from gradcourse.cli import lab as lab_module
from gradcourse.cli import main
from gradcourse.cli.copying import MANIFEST


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
