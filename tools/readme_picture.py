"""Film docs/live_figure.gif, the moving picture of the README: a hand drags a slider of lesson 01.

    python -m tools.readme_picture

A real JupyterLab shows the lesson's last figure, without the controls that are not moved here, and
Chromium takes a picture of it at each position of the slider. A pointer is drawn where the mouse
is, since Chromium's own is not in its pictures.
"""

from __future__ import annotations

import io
import tempfile
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
from nbformat.v4 import new_code_cell, new_notebook
from PIL import Image

from benchmarks.browser import KERNEL_IDLE, Lab, open_chromium, start_lab

TARGET = Path(__file__).resolve().parent.parent / "docs" / "live_figure.gif"
CELL = """
from gradcourse.lessons.vanishing_and_exploding import draw_network, measure_network
from gradcourse.live import live
live(
    measure_network,
    draw_network,
    weight_scale=(0.1, 3.0, 0.05),
    depth=(1, 100),
    activation=["tanh", "relu"],
    panels=[["gradient", "weights"]],
)
"""
LOWEST, HIGHEST = 0.1, 3.0  # the slider's ends
SCALES = np.round(np.arange(0.5, 2.51, 0.1), 1)
FRAME_MS, END_MS = 180, 1500
PYTHON = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}
WINDOW = {"width": 980, "height": 900}
POINTER = """() => {
    const pointer = document.createElement('div');
    pointer.innerHTML = `<svg width="24" height="24" viewBox="0 0 24 24">
        <path d="M3 1 L3 19 L8 15 L11 22 L14 20.5 L11 14 L17.5 14 Z" fill="black" stroke="white"
        stroke-width="1.5"/></svg>`;
    pointer.style = 'position: fixed; z-index: 99999; pointer-events: none';
    document.body.append(pointer);
    addEventListener('mousemove', event => {
        pointer.style.left = event.clientX - 3 + 'px';
        pointer.style.top = event.clientY - 1 + 'px';
    }, true);
}"""


def open_figure(page: Any, lab: Lab) -> Any:
    """Run a notebook of that one cell and return its live figure."""
    notebook = new_notebook(cells=[new_code_cell(CELL)], metadata=PYTHON)
    nbformat.write(notebook, lab.notebooks / "film.ipynb")
    page.goto(lab.url("film.ipynb"))
    page.wait_for_selector(".jp-Notebook .jp-Cell")
    page.wait_for_function(KERNEL_IDLE)
    page.keyboard.press("Control+B")  # folds the list of files away
    page.click(".lm-MenuBar-itemLabel:text-is('Run')")
    page.click(".lm-Menu-itemLabel:text-is('Run All Cells')")
    figure = page.locator(".jp-OutputArea-output > .widget-vbox")
    figure.locator("img.widget-image").wait_for()
    figure.scroll_into_view_if_needed()
    return figure


def film(page: Any, figure: Any) -> list[Image.Image]:
    """Drag the slider of the weight scale and return a picture at each of its positions."""
    words = figure.locator("[role=status]")
    slider = figure.locator(".widget-slider", has_text="weight scale")
    track = slider.locator(".noUi-base").bounding_box()
    page.evaluate(POINTER)
    handle = slider.locator(".noUi-handle").bounding_box()
    y = track["y"] + track["height"] / 2
    page.mouse.move(handle["x"] + handle["width"] / 2, y)
    frames = []
    for scale in SCALES:
        share = (scale - LOWEST) / (HIGHEST - LOWEST)
        page.mouse.down()
        page.mouse.move(track["x"] + share * track["width"], y)
        # A figure on a busy machine follows when the slider is let go.
        page.mouse.up()
        words.get_by_text(f"weight scale {scale:g}:").wait_for()
        page.wait_for_timeout(300)  # words and picture are two messages
        frames.append(Image.open(io.BytesIO(figure.screenshot())).convert("RGB"))
    return frames


def write(frames: list[Image.Image]) -> None:
    """Write the drag there and back."""
    # One palette for all frames: a palette of its own for each would flicker.
    palette = frames[len(frames) // 2].quantize(96)
    # White was averaged with the greys at the edges of letters.
    palette.putpalette([255 if part >= 248 else part for part in palette.getpalette() or []])
    flat = [picture.quantize(palette=palette, dither=Image.Dither.NONE) for picture in frames]
    flat += flat[-2:0:-1]
    durations = [FRAME_MS] * len(flat)
    durations[0] = durations[len(frames) - 1] = END_MS
    flat[0].save(TARGET, save_all=True, append_images=flat[1:], duration=durations, loop=0)
    print(f"{TARGET.name}: {len(flat)} frames, {TARGET.stat().st_size // 1024} KiB")


def main() -> None:
    """Film the drag and write the picture."""
    with (
        tempfile.TemporaryDirectory() as folder,
        start_lab(Path(folder)) as lab,
        open_chromium() as browser,
    ):
        page = browser.new_context(viewport=WINDOW).new_page()
        page.set_default_timeout(180_000)
        write(film(page, open_figure(page, lab)))


if __name__ == "__main__":
    main()
