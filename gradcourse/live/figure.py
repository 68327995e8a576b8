"""``live``: joins measure, draw and controls into one figure that answers its sliders."""

from __future__ import annotations

import base64
import html
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any

import ipywidgets

from gradcourse.checks import at_least, number
from gradcourse.live.canvas import Canvas, sentence_png
from gradcourse.live.controls import make_controls, signature, words
from gradcourse.live.home import Home, running_loop
from gradcourse.live.layout import lay_out
from gradcourse.live.page import Pictures, Room, save_page
from gradcourse.live.player import make_player
from gradcourse.live.results import Results
from gradcourse.live.running import ProgressBar, Run
from gradcourse.live.said import in_words, status, summary_of
from gradcourse.live.sheet import FIGURE

__all__ = ["LiveFigure", "live"]

# Below this many seconds an answer keeps up with a dragged slider; above, it comes on release.
KEEPS_UP = 0.2
# Changes of one control that follow each other faster than this belong to one drag.
ONE_GESTURE = 0.7
OPTIONS = {"panels", "size", "scale", "compare", "play", "remember"}

Measure = Callable[..., Any]
Draw = Callable[[Any, Any], None]
Lines = dict[str, Any]
# The settings of an earlier picture, and its lines.
Ghost = tuple[dict[str, Any], Lines]


def live(
    measure: Measure,
    draw: Draw,
    *,
    panels: str | Sequence[Any] = "A",
    size: tuple[int, int] = (900, 420),
    scale: float = 1.5,
    compare: bool = False,
    play: str | None = None,
    remember: int = 32,
    **controls: Any,
) -> LiveFigure:
    """Make a figure that measures and draws again whenever one of its controls moves.

    Parameters
    ----------
    measure
        ``measure(**settings)`` returns a result; if the result has a method ``summary()``, its
        one line of text stands below the picture and is the picture's alternative text.

        A generator function yields results instead: what there is so far, several times a second,
        and at last the final one. Each is drawn, with a bar at its ``progress`` (0 to 1) and a
        button that stops; a control that moves meanwhile starts anew. Called from Python, as for
        the first picture, it runs to its end, and only that is drawn.
    draw
        ``draw(result, axes)`` describes the picture on a :class:`Panel`, or on a
        dict of them when there are several. It is called for each result and computes nothing.
    panels
        Places and names of the axes, as in ``Figure.subplot_mosaic``.
    size
        Width and height in CSS pixels; fixed, so that nothing jumps.
    scale
        Pixels of the picture for one CSS pixel.
    compare
        Keep the lines of the setting before the last gesture as grey ghosts.
    play
        The name of a control that gets a play button.
    remember
        How many results are kept, so that settings that come back are not measured again; 0 if
        ``measure`` depends on more than its settings.
    **controls
        Abbreviations as in ``ipywidgets.interact``: ``(min, max)`` or ``(min, max, step)``, a
        list, a dict, a bool, ``log(min, max)``, or a ready widget. A control starts at the
        default that ``measure`` declares.

    Returns
    -------
    LiveFigure
        Displays itself as the last line of a notebook cell. Whichever thread a change comes from,
        it measures and draws in the kernel's main thread, between two cells.

    Raises
    ------
    ValueError
        If a control is not understood; if an argument of ``measure`` has the name of an option; if
        ``play`` names no control, or one that has no order; if ``panels`` names no panel; or if
        ``size``, ``scale`` or ``remember`` is out of range.
    Exception
        Whatever ``measure`` or ``draw`` raises at the first setting.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> def measure(slope=2.0):
    ...     return SimpleNamespace(y=[0, slope], summary=lambda: f"slope {slope:g}")
    >>> def draw(result, axes):
    ...     axes.line("line", [0, 1], result.y)
    >>> figure = live(measure, draw, slope=(0.0, 5.0))
    >>> figure.set(slope=3.0)
    >>> figure.summary
    'slope 3'
    """
    return LiveFigure(
        measure,
        draw,
        controls,
        panels=panels,
        size=size,
        scale=scale,
        compare=compare,
        play=play,
        remember=remember,
    )


class LiveFigure:
    """A picture, its controls and its latest result; made by :func:`live`.

    Raises
    ------
    ValueError
        If a control is not understood, as in :func:`live`; if an argument of ``measure`` has the
        name of an option; if ``play`` names no control, or one that has no order; if ``panels``
        names no panel; or if ``size``, ``scale`` or ``remember`` is out of range.
    Exception
        Whatever ``measure`` or ``draw`` raises at the first setting.

    Attributes
    ----------
    result
        What ``measure`` returned for the present settings; the last good one after an error.
    error
        The exception that the present settings raised, or None.
    summary
        The line of text below the picture.
    widget
        Everything together, an ``ipywidgets.VBox``, to be put into a layout of your own.
    canvas
        The picture; ``canvas.panels`` holds what is drawn.
    running
        Whether a generator is still at work behind the picture.
    seconds
        How long the latest answer took that was not remembered; of a generator, its first picture.
    """

    def __init__(
        self,
        measure: Measure,
        draw: Draw,
        controls: Mapping[str, Any],
        *,
        panels: str | Sequence[Any],
        size: tuple[int, int],
        scale: float,
        compare: bool,
        play: str | None,
        remember: int,
    ) -> None:
        taken = sorted(OPTIONS & signature(measure).keys())
        if taken:
            raise ValueError(
                f"measure's argument {taken[0]!r} is the name of an option of live; rename it"
            )
        self._home = Home()
        self._draw = draw
        self._compare = compare
        self._clock = time.perf_counter
        self._controls = make_controls(measure, controls)
        if play is not None and play not in self._controls:
            raise ValueError(
                f"play must name a control ({', '.join(self._controls) or 'there is none'}), "
                f"got {play!r}"
            )
        self._panels = panels
        self.canvas = Canvas(panels, size, scale)
        self._results = Results(measure, remember)
        self.result: Any = None
        self.error: BaseException | None = None
        self.summary = ""
        self._start = self.settings
        self._drawn: dict[str, Any] | None = None
        self._lines: Lines = {}
        self._ghost: Ghost | None = None
        self._gesture: tuple[frozenset[str], float] = (frozenset(), -ONE_GESTURE)
        self._assigning = 0
        self._run: Run | None = None
        self._progress = ProgressBar(self.stop)
        self._make_widget(play)
        self._update()
        if KEEPS_UP <= self.seconds < 1.0 and not self._results.goes_on:
            # A first run pays for cold caches; only a second one tells what a drag will feel like.
            self._results.forget()
            self._update()
        for control in self._controls.values():
            control.widget.observe(self._on_change, names="value")

    @property
    def controls(self) -> dict[str, ipywidgets.Widget]:
        """The widgets, by name."""
        return {name: control.widget for name, control in self._controls.items()}

    @property
    def settings(self) -> dict[str, Any]:
        """The present value of every control, by name."""
        return {name: control.value for name, control in self._controls.items()}

    @property
    def running(self) -> bool:
        """Whether a generator is still at work behind the picture."""
        return self._run is not None

    def positions(self, name: str) -> list[Any]:
        """Return the values that a play button would step a control through, in order.

        Raises
        ------
        ValueError
            If the control's values have no order, as in a text box.
        """
        control = self._controls[name]
        return [control.position(index) for index in range(control.stops())]

    def set(self, **settings: Any) -> None:
        """Move controls, all at once, and measure and draw once.

        Raises
        ------
        ValueError
            If a name is no control or a control does not allow the value; nothing is moved then.
        Exception
            Whatever ``measure`` or ``draw`` raises; it is shown in the picture's place as well.
        """
        for name in settings:
            if name not in self._controls:
                known = ", ".join(self._controls) or "none"
                raise ValueError(f"no control {name!r}; the controls are {known}")
        values = {name: self._controls[name].check(value) for name, value in settings.items()}
        self._home.call(partial(self._set, values))

    def _set(self, values: Mapping[str, Any]) -> None:
        self._assign(values)
        self._gesture = (frozenset(), -ONE_GESTURE)
        self.canvas.forget_limits()
        self._update()

    def reset(self) -> None:
        """Return every control to where it started, and forget the ghost."""
        self._home.call(self._return)

    def _return(self, in_background: bool = False) -> None:
        if self._player is not None:
            for trait in ("playing", "_playing"):
                if self._player.has_trait(trait):
                    setattr(self._player, trait, False)
        self._assign(self._start)
        self._ghost = self._drawn = None
        self.canvas.forget_limits()
        self._update(in_background)

    def stop(self) -> None:
        """End a generator that is still at work; the picture stays as it is."""
        self._home.call(self._stop)

    def _stop(self) -> None:
        if self._run is None:
            return
        self._end_run()
        self.summary += " (stopped)"
        self._write()

    def save(
        self,
        path: str | PathLike[str],
        *,
        megabytes: float = 20.0,
        pictures: int = 150,
        seconds: float = math.inf,
        **values: Iterable[Any],
    ) -> None:
        """Save the picture, or a page that shows many of them with sliders of its own.

        The ending of ``path`` chooses the format: png, svg or pdf for the picture as it is, html
        for one file that needs no kernel and no other file, and asks no other host for anything:
        every combination of ``values`` is drawn beforehand.

        Parameters
        ----------
        path
            The file.
        megabytes
            The largest page that is written.
        pictures
            How many a page has, at most, whose ``values`` are not given.
        seconds
            How long they may take to draw, about, in the processor's time: fewer of them then, but
            not below 8.
        **values
            The values of controls on the page; the other controls stay where they are. Without
            any, some are chosen for every control. A generator runs to its end for each.

        Raises
        ------
        ValueError
            If the present settings have no picture, because they raised an error; or a page would
            be too large, or a control does not allow a value; if ``pictures`` is below 1 or
            ``seconds`` not above 0.
        TypeError
            If ``seconds`` is no number.

        Examples
        --------
        >>> figure.save("depth.html", depth=range(1, 101, 3), activation=["tanh", "relu"])
        ... # doctest: +SKIP
        """
        if Path(path).suffix.lower() in (".html", ".htm"):
            if not number("seconds", seconds) > 0:
                raise ValueError(f"seconds must be above 0, got {seconds:g}")
            room = Room(at_least(1, "pictures", pictures), float(seconds), megabytes)
            # A canvas of its own: the picture here stays as it is.
            canvas = Canvas(self._panels, self.canvas.size, self.canvas.scale)
            drawer = Pictures(canvas, self._draw, self._results, self.settings)
            make = partial(save_page, Path(path), self._controls, values, drawer, room)
            self._home.call(make)
            return
        if values:
            raise ValueError("values of controls are for a page: give a path that ends in .html")
        if self.error is not None:
            raise ValueError(f"there is no picture to save: {self.summary}")
        self.canvas.save(path)

    def __repr__(self) -> str:
        return f"LiveFigure({self.summary})"

    def _assign(self, values: Mapping[str, Any]) -> None:
        before = {name: self._controls[name].widget.value for name in values}
        self._assigning += 1
        try:
            for name, value in values.items():
                self._controls[name].assign(value)
        except Exception:
            for name, value in before.items():
                self._controls[name].widget.value = value
            raise
        finally:
            self._assigning -= 1

    def _on_change(self, change: Any) -> None:
        # ipywidgets holds this lock while it takes over a value that the page has sent.
        owners = (change["owner"], self._player)
        from_page = any(getattr(owner, "_property_lock", None) for owner in owners)
        try:
            self._home.call(partial(self._follow, from_page))
        except ValueError:
            # The reader has the sentence in the picture's place; a caller in Python has nothing.
            if not from_page:
                raise

    def _follow(self, from_page: bool) -> None:
        if not self._assigning:
            self._update(in_background=from_page)

    def _update(self, in_background: bool = False) -> None:
        self._end_run()
        settings = self.settings
        known = self._results.known(settings)
        # Only where an event loop, as a kernel's, can go on with other things.
        loop = running_loop() is not None
        goes_on = self._results.goes_on and in_background and not known and loop
        started = time.perf_counter()
        steps = self._results.steps(settings)
        try:
            result = next(steps)
            first = time.perf_counter() - started
            if not goes_on:
                for later in steps:
                    result = later
            started = time.perf_counter()
            self._show(result, settings)
        except (Exception, KeyboardInterrupt) as error:
            self._fail(error)
            raise
        if not known:
            self.seconds = first + time.perf_counter() - started
            for control in self._controls.values():
                control.set_continuous(self.seconds < KEEPS_UP)
        if goes_on:
            self._progress.show(result)
            self._run = Run(steps, partial(self._go_on, settings), self._end_run, self._fail)

    def _go_on(self, settings: dict[str, Any], result: Any) -> None:
        self._show(result, settings)
        self._progress.show(result)

    def _end_run(self) -> None:
        if self._run is not None:
            self._run.end()
            self._run = None
            self._progress.hide()

    def _show(self, result: Any, settings: dict[str, Any]) -> None:
        """Draw a result; nothing of the figure changes before all of that has worked."""
        ghost = self._next_ghost(settings)
        # First, because limits that nobody set make room for the ghost as well.
        self.canvas.haunt(ghost[1] if ghost else {})
        self.canvas.describe(self._draw, result)
        summary = summary_of(result, settings)
        picture = self.canvas.png()
        self.result, self.error, self.summary = result, None, summary
        self._drawn, self._ghost, self._lines = settings, ghost, self.canvas.lines()
        self._image.value = picture
        self._write()

    def _write(self) -> None:
        before = html.escape(words(self._ghost[0])) if self._ghost else ""
        grey = f"<br><span style='opacity:.7'>grey: {before}</span>" if before else ""
        self._text.value = status(html.escape(self.summary) + grey)

    def _next_ghost(self, settings: dict[str, Any]) -> Ghost | None:
        if not self._compare or self._drawn is None or settings == self._drawn:
            return self._ghost
        moved = frozenset(name for name in settings if settings[name] != self._drawn[name])
        now = self._clock()
        before, last = self._gesture
        self._gesture = (moved, now)
        goes_on = moved == before and now - last <= ONE_GESTURE
        return self._ghost if goes_on else (self._drawn, self._lines)

    def _fail(self, error: BaseException) -> None:
        self._end_run()
        self.error = error
        self.summary = in_words(error)
        self._image.value = sentence_png(self.summary, self.canvas.size, self.canvas.scale)
        self._text.value = status(html.escape(self.summary))

    def _make_widget(self, play: str | None) -> None:
        self._player = None if play is None else make_player(self._controls[play])
        back = partial(self._return, in_background=True)
        self._image, self._text, self.widget = lay_out(
            self._controls.values(),
            self._player,
            lambda: self._home.call(back),
            self._progress.widget if self._results.goes_on else None,
            self.canvas.size[0],
        )
        self.widget.add_class(FIGURE)

    def _repr_mimebundle_(
        self, include: Any = None, exclude: Any = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        # Beside the widget stand a picture and a line of text, for readers without a kernel.
        del include, exclude
        data = {
            "application/vnd.jupyter.widget-view+json": {
                "version_major": 2,
                "version_minor": 0,
                "model_id": self.widget.model_id,
            },
            "image/png": base64.b64encode(self._image.value).decode("ascii"),
            "text/plain": self.summary,
        }
        width, height = self.canvas.size
        return data, {"image/png": {"width": width, "height": height, "alt": self.summary}}
