"""A notebook of a few cells, opened and used as a reader does."""

import nbformat

from benchmarks.browser import KERNEL_IDLE

# A figure that says where it stands: "one: depth 30".
FIGURE = """
import time
from types import SimpleNamespace
from gradcourse.live import live

def measure(depth=30):
    time.sleep({seconds})
    return SimpleNamespace(depth=depth, summary=lambda: f"{name}: depth {{depth}}")

def draw(result, axes):
    axes.set(xlim=(0, 1), ylim=(0, 100), title="{name}")
    axes.line("line", [0, 1], [0, result.depth], label="depth")

{name} = live(measure, draw, depth=(1, 100))
{name}
"""


def cell(name, seconds=0.05):
    """Return a cell with a figure of that name, which takes so long to measure."""
    return FIGURE.format(name=name, seconds=seconds)


def write(lab, path, *cells):
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    cells = [nbformat.v4.new_code_cell(source) for source in cells]
    notebook = nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel})
    nbformat.write(notebook, lab.notebooks / path)


def choose(page, menu, item):
    page.click(f".lm-MenuBar-itemLabel:text-is('{menu}')")
    page.click(f".lm-Menu-itemLabel:text-is('{item}')")


def run_all(page):
    page.wait_for_function(KERNEL_IDLE)
    choose(page, "Run", "Run All Cells")


def figure_of(page, name):
    """Return a figure, by what its words begin with."""
    return page.locator(".gradcourse-live", has_text=f"{name}: ")


def wait_for_words(page, words):
    page.locator("[role=status]", has_text=words).first.wait_for()


def image(figure):
    """Return the picture that a figure shows, a PNG as a data URL."""
    return figure.locator("img.widget-image").evaluate(
        """async image => {
            await image.decode();
            const canvas = document.createElement('canvas');
            [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
            canvas.getContext('2d').drawImage(image, 0, 0);
            return canvas.toDataURL('image/png');
        }"""
    )


def press(figure, key, times=1):
    slider = figure.locator("[role=slider]")
    slider.focus()
    for _ in range(times):
        slider.press(key)


def grasp(page, figure):
    """Take the slider's handle with the mouse, and return where it is."""
    figure.scroll_into_view_if_needed()
    box = figure.locator(".noUi-handle").bounding_box()
    place = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(*place)
    page.mouse.down()
    return place
