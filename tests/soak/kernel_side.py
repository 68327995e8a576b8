"""Runs in the kernel: makes the live figures of lessons, and tells what the kernel holds."""

import ast
import asyncio
import gc
import html
import io
import pickle
import threading
from collections import Counter
from contextlib import redirect_stdout
from pathlib import Path
from types import SimpleNamespace
from zlib import crc32

import comm
import jupytext
import matplotlib.figure
import psutil

from gradcourse.live import LiveFigure, Panel, live

REFUSED, BROKEN = 8, 9
figures = {}
original = LiveFigure.__init__


def reads(tree):
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}


def binds(tree):
    """Return the names that a cell makes."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            found |= {(alias.asname or alias.name).partition(".")[0] for alias in node.names}
        elif isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            found.add(node.name)
    return found


def cells_of_figures(source):
    """Return the cells of a lesson that make a live figure, and those that they rest on."""
    cells = [cell.source for cell in jupytext.read(source).cells if cell.cell_type == "code"]
    wanted = {"live"}
    kept = []
    for cell in reversed(cells):
        tree = ast.parse(cell)
        if "live" in reads(tree) or binds(tree) & wanted:
            wanted |= reads(tree)
            kept.append(cell)
    return kept[::-1]


def make(source):
    """Make the live figures of a lesson, without its claims and exercises; return how many."""
    lesson = Path(source).stem[:2]
    before = len(figures)

    def remember(self, *arguments, **options):
        original(self, *arguments, **options)
        figures[f"{lesson}.{len(figures) - before + 1}"] = self

    LiveFigure.__init__ = remember
    try:
        space = {"__name__": lesson}
        with redirect_stdout(io.StringIO()):
            for cell in cells_of_figures(source):
                exec(compile(cell, lesson, "exec"), space)
    finally:
        LiveFigure.__init__ = original
    return len(figures) - before


def make_faulty():
    """Make a figure that refuses one setting, and breaks at another."""

    def measure(depth=1):
        if depth == REFUSED:
            raise ValueError(f"a planted refusal of {depth}")
        if depth == BROKEN:
            raise ZeroDivisionError("a planted defect")
        return SimpleNamespace(y=[0, depth], summary=lambda: f"depth {depth}")

    def draw(result, axes):
        axes.line("line", [0, 1], result.y)

    figures["faulty"] = live(measure, draw, remember=0, depth=(1, 9))


def describe():
    """Return, for each figure, the ids of what a page sends messages to, and what it may send."""
    return {
        name: {
            "controls": {
                control: {
                    "id": widget.model_id,
                    # A page tells which of the options was chosen by its number.
                    "trait": "index" if hasattr(widget, "options") else "value",
                    "values": (
                        list(range(len(widget.options)))
                        if hasattr(widget, "options")
                        else figure.positions(control)
                    ),
                }
                for control, widget in figure.controls.items()
            },
            "player": figure._player and [figure._player.model_id, figure._player.max],
            "reset": figure.widget.children[0].children[-1].model_id,
            "stop": figure._progress.widget.children[1].model_id,
            "trains": figure._results.goes_on,
            "text": figure._text.model_id,
            "image": figure._image.model_id,
        }
        for name, figure in figures.items()
    }


def state(name):
    """Return what a figure knows of itself: its error, whether it runs, what it shows, where."""
    figure = figures[name]
    traits = {
        control: widget.index if hasattr(widget, "options") else widget.value
        for control, widget in figure.controls.items()
    }
    assert html.escape(figure.summary) in figure._text.value
    return (
        repr(figure.error),
        figure.running,
        figure._text.value,
        crc32(figure._image.value),
        traits,
    )


def held():
    """Return how many there are of what must not grow, and the bytes that figures keep by intent.

    Those are the last results of each, and the last pictures of what is around its lines.
    """
    gc.collect()
    kinds = Counter(type(one) for one in gc.get_objects())
    counts = {
        "live figures": kinds[LiveFigure],
        "panels": kinds[Panel],
        "matplotlib figures": kinds[matplotlib.figure.Figure],
        "comms": len(comm.get_comm_manager().comms),
        "threads": threading.active_count(),
        "open files": psutil.Process().num_fds(),
        "tasks": len(asyncio.all_tasks()),
    }
    kept = 0
    for figure in figures.values():
        height, width, colours = figure.canvas._agg.buffer_rgba().shape
        kept += len(figure.canvas._backgrounds) * height * width * colours
        kept += len(pickle.dumps(figure._results._kept))
    return counts, kept
