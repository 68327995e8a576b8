"""JupyterLab and lectures started as people start them, a Chromium, and notebooks' kernels."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

__all__ = [
    "KERNEL_IDLE",
    "Lab",
    "Lecture",
    "UnusableError",
    "chromium",
    "open_chromium",
    "start_lab",
    "start_lecture",
]

TOKEN = "for-this-run-only"
# Chromium must not ask the network for anything while it is measured.
QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
# Before a kernel is chosen the page calls it idle too, and Run All would ask which one to start.
KERNEL_IDLE = """() => {
    const status = document.querySelector(".jp-Notebook-ExecutionIndicator")?.dataset.status;
    const name = document.querySelector(".jp-KernelName")?.textContent;
    return status === "idle" && name !== "No Kernel";
}"""


class UnusableError(Exception):
    """Something that the benchmark needs is not there; the message is one sentence."""


def chromium() -> str:
    """Return the path of a Chromium.

    Raises
    ------
    UnusableError
        If there is none.
    """
    named = os.environ.get("GRADCOURSE_CHROMIUM")
    for candidate in (named, "chromium", "chromium-browser", "google-chrome"):
        found = candidate and shutil.which(candidate)
        if found:
            return found
    raise UnusableError("no Chromium was found: install it, or name it in GRADCOURSE_CHROMIUM")


@contextmanager
def open_chromium() -> Iterator[Any]:
    """Give a headless Chromium, as playwright's browser."""
    path = chromium()
    try:
        from playwright.sync_api import sync_playwright
    except ModuleNotFoundError:
        raise UnusableError("playwright is missing: pip install -e '.[bench]'") from None
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=QUIET)
        try:
            yield browser
        finally:
            browser.close()


@dataclass(frozen=True)
class Lab:
    """A JupyterLab that runs.

    Attributes
    ----------
    address
        Where it answers.
    notebooks
        The folder that it shows.
    runtime
        Where the kernels' connection files are.
    settings
        Where JupyterLab keeps what its reader has chosen.
    """

    address: str
    notebooks: Path
    runtime: Path
    settings: Path

    def url(self, notebook: str) -> str:
        """Return the address of a notebook, in an empty workspace."""
        return f"{self.address}/lab/tree/{notebook}?token={TOKEN}&reset"

    def kernel(self, notebook: str) -> Kernel:
        """Return the kernel of a notebook that is open in a page."""
        (session,) = [one for one in self._sessions() if one["path"] == notebook]
        return Kernel(self.runtime / f"kernel-{session['kernel']['id']}.json")

    def end_kernels(self) -> None:
        """End the kernel of every notebook."""
        for session in self._sessions():
            self._ask(f"/api/sessions/{session['id']}", "DELETE")

    def _sessions(self) -> Any:
        return json.loads(self._ask("/api/sessions"))

    def _ask(self, path: str, method: str = "GET") -> bytes:
        header = {"Authorization": f"token {TOKEN}"}
        request = urllib.request.Request(self.address + path, headers=header, method=method)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return bytes(answer.read())


@dataclass(frozen=True)
class Lecture:
    """A lecture that runs.

    Attributes
    ----------
    address
        What it printed, with its token.
    process
        The server.
    """

    address: str
    process: subprocess.Popen[bytes]


@dataclass(frozen=True)
class Kernel:
    """A kernel that a page uses, asked from outside."""

    connection: Path

    def value(self, expression: str) -> Any:
        """Return the value of an expression made of plain numbers, words and lists."""
        from jupyter_client.blocking.client import BlockingKernelClient

        client = BlockingKernelClient(connection_file=str(self.connection))
        client.load_connection_file()
        client.start_channels()
        try:
            # As one string, since IPython shortens a long list.
            reply = client.execute_interactive(
                "",
                store_history=False,
                allow_stdin=False,
                user_expressions={"it": f"repr({expression})"},
                timeout=60,
            )
        finally:
            client.stop_channels()
        answer = reply["content"]["user_expressions"]["it"]
        if answer["status"] != "ok":
            raise RuntimeError(f"the kernel cannot tell {expression}: {answer['evalue']}")
        return ast.literal_eval(ast.literal_eval(answer["data"]["text/plain"]))


@contextmanager
def start_lab(folder: Path) -> Iterator[Lab]:
    """Start ``gradcourse lab`` with settings of its own in an empty folder, and end it."""
    port = _free_port()
    private = {
        "IPYTHONDIR": folder / "ipython",
        "JUPYTER_CONFIG_DIR": folder / "config",
        "JUPYTER_RUNTIME_DIR": folder / "runtime",
        "JUPYTERLAB_SETTINGS_DIR": folder / "settings",
        "JUPYTERLAB_WORKSPACES_DIR": folder / "workspaces",
    }
    environment = os.environ | {name: str(path) for name, path in private.items()}
    environment |= {"JUPYTER_TOKEN": TOKEN}
    notebooks = folder / "course"
    words = ["lab", str(notebooks), "--no-browser", "--port", str(port)]
    with _started(words, folder, folder / "lab.log", environment):
        address = f"http://127.0.0.1:{port}"
        yield Lab(address, notebooks, folder / "runtime", folder / "settings")


@contextmanager
def start_lecture(folder: Path, *words: str) -> Iterator[Lecture]:
    """Start ``gradcourse lecture`` in a folder, and end it."""
    command = ["lecture", *words, "--no-browser", "--port", str(_free_port())]
    log = folder.with_name(f"{folder.name}.log")
    with _started(command, folder, log, dict(os.environ)) as (process, address):
        yield Lecture(address, process)


@contextmanager
def _started(
    words: list[str], folder: Path, log: Path, environment: dict[str, str]
) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """Give a command of gradcourse that runs, and the first address that it printed."""
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "gradcourse", *words],
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
            cwd=folder,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + 60
        while not (found := re.search(r"http://\S+:\d+/\S*", log.read_text())):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"gradcourse {words[0]} did not start:\n{log.read_text()}")
            time.sleep(0.1)
        yield process, found.group()
    finally:
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a server and its kernels, which have process groups of their own."""
    family = [psutil.Process(process.pid)] if process.poll() is None else []
    family += [child for parent in family for child in parent.children(recursive=True)]
    process.terminate()
    _, left = psutil.wait_procs(family, timeout=20)
    for one in left:
        one.kill()
    process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
