"""A lesson in Notebook 7, which shows one notebook on a page of its own."""

import pytest
from notebook_pages import choose, image, wait_for_words

pytestmark = pytest.mark.browser


def test_a_lesson_runs_and_its_figure_follows_the_keyboard(lab, page):
    page.goto(lab.url("01_vanishing_and_exploding.ipynb").replace("/lab/tree/", "/notebooks/"))
    assert "/notebooks/" in page.url
    page.wait_for_selector(".jp-Notebook .jp-Cell")
    page.wait_for_selector("[data-status=idle]")
    choose(page, "Run", "Run All Cells")
    figure = page.locator(".gradcourse-live").first
    wait_for_words(page, "1.5 multiplied 300 times in float32: overflows at layer 219")
    # Until the last cell has run, the page takes the keyboard from cell to cell.
    page.wait_for_selector("[data-status=idle]")
    before = image(figure)
    figure.locator("[role=slider]").first.focus()
    # Arrows are the page's here, unlike in JupyterLab: they lead to other cells.
    page.keyboard.press("PageUp")
    wait_for_words(page, "1.75 multiplied 300 times in float32: overflows at layer 159")
    page.keyboard.press("Tab")
    page.keyboard.press("Control+A")
    page.keyboard.type("1.55")
    page.keyboard.press("Enter")
    wait_for_words(page, "1.55 multiplied 300 times in float32: overflows at layer 203")
    assert image(figure) != before
    lab.end_kernels()
