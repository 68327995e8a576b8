"""One way, open in a page of its own: presses, drags, and what came of them."""

from __future__ import annotations

import math
import random
import re
import time
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from benchmarks.browser import KERNEL_IDLE, Kernel, Lab
from benchmarks.slider.catalogue import Way, notebook

__all__ = ["Drag", "Press", "Session", "begin", "run"]

SCRIPT = (Path(__file__).parent / "page.js").read_text()
# Milliseconds without a new picture after which an answer is taken to be whole; on a busy machine
# the last pictures of a drag come far apart.
QUIET_AFTER_PRESS, QUIET_AFTER_DRAG = 150, 1200
LONGEST = 15_000
DRAG_KEYS, DRAG_GAP = 20, 0.05
# Seconds by which the clocks of page and kernel may differ.
CLOCKS = 0.01


@dataclass(frozen=True)
class Press:
    """One key press; times in milliseconds.

    Attributes
    ----------
    latency
        From the key press to the painted picture.
    kernel
        How long the kernel worked between this press and the next.
    pictures
        How many different pictures came of it, which should be one.
    """

    latency: float
    kernel: float
    pictures: int


@dataclass(frozen=True)
class Drag:
    """Many presses, fast; times in milliseconds.

    Attributes
    ----------
    keys
        Key presses that the page saw.
    gap
        The longest time between two of them.
    pictures
        Different pictures, one for each frame at most.
    settle
        From the last key press to the last new picture.
    right
        Whether the last picture is that of the last value.
    empty, heights
        Frames without a whole picture, and frames in which its height was another than before.
    frames
        All frames.
    """

    keys: int
    gap: float
    pictures: int
    settle: float
    right: bool
    empty: int
    heights: int
    frames: int


@dataclass
class Session:
    """A page that shows one way.

    Attributes
    ----------
    way
        What it shows.
    page
        Playwright's page.
    kernel
        What answers.
    pressed
        Every press: its kind, its seconds since 1970, its latency, its number of pictures.
    """

    way: Way
    page: Any
    kernel: Kernel
    pressed: list[tuple[str, float, float, int]] = field(default_factory=list)

    def focus(self) -> None:
        """Bring the page to the front and the keyboard to its slider."""
        self.page.bring_to_front()
        self._slider().focus()
        self.page.wait_for_timeout(200)

    def press(self, key: str, kind: str) -> None:
        """Press a key and wait for the new picture; the kind tells the press from others."""
        self.page.evaluate("sliderBench.start()")
        # So that presses fall on no particular part of a frame.
        self.page.wait_for_timeout(random.uniform(30, 60))
        self.page.keyboard.press(key)
        seen = self._settled(QUIET_AFTER_PRESS)
        epoch = (seen["origin"] + seen["keys"][0]) / 1000
        latency = seen["changes"][-1] - seen["keys"][0]
        self.pressed.append((kind, epoch, latency, len(seen["changes"])))

    def presses(self, kind: str) -> list[Press]:
        """Return the presses of a kind, with the time that the kernel worked for each."""
        answers: list[tuple[float, float]] = self.kernel.value("answers")
        ends = [epoch for _, epoch, _, _ in self.pressed[1:]] + [math.inf]
        found = []
        for (its_kind, epoch, latency, pictures), end in zip(self.pressed, ends, strict=True):
            if its_kind == kind:
                # Two clocks: the page's was set when the page was opened, and may be off by a hair.
                within = [busy for began, busy in answers if epoch <= began + CLOCKS < end]
                found.append(Press(latency, 1000 * sum(within), pictures))
        return found

    def drag(self) -> Drag:
        """Press a key many times at a steady pace, and see what is shown."""
        self.page.evaluate("sliderBench.start()")
        self.page.wait_for_timeout(50)
        began = time.perf_counter()
        for number in range(DRAG_KEYS):
            time.sleep(max(0.0, began + number * DRAG_GAP - time.perf_counter()))
            self.page.keyboard.press("ArrowRight")
        seen = self._settled(QUIET_AFTER_DRAG)
        keys, changes = seen["keys"], seen["changes"]
        return Drag(
            keys=len(keys),
            gap=max(b - a for a, b in pairwise(keys)),
            pictures=len(changes),
            settle=changes[-1] - keys[-1],
            right=self._last_is_right(),
            empty=seen["empty"],
            heights=seen["heights"],
            frames=seen["frames"],
        )

    def _last_is_right(self) -> bool:
        """Say whether the picture is the one that its value has when it is come to slowly."""
        if self.way.words is not None:
            said = self.page.locator(self.way.words).first.inner_text()
            value = round(float(self._slider().get_attribute("aria-valuenow")))
            return re.match(rf"{value}\b", said) is not None
        before = self.page.evaluate("sliderBench.all()")
        self.press("ArrowLeft", "check")
        between = self.page.evaluate("sliderBench.all()")
        self.press("ArrowRight", "check")
        return bool(before == self.page.evaluate("sliderBench.all()") != between)

    def _slider(self) -> Any:
        return self.page.locator(".jp-OutputArea-output [role=slider]").first

    def _settled(self, quiet: int) -> Any:
        seen = self.page.evaluate("times => sliderBench.settled(...times)", [quiet, LONGEST])
        if not seen["keys"] or not seen["changes"]:
            raise RuntimeError(
                f"{self.way.label}: {len(seen['keys'])} key presses reached the page and no new "
                f"picture came within {LONGEST / 1000:g} s"
            )
        return seen


def begin(lab: Lab, context: Any, way: Way, name: str, start: int) -> Any:
    """Write the notebook of a way, and let a new page begin to load it."""
    (lab.notebooks / f"{name}.ipynb").write_text(notebook(way, start))
    page = context.new_page()
    page.set_default_timeout(120_000)
    page.goto(lab.url(f"{name}.ipynb"), wait_until="commit")
    return page


def run(lab: Lab, page: Any, way: Way, name: str) -> Session:
    """Run the notebook that a page has begun to load, and wait until it shows a picture."""
    page.bring_to_front()
    page.wait_for_selector(".jp-Notebook .jp-Cell")
    page.wait_for_function(KERNEL_IDLE)
    # Without the file browser the window has room for the whole picture.
    page.keyboard.press("Control+B")
    page.click(".lm-MenuBar-itemLabel:text-is('Run')")
    page.click(".lm-Menu-itemLabel:text-is('Run All Cells')")
    page.wait_for_selector(".jp-OutputArea-output [role=slider]")
    page.wait_for_selector(way.selector)
    page.wait_for_selector(".jp-Notebook-ExecutionIndicator[data-status='idle']")
    page.wait_for_timeout(500)
    page.locator(way.selector).first.scroll_into_view_if_needed()
    page.evaluate(SCRIPT)
    if not page.evaluate("where => sliderBench.watch(...where)", [way.kind, way.selector]):
        raise RuntimeError(f"{way.label}: no picture is shown")
    return Session(way, page, lab.kernel(f"{name}.ipynb"))
