"""A kernel that is restarted or interrupted, a page that is loaded again, a cell run many times."""

import pytest
from notebook_pages import cell, choose, figure_of, grasp, image, press, run_all, wait_for_words
from notebook_pages import write as write_notebook

from benchmarks.browser import KERNEL_IDLE

pytestmark = pytest.mark.browser

TRAINING = """
import time
from types import SimpleNamespace
from gradcourse.live import live

def train(rate=1):
    for done in range(1, 201):
        time.sleep(0.1 if rate > 1 else 0)
        said = f"one: rate {rate}, {done} of 200"
        yield SimpleNamespace(done=done, progress=done / 200, summary=lambda: said)

def draw(result, axes):
    axes.set(xlim=(0, 200), ylim=(0, 200))
    axes.line("line", [0, result.done], [0, result.done], label="done")

one = live(train, draw, rate=(1, 9))
one
"""

# What a cell leaves behind that is run again and again.
LEFT = """
import gc
import threading
import psutil

def left():
    gc.collect()
    return [threading.active_count(), psutil.Process().memory_info().rss]
"""


@pytest.fixture
def open_cells(lab, open_lesson):
    """Return a function that opens a notebook of these cells and runs it."""
    troubles = []

    def open_(*cells):
        write_notebook(lab, "again.ipynb", *cells)
        page = open_lesson("again.ipynb")
        page.on("pageerror", lambda error: troubles.append(str(error)))
        run_all(page)
        return page

    yield open_
    lab.end_kernels()
    assert not troubles


def restart(page):
    """Restart the kernel with the keyboard, as one may while the mouse holds a slider."""
    page.keyboard.press("Escape")
    page.keyboard.press("0")
    page.keyboard.press("0")
    page.locator(".jp-Dialog").wait_for()
    page.keyboard.press("Enter")


def gone(figure):
    """Return what a figure says of its kernel, how clear its picture is, and its own words."""
    return figure.evaluate(
        """figure => [
            getComputedStyle(figure.querySelector('.widget-html-content'), '::before').content,
            getComputedStyle(figure.querySelector('.widget-image')).opacity,
            getComputedStyle(figure.querySelector('[role=status]')).opacity,
        ]"""
    )


def test_a_kernel_restarted_in_the_middle_of_a_drag_recovers_with_run_all(open_cells):
    page = open_cells(cell("one"))
    wait_for_words(page, "one: depth 30")
    figure = figure_of(page, "one")
    first = image(figure)
    assert gone(figure) == ["none", "1", "1"]
    x, y = grasp(page, figure)
    for step in range(1, 11):
        page.mouse.move(x + 4 * step, y)
    restart(page)
    for step in range(10, -11, -1):
        page.mouse.move(x + 4 * step, y)
    page.mouse.up()
    page.locator(".gradcourse-live.jupyter-widgets-disconnected").wait_for()
    # The picture of a kernel that is gone is faded, and a sentence says what to do.
    said = '"The kernel behind this figure is gone: run the cell again."'
    assert gone(figure) == [said, "0.25", "0.25"]

    run_all(page)
    wait_for_words(page, "one: depth 30")
    figure = figure_of(page, "one")
    assert gone(figure) == ["none", "1", "1"]
    assert image(figure) == first
    press(figure, "ArrowRight")
    wait_for_words(page, "one: depth 31")
    assert image(figure) != first


def test_a_page_that_is_loaded_again_has_its_figure_back(open_cells):
    page = open_cells(cell("one"))
    wait_for_words(page, "one: depth 30")
    choose(page, "File", "Save Notebook")
    press(figure_of(page, "one"), "ArrowRight")
    wait_for_words(page, "one: depth 31")
    before = image(figure_of(page, "one"))
    page.reload()
    wait_for_words(page, "one: depth 31")
    assert image(figure_of(page, "one")) == before
    press(figure_of(page, "one"), "ArrowRight")
    wait_for_words(page, "one: depth 32")


def test_a_training_that_the_reader_interrupts_can_be_started_again(open_cells):
    page = open_cells(TRAINING)
    wait_for_words(page, "one: rate 1, 200 of 200")
    figure = figure_of(page, "one")
    press(figure, "ArrowRight")
    wait_for_words(page, "rate 2, ")
    # Lab's own command, not the figure's button.
    choose(page, "Kernel", "Interrupt Kernel")
    wait_for_words(page, "KeyboardInterrupt")
    page.locator(".gradcourse-live [role=slider]").press("Home")
    wait_for_words(page, "rate 1, 200 of 200")
    press(figure_of(page, "one"), "ArrowRight")
    wait_for_words(page, "rate 2, ")
    page.locator(".gradcourse-live button", has_text="Stop").click()
    wait_for_words(page, "(stopped)")


def test_a_cell_that_is_run_ten_times_costs_no_thread_and_little_memory(open_cells, lab):
    page = open_cells(cell("one"), LEFT)
    wait_for_words(page, "one: depth 30")
    page.wait_for_function(KERNEL_IDLE)
    kernel = lab.kernel("again.ipynb")
    threads, memory = kernel.value("left()")
    for run in range(2, 12):
        run_all(page)
        page.wait_for_function(
            "run => document.querySelector('.jp-Notebook .jp-CodeCell:last-child .jp-InputPrompt')"
            ".textContent === `[${run}]:`",
            arg=2 * run,
        )
    wait_for_words(page, "one: depth 30")
    now, more = kernel.value("left()")
    assert now == threads
    # IPython keeps what a cell has shown, in Out: the canvas of each, and one background.
    assert (more - memory) / 10 < 15e6
    press(figure_of(page, "one"), "ArrowRight")
    wait_for_words(page, "one: depth 31")
