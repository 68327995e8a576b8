"""One set of axes in a picture that is described again and again, and drawn with little work.

A lesson's ``draw(result, axes)`` describes the whole picture each time. The first description of
an artist makes it; later ones only move it. What a description leaves out is hidden.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, cast

import numpy as np
from matplotlib import colormaps
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import Collection, QuadMesh
from matplotlib.colorbar import Colorbar
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator
from numpy.typing import ArrayLike, NDArray

from gradcourse.live.style import GHOST, styled

__all__ = ["Panel", "range_to_show", "snap_decades", "snap_up"]

AnyArtist = TypeVar("AnyArtist", bound=Artist)

# Limits stay while the numbers fill this share of them; new ones leave this share ahead.
FILLED, AHEAD = 0.4, 0.25


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
    """Return the smallest of 10, 15, 20, 30, 50, 100, 150, ... not below ``value``.

    Few enough that a slider of the depth meets a new one, and has the axes drawn again, seldom.

    Raises
    ------
    ValueError
        If ``value`` is not finite.

    Examples
    --------
    >>> snap_up(37)
    50
    """
    if not math.isfinite(value):
        raise ValueError(f"snap_up needs a finite number, got {value}")
    decade = 10
    while True:
        for step in (1, 1.5, 2, 3, 5):
            if step * decade >= value:
                return step * decade
        decade *= 10


def range_to_show(
    present: tuple[float, float] | None, low: float, high: float
) -> tuple[float, float] | None:
    """Return None if numbers from ``low`` to ``high`` suit the present limits, else their range.

    Limits that seldom move while a slider does are drawn seldom, and are easier to follow. They
    stay as long as the numbers fit and fill a good part of them; where a drag leaves them, there
    is some room ahead.

    Examples
    --------
    >>> range_to_show((-4, 1), -2.2, 0.4)
    >>> range_to_show((-4, 1), -0.5, 0.4)
    (-0.5, 0.4)
    >>> range_to_show((-4, 1), -5.0, 1.0)
    (-6.5, 1.0)
    """
    if present is None:
        return low, high
    bottom, top = present
    if bottom <= low and high <= top:
        return None if high - low >= FILLED * (top - bottom) else (low, high)
    # A jump to another scale is not a drag: nobody knows where the next one leads.
    room = AHEAD * (high - low) if high - low < 2 * (top - bottom) else 0.0
    return low - room if low < bottom else low, high + room if high > top else high


class Panel:
    """One set of axes. The attribute ``axes`` is matplotlib's own.

    Artists are named by a key. Every ``style`` is passed to matplotlib when the artist is made;
    later calls change its data only. A key belongs to one kind of artist.
    """

    def __init__(self, axes: Axes) -> None:
        self.axes = axes
        # Set it where the axes were changed by matplotlib's own functions, to have them drawn anew.
        self.stale = True
        self._artists: dict[str, Artist] = {}
        self._kinds: dict[str, str] = {}
        self._ghosts: dict[str, Line2D] = {}
        self._grids: dict[str, tuple[Any, ...]] = {}
        self._bars: dict[str, Colorbar] = {}
        self._described: set[str] = set()
        self._applied: dict[str, Any] = {}
        self._steady: dict[str, tuple[float, float]] = {}

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
        shown = range_to_show(self._steady.get(axis), low, high)
        if shown is not None:
            self._steady[axis] = snap_decades(*shown)
        self.set(**{f"{axis}lim": self._steady[axis]})

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

    def heatmap(
        self,
        key: str,
        x: ArrayLike,
        y: ArrayLike,
        values: ArrayLike,
        limits: tuple[float, float],
        label: str = "",
        **style: Any,
    ) -> None:
        """Show numbers as coloured cells with a colour bar beside them, or change the numbers.

        Cells are drawn as a mesh: an image of the same numbers, which matplotlib resamples to
        pixels first, takes several times as long.

        Parameters
        ----------
        key
            Names the heatmap.
        x, y
            The middle of each column, shape (columns,), and of each row, shape (rows,); ascending.
        values
            Shape (rows, columns). Beyond the limits, inf included, a cell has the colour of the
            limit; NaN is grey.
        limits
            The numbers at the two ends of the colour bar.
        label
            Beside the colour bar.
        **style
            As for ``Axes.pcolormesh``.

        Raises
        ------
        ValueError
            If the shapes do not belong together.
        """
        x, y = (np.asarray(ends, np.float64) for ends in (x, y))
        cells = np.asarray(values, np.float64)
        if cells.shape != (y.size, x.size) or cells.size == 0:
            raise ValueError(
                f"heatmap {key!r} needs values of shape {(y.size, x.size)}, got {cells.shape}"
            )
        grid = (tuple(x), tuple(y))
        if self._grids.get(key, grid) != grid:
            self._remove_heatmap(key)
        self._grids[key] = grid
        mesh = self._artist(key, "heatmap", lambda: self._make_heatmap(key, x, y, label, style))
        mesh.set_array(np.ma.masked_invalid(np.clip(cells, *limits)))
        mesh.set_clim(*limits)

    def _make_heatmap(
        self, key: str, x: NDArray[Any], y: NDArray[Any], label: str, style: Mapping[str, Any]
    ) -> QuadMesh:
        colours = colormaps[style.get("cmap", "viridis")].with_extremes(bad="#BBBBBB")
        nothing = np.zeros((y.size, x.size))
        chosen = {"rasterized": True, **style, "cmap": colours}
        mesh = self.axes.pcolormesh(x, y, nothing, shading="nearest", **chosen)
        figure = cast("Figure", self.axes.figure)
        bar = figure.colorbar(mesh, ax=self.axes, label=label)
        self._bars[key] = bar
        return mesh

    def _remove_heatmap(self, key: str) -> None:
        self._bars.pop(key).remove()
        self._artists.pop(key).remove()

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
        """Hide what the new description left out, and fit limits that nobody set."""
        for key, artist in self._artists.items():
            if key not in self._described:
                artist.set_visible(False)
        free = [axis for axis in "xy" if f"{axis}lim" not in self._applied]
        if free:
            self._fit(free)

    def _fit(self, free: list[str]) -> None:
        """Let limits that nobody set follow what is visible."""
        self.axes.relim(visible_only=True)
        for artist in self._artists.values():
            if isinstance(artist, Collection) and artist.get_visible():
                box = artist.get_datalim(self.axes.transData)
                self.axes.update_datalim(box.get_points())
        for axis in free:
            data = self.axes.dataLim
            low, high = data.intervalx if axis == "x" else data.intervaly
            shown = range_to_show(self._steady.get(axis), low, high)
            if shown is None:
                continue
            corners = [(end, data.y0) if axis == "x" else (data.x0, end) for end in shown]
            self.axes.update_datalim(corners, updatex=axis == "x", updatey=axis == "y")
            self.axes.autoscale_view(scalex=axis == "x", scaley=axis == "y")
            self._steady[axis] = self.axes.get_xlim() if axis == "x" else self.axes.get_ylim()

    def forget_limits(self) -> None:
        """Let the next description choose its limits as if it were the first."""
        self._steady.clear()

    def limits(self) -> tuple[float, ...]:
        """Return the present limits of both axes."""
        return *self.axes.get_xlim(), *self.axes.get_ylim()

    def fixed(self) -> tuple[str, ...]:
        """Return what else the fixed parts depend on: properties, and names in the legend."""
        properties = [f"{k}={v!r}" for k, v in self._applied.items() if k not in ("xlim", "ylim")]
        colours = [f"{key}: {bar.mappable.get_clim()}" for key, bar in self._bars.items()]
        return (*properties, *colours, *(str(one.get_label()) for one in self.labelled()))

    def tick_length(self) -> int:
        """Return the number of letters of the longest label on the y axis."""
        axis = self.axes.yaxis
        labels = axis.get_major_formatter().format_ticks(list(axis.get_majorticklocs()))
        return max((len(label) for label in labels), default=0)

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
        artist.set_visible(True)
        self._described.add(key)
        return artist


def _in_legend(artist: Artist) -> bool:
    return not str(artist.get_label()).startswith("_") and artist.get_label() != ""


def _finite(values: ArrayLike) -> NDArray[np.float64]:
    array = np.asarray(values, dtype=np.float64).ravel()
    return np.where(np.isfinite(array), array, np.nan)


def _power_of_ten(exponent: float, _position: int | None = None) -> str:
    return f"$10^{{{exponent:g}}}$"
