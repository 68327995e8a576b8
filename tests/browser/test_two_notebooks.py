"""Several figures at once: in one notebook, in two, and one of them in two windows."""

import pytest
from notebook_pages import cell, choose, figure_of, grasp, image, press, run_all, wait_for_words
from notebook_pages import write as write_notebook

from benchmarks.browser import KERNEL_IDLE

pytestmark = pytest.mark.browser


@pytest.fixture
def open_window(lab, browser):
    """Return a function that opens a notebook in a window of its own."""
    contexts = []

    def open_(path):
        contexts.append(browser.new_context(viewport={"width": 1280, "height": 720}))
        page = contexts[-1].new_page()
        page.set_default_timeout(60_000)
        page.goto(lab.url(path))
        page.wait_for_selector(".jp-Notebook .jp-Cell")
        page.wait_for_function(KERNEL_IDLE)
        return page

    yield open_
    for context in contexts:
        context.close()
    lab.end_kernels()


def drawn_at(figure, page, depth):
    """Return the picture at a depth, which is reached by the keyboard."""
    press(figure, "Home")
    press(figure, "ArrowRight", depth - 1)
    wait_for_words(page, f"depth {depth}")
    return image(figure)


def test_two_notebooks_follow_their_own_sliders_in_turn_and_at_the_same_time(lab, open_window):
    pages = {}
    for name in ("one", "two"):
        write_notebook(lab, f"{name}.ipynb", cell(name))
        pages[name] = open_window(f"{name}.ipynb")
        run_all(pages[name])
        wait_for_words(pages[name], f"{name}: depth 30")
    figures = {name: figure_of(page, name) for name, page in pages.items()}

    press(figures["one"], "ArrowRight", 3)
    wait_for_words(pages["one"], "one: depth 33")
    press(figures["two"], "ArrowLeft", 3)
    wait_for_words(pages["two"], "two: depth 27")
    assert "depth 33" in figures["one"].inner_text()

    places = {name: grasp(pages[name], figures[name]) for name in pages}
    for step in range(1, 16):
        for name, way in (("one", 4), ("two", -2)):
            x, y = places[name]
            pages[name].mouse.move(x + way * step, y)
    for name, page in pages.items():
        page.mouse.up()
        readout = figures[name].locator(".widget-readout").inner_text()
        wait_for_words(page, f"{name}: depth {readout}")
        shown = image(figures[name])
        assert shown == drawn_at(figures[name], page, int(readout))
    depths = [lab.kernel(f"{name}.ipynb").value(f"{name}.result.depth") for name in pages]
    assert depths[0] > 33
    assert depths[1] < 27


def test_two_windows_of_one_notebook_show_the_same_figure(lab, open_window):
    write_notebook(lab, "shared.ipynb", cell("one"))
    first = open_window("shared.ipynb")
    run_all(first)
    wait_for_words(first, "one: depth 30")
    choose(first, "File", "Save Notebook")
    second = open_window("shared.ipynb")
    wait_for_words(second, "one: depth 30")
    for mover, other, depth in ((first, second, 31), (second, first, 32)):
        press(figure_of(mover, "one"), "ArrowRight")
        wait_for_words(mover, f"one: depth {depth}")
        wait_for_words(other, f"one: depth {depth}")
        assert figure_of(other, "one").locator(".widget-readout").inner_text() == str(depth)
        assert image(figure_of(other, "one")) == image(figure_of(mover, "one"))


def test_two_figures_of_one_notebook_are_dragged_while_the_other_one_stays(lab, open_window):
    write_notebook(lab, "both.ipynb", cell("one"), cell("two"))
    page = open_window("both.ipynb")
    run_all(page)
    wait_for_words(page, "one: depth 30")
    wait_for_words(page, "two: depth 30")
    depths = {"one": 30, "two": 30}
    for name, key, times in (("one", "ArrowRight", 9), ("two", "ArrowLeft", 4), ("one", "End", 1)):
        figure = figure_of(page, name)
        press(figure, key, times)
        way = {"ArrowRight": times, "ArrowLeft": -times}
        depths[name] = depths[name] + way[key] if key in way else 100
        wait_for_words(page, f"{name}: depth {depths[name]}")
        for other, depth in depths.items():
            assert f"{other}: depth {depth}" in figure_of(page, other).inner_text()
