"""How long a reader waits for a lesson's first picture: in a kernel alone, and in JupyterLab."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

from benchmarks.browser import KERNEL_IDLE, Lab, start_lab
from gradcourse.kernel import QUIET_KERNEL

__all__ = ["in_a_kernel", "in_jupyterlab"]

VIEW = "application/vnd.jupyter.widget-view+json"
VIEWPORT = {"width": 1280, "height": 720}
WAIT = 60_000
# The course's notebooks carry pictures of their own; a live one is inside of a widget. It is
# scrolled into view, for what is out of sight is not painted.
LIVE_PICTURE = """() => {
    for (const image of document.querySelectorAll(".jp-OutputArea-output img.widget-image"))
        if (image.complete && image.naturalWidth > 0) {
            image.scrollIntoView({block: "center"});
            return image.getBoundingClientRect().width > 0;
        }
    return false;
}"""
# What was there when a frame began is on the screen when the next one begins.
NEXT_FRAMES = "() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"


def in_a_kernel(lesson: Path) -> dict[str, float]:
    """Execute a lesson's cells in a fresh kernel, without a page, up to its first live figure.

    Returns
    -------
    dict
        Seconds of each stage, and of all of them.
    """
    notebook = nbformat.read(lesson, as_version=4)
    notebook.cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    # A kernel that is asked to leave may stumble over a socket that it has just closed, and says so
    # among the tables; there is nothing here that it could save.
    client = NotebookClient(
        notebook,
        kernel_name="python3",
        extra_arguments=QUIET_KERNEL,
        shutdown_kernel="immediate",
    )
    began = time.perf_counter()
    with client.setup_kernel(cwd=str(lesson.parent)):
        ready = time.perf_counter()
        before = ready
        for index, cell in enumerate(notebook.cells):
            client.execute_cell(cell, index)
            ended = time.perf_counter()
            if any(VIEW in output.get("data", {}) for output in cell.outputs):
                break
            before = ended
        else:
            raise RuntimeError(f"{lesson.name} shows no live figure")
    return {
        "the kernel starts": ready - began,
        "cells before the figure's: imports": before - ready,
        "the figure's cell": ended - before,
        "together": ended - began,
    }


def in_jupyterlab(browser: Any, first: Path, second: Path) -> dict[str, float]:
    """Start ``gradcourse lab`` and run two lessons in its page, each up to its first live figure.

    Parameters
    ----------
    browser
        A Chromium that runs, as playwright gives it.
    first, second
        The lesson that ``gradcourse lab`` opens, and the one after it.

    Returns
    -------
    dict
        Seconds of each stage.
    """
    stages: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="gradcourse-bench-") as folder:
        began = time.perf_counter()
        with start_lab(Path(folder)) as lab:
            stages["gradcourse lab, to the server's answer"] = since(began)
            opening = time.perf_counter()
            with opened(browser, lab, first) as page:
                stages["its page, to the lesson's being shown"] = since(opening)
                waiting = time.perf_counter()
                wait_for_kernel(page)
                stages["its kernel, to being idle"] = since(waiting)
                stages[f"{first.stem}: Run All, to the first picture"] = run_all(page)
                stages["all of these together"] = since(began)
            with opened(browser, lab, second) as page:
                wait_for_kernel(page)
                stages[f"{second.stem}: Run All in a kernel just started"] = run_all(page)
            with opened(browser, lab, second) as page:
                wait_for_kernel(page)
                stages[f"{second.stem}: Restart Kernel and Run All"] = restart_and_run_all(page)
    return stages


@contextmanager
def opened(browser: Any, lab: Lab, lesson: Path) -> Iterator[Any]:
    """Give a page that shows a lesson; then end it and its kernel."""
    context = browser.new_context(viewport=VIEWPORT)
    try:
        page = context.new_page()
        page.set_default_timeout(WAIT)
        page.goto(lab.url(lesson.name))
        page.wait_for_selector(".jp-Notebook .jp-Cell")
        yield page
    finally:
        context.close()
        lab.end_kernels()


def wait_for_kernel(page: Any) -> None:
    """Wait until the page has a kernel and shows it idle."""
    page.wait_for_function(KERNEL_IDLE)


def run_all(page: Any) -> float:
    """Click Run All Cells and return the seconds until the first picture is painted."""
    page.click(".lm-MenuBar-itemLabel:text-is('Run')")
    page.click(".lm-Menu-itemLabel:text-is('Run All Cells')")
    return until_painted(page)


def restart_and_run_all(page: Any) -> float:
    """Restart the kernel, run all cells, and return the seconds until the first picture."""
    page.click(".lm-MenuBar-itemLabel:text-is('Kernel')")
    page.click(".lm-Menu-itemLabel:text-is('Restart Kernel and Run All Cells…')")
    page.click(".jp-Dialog .jp-mod-accept")
    return until_painted(page)


def until_painted(page: Any) -> float:
    """Return the seconds from now until a live picture is on the screen."""
    began = time.perf_counter()
    page.wait_for_function(LIVE_PICTURE)
    page.evaluate(NEXT_FRAMES)
    return since(began)


def since(began: float) -> float:
    """Return the seconds since a moment."""
    return time.perf_counter() - began
