"""Thousands of slider events over all live figures: nothing grows, and no error is lost."""

import math
import random
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from zlib import crc32

import kernel_side
import numpy as np
import pytest
from kernel_page import Page

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "notebooks" / "source").glob("*.py"))
# Two kernels at the same time, each with every other lesson.
KERNELS, EVENTS = 2, 1000
# Each figure gets so many; the other events go to those that answer at once.
AT_LEAST = 10
# What a kernel may grow by in the second half of its events, beyond what its figures remember: 25
# to 50 are measured, and up to 160 where the allocator keeps more. An event that kept the pixels of
# its picture, 3.4, would make it 1700.
MEGABYTES = 250


@dataclass
class Story:
    """What happened to one kernel."""

    lessons: list[Path]
    figures: int = 0
    events: dict[str, int] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    troubles: list[str] = field(default_factory=list)
    planted: dict[str, int] = field(default_factory=dict)
    memory: list[list[float]] = field(default_factory=lambda: [[], []])
    held: list[tuple[dict[str, int], int]] = field(default_factory=list)
    log: str = ""


class Reader:
    """Moves controls at random, as somebody who plays, and looks at each answer."""

    def __init__(self, page, seed):
        self.page = page
        self.random = random.Random(seed)
        self.figures = page.value("kernel.describe()")
        self.sent = 0
        self.left_running = None

    def play(self, name):
        """Do one thing with a figure; return what is wrong with its answer."""
        figure = self.figures[name]
        chance = self.random.random()
        expected = {}
        wrong = self.end_training() if figure["trains"] else []
        if chance < 0.05:
            self.click(figure["reset"])
        elif figure["player"] and chance < 0.2:
            player, last = figure["player"]
            self.wait(self.page.move(player, value=self.random.randint(0, last)))
        else:
            # A drag sends several values before the kernel has answered the first.
            control = self.random.choice(list(figure["controls"]))
            expected = self.move(figure, control, 3 if chance > 0.9 else 1)
        if figure["trains"]:
            expected |= self.training(name)
        return wrong + self.look(name, expected)

    def end_training(self):
        """Stop the training that was left to itself; return what is wrong with it."""
        name, self.left_running = self.left_running, None
        if name is None:
            return []
        self.click(self.figures[name]["stop"], counts=False)
        return self.look(name, {})

    def training(self, name):
        """Stop it, move on in the middle of it, or leave it to itself while others are moved."""
        figure = self.figures[name]
        self.left_running = name
        chance = self.random.random()
        expected = {}
        if chance < 0.3:
            control = self.random.choice(list(figure["controls"]))
            expected = self.move(figure, control, 1)
        if chance < 0.7:
            self.click(figure["stop"], counts=False)
        return expected

    def move(self, figure, control, times):
        chosen = figure["controls"][control]
        messages = []
        for _ in range(times):
            value = self.random.choice(chosen["values"])
            messages.append(self.page.move(chosen["id"], **{chosen["trait"]: value}))
        for message in messages:
            self.wait(message)
        return {control: value}

    def click(self, button, counts=True):
        self.wait(self.page.click(button), counts)

    def wait(self, message, counts=True):
        self.page.wait_for(message)
        self.sent += counts

    def look(self, name, expected, errors=("None",)):
        """Compare what the page shows with what the kernel's figure says of itself."""
        figure = self.figures[name]
        error, running, text, picture, traits = self.page.value(f"kernel.state({name!r})")
        wrong = [] if error in errors else [f"{name} at {traits}: {error}"]
        for control, value in expected.items():
            if not math.isclose(traits[control], value, rel_tol=1e-9):
                wrong.append(f"{name}: {control} is at {traits[control]}, not at {value}")
        shown = self.page.models[figure["text"]]["value"]
        image = self.page.models[figure["image"]]["value"]
        if not running and (shown != text or crc32(image) != picture):
            wrong.append(f"{name}: the page does not show what the kernel does")
        return wrong

    def plant(self, kind):
        """Move the faulty figure to a setting that it cannot measure, and back."""
        control = self.figures["faulty"]["controls"]["depth"]["id"]
        self.wait(self.page.move(control, value=getattr(kernel_side, kind)))
        wrong = self.look("faulty", {}, ["ValueError('a planted refusal of 8')", BUG])
        text = self.page.models[self.figures["faulty"]["text"]]["value"]
        if f">{SAID[kind]}<" not in text:
            wrong.append(f"faulty says {text}")
        self.wait(self.page.move(control, value=self.random.randint(1, 7)))
        return wrong + self.look("faulty", {})


BUG = "ZeroDivisionError('a planted defect')"
SAID = {"REFUSED": "a planted refusal of 8", "BROKEN": "ZeroDivisionError: a planted defect"}


def schedule(figures, events, chooser):
    """Return whose turn it is: every figure's often enough, and the quick ones' more often."""
    names = [name for name in figures if name != "faulty"]
    quick = [name for name in names if not figures[name]["trains"]]
    turns = names * AT_LEAST
    # A turn is somewhat more than one event, since a drag is three.
    turns += chooser.choices(quick, k=round(0.9 * events) - len(turns))
    chooser.shuffle(turns)
    return turns


def soak(folder, lessons, events, seed):
    """Make the figures of lessons in a kernel and play with them."""
    story = Story(lessons)
    page = Page(folder)
    try:
        page.run(f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})")
        page.run("import kernel_side as kernel")
        # A warning is an error of its figure then, and is told each time.
        page.run("import warnings; warnings.simplefilter('error')")
        story.figures = sum(page.value(f"kernel.make({str(lesson)!r})") for lesson in lessons)
        page.run("kernel.make_faulty()")
        reader = Reader(page, seed)
        for figure in reader.figures.values():
            for control in figure["controls"]:
                reader.move(figure, control, 1)
                if figure["trains"]:
                    reader.click(figure["stop"])
            reader.click(figure["reset"])
        page.troubles.clear()
        reader.sent = 0
        story.held.append(page.value("kernel.held()"))
        turns = schedule(reader.figures, events, reader.random)
        planned = len(turns)
        while turns:
            name = turns.pop()
            before, told = reader.sent, len(page.troubles)
            story.wrong += reader.play(name)
            story.wrong += [f"{name}: {trouble}" for trouble in page.troubles[told:]]
            story.events[name] = story.events.get(name, 0) + reader.sent - before
            if len(turns) % 50 == 0:
                kind = list(SAID)[len(turns) // 50 % 2]
                story.wrong += reader.plant(kind)
                story.planted[kind] = story.planted.get(kind, 0) + 1
            story.memory[len(story.held) - 1].append(page.process.memory_info().rss / 1e6)
            if len(turns) == planned // 2:
                story.held.append(page.value("kernel.held()"))
        story.wrong += reader.end_training()
        story.held.append(page.value("kernel.held()"))
        story.troubles = page.troubles
        story.log = page.log.read_text()
    finally:
        page.close()
    return story


@pytest.fixture(scope="module")
def stories(tmp_path_factory):
    folders = [tmp_path_factory.mktemp("kernel") for _ in range(KERNELS)]
    parts = [SOURCES[number::KERNELS] for number in range(KERNELS)]
    with ThreadPoolExecutor(KERNELS) as threads:
        return list(threads.map(soak, folders, parts, [EVENTS] * KERNELS, range(KERNELS)))


def test_every_figure_had_its_turns(stories):
    assert sum(story.figures for story in stories) >= 60
    for story in stories:
        assert len(story.events) == story.figures
        assert min(story.events.values()) >= AT_LEAST
    assert sum(sum(story.events.values()) for story in stories) >= KERNELS * EVENTS


def test_no_figure_failed_and_each_showed_what_the_kernel_said(stories):
    assert [wrong for story in stories for wrong in story.wrong] == []


def test_every_planted_error_was_shown_and_only_the_defects_were_reported(stories):
    for story in stories:
        assert story.planted["REFUSED"] >= 3
        assert story.planted["BROKEN"] >= 3
        planted = ["ZeroDivisionError: a planted defect"] * story.planted["BROKEN"]
        assert story.troubles == planted
        assert "Traceback" not in story.log
        assert "ERROR" not in story.log


def test_nothing_is_made_that_stays(stories):
    for story in stories:
        warm, half, end = (counts for counts, _ in story.held)
        assert end == half
        # What an event needs for the first time may open a file.
        assert warm | {"open files": half["open files"]} == half


def test_memory_grows_no_more_than_what_figures_remember(stories):
    for story in stories:
        _, second = story.memory
        tenth = len(second) // 10
        grown = np.median(second[-tenth:]) - np.median(second[:tenth])
        (_, half), (_, end) = story.held[1:]
        remembered = (end - half) / 1e6
        print(f"{grown:.1f} MB more, of which {remembered:.1f} remembered")
        assert grown <= remembered + MEGABYTES
