"""A picture of something that trains: the page lives while the kernel works."""

import nbformat
import pytest

pytestmark = pytest.mark.browser

TRAINING = """
import time
from types import SimpleNamespace
from gradcourse.live import live

def train(rate=1):
    for done in range(1, 41):
        time.sleep(0.1 if rate > 1 else 0)
        said = f"rate {rate}: {done} of 40"
        yield SimpleNamespace(done=done, progress=done / 40, summary=lambda: said)

def draw(result, axes):
    axes.set(xlim=(0, 40), ylim=(0, 40))
    axes.line("line", [0, result.done], [0, result.done], label="done")

figure = live(train, draw, rate=(1, 9))
figure
"""


@pytest.fixture
def training(lab, open_lesson):
    """Open a notebook whose figure takes four seconds at every rate but the first, and run it."""
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    cells = [nbformat.v4.new_code_cell(TRAINING)]
    notebook = nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel})
    nbformat.write(notebook, lab.notebooks / "training.ipynb")
    page = open_lesson("training.ipynb")
    page.click(".lm-MenuBar-itemLabel:text-is('Run')")
    page.click(".lm-Menu-itemLabel:text-is('Run All Cells')")
    page.wait_for_selector(".widget-image")
    wait_for_words(page, "rate 1: 40 of 40")
    return page


def wait_for_words(page, words):
    page.wait_for_function(
        "words => document.querySelector('[role=status]')?.innerText.includes(words)", arg=words
    )


def press(page, key):
    page.locator(".widget-slider [role=slider]").first.focus()
    page.keyboard.press(key)


def test_it_shows_how_far_it_is_and_starts_anew_when_a_slider_moves(training):
    page = training
    bar = page.locator(".widget-hprogress, .jupyter-widgets.widget-progress, .progress").first
    assert not bar.is_visible()
    place = page.locator("img.widget-image").bounding_box()
    press(page, "ArrowRight")
    wait_for_words(page, "rate 2: 3 of 40")
    assert bar.is_visible()
    press(page, "ArrowRight")
    wait_for_words(page, "rate 3: 3 of 40")
    seen = page.evaluate(
        """async () => {
            const seen = new Set();
            for (let i = 0; i < 60; i++) {
                seen.add(document.querySelector("img.widget-image").src);
                await new Promise(done => setTimeout(done, 20));
            }
            return seen.size;
        }"""
    )
    assert seen >= 5
    wait_for_words(page, "rate 3: 40 of 40")
    page.wait_for_timeout(300)
    assert not bar.is_visible()
    assert page.locator("img.widget-image").bounding_box() == place


def test_stop_keeps_the_picture_and_the_kernel_runs_other_cells_meanwhile(training):
    page = training
    press(page, "ArrowRight")
    wait_for_words(page, "rate 2: 3 of 40")
    page.locator("button", has_text="Stop").click()
    wait_for_words(page, "(stopped)")
    words = page.locator("[role=status]").inner_text()
    page.wait_for_timeout(500)
    assert page.locator("[role=status]").inner_text() == words
    press(page, "ArrowRight")
    wait_for_words(page, "rate 3: 2 of 40")
    page.locator("button", has_text="Reset").click()
    wait_for_words(page, "rate 1: 40 of 40")
