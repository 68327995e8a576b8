"""What JupyterLab writes when a lesson was only run is no edit."""

import time

import pytest
from notebook_pages import choose

from benchmarks.browser import KERNEL_IDLE
from gradcourse.cli.copying import Copied, copy_course
from gradcourse.cli.course import find_course

pytestmark = pytest.mark.browser

LESSON = "00_start_here.ipynb"


def test_a_lesson_that_was_run_and_saved_keeps_its_results_and_counts_as_unchanged(
    open_lesson, lab
):
    page = open_lesson(LESSON)
    path = lab.notebooks / LESSON
    shipped = path.read_bytes()
    choose(page, "Run", "Run All Cells")
    page.wait_for_selector(".jp-OutputArea-output .widget-image")
    page.wait_for_function(KERNEL_IDLE)
    page.keyboard.press("Control+S")
    deadline = time.monotonic() + 60
    while path.read_bytes() == shipped:
        assert time.monotonic() < deadline, "JupyterLab did not save"
        page.wait_for_timeout(100)
    page.wait_for_timeout(500)
    saved = path.read_bytes()
    done = copy_course(find_course(), lab.notebooks)
    assert LESSON not in done.kept + done.updated
    assert path.read_bytes() == saved
    # A later version of the lesson would have reached it, as it reaches one that was not touched.
    path.write_bytes(saved.replace(b"Start here", b"Start there"))
    assert copy_course(find_course(), lab.notebooks).kept == [LESSON]
    path.write_bytes(shipped)
    assert copy_course(find_course(), lab.notebooks) == Copied()
