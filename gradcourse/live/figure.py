"""``live``: joins measure, draw and controls into one figure that answers its sliders."""

from __future__ import annotations

import base64
import html
import textwrap
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping, Sequence
from os import PathLike
from typing import Any

import ipywidgets

from gradcourse.checks import at_least
from gradcourse.live.canvas import Canvas, sentence_png
from gradcourse.live.controls import Control, make_controls, signature, words

__all__ = ["LiveFigure", "live"]

# Below this many seconds an answer keeps up with a dragged slider; above, it comes on release.
KEEPS_UP = 0.2
# Changes of one control that follow each other faster than this belong to one drag.
ONE_GESTURE = 0.7
PLAY_SECONDS = 8.0
# What still fits into a picture that says a sentence instead.
LONGEST_SENTENCE = 400
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
    draw
        ``draw(result, axes)`` describes the picture on a :class:`~gradcourse.live.Panel`, or on a
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
        Displays itself as the last line of a notebook cell.

    Raises
    ------
    ValueError
        If a control is not understood or ``measure`` refuses the first setting.

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
        self._measure = measure
        self._draw = draw
        self._compare = compare
        self._clock = time.perf_counter
        self._controls = make_controls(measure, controls)
        if play is not None and play not in self._controls:
            raise ValueError(
                f"play must name a control ({', '.join(self._controls) or 'there is none'}), "
                f"got {play!r}"
            )
        self.canvas = Canvas(panels, size, scale)
        self._remember = at_least(0, "remember", remember)
        self._results: OrderedDict[Hashable, Any] = OrderedDict()
        self.result: Any = None
        self.error: BaseException | None = None
        self.summary = ""
        self._start = self.settings
        self._drawn: dict[str, Any] | None = None
        self._lines: Lines = {}
        self._ghost: Ghost | None = None
        self._gesture: tuple[frozenset[str], float] = (frozenset(), -ONE_GESTURE)
        self._assigning = 0
        self._make_widget(play)
        self._update()
        if KEEPS_UP <= self._seconds < 1.0:
            # A first run pays for cold caches; only a second one tells what a drag will feel like.
            self._results.clear()
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
        self._assign({name: self._controls[name].check(value) for name, value in settings.items()})
        self._gesture = (frozenset(), -ONE_GESTURE)
        self.canvas.forget_limits()
        self._update()

    def reset(self) -> None:
        """Return every control to where it started, and forget the ghost."""
        if self._player is not None:
            for trait in ("playing", "_playing"):
                if self._player.has_trait(trait):
                    setattr(self._player, trait, False)
        self._assign(self._start)
        self._ghost = self._drawn = None
        self.canvas.forget_limits()
        self._update()

    def save(self, path: str | PathLike[str]) -> None:
        """Save the picture; the ending of ``path`` (png, svg, pdf) chooses the format.

        Raises
        ------
        ValueError
            If the present settings have no picture, because they raised an error.
        """
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
        if self._assigning:
            return
        # ipywidgets holds this lock while it takes over a value that the page has sent.
        from_page = bool(getattr(change["owner"], "_property_lock", None))
        try:
            self._update()
        except ValueError:
            # The reader has the sentence in the picture's place; a caller in Python has nothing.
            if not from_page:
                raise

    def _update(self) -> None:
        settings = self.settings
        started = time.perf_counter()
        try:
            result, measured = self._result(settings)
            ghost = self._next_ghost(settings)
            # First, because limits that nobody set make room for the ghost as well.
            self.canvas.haunt(ghost[1] if ghost else {})
            self.canvas.describe(self._draw, result)
            summary = _summarise(result, settings)
            picture = self.canvas.png()
        except (Exception, KeyboardInterrupt) as error:
            self._fail(error)
            raise
        self.result, self.error, self.summary = result, None, summary
        self._drawn, self._ghost, self._lines = settings, ghost, self.canvas.lines()
        self._image.value = picture
        before = html.escape(words(ghost[0])) if ghost else ""
        grey = f"<br><span style='opacity:.7'>grey: {before}</span>" if ghost else ""
        self._text.value = _status(html.escape(summary) + grey)
        if measured:
            self._seconds = time.perf_counter() - started
            for control in self._controls.values():
                control.set_continuous(self._seconds < KEEPS_UP)

    def _result(self, settings: dict[str, Any]) -> tuple[Any, bool]:
        """Return what ``measure`` finds or found at these settings, and whether it was asked."""
        key = tuple(settings.values())
        try:
            known = key in self._results
        except TypeError:
            # A widget of the reader's own may hold a value that cannot be looked up.
            return self._measure(**settings), True
        if known:
            self._results.move_to_end(key)
            return self._results[key], False
        result = self._measure(**settings)
        self._results[key] = result
        if len(self._results) > self._remember:
            self._results.popitem(last=False)
        return result, True

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
        said = " ".join(str(error).split())
        if not isinstance(error, ValueError) or not said:
            said = f"{type(error).__name__}: {said}".removesuffix(": ")
        self.error = error
        self.summary = textwrap.shorten(said, LONGEST_SENTENCE, placeholder=" …")
        self._image.value = sentence_png(self.summary, self.canvas.size, self.canvas.scale)
        self._text.value = _status(html.escape(self.summary))

    def _make_widget(self, play: str | None) -> None:
        width = f"{self.canvas.size[0]}px"
        self._image = ipywidgets.Image(
            format="png", layout=ipywidgets.Layout(width="100%", max_width=width, height="auto")
        )
        self._text = ipywidgets.HTML(layout=ipywidgets.Layout(max_width=width))
        self._player = None if play is None else self._make_player(self._controls[play])
        rows: list[ipywidgets.Widget] = []
        if self._controls:
            reset = ipywidgets.Button(
                description="Reset", tooltip="Return every control to where it started"
            )
            reset.layout.width = "5.5em"
            reset.on_click(lambda _button: self.reset())
            for control in self._controls.values():
                if control.ours and control.ends is not None:
                    control.widget.layout.width = "26em"
            players = [] if self._player is None else [self._player]
            rows.append(
                ipywidgets.Box(
                    [*players, *self.controls.values(), reset],
                    layout=ipywidgets.Layout(
                        flex_flow="row wrap", align_items="center", max_width=width
                    ),
                )
            )
        self.widget = ipywidgets.VBox([*rows, self._image, self._text])

    def _make_player(self, control: Control) -> ipywidgets.Play:
        stops = control.stops()
        player = ipywidgets.Play(
            value=control.nearest_stop(),
            min=0,
            max=stops - 1,
            interval=max(80, int(1000 * PLAY_SECONDS / stops)),
        )

        def step(change: Any) -> None:
            if change["new"] != control.nearest_stop():
                control.widget.value = control.position(change["new"])

        def follow(_change: Any) -> None:
            player.value = control.nearest_stop()

        player.observe(step, names="value")
        control.widget.observe(follow, names="value")
        return player

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


def _summarise(result: Any, settings: Mapping[str, Any]) -> str:
    summary = getattr(result, "summary", None)
    if summary is None:
        return words(settings)
    return str(summary() if callable(summary) else summary)


def _status(text: str) -> str:
    return (
        f'<div role="status" style="font-size:1.1em;line-height:1.4;min-height:4.4em">{text}</div>'
    )
