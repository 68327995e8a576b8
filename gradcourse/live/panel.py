"""One set of axes in a picture that is described again and again, and drawn with little work.

A lesson's ``draw(result, axes)`` describes the whole picture each time. The first description of
an artist makes it; later ones only move it. What a description leaves out is hidden.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, cast

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import FillBetweenPolyCollection
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator
from numpy.typing import ArrayLike, NDArray

from gradcourse.live.style import GHOST, styled

__all__ = ["Panel", "snap_decades", "snap_up"]

AnyArtist = TypeVar("AnyArtist", bound=Artist)


def snap_decades(low: float, high: float) -> tuple[float, float]:
    """Widen a range of exponents to round ones, at most nine steps apart.

    The limits then stay where they are while a slider moves a little, and the axes need not be
    drawn again.

    Raises
    ------
    ValueError
        If an end is not finite, or the ends are not in order.

    Examples
    --------
    >>> snap_decades(-3.2, 0.4)
    (-4.0, 1.0)
    >>> snap_decades(-38, 2)
    (-40.0, 5.0)
    """
    if not (math.isfinite(low) and math.isfinite(high) and low <= high):
        raise ValueError(f"a range of decades needs finite low <= high, got {low} and {high}")
    if low == high:
        low, high = low - 0.5, high + 0.5
    decade = 1
    while True:
        for step in (decade, 2 * decade, 5 * decade):
            first, last = math.floor(low / step), math.ceil(high / step)
            # A quotient can underflow to 0 although the end lies a hair beyond it.
            first -= first * step > low
            last += last * step < high
            if last - first <= 9:
                return float(first * step), float(last * step)
        decade *= 10


def snap_up(value: float) -> float:
    """Return the smallest of 10, 15, 20, 30, 40, 50, 60, 80, 100, 150, ... not below ``value``.

    Raises
    ------
    ValueError
        If ``value`` is not finite.

    Examples
    --------
    >>> snap_up(37)
    40
    """
    if not math.isfinite(value):
        raise ValueError(f"snap_up needs a finite number, got {value}")
    decade = 10
    while True:
        for step in (1, 1.5, 2, 3, 4, 5, 6, 8):
            if step * decade >= value:
                return step * decade
        decade *= 10


class Panel:
    """One set of axes. The attribute ``axes`` is matplotlib's own.

    Artists are named by a key. Every ``style`` is passed to matplotlib when the artist is made;
    later calls change its data only. A key belongs to one kind of artist.
    """

    def __init__(self, axes: Axes) -> None:
        self.axes = axes
        self.stale = True
        self._artists: dict[str, Artist] = {}
        self._kinds: dict[str, str] = {}
        self._ghosts: dict[str, Line2D] = {}
        self._described: set[str] = set()
        self._applied: dict[str, Any] = {}
        self._limits: tuple[float, ...] = ()

    def set(self, **properties: Any) -> None:
        """Set properties of the axes (``title``, ``xlabel``, ``xlim``, ...), as ``Axes.set``.

        Only a property that changed costs a full redraw.
        """
        changed = {
            name: value
            for name, value in properties.items()
            if name not in self._applied or not np.array_equal(self._applied[name], value)
        }
        if not changed:
            return
        self.stale = True
        for name in changed:
            # Forgotten first: what matplotlib refuses half-way must be set again next time.
            self._applied.pop(name, None)
        with styled():
            self.axes.set(**changed)
        self._applied.update(changed)

    def decades(self, axis: str, low: float, high: float) -> None:
        """Show exponents from ``low`` to ``high`` as powers of ten on axis ``"x"`` or ``"y"``.

        The data are logarithms to base 10 on a linear axis, which is redrawn several times faster
        than a logarithmic one, and which can show what a float cannot hold.
        """
        if self._applied.get(f"{axis}decades") is None:
            target = {"x": self.axes.xaxis, "y": self.axes.yaxis}[axis]
            target.set_major_locator(MaxNLocator(nbins=9, integer=True, steps=[1, 2, 5, 10]))
            target.set_major_formatter(FuncFormatter(_power_of_ten))
            self._applied[f"{axis}decades"] = True
        self.set(**{f"{axis}lim": snap_decades(low, high)})

    def line(self, key: str, x: ArrayLike, y: ArrayLike, **style: Any) -> None:
        """Draw a line, or move it. ``x`` and ``y`` have one shape (points,); gaps where not finite.

        Raises
        ------
        ValueError
            If the shapes differ.
        """
        x, y = _finite(x), _finite(y)
        if x.shape != y.shape:
            raise ValueError(f"line {key!r} needs as many x as y, got {x.size} and {y.size}")
        artist = self._artist(key, "line", lambda: self.axes.plot([], [], **style)[0])
        artist.set_data(x, y)
        if "marker" not in style:
            # A line through one point has no length, and would not be seen.
            alone = np.isfinite(x + y).sum() == 1
            artist.set_marker("o" if alone else "None")

    def band(self, key: str, x: ArrayLike, low: ArrayLike, high: ArrayLike, **style: Any) -> None:
        """Fill between two lines of shape (points,), or move the band."""
        x, low, high = _finite(x), _finite(low), _finite(high)
        style = {"linewidth": 0, **style}
        artist = self._artist(key, "band", lambda: self.axes.fill_between([], [], **style))
        artist.set_data(x, low, high)

    def vline(self, key: str, x: float, **style: Any) -> None:
        """Draw a vertical line across the panel, or move it."""
        artist = self._artist(key, "vline", lambda: self.axes.axvline(**style))
        artist.set_xdata([x, x])

    def hline(self, key: str, y: float, **style: Any) -> None:
        """Draw a horizontal line across the panel, or move it."""
        artist = self._artist(key, "hline", lambda: self.axes.axhline(**style))
        artist.set_ydata([y, y])

    def mark(self, key: str, x: float, y: float, label: str) -> None:
        """Mark one point with a star above everything else, or move the star."""
        style = {"color": "black", "marker": "*", "ms": 16, "ls": "", "zorder": 5}
        self.line(key, [x], [y], clip_on=False, label=label, **style)

    def text(self, key: str, x: float, y: float, words: str, **style: Any) -> None:
        """Write words at a point in data coordinates, or move and change them."""
        artist = self._artist(key, "text", lambda: self.axes.text(x, y, words, **style))
        artist.set_position((x, y))
        artist.set_text(words)

    def note(self, words: str, place: str = "center") -> None:
        """Write one sentence inside the panel: what there is to say beside a line, or instead.

        Parameters
        ----------
        words
            The sentence.
        place
            ``"center"``, or a corner: ``"upper right"``, ``"lower left"``, ...
        """
        columns = {"left": 0.03, "center": 0.5, "right": 0.97}
        rows = {"lower": 0.07, "": 0.5, "upper": 0.93}
        vertical, _, horizontal = place.rpartition(" ")
        if vertical not in rows or horizontal not in columns:
            raise ValueError(
                f"place must be center, upper right, lower left and the like, got {place!r}"
            )
        x, y = columns[horizontal], rows[vertical]
        self.text(
            f"note {place}",
            x,
            y,
            words,
            transform=self.axes.transAxes,
            ha=horizontal,
            va="center",
            fontsize=13,
            fontweight="bold",
        )

    def lines(self) -> dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]]:
        """Return the data of every visible line: ``{key: (x, y)}``."""
        return {
            key: (np.asarray(artist.get_xdata(), float), np.asarray(artist.get_ydata(), float))
            for key, artist in self._artists.items()
            if isinstance(artist, Line2D) and artist.get_visible()
        }

    def begin(self) -> None:
        """Start a new description."""
        self._described.clear()

    def end(self) -> None:
        """Hide what the new description left out."""
        for key, artist in self._artists.items():
            if key not in self._described and artist.get_visible():
                artist.set_visible(False)
                self.stale = self.stale or _in_legend(artist)
        self._fit()

    def _fit(self) -> None:
        """Let limits that nobody set follow what is visible, and redraw the axes if they moved."""
        free = {axis: f"{axis}lim" not in self._applied for axis in "xy"}
        if any(free.values()):
            self.axes.relim(visible_only=True)
            for artist in self._artists.values():
                if isinstance(artist, FillBetweenPolyCollection) and artist.get_visible():
                    box = artist.get_datalim(self.axes.transData)
                    self.axes.update_datalim(box.get_points())
            self.axes.autoscale_view(scalex=free["x"], scaley=free["y"])
            limits = (*self.axes.get_xlim(), *self.axes.get_ylim())
            self.stale = self.stale or limits != self._limits
            self._limits = limits

    def haunt(self, lines: Mapping[str, tuple[ArrayLike, ArrayLike]]) -> None:
        """Show earlier lines, by key, as grey ghosts behind the present ones."""
        for key, ghost in self._ghosts.items():
            ghost.set_visible(key in lines)
        for key, (x, y) in lines.items():
            model = self._artists.get(key)
            if not isinstance(model, Line2D):
                continue
            if key not in self._ghosts:
                with styled():
                    (ghost,) = self.axes.plot([], [], color=GHOST, zorder=1.5)
                ghost.set_linestyle(model.get_linestyle())
                ghost.set_linewidth(model.get_linewidth())
                # A rule across the panel has one axis in data and the other in axes coordinates.
                ghost.set_transform(model.get_transform())
                ghost.set_animated(True)
                self._ghosts[key] = ghost
            self._ghosts[key].set_data(x, y)
            self._ghosts[key].set_visible(True)

    def moving(self) -> list[Artist]:
        """Return the visible artists that are drawn over the fixed background, lowest first."""
        artists = [*self._ghosts.values(), *self._artists.values()]
        return sorted((a for a in artists if a.get_visible()), key=Artist.get_zorder)

    def labelled(self) -> list[Artist]:
        """Return the visible artists that want a line in the legend."""
        return [a for a in self._artists.values() if a.get_visible() and _in_legend(a)]

    def _artist(self, key: str, kind: str, make: Callable[[], AnyArtist]) -> AnyArtist:
        """Return the artist of this key, made if need be, and show it in this description."""
        before = self._kinds.setdefault(key, kind)
        if before != kind:
            raise ValueError(f"{key!r} is a {before} already; a {kind} needs a key of its own")
        artist = cast("AnyArtist | None", self._artists.get(key))
        if artist is None:
            with styled():
                artist = make()
            # Animated artists stay out of the background that matplotlib draws once.
            artist.set_animated(True)
            self._artists[key] = artist
            self.stale = self.stale or _in_legend(artist)
        elif not artist.get_visible():
            artist.set_visible(True)
            self.stale = self.stale or _in_legend(artist)
        self._described.add(key)
        return artist


def _in_legend(artist: Artist) -> bool:
    return not str(artist.get_label()).startswith("_") and artist.get_label() != ""


def _finite(values: ArrayLike) -> NDArray[np.float64]:
    array = np.asarray(values, dtype=np.float64).ravel()
    return np.where(np.isfinite(array), array, np.nan)


def _power_of_ten(exponent: float, _position: int | None = None) -> str:
    return f"$10^{{{exponent:g}}}$"
