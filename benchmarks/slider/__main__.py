"""What a learner feels: from a key press on a slider to the painted picture, in a real browser.

    make bench-slider                              about 10 minutes, best on an idle machine
    make bench-slider ARGS=--quick                 about 4 minutes, and rougher
    make bench-slider ARGS='--ways interact live'  only these

Every way is a notebook of its own in one JupyterLab, with a kernel and a Chromium page of its own;
its cells are in ways/. The task is one: a slider for the depth (1 to 100) of a tanh MLP of width
128 on a batch of 64, and a picture of 900 x 420 CSS pixels with the gradient's norm at each layer.
The ways take turns in an order drawn anew in each round; a page that waits for its turn is idle.

A time runs from a real key press to the start of the frame after the first one that holds the new
picture. In single presses every value is new to its kernel, so that no cache answers. Kernel time
is all that the kernel does for a press; "the rest" is the way there and back, and the page's work.
In fast drags a key is pressed every 50 ms. The last picture is right if it is still the same,
pixel for pixel, after a slow step back and forth (for lesson 01, whose picture also shows what was
there before: if the words below it name the slider's value). A frame is empty if the picture is
missing, not loaded, or lower than before.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmarks.browser import Lab, UnusableError, open_chromium, start_lab
from benchmarks.report import machine
from benchmarks.slider.catalogue import WAYS, missing
from benchmarks.slider.results import Measured, drag_table, goal_table, press_table, remarks
from benchmarks.slider.session import DRAG_KEYS, Session, begin, run

# Answers of a fresh page are slower; these values are passed before anything is measured.
WARM_UP = 3
VERSIONS = (
    "torch",
    "matplotlib",
    "ipywidgets",
    "jupyterlab",
    "ipympl",
    "mpl_interactions",
    "plotly",
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print the tables."""
    parser = argparse.ArgumentParser(
        prog="benchmarks/slider",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--quick", action="store_true", help="2 rounds of 4 presses, 1 drag")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS), metavar="WAY")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep every number here")
    parser.add_argument("--screenshots", type=Path, metavar="DIR", help="keep what each way shows")
    chosen = parser.parse_args(arguments)
    # So that a run which is told to end still ends JupyterLab, its kernels and Chromium.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    lacking = missing(chosen.ways)
    if lacking:
        sys.exit(lacking)
    if chosen.screenshots:
        chosen.screenshots.mkdir(parents=True, exist_ok=True)
    rounds, presses, drags = (2, 4, 1) if chosen.quick else (5, 10, 3)
    try:
        about, results = measure(chosen.ways, rounds, presses, drags, chosen.screenshots)
    except UnusableError as error:
        sys.exit(str(error))
    if chosen.json:
        numbers = {name: asdict(measured) for name, measured in results.items()}
        chosen.json.write_text(json.dumps({"machine": about, "ways": numbers}, indent=1))
    print(f"{about}\n\n{press_table(results)}\n\n{drag_table(results)}\n\n{goal_table(results)}")
    for remark in remarks(results):
        print(f"\nNote: {remark}.")


def measure(
    ways: Sequence[str], rounds: int, presses: int, drags: int, screenshots: Path | None
) -> tuple[str, dict[str, Measured]]:
    """Return what the numbers depend on, and what was measured of each way."""
    results = {name: Measured() for name in ways}
    with ExitStack() as opened:
        folder = opened.enter_context(tempfile.TemporaryDirectory(prefix="gradcourse-slider-"))
        browser = opened.enter_context(open_chromium())
        about = describe(browser.version)
        lab = opened.enter_context(start_lab(Path(folder)))

        # The values walked through lie around 50, as many below it as above.
        start = 50 - (WARM_UP + rounds * (presses + 1)) // 2
        with open_all(lab, browser, ways, start, screenshots) as sessions:
            for name in in_turns(ways, rounds, "key presses"):
                single_presses(sessions[name], presses)
            for name, session in sessions.items():
                results[name].new = session.presses("new")
                results[name].seen = session.presses("seen")

        # In new kernels, so that the values of a drag are new as well.
        start = 50 - (WARM_UP + drags * DRAG_KEYS) // 2
        with open_all(lab, browser, ways, start) as sessions:
            for name in in_turns(ways, drags, "fast drags"):
                sessions[name].focus()
                results[name].drags.append(sessions[name].drag())
    return about, results


def describe(chromium: str) -> str:
    """Return what the numbers depend on, in one line; a busy machine shows in its load."""
    versions = [f"{name} {version(name)}" for name in VERSIONS if find_spec(name)]
    about = machine(*versions, f"Chromium {chromium}")
    return f"{about}; load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else about


@contextmanager
def open_all(
    lab: Lab, browser: Any, ways: Sequence[str], start: int, screenshots: Path | None = None
) -> Iterator[dict[str, Session]]:
    """Open each way in a page and a kernel of its own, ready to be measured."""
    context = browser.new_context(viewport={"width": 1280, "height": 720})
    try:
        pages = {name: begin(lab, context, WAYS[name], name, start) for name in ways}
        sessions = {}
        for name, page in pages.items():
            say(f"opening {name}")
            session = run(lab, page, WAYS[name], name)
            if screenshots is not None:
                session.page.screenshot(path=screenshots / f"{name}.png")
            session.focus()
            for _ in range(WARM_UP):
                session.press("ArrowRight", "warm-up")
            sessions[name] = session
        yield sessions
    finally:
        context.close()
        lab.end_kernels()


def in_turns(ways: Sequence[str], rounds: int, what: str) -> Iterator[str]:
    """Give each way once in each round, in an order drawn anew each time."""
    for turn in range(rounds):
        for name in random.sample(list(ways), len(ways)):
            say(f"{what}, round {turn + 1} of {rounds}: {name}")
            yield name


def single_presses(session: Session, presses: int) -> None:
    """Walk upwards through values that are new; where it is asked for, back and forth again."""
    session.focus()
    # The first answer after a pause is slower for all.
    session.press("ArrowRight", "warm-up")
    for _ in range(presses):
        session.press("ArrowRight", "new")
    if session.way.seen:
        for key in ("ArrowLeft", "ArrowRight"):
            for _ in range(presses // 2):
                session.press(key, "seen")


def say(words: str) -> None:
    """Tell on standard error what is being done, so that standard output holds the tables alone."""
    print(words, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
