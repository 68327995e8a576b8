"""What memory a lesson needs where the server counts too, as on Binder: JupyterLab and the kernels.

    python -m benchmarks.hosted              every lesson alone, then the two largest together
    python -m benchmarks.hosted 00 11        the named lessons, then those of them

A lesson runs cell by cell through the server, as from its page, on one thread as on Binder;
the page itself is elsewhere. The memory of all processes is added every 50 ms, and what they share
is counted in each of them, so that they need less than this rather than more.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
import threading
import urllib.request
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import nbformat
import psutil
from tornado.websocket import websocket_connect

from benchmarks.browser import TOKEN, Lab, start_lab
from benchmarks.report import machine, table
from gradcourse.cli.course import find_course, pick_lessons

PAUSE = 0.05
# What Binder grants.
LIMIT = 2e9


def main() -> None:
    """Measure, and print a row as soon as it is known."""
    lessons = pick_lessons(sys.argv[1:], find_course())
    print(machine(f"torch {version('torch')}"), flush=True)
    os.environ["OMP_NUM_THREADS"] = "1"
    peaks = {}
    with (
        tempfile.TemporaryDirectory(prefix="gradcourse-bench-") as folder,
        start_lab(Path(folder)) as lab,
    ):
        server = memory()
        for lesson in lessons:
            peaks[lesson] = peak_of(lab, [lesson])
            print(f"{lesson.stem}: {peaks[lesson] / 1e9:.2f}", flush=True)
        largest = sorted(lessons, key=peaks.__getitem__)[-2:]
        together = peak_of(lab, largest)
    rows = [["JupyterLab alone", f"{server / 1e9:.2f}"]]
    rows += [[lesson.stem, f"{peak / 1e9:.2f}"] for lesson, peak in peaks.items()]
    rows += [[" and ".join(one.stem for one in largest), f"{together / 1e9:.2f}"]]
    print(f"\n{table(['server and kernels', 'peak memory, GB'], rows)}")
    beyond = max(together, *peaks.values()) > LIMIT
    print(f"{'Beyond' if beyond else 'Within'} {LIMIT / 1e9:.0f} GB.")


def peak_of(lab: Lab, lessons: Sequence[Path]) -> int:
    """Return the most memory that server and kernels need while lessons run one after the other.

    A lesson's kernel stays while the next one runs, as it does when its tab is left open.
    """
    with watched(memory) as seen:
        for lesson in lessons:
            _run(lab, lesson)
    lab.end_kernels()
    return max(seen)


def memory() -> int:
    """Return the bytes that the processes under this one hold (RSS), added."""
    total = 0
    for process in psutil.Process().children(recursive=True):
        try:
            total += process.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return total


@contextmanager
def watched(measure: Callable[[], int]) -> Iterator[list[int]]:
    """Measure again and again beside what happens inside."""
    seen, over = [measure()], threading.Event()

    def watch() -> None:
        while not over.wait(PAUSE):
            seen.append(measure())

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()


def _run(lab: Lab, lesson: Path) -> None:
    """Open a lesson as its page does, and run its cells."""
    _ask(lab, f"/lab/tree/{lesson.name}")
    _ask(lab, f"/api/contents/{lesson.name}")
    wanted = {"path": lesson.name, "name": lesson.name, "type": "notebook"}
    session = json.loads(_ask(lab, "/api/sessions", wanted | {"kernel": {"name": "python3"}}))
    address = f"{lab.address.replace('http', 'ws', 1)}/api/kernels/{session['kernel']['id']}"
    cells = nbformat.read(lesson, as_version=4).cells
    code = [cell.source for cell in cells if cell.cell_type == "code"]
    asyncio.run(_execute(f"{address}/channels?token={TOKEN}", code))


def _ask(lab: Lab, path: str, body: dict[str, Any] | None = None) -> bytes:
    data = json.dumps(body).encode() if body else None
    header = {"Authorization": f"token {TOKEN}"}
    request = urllib.request.Request(lab.address + path, data=data, headers=header)
    with urllib.request.urlopen(request, timeout=60) as answer:
        return bytes(answer.read())


async def _execute(channels: str, code: Sequence[str]) -> None:
    connection = await websocket_connect(channels)
    for source in code:
        sent = uuid.uuid4().hex
        message = {
            "channel": "shell",
            "header": {"msg_id": sent, "msg_type": "execute_request", "version": "5.3"},
            "parent_header": {},
            "metadata": {},
            "content": {"code": source, "silent": False, "allow_stdin": False},
        }
        await connection.write_message(json.dumps(message))
        while True:
            answer = await connection.read_message()
            if answer is None:
                raise RuntimeError("the kernel is gone")
            # Pictures come as bytes.
            if isinstance(answer, bytes):
                continue
            said = json.loads(answer)
            if said["parent_header"].get("msg_id") != sent:
                continue
            if said["msg_type"] == "error":
                raise RuntimeError(said["content"]["evalue"])
            if said["content"].get("execution_state") == "idle":
                break
    connection.close()


if __name__ == "__main__":
    main()
