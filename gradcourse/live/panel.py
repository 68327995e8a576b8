"""One set of axes in a picture that is described again and again, and drawn with little work.

A lesson's ``draw(result, axes)`` describes the whole picture each time. The first description of
an artist makes it; later ones only move it. What a description leaves out is hidden.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar, cast

import numpy as np
from matplotlib import colormaps
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.cm import ScalarMappable
from matplotlib.collections import Collection, QuadMesh
from matplotlib.colorbar import Colorbar
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator
from numpy.typing import ArrayLike, NDArray

from gradcourse.live.limits import range_to_show, snap_decades
from gradcourse.live.style import GHOST, styled

__all__ = ["Panel"]

AnyArtist = TypeVar("AnyArtist", bound=Artist)


class Panel:
    """One set of axes. The attribute ``axes`` is matplotlib's own.

    Artists are named by a key. Every ``style`` is passed to matplotlib when the artist is made;
    later calls change its data and its ``label`` only. A key belongs to one kind of artist. Of
    artists at one ``zorder``, the one described last lies on top.
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
        # In the order of the description.
        self._described: dict[str, None] = {}
        self._applied: dict[str, Any] = {}
        self._steady: dict[str, tuple[float, float]] = {}

    def set(self, **properties: Any) -> None:
        """Set properties of the axes (``title``, ``xlabel``, ``xlim``, ...), as ``Axes.set``.

        A property stays until it is set again. Only one that changed costs a full redraw.
        """
        if all(
            name in self._applied and np.array_equal(self._applied[name], value)
            for name, value in properties.items()
        ):
            return
        for name in properties:
            # Forgotten first: what matplotlib refuses half-way must be set again next time.
            self._applied.pop(name, None)
        with styled():
            # All of them, because one may undo another: new ticks lose the labels of the old ones.
            self.axes.set(**properties)
        self._applied.update({name: _kept(value) for name, value in properties.items()})

    def decades(self, axis: str, low: float, high: float) -> None:
        """Show exponents from ``low`` to ``high`` as powers of ten on axis ``"x"`` or ``"y"``.

        The data are logarithms to base 10 on a linear axis, which is redrawn several times faster
        than a logarithmic one, and which can show what a float cannot hold.

        Raises
        ------
        ValueError
            If the axis is another one, an end is not finite, or the ends are not in order.
        """
        if axis not in ("x", "y"):
            raise ValueError(f"axis must be x or y, got {axis!r}")
        if self._applied.get(f"{axis}decades") is None:
            target = self._axis(axis)
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
            If the shapes differ, or the key belongs to another kind of artist.
        """
        x, y = _finite(x), _finite(y)
        if x.shape != y.shape:
            raise ValueError(f"line {key!r} needs as many x as y, got {x.size} and {y.size}")
        artist = self._artist(key, "line", style, lambda: self.axes.plot([], [], **style)[0])
        artist.set_data(x, y)
        if "marker" not in style:
            # A line through one point has no length, and would not be seen.
            alone = np.isfinite(x + y).sum() == 1
            artist.set_marker("o" if alone else "None")

    def band(self, key: str, x: ArrayLike, low: ArrayLike, high: ArrayLike, **style: Any) -> None:
        """Fill between two lines of shape (points,), or move the band.

        Raises
        ------
        ValueError
            If the shapes differ, or the key belongs to another kind of artist.
        """
        x, low, high = _finite(x), _finite(low), _finite(high)
        style = {"linewidth": 0, **style}
        artist = self._artist(key, "band", style, lambda: self.axes.fill_between([], [], **style))
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
            A single one has a cell of width 1.
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
            If the shapes do not belong together, the middles do not ascend, the limits are not
            finite and in order, or the key belongs to another kind of artist.
        """
        x, y = (np.asarray(ends, np.float64) for ends in (x, y))
        cells = np.asarray(values, np.float64)
        if cells.shape != (y.size, x.size) or cells.size == 0:
            raise ValueError(
                f"heatmap {key!r} needs values of shape {(y.size, x.size)}, got {cells.shape}"
            )
        low, high = limits
        if not -np.inf < low <= high < np.inf:
            raise ValueError(f"heatmap {key!r} needs finite limits low <= high, got {limits}")
        grid = (tuple(x), tuple(y))
        if key in self._grids and self._grids[key] != grid:
            self._artists.pop(key).remove()
        mesh = self._artist(key, "heatmap", {}, lambda: self._make_mesh(key, x, y, limits, style))
        self._grids[key] = grid
        mesh.set_array(np.clip(cells, low, high))
        bar = self._bars[key]
        if bar.mappable.get_clim() != (low, high):
            with styled():
                bar.mappable.set_clim(low, high)
        bar.set_label(label)

    def _make_mesh(
        self,
        key: str,
        x: NDArray[np.float64],
        y: NDArray[np.float64],
        limits: tuple[float, float],
        style: Mapping[str, Any],
    ) -> QuadMesh:
        """Make a mesh of empty cells, and the colour bar if there is none yet."""
        edges = _edges(key, x), _edges(key, y)
        if key not in self._bars:
            colours = colormaps.get_cmap(style.get("cmap", "viridis")).with_extremes(bad="#BBBBBB")
            # The bar has colours of its own: it outlives the mesh when rows or columns change.
            scale = ScalarMappable(style.get("norm"), colours)
            scale.set_clim(*limits)
            figure = cast("Figure", self.axes.figure)
            alpha = style.get("alpha")
            self._bars[key] = figure.colorbar(scale, ax=self.axes, alpha=alpha)
        scale = self._bars[key].mappable
        chosen = {"rasterized": True, **style, "norm": scale.norm, "cmap": scale.cmap}
        return self.axes.pcolormesh(*edges, np.zeros((y.size, x.size)), **chosen)

    def _remove_heatmap(self, key: str) -> None:
        del self._grids[key]
        self._bars.pop(key).remove()
        self._artists.pop(key).remove()

    def vline(self, key: str, x: float, **style: Any) -> None:
        """Draw a vertical line across the panel, or move it.

        Raises
        ------
        ValueError
            If the key belongs to another kind of artist.
        """
        artist = self._artist(key, "vline", style, lambda: self.axes.axvline(**style))
        artist.set_xdata([x, x])

    def hline(self, key: str, y: float, **style: Any) -> None:
        """Draw a horizontal line across the panel, or move it.

        Raises
        ------
        ValueError
            If the key belongs to another kind of artist.
        """
        artist = self._artist(key, "hline", style, lambda: self.axes.axhline(**style))
        artist.set_ydata([y, y])

    def mark(self, key: str, x: float, y: float, label: str) -> None:
        """Mark one point with a star above everything else, or move the star.

        Raises
        ------
        ValueError
            If the key belongs to another kind of artist.
        """
        style = {"color": "black", "marker": "*", "ms": 16, "ls": "", "zorder": 5}
        self.line(key, [x], [y], clip_on=False, label=label, **style)

    def text(self, key: str, x: float, y: float, words: str, **style: Any) -> None:
        """Write words at a point in data coordinates, or move and change them.

        Raises
        ------
        ValueError
            If the key belongs to another kind of artist.
        """
        artist = self._artist(key, "text", style, lambda: self.axes.text(x, y, words, **style))
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

        Raises
        ------
        ValueError
            If ``place`` is none of these.
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
            bbox={"boxstyle": "round,pad=0.2", "fc": "white", "ec": "none", "alpha": 0.8},
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
        for key in self._artists.keys() - self._described.keys():
            if key in self._bars:
                self._remove_heatmap(key)
            else:
                self._artists[key].set_visible(False)
        free = [axis for axis in "xy" if getattr(self.axes, f"get_autoscale{axis}_on")()]
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
            target = self._axis(axis)
            bounds = getattr(self.axes, f"get_{axis}bound")
            # A share of the limits means little on a logarithmic axis, so there they do not stay.
            present = self._steady.get(axis) if target.get_scale() == "linear" else None
            shown = range_to_show(present, *target.get_data_interval())
            if shown is not None:
                data = self.axes.dataLim
                corners = [(end, data.y0) if axis == "x" else (data.x0, end) for end in shown]
                self.axes.update_datalim(corners, updatex=axis == "x", updatey=axis == "y")
                with styled():
                    self.axes.autoscale_view(scalex=axis == "x", scaley=axis == "y")
                self._steady[axis] = bounds()
            elif bounds() != present:
                # An artist that was made just now has had matplotlib choose limits by itself.
                getattr(self.axes, f"set_{axis}bound")(present)

    def forget_limits(self) -> None:
        """Let the next description choose its limits as if it were the first."""
        self._steady.clear()

    def limits(self) -> tuple[float, ...]:
        """Return the present limits of both axes."""
        return *self.axes.get_xlim(), *self.axes.get_ylim()

    def fixed(self) -> tuple[str, ...]:
        """Return what else the fixed parts depend on: properties, colour bars and the legend."""
        properties = [f"{k}={v!r}" for k, v in self._applied.items() if k not in ("xlim", "ylim")]
        bars = [
            f"{key}: {bar.ax.get_ylabel()} {bar.mappable.get_clim()}"
            for key, bar in self._bars.items()
        ]
        legend = [f"{key}: {one.get_label()} {_marker(one)}" for key, one in self._labelled()]
        return (*properties, *bars, *legend)

    def margins(self) -> NDArray[np.float64]:
        """Return how far labels reach beyond the axes: left, below, right and above, in pixels."""
        # Axes that are invisible have no labels either.
        around = self.axes.get_tightbbox(for_layout_only=True) or self.axes.bbox
        outwards = np.array([[-1.0], [1.0]])
        return np.ravel(outwards * (around.get_points() - self.axes.bbox.get_points()))

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
        ghosts = [ghost for ghost in self._ghosts.values() if ghost.get_visible()]
        return sorted(
            [*ghosts, *(self._artists[key] for key in self._described)], key=Artist.get_zorder
        )

    def labelled(self) -> list[Artist]:
        """Return the visible artists that want a line in the legend."""
        return [artist for _, artist in self._labelled()]

    def _labelled(self) -> list[tuple[str, Artist]]:
        described = [(key, self._artists[key]) for key in self._described]
        return [(key, artist) for key, artist in described if _in_legend(artist)]

    def _axis(self, axis: str) -> Axis:
        return {"x": self.axes.xaxis, "y": self.axes.yaxis}[axis]

    def _artist(
        self, key: str, kind: str, style: Mapping[str, Any], make: Callable[[], AnyArtist]
    ) -> AnyArtist:
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
            # Nor do the axes make room for what moves: they would jump.
            artist.set_in_layout(False)
            self._artists[key] = artist
        artist.set_visible(True)
        if "label" in style:
            artist.set_label(style["label"])
        self._described[key] = None
        return artist


def _in_legend(artist: Artist) -> bool:
    return not str(artist.get_label()).startswith("_") and artist.get_label() != ""


def _marker(artist: Artist) -> object:
    return artist.get_marker() if isinstance(artist, Line2D) else None


def _kept(value: Any) -> Any:
    """Return what later changes in place do not reach, and what repr shows in full."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    return list(value) if isinstance(value, list) else value


def _edges(key: str, middles: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return where cells begin and end, half-way between their middles; shape (cells + 1,)."""
    if middles.size == 1:
        return np.array([middles[0] - 0.5, middles[0] + 0.5])
    steps = np.diff(middles)
    if not (steps > 0).all():
        raise ValueError(f"heatmap {key!r} needs x and y that ascend, got {middles}")
    half = np.concatenate([steps[:1], steps, steps[-1:]]) / 2
    return np.append(middles[0] - half[0], middles + half[1:])


def _finite(values: ArrayLike) -> NDArray[np.float64]:
    array = np.asarray(values, dtype=np.float64).ravel()
    return np.where(np.isfinite(array), array, np.nan)


def _power_of_ten(exponent: float, _position: int | None = None) -> str:
    return f"$10^{{{exponent:g}}}$"
