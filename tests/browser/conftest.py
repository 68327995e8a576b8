"""A real JupyterLab, started as a learner starts it, and a headless Chromium."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is a dev extra")

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
TOKEN = "for-this-test-only"
# A page of the closed test network asks for nothing, and Chromium must not either.
QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def chromium():
    """Return the path of a Chromium, or skip in words."""
    named = os.environ.get("GRADCOURSE_CHROMIUM")
    for candidate in (named, "chromium", "chromium-browser", "google-chrome"):
        found = candidate and shutil.which(candidate)
        if found:
            return found
    pytest.fail("no Chromium found: install it, or name it in GRADCOURSE_CHROMIUM")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="session")
def lab(tmp_path_factory):
    """Start ``gradcourse lab`` in a folder of its own; give its address and the folder."""
    folder = tmp_path_factory.mktemp("lab")
    port = free_port()
    log = folder / "lab.log"
    settings = folder / "settings"
    environment = os.environ | {
        "JUPYTER_TOKEN": TOKEN,
        "JUPYTERLAB_SETTINGS_DIR": str(settings),
        "OMP_NUM_THREADS": "1",
    }
    course = folder / "course"
    command = [sys.executable, "-m", "gradcourse", "lab", str(course)]
    with log.open("w") as output:
        process = subprocess.Popen(
            [*command, "--no-browser", "--port", str(port)],
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
            cwd=folder,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + 60
        while not re.search(rf"http://\S+:{port}/", log.read_text()):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}", course, settings
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)


@pytest.fixture(scope="session")
def browser():
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=chromium(), args=QUIET)
        yield opened
        opened.close()


# Before a kernel is chosen the page calls it idle too, and Run All would ask which one to start.
KERNEL_IDLE = """() => {
    const status = document.querySelector(".jp-Notebook-ExecutionIndicator")?.dataset.status;
    const name = document.querySelector(".jp-KernelName")?.textContent;
    return status === "idle" && name !== "No Kernel";
}"""


@pytest.fixture
def page(browser, request):
    """Give a page of the size of a projector, or (width, pixels for one CSS pixel) if asked."""
    width, density = getattr(request, "param", (1280, 1))
    context = browser.new_context(
        viewport={"width": width, "height": 720}, device_scale_factor=density
    )
    opened = context.new_page()
    opened.set_default_timeout(60_000)
    yield opened
    context.close()


@pytest.fixture
def open_lesson(lab, page):
    """Return a function that opens a notebook of the course in JupyterLab."""
    address, _, _ = lab

    def open_(name):
        page.goto(f"{address}/lab/tree/{name}?token={TOKEN}&reset")
        page.wait_for_selector(".jp-Notebook .jp-Cell")
        page.wait_for_function(KERNEL_IDLE)
        return page

    return open_
