"""A learner opens lesson 01, runs it, and moves a slider with the keyboard."""

import base64
import contextlib
import io
import json
import time
from pathlib import Path

import nbformat
import numpy as np
import pytest
from notebook_pages import image, run_all
from PIL import Image

from benchmarks.browser import KERNEL_IDLE

pytestmark = pytest.mark.browser

LESSON = "01_vanishing_and_exploding.ipynb"
LESSONS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))


def live_figures(page):
    """Return the live figures, scrolled into being: JupyterLab renders what is in view."""
    page.wait_for_selector(".jp-OutputArea-output .widget-image")
    return page.locator(".jp-OutputArea-output > .widget-vbox")


def picture(figure):
    """Return the pixels of the PNG that a live figure shows."""
    data = base64.b64decode(image(figure).partition(",")[2])
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def words(figure):
    return figure.locator("[role=status]").inner_text()


def assert_alike(one, other):
    """The same picture, but for the few shades that its palette chose at each time."""
    assert one.shape == other.shape
    assert np.abs(one.astype(int) - other).max() <= 24


def wait_for_other_words(page, figure, before):
    # A kernel that is still running the cells below answers between two of them.
    deadline = time.monotonic() + 60
    while words(figure) == before:
        if time.monotonic() > deadline:
            pytest.fail(f"the words under the picture stay {before!r}: {state_of(page, figure)}")
        page.wait_for_timeout(30)


def state_of(page, figure):
    """Say where a change may have been lost: on its way to the slider, to the kernel or back."""
    focus = page.evaluate("document.activeElement.className")
    kernel = page.locator(".jp-Notebook-ExecutionIndicator").first.get_attribute("data-status")
    values = [one.get_attribute("aria-valuenow") for one in figure.locator("[role=slider]").all()]
    return f"sliders at {values}, focus on {focus!r}, kernel {kernel}"


def test_before_any_run_the_page_shows_pictures_and_their_words(open_lesson):
    page = open_lesson(LESSON)
    pictures = page.locator(".jp-RenderedImage img")
    pictures.first.scroll_into_view_if_needed()
    assert pictures.first.evaluate("image => image.naturalWidth") == 1350
    assert "overflows at layer 219 (theory: 219)" in page.locator(".jp-Notebook").inner_text()
    assert "model not found" not in page.locator(".jp-Notebook").inner_text()
    assert "news" not in page.locator("body").inner_text().lower()


def test_the_keyboard_moves_a_slider_and_the_picture_follows(open_lesson):
    page = open_lesson(LESSON)
    run_all(page)
    figure = live_figures(page).first
    figure.scroll_into_view_if_needed()
    before, said = picture(figure), words(figure)
    assert "1.5 multiplied 300 times in float32: overflows at layer 219" in said
    slider = figure.locator(".widget-slider", has_text="weight").locator("[role=slider]")
    slider.focus()
    page.keyboard.press("ArrowRight")
    wait_for_other_words(page, figure, said)
    assert "1.55 multiplied 300 times in float32: overflows at layer 203" in words(figure)
    assert "grey: weight 1.5" in words(figure)
    after = picture(figure)
    assert after.shape == before.shape
    assert not np.array_equal(after, before)

    said = words(figure)
    figure.locator("button", has_text="Reset").click()
    wait_for_other_words(page, figure, said)
    assert_alike(picture(figure), before)


def pictures_of(lesson):
    """Return how many live figures the committed notebook shows."""
    notebook = nbformat.read(lesson, as_version=4)
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return sum("image/png" in output.get("data", {}) for output in outputs)


def move_something(page, figure):
    """Move the first slider of a figure by one step, or else choose something else in its list."""
    sliders = figure.locator("[role=slider]")
    if not sliders.count():
        choices = figure.locator("select").first
        choices.select_option(index=0 if choices.evaluate("list => list.selectedIndex") else 1)
        return
    slider = sliders.first
    ends = [slider.get_attribute(f"aria-value{end}") for end in ("min", "now")]
    slider.focus()
    page.keyboard.press("ArrowRight" if ends[0] == ends[1] else "ArrowLeft")


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda path: path.stem)
def test_every_figure_lives_and_the_whole_lesson_runs(open_lesson, lesson):
    page = open_lesson(lesson.name)
    run_all(page)
    live_figures(page)
    cells = page.locator(".jp-Notebook .jp-CodeCell")
    seen = 0
    for index in range(cells.count()):
        cell = cells.nth(index)
        cell.scroll_into_view_if_needed()
        page.wait_for_function(
            "cell => /\\[\\d+\\]/.test(cell.querySelector('.jp-InputPrompt').textContent)",
            arg=cell.element_handle(),
        )
        assert cell.locator("[data-mime-type='application/vnd.jupyter.error']").count() == 0
        assert cell.locator("[data-mime-type='application/vnd.jupyter.stderr']").count() == 0
        figure = cell.locator(".jp-OutputArea-output > .widget-vbox")
        if figure.count():
            seen += 1
            said = words(figure)
            move_something(page, figure)
            wait_for_other_words(page, figure, said)
            # With its controls it fits on a projector.
            assert figure.bounding_box()["width"] <= 1100
            high, wide, _ = picture(figure).shape
            box = figure.locator("img.widget-image").bounding_box()
            assert box["height"] == pytest.approx(box["width"] * high / wide, abs=2)
    assert seen == pictures_of(lesson) > 0


@pytest.mark.parametrize("page", [(640, 1), (1280, 2), (1920, 1)], indirect=True)
def test_the_whole_picture_is_seen_and_nothing_jumps_in_any_window(open_lesson, page):
    open_lesson(LESSON)
    run_all(page)
    live_figures(page)
    page.wait_for_function(KERNEL_IDLE)
    figure = live_figures(page).first
    figure.scroll_into_view_if_needed()
    image, said = figure.locator("img.widget-image"), words(figure)
    notebook = page.locator(".jp-Notebook").bounding_box()
    figure.locator("[role=slider]").first.focus()

    def place():
        # Within the figure: the page itself may still scroll.
        one, whole = image.bounding_box(), figure.bounding_box()
        return one["x"] - whole["x"], one["y"] - whole["y"], one["width"], one["height"]

    before, place_before = image.bounding_box(), place()
    assert before["width"] <= min(900, notebook["width"])
    assert before["width"] >= min(900, 0.5 * notebook["width"])
    assert before["height"] == pytest.approx(before["width"] * 420 / 900, abs=2)
    page.keyboard.press("ArrowLeft")
    wait_for_other_words(page, figure, said)
    assert place() == pytest.approx(place_before, abs=0.1)
    assert image.evaluate("image => image.naturalWidth") == 1350


SLOPES = """
import numpy as np
from gradcourse.live import live
def measure(depth=30):
    return np.linspace(0, depth / 10, 50)
def draw(result, axes):
    axes.set(xlim=(0, 50), ylim=(0, 10), xlabel="x", title="Title")
    axes.line("line", np.arange(50), result, label="label")
figure = live(measure, draw, depth=(1, 100))
"""


def test_a_fast_drag_is_never_empty_and_ends_on_the_picture_of_the_last_value(open_lesson, lab):
    page = open_cells(open_lesson, lab, "drag.ipynb", SLOPES + "figure")
    run_all(page)
    figure = live_figures(page).first
    slider = figure.locator("[role=slider]")
    slider.focus()
    box = figure.locator("img.widget-image").bounding_box()
    with painted_frames(page) as frames:
        for _ in range(25):
            page.keyboard.press("ArrowRight")
        deadline = time.monotonic() + 10
        while words(figure) != "depth 55":
            assert time.monotonic() < deadline, words(figure)
            page.wait_for_timeout(30)
        page.wait_for_timeout(200)
    assert len(frames) > 3
    x, y, width, height = (round(box[side]) for side in ("x", "y", "width", "height"))
    for frame in frames:
        pixels = np.asarray(Image.open(io.BytesIO(frame)).convert("L"))[
            y : y + height, x : x + width
        ]
        # The title, the axes and the line: an empty picture has no dark pixel, a lost one no size.
        assert (pixels < 100).mean() > 0.005
    expected: dict = {}
    exec(SLOPES, expected)
    expected["figure"].set(depth=55)
    drawn = Image.open(io.BytesIO(expected["figure"]._image.value)).convert("RGB")
    assert_alike(picture(figure), np.asarray(drawn))


@contextlib.contextmanager
def painted_frames(page):
    """Collect every frame that the browser paints, as PNG."""
    frames = []
    session = page.context.new_cdp_session(page)

    def keep(frame):
        frames.append(base64.b64decode(frame["data"]))
        session.send("Page.screencastFrameAck", {"sessionId": frame["sessionId"]})

    session.on("Page.screencastFrame", keep)
    session.send("Page.startScreencast", {"format": "png", "everyNthFrame": 1})
    yield frames
    session.send("Page.stopScreencast")


def open_cells(open_lesson, lab, name, *cells):
    """Open a notebook of these code cells."""
    notebook = {
        "cells": [
            {
                "cell_type": "code",
                "id": f"cell-{number}",
                "metadata": {},
                "source": source,
                "outputs": [],
                "execution_count": None,
            }
            for number, source in enumerate(cells)
        ],
        "metadata": {"kernelspec": {"name": "python3", "display_name": "Python 3"}},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    (lab.notebooks / name).write_text(json.dumps(notebook))
    return open_lesson(name)


def test_bad_input_from_the_kernel_is_said_in_the_picture_and_recovered(open_lesson, lab):
    page = open_cells(
        open_lesson,
        lab,
        "bad.ipynb",
        "from gradcourse.live import live\n"
        "def measure(depth=3):\n"
        "    if depth == 4:\n"
        "        raise ValueError('depth must not be 4, got 4')\n"
        "    return [depth]\n"
        "def draw(result, axes):\n"
        "    axes.set(xlim=(0, 1), ylim=(0, 10))\n"
        "    axes.line('line', [0, 1], [0, result[0]])\n"
        "live(measure, draw, depth=(1, 9))",
    )
    run_all(page)
    figure = live_figures(page).first
    good, said = picture(figure), words(figure)
    slider = figure.locator("[role=slider]")
    slider.focus()
    page.keyboard.press("ArrowRight")
    wait_for_other_words(page, figure, said)
    assert words(figure) == "depth must not be 4, got 4"
    assert picture(figure).shape == good.shape
    said = words(figure)
    page.keyboard.press("ArrowLeft")
    wait_for_other_words(page, figure, said)
    assert_alike(picture(figure), good)


@pytest.mark.parametrize("theme", ["JupyterLab Light", "JupyterLab Dark"])
def test_words_and_labels_are_readable_in_either_theme(open_lesson, lab, theme):
    plugin = lab.settings / "@jupyterlab" / "apputils-extension"
    plugin.mkdir(parents=True, exist_ok=True)
    (plugin / "themes.jupyterlab-settings").write_text(json.dumps({"theme": theme}))
    page = open_lesson(LESSON)
    run_all(page)
    figure = live_figures(page).first
    figure.scroll_into_view_if_needed()
    luminance = """element => {
        const colour = c => c.match(/[\\d.]+/g).slice(0, 3)
            .map(v => v / 255).map(v => v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4);
        const light = ([r, g, b]) => .2126 * r + .7152 * g + .0722 * b;
        let back = element;
        const seen = e => getComputedStyle(e).backgroundColor;
        while (back && /rgba\\(.*, 0\\)|transparent/.test(seen(back))) back = back.parentElement;
        const [a, b] = [getComputedStyle(element).color, seen(back)].map(colour).map(light);
        return (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
    }"""
    for part in ("[role=status]", ".widget-label", ".widget-readout"):
        ratio = figure.locator(part).first.evaluate(luminance)
        assert ratio >= 4.5, f"{part} has contrast {ratio:.1f} in {theme}"
