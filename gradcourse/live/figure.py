"""``live``: joins measure, draw and controls into one figure that answers its sliders."""

from __future__ import annotations

import base64
import html
import time
from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from typing import Any

import ipywidgets

from gradcourse.live.canvas import Canvas, sentence_png
from gradcourse.live.controls import (
    check_value,
    make_controls,
    positions,
    set_continuous,
    words,
)

__all__ = ["LiveFigure", "live"]

# Below this many seconds an answer keeps up with a dragged slider; above, it comes on release.
KEEPS_UP = 0.2
# Changes of one control that follow each other faster than this belong to one drag.
ONE_GESTURE = 0.7
PLAY_SECONDS = 8.0

Measure = Callable[..., Any]
Draw = Callable[[Any, Any], None]


def live(
    measure: Measure,
    draw: Draw,
    *,
    panels: str | Sequence[Any] = "A",
    size: tuple[int, int] = (900, 420),
    scale: float = 1.5,
    compare: bool = False,
    play: str | None = None,
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
    controls
        The widgets, by name.
    widget
        Everything together, an ``ipywidgets.VBox``.
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
    ) -> None:
        self._measure = measure
        self._draw = draw
        self._compare = compare
        self._clock = time.perf_counter
        self.controls = make_controls(measure, controls)
        if play is not None and play not in self.controls:
            raise ValueError(
                f"play must name a control ({', '.join(self.controls) or 'there is none'}), "
                f"got {play!r}"
            )
        self.canvas = Canvas(panels, size, scale)
        self.result: Any = None
        self.error: Exception | None = None
        self.summary = ""
        self._start = self.settings
        self._drawn: dict[str, Any] | None = None
        self._ghost: tuple[dict[str, Any], dict[str, Any]] | None = None
        self._gesture: tuple[frozenset[str], float] = (frozenset(), -ONE_GESTURE)
        self._assigning = False
        self._make_widget(play)
        self._update()
        if KEEPS_UP <= self._seconds < 1.0:
            # A first run pays for cold caches; only a second one tells what a drag will feel like.
            self._update()
        for control in self.controls.values():
            control.observe(self._on_change, names="value")

    @property
    def settings(self) -> dict[str, Any]:
        """The present value of every control, by name."""
        return {name: control.value for name, control in self.controls.items()}

    def set(self, **settings: Any) -> None:
        """Move controls, all at once, and measure and draw once.

        Raises
        ------
        ValueError
            If a name is no control or a control does not allow the value; nothing is moved then.
        """
        for name in settings:
            if name not in self.controls:
                known = ", ".join(self.controls) or "none"
                raise ValueError(f"no control {name!r}; the controls are {known}")
        checked = {
            name: check_value(name, self.controls[name], value) for name, value in settings.items()
        }
        self._assigning = True
        try:
            for name, value in checked.items():
                self.controls[name].value = value
        finally:
            self._assigning = False
        self._gesture = (frozenset(), -ONE_GESTURE)
        self._update()

    def reset(self) -> None:
        """Return every control to where it started, and forget the ghost."""
        self.set(**self._start)
        self._ghost = None
        self._show()

    def save(self, path: str | PathLike[str]) -> None:
        """Save the picture; the ending of ``path`` (png, svg, pdf) chooses the format."""
        self.canvas.save(path)

    def _on_change(self, _change: Any) -> None:
        if not self._assigning:
            self._update()

    def _update(self) -> None:
        settings = self.settings
        started = time.perf_counter()
        try:
            result = self._measure(**settings)
            lines = {name: panel.lines() for name, panel in self.canvas.panels.items()}
            self.canvas.describe(self._draw, result)
        except Exception as error:
            self._fail(error)
            raise
        if self._compare:
            self._remember(settings, lines)
        self.result, self.error, self._drawn = result, None, settings
        self._show()
        self._seconds = time.perf_counter() - started
        for control in self.controls.values():
            set_continuous(control, self._seconds < KEEPS_UP)

    def _remember(self, settings: dict[str, Any], lines: dict[str, Any]) -> None:
        if self._drawn is None or settings == self._drawn:
            return
        moved = frozenset(name for name in settings if settings[name] != self._drawn[name])
        now = self._clock()
        before, last = self._gesture
        if moved != before or now - last > ONE_GESTURE:
            self._ghost = (self._drawn, lines)
        self._gesture = (moved, now)

    def _show(self) -> None:
        ghost_settings, ghost_lines = self._ghost or ({}, {})
        for name, panel in self.canvas.panels.items():
            panel.haunt(ghost_lines.get(name, {}))
        summarise = getattr(self.result, "summary", None)
        self.summary = str(summarise()) if callable(summarise) else words(self.settings)
        self._image.value = self.canvas.png()
        text = html.escape(self.summary)
        if ghost_settings:
            text += (
                f"<br><span style='opacity:.7'>grey: {html.escape(words(ghost_settings))}</span>"
            )
        self._text.value = _status(text)

    def _fail(self, error: Exception) -> None:
        self.error = error
        said = str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
        self.summary = said
        self._image.value = sentence_png(said, self.canvas.size, self.canvas.scale)
        self._text.value = _status(html.escape(said))

    def _make_widget(self, play: str | None) -> None:
        width = f"{self.canvas.size[0]}px"
        self._image = ipywidgets.Image(
            format="png", layout=ipywidgets.Layout(width="100%", max_width=width, height="auto")
        )
        self._text = ipywidgets.HTML(layout=ipywidgets.Layout(max_width=width))
        rows: list[ipywidgets.Widget] = []
        if self.controls:
            reset = ipywidgets.Button(
                description="Reset", tooltip="Return every control to where it started"
            )
            reset.layout.width = "5.5em"
            reset.on_click(lambda _button: self.reset())
            for control in self.controls.values():
                if control.layout.width is None and hasattr(control, "min"):
                    control.layout.width = "26em"
            players = [] if play is None else [self._make_player(play)]
            rows.append(
                ipywidgets.Box(
                    [*players, *self.controls.values(), reset],
                    layout=ipywidgets.Layout(
                        flex_flow="row wrap", align_items="center", max_width=width
                    ),
                )
            )
        self.widget = ipywidgets.VBox([*rows, self._image, self._text])

    def _make_player(self, name: str) -> ipywidgets.Play:
        values = positions(self.controls[name])
        player = ipywidgets.Play(
            min=0,
            max=len(values) - 1,
            interval=max(80, int(1000 * PLAY_SECONDS / max(1, len(values)))),
        )

        def step(change: Any) -> None:
            self.controls[name].value = values[change["new"]]

        player.observe(step, names="value")
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


def _status(text: str) -> str:
    return (
        f'<div role="status" style="font-size:1.1em;line-height:1.4;min-height:4.4em">{text}</div>'
    )
