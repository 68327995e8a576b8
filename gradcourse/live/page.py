"""A live figure as one file of HTML: every picture drawn beforehand, sliders included."""

from __future__ import annotations

import base64
import html
import io
import itertools
import json
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

import numpy as np
from PIL import Image, features

from gradcourse.live.canvas import Canvas, sentence_png
from gradcourse.live.controls import Control
from gradcourse.live.results import Results
from gradcourse.live.said import in_words, summary_of

__all__ = ["Pictures", "Room", "page_values", "save_page"]

# How many pictures are drawn first, to tell how large the page will be.
TRIED = 8
# Values of one slider that nobody named.
MOST_VALUES = 25
# With room for fewer of the first slider, a third one is held still.
FEWEST = 5


# A setting, and its result or the error that refuses it.
Found = tuple[dict[str, Any], Any]


@dataclass(frozen=True)
class Room:
    """What a page may take at most.

    Attributes
    ----------
    pictures, seconds
        Their number and the processor's time to draw them, where nobody named the values.
    megabytes
        Of the file.
    """

    pictures: int
    seconds: float
    megabytes: float


class Pictures:
    """The pictures of a figure at any setting, drawn on a canvas of their own.

    Parameters
    ----------
    canvas
        Where they are drawn.
    draw, results
        Of the figure.
    settings
        Of the controls that do not move.
    """

    def __init__(
        self,
        canvas: Canvas,
        draw: Callable[[Any, Any], None],
        results: Results,
        settings: Mapping[str, Any],
    ) -> None:
        self.canvas = canvas
        self._draw = draw
        self._results = results
        self._settings = settings

    def found(self, moved: Mapping[str, Any]) -> Found:
        """Return the result at a setting, or why it is refused."""
        setting = {**self._settings, **moved}
        try:
            *_, result = self._results.steps(setting)
        except ValueError as error:
            return setting, error
        return setting, result

    def drawn(self, found: Found, anew: bool) -> tuple[bytes, str]:
        """Return the picture and the summary of a result, ``anew`` with limits of its own.

        What is refused has a picture that says why.
        """
        setting, result = found
        try:
            if isinstance(result, ValueError):
                raise result
            if anew:
                self.canvas.forget_limits()
            self.canvas.describe(self._draw, result)
            return self.canvas.png(), summary_of(result, setting)
        except ValueError as error:
            said = in_words(error)
            return sentence_png(said, self.canvas.size, self.canvas.scale), said


def page_values(
    controls: Mapping[str, Control], asked: Mapping[str, Iterable[Any]], most: int
) -> dict[str, list[Any]]:
    """Return the values that a page offers, by control.

    Parameters
    ----------
    controls
        Of the figure.
    asked
        The values of some controls; the others stay where they are. With no control at all, each
        gets values of its own.
    most
        How many pictures there may be then.

    Raises
    ------
    ValueError
        If a name is no control, a control does not allow a value, or there are no values.
    """
    if not asked:
        return _evenly(controls, most)
    for name in asked:
        if name not in controls:
            known = ", ".join(controls) or "none"
            raise ValueError(f"no control {name!r}; the controls are {known}")
    values = {}
    for name, wanted in asked.items():
        if isinstance(wanted, str) or not isinstance(wanted, Iterable):
            raise ValueError(f"{name} needs several values, such as a list, got {wanted!r}")
        checked = [controls[name].check(value) for value in wanted]
        values[name] = [value for k, value in enumerate(checked) if value not in checked[:k]]
        if not values[name]:
            raise ValueError(f"{name} needs at least one value")
    return values


def _affordable(
    controls: Mapping[str, Control],
    asked: Mapping[str, Iterable[Any]],
    pictures: Pictures,
    room: Room,
) -> dict[str, list[Any]]:
    """Return the values that a page has room for; a few pictures tell how long all will take."""
    values = page_values(controls, asked, room.pictures)
    if asked or room.seconds == math.inf:
        return values
    grid = _combinations(values)
    # In time of this process: how busy the machine is chooses no pictures.
    started = time.process_time()
    for place in (1, 3, 5):
        _address(pictures.drawn(pictures.found(grid[place * len(grid) // 6]), True)[0])
    spent = time.process_time() - started
    most = int(3 * room.seconds / spent) if spent else room.pictures
    return page_values(controls, {}, min(room.pictures, max(TRIED, most)))


def _combinations(values: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    return [dict(zip(values, one, strict=True)) for one in itertools.product(*values.values())]


def save_page(
    path: Path,
    controls: Mapping[str, Control],
    asked: Mapping[str, Iterable[Any]],
    pictures: Pictures,
    room: Room,
) -> None:
    """Draw every combination of values, and write the page; its title is the file's name.

    Parameters
    ----------
    path
        The file.
    controls, asked
        As for :func:`page_values`.
    pictures
        Draws them.
    room
        What the page may take.

    Raises
    ------
    ValueError
        As :func:`page_values` does, or if the page would be too large; a few pictures tell that
        beforehand.
    """
    values = _affordable(controls, asked, pictures, room)
    grid = _combinations(values)
    tried: dict[int, Found] = {}
    if len(grid) > 2 * TRIED:
        # Evenly spaced, and not at the ends, where a picture may be emptier than most.
        places = [(2 * k + 1) * len(grid) // (2 * TRIED) for k in range(TRIED)]
        tried = {place: pictures.found(grid[place]) for place in places}
        sizes = [len(_address(pictures.drawn(found, True)[0])) for found in tried.values()]
        expected = len(grid) * sum(sizes) / TRIED
        _check_size(expected, len(grid), values, room.megabytes)
        print(f"drawing {len(grid)} pictures, about {expected / 1e6:.1f} MB")
    addresses: dict[str, int] = {}
    shown = [0] * len(grid)
    summaries = [""] * len(grid)
    # Along the first control, as a drag would go: limits then seldom move. They belong to the drag,
    # so a picture that was tried is drawn once more, and only its result is kept.
    stride = len(grid) // len(next(iter(values.values()), [None]))
    for place in sorted(range(len(grid)), key=lambda place: (place % stride, place)):
        found = tried.pop(place, None) or pictures.found(grid[place])
        picture, summaries[place] = pictures.drawn(found, place < stride)
        shown[place] = addresses.setdefault(_address(picture), len(addresses))
    data = {
        "controls": [_described(controls[name], values[name]) for name in values],
        "pictures": list(addresses),
        "shown": shown,
        "summaries": summaries,
    }
    still = [control for name, control in controls.items() if name not in values]
    held = ", ".join(f"{one.widget.description} {one.said(one.value)}" for one in still)
    width, height = pictures.canvas.size
    template = Template(files("gradcourse.live").joinpath("page.html").read_text(encoding="utf-8"))
    text = template.substitute(
        title=html.escape(path.stem),
        width=width,
        height=height,
        held=html.escape(f"Held still on this page: {held}." if held else ""),
        # A script element ends at its end tag, wherever that stands.
        data=json.dumps(data, ensure_ascii=False).replace("</", "<\\/"),
    )
    _check_size(len(text.encode()), len(grid), values, room.megabytes)
    path.write_text(text, encoding="utf-8")


def _check_size(
    size: float, pictures: int, values: Mapping[str, Sequence[Any]], megabytes: float
) -> None:
    if size <= megabytes * 1e6:
        return
    counts = ", ".join(f"{len(several)} of {name}" for name, several in values.items())
    raise ValueError(
        f"the page would have about {size / 1e6:.1f} MB, {pictures} pictures ({counts}), and the "
        f"limit is {megabytes:g} MB: give fewer values, or raise the limit with megabytes="
    )


def _evenly(controls: Mapping[str, Control], most: int) -> dict[str, list[Any]]:
    """Give every control with ordered values as many as there is room for, the first one most."""
    stops = {}
    for name, control in controls.items():
        try:
            stops[name] = control.stops()
        except ValueError:
            continue
    if not stops:
        raise ValueError("the figure has no control with values that a page could offer")
    # A choice offers all it has or nothing; a slider its ends and where it is, and more if there
    # is room.
    counts = {name: n if controls[name].ends is None else min(n, 3) for name, n in stops.items()}
    sliders = [name for name in counts if controls[name].ends is not None]
    choices = [name for name in counts if controls[name].ends is None]
    # Held still where there is no room: sliders behind the first one before any choice.
    for name in [*sliders[:0:-1], *choices[::-1], *sliders[:1]]:
        if math.prod(counts.values()) > most:
            counts[name] = 1
    sliders = [name for name in sliders if counts[name] > 1]
    while len(sliders) > 2 and most * counts[sliders[0]] < math.prod(counts.values()) * FEWEST:
        counts[sliders.pop()] = 1
    _grow(counts, {name: stops[name] for name in sliders}, most)
    values = {}
    for name, count in counts.items():
        if count > 1 and controls[name].ends is None:
            values[name] = [controls[name].position(place) for place in range(count)]
        elif count > 1:
            values[name] = _with_present(controls[name], count)
    return values


def _grow(counts: dict[str, int], stops: Mapping[str, int], most: int) -> None:
    """Give sliders more values while there is room, the first one twice as many as the others."""
    growing = list(stops)
    shares = {name: 1 if k else 2 for k, name in enumerate(growing)}
    while growing:
        name = min(growing, key=lambda name: counts[name] / shares[name])
        full = counts[name] >= min(stops[name], MOST_VALUES)
        if full or math.prod(counts.values()) // counts[name] * (counts[name] + 1) > most:
            growing.remove(name)
        else:
            counts[name] += 1


def _with_present(slider: Control, count: int) -> list[Any]:
    """Return values of a slider, evenly spaced to either side of its present one, in order."""
    last, present = slider.stops() - 1, slider.nearest_stop()
    gaps = count - 1
    below = round(gaps * present / last)
    # A side that exists has a value at its end.
    below = min(max(below, present > 0), gaps - (present < last))
    places = {
        *np.linspace(0, present, below + 1).round().astype(int).tolist(),
        *np.linspace(present, last, gaps - below + 1).round().astype(int).tolist(),
    }
    values = {place: slider.position(place) for place in places}
    # A value between two stops takes the place of the one that is next to it.
    values[present] = slider.value
    return [values[place] for place in sorted(values)]


def _described(control: Control, values: Sequence[Any]) -> dict[str, Any]:
    slides = control.ends is not None
    return {
        "label": control.widget.description,
        "values": [control.said(value) for value in values],
        "start": _nearest(values, control.value) if slides else _place(values, control.value),
        "slides": slides,
    }


def _nearest(values: Sequence[Any], wanted: Any) -> int:
    return min(range(len(values)), key=lambda place: float(abs(values[place] - wanted)))


def _place(values: Sequence[Any], wanted: Any) -> int:
    return list(values).index(wanted) if wanted in values else 0


def _address(png: bytes) -> str:
    """Return a picture as an address that holds it, without loss and a quarter smaller."""
    picture, buffer = Image.open(io.BytesIO(png)), io.BytesIO()
    kind = "webp" if features.check("webp") else "png"
    if kind == "webp":
        picture.convert("RGB").save(buffer, "webp", lossless=True, method=2, quality=50)
    else:
        picture.save(buffer, "png", optimize=True)
    return f"data:image/{kind};base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
