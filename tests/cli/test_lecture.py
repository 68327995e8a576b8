"""``gradcourse lecture``: every mistake in one sentence, and a server that lets nobody else in."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from said import Course, sentence

from benchmarks.browser import Lecture, start_lecture
from gradcourse.cli import lecture as lecture_module
from gradcourse.cli import main


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    from gradcourse.lecture import server

    calls: list[dict[str, Any]] = []
    monkeypatch.setattr(server, "serve", lambda slides, **how: calls.append({"of": slides, **how}))
    return calls


def test_a_lecture_is_on_loopback_and_follows_the_browser(served: list[dict[str, Any]]) -> None:
    assert main(["lecture", "00"]) == 0
    (call,) = served
    assert call.pop("of").title == "00 · Start here"
    assert call == {"host": "127.0.0.1", "port": None, "browser": True, "scheme": None}


def test_the_options_of_a_lecture_arrive(served: list[dict[str, Any]]) -> None:
    assert main(["lecture", "clipping", "--no-browser", "--dark", "--host", "0.0.0.0"]) == 0
    (call,) = served
    assert call.pop("of").title == "03 · Clipping"
    assert call == {"host": "0.0.0.0", "port": None, "browser": False, "scheme": "dark"}


def test_without_voila_the_command_that_installs_it_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(lecture_module, "EXTRA", ("no_such_package",))
    assert main(["lecture", "00"]) == 1
    assert 'pip install "gradcourse[lecture]"' in sentence(capsys)


def test_a_port_in_use_is_refused(
    served: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert main(["lecture", "00", "--port", str(port)]) == 1
    assert f"port {port} cannot be used" in sentence(capsys)
    assert not served


@pytest.mark.parametrize("host", ["192.0.2.7", "no such host"])
def test_a_host_that_is_not_here_is_refused(
    host: str, served: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["lecture", "00", "--host", host]) == 2
    assert f"{host} is no address of this machine" in sentence(capsys)
    assert not served


def test_a_lesson_without_figures_makes_no_lecture(
    course: Course, served: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    course(_01_a=["1"])
    assert main(["lecture", "01"]) == 2
    assert "01_a makes no lecture: it has no live figure" in sentence(capsys)
    assert main(["lecture", "02"]) == 2
    assert "there is no lesson '02'" in sentence(capsys)
    assert not served


def test_notes_are_printed_and_nothing_is_served(
    served: list[dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "03_clipping.md").write_text("## 1 · One gradient\nAsk: How far?\n")
    monkeypatch.setattr(lecture_module, "NOTES", tmp_path)
    assert main(["lecture", "03", "--notes"]) == 0
    assert capsys.readouterr().out == "## 1 · One gradient\nAsk: How far?\n"
    assert main(["lecture", "04", "--notes"]) == 1
    assert "there are no speaker notes for 04_three_causes" in sentence(capsys)
    assert not served


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("empty")


@pytest.fixture(scope="module", params=["127.0.0.1", "0.0.0.0"])
def lecture(folder: Path, request: pytest.FixtureRequest) -> Iterator[Lecture]:
    with start_lecture(folder, "00", "--host", request.param) as started:
        yield started


def parts(lecture: Lecture) -> tuple[str, str]:
    """Return the lecture's address on loopback, and its token."""
    port, token = re.fullmatch(r"http://[^/]+:(\d+)/\?token=(\w{40,})", lecture.address).groups()
    return f"127.0.0.1:{port}", token


def answer(address: str, **headers: str) -> tuple[int, str]:
    request = urllib.request.Request(address, headers=headers)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=60) as page:
            return page.status, page.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


@pytest.fixture(scope="module")
def kernel(lecture: Lecture) -> str:
    """Open the page, which starts a kernel, and return the kernel's name."""
    place, token = parts(lecture)
    status, page = answer(f"http://{place}/?token={token}")
    assert status == 200
    found = re.search(r'id="jupyter-config-data" type="application/json">(.*?)</script>', page)
    assert found
    return str(json.loads(found[1])["kernelId"])


def knock(address: str, origin: str | None, **headers: str) -> int:
    """Return the status of the answer to a page's wish to talk to the kernel."""
    from websockets.exceptions import InvalidStatus
    from websockets.sync.client import connect

    try:
        with connect(address, origin=origin, additional_headers=headers, proxy=None):
            return 101
    except InvalidStatus as refusal:
        return refusal.response.status_code


@pytest.mark.slow
def test_without_the_token_there_is_no_page(lecture: Lecture) -> None:
    place, token = parts(lecture)
    for query in ("", "?token=", "?token=wrong", f"?token={token[:-1]}"):
        status, page = answer(f"http://{place}/{query}")
        assert status == 403, query
        assert "whole address" in page
        assert token not in page
        assert "kernelId" not in page
    for path in ("login", "api/kernels", "voila/files/lecture.ipynb"):
        assert answer(f"http://{place}/{path}")[0] in (403, 404), path


@pytest.mark.slow
@pytest.mark.parametrize("path", ["api/kernels/{}/channels", "voila/execution/{}"])
def test_a_kernel_talks_only_to_its_own_page(lecture: Lecture, kernel: str, path: str) -> None:
    place, token = parts(lecture)
    address = f"ws://{place}/{path.format(kernel)}"
    home, bearer = f"http://{place}", f"token {token}"
    assert knock(address, home, Authorization=bearer) == 101
    assert knock(address, home) == 403
    assert knock(address, home, Authorization="token wrong") == 403
    assert knock(address, None) == 403


@pytest.mark.slow
@pytest.mark.parametrize("path", ["api/kernels/{}/channels", "voila/execution/{}"])
def test_a_page_of_another_origin_does_not_reach_the_kernel(
    lecture: Lecture, kernel: str, path: str
) -> None:
    place, token = parts(lecture)
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPCookieProcessor()
    )
    with opener.open(f"http://{place}/?token={token}", timeout=60) as page:
        assert "default-src 'self'" in page.headers["Content-Security-Policy"]
        cookies = [value.partition(";")[0] for value in page.headers.get_all("Set-Cookie")]
    cookie = "; ".join(cookies)
    address = f"ws://{place}/{path.format(kernel)}"
    assert knock(address, f"http://{place}", Cookie=cookie) == 101
    for other in ("http://127.0.0.1:1", "https://example.org", "null"):
        assert knock(address, other, Cookie=cookie) == 403, other


@pytest.mark.slow
def test_on_loopback_a_foreign_name_for_this_machine_is_refused(lecture: Lecture) -> None:
    place, token = parts(lecture)
    status, _page = answer(f"http://{place}/?token={token}", Host="example.org")
    open_to_all = not lecture.address.startswith("http://127.0.0.1")
    assert status == (200 if open_to_all else 403)


@pytest.mark.slow
def test_ctrl_c_ends_server_and_kernel_and_leaves_no_file(tmp_path: Path) -> None:
    folder, temporary = tmp_path / "here", tmp_path / "temporary"
    folder.mkdir()
    temporary.mkdir()
    # What a reader has set up for other pages opens no door here.
    (folder / "voila.json").write_text('{"Voila": {"token": ""}}')
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", str(temporary))
        with start_lecture(folder, "00") as lecture:
            place, token = parts(lecture)
            assert answer(f"http://{place}/?token={token}")[0] == 200
            assert answer(f"http://{place}/")[0] == 403
            children = psutil.Process(lecture.process.pid).children(recursive=True)
            assert children
            assert list(temporary.iterdir())
            os.kill(lecture.process.pid, signal.SIGINT)
            assert lecture.process.wait(30) == 0
            _gone, left = psutil.wait_procs(children, timeout=10)
            assert not left
    assert [path.name for path in folder.iterdir()] == ["voila.json"]
    assert not list(temporary.iterdir())
