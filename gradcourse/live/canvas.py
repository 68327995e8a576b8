"""A matplotlib figure without a window: fixed parts drawn once, moving parts drawn over them."""

from __future__ import annotations

import textwrap
import warnings
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from gradcourse.live.encoder import Encoder
from gradcourse.live.panel import Panel
from gradcourse.live.style import styled

__all__ = ["Canvas", "sentence_png"]

DOTS_PER_INCH = 100
# Of the 3 points that layout leaves around labels, longer ones may take so much.
SPARE_POINTS = 2
# Fixed parts kept for when their limits come back, 3.4 MB each at the usual size.
BACKGROUNDS = 4


class Canvas:
    """A figure, its panels, and the fastest way from changed data to a PNG.

    Parameters
    ----------
    mosaic
        Names and places of the panels, as in ``Figure.subplot_mosaic``.
    size
        Width and height in CSS pixels.
    scale
        Pixels of the picture for one CSS pixel; 2 is sharp on a high-density display.
    """

    def __init__(
        self, mosaic: str | Sequence[Any], size: tuple[int, int] = (900, 420), scale: float = 1.5
    ) -> None:
        if not (len(size) == 2 and min(size) >= 50 and 0.1 <= scale <= 10):
            raise ValueError(
                f"size must be (width, height) of 50 pixels or more and scale between 0.1 and 10, "
                f"got {size} and {scale}"
            )
        self.size = size
        self.scale = scale
        with styled():
            self.figure = _blank(size, scale, layout="constrained")
            self._agg: Any = FigureCanvasAgg(self.figure)
            axes = self.figure.subplot_mosaic(mosaic)  # type: ignore[arg-type]
        if not axes:
            raise ValueError(f"panels must name at least one panel, got {mosaic!r}")
        self.panels = {str(name): Panel(ax) for name, ax in axes.items()}
        self._encoder = Encoder()
        self._backgrounds: OrderedDict[Any, Any] = OrderedDict()
        self._layout: Any = None
        self._margins: Any = None
        self._legend: Any = None
        self._as_if_first = False
        self.full_redraws = 0

    def describe(self, draw: Callable[[Any, Any], None], result: Any) -> None:
        """Let ``draw`` describe ``result`` on the panel, or on the dict of panels if several."""
        for panel in self.panels.values():
            panel.begin()
        draw(result, next(iter(self.panels.values())) if len(self.panels) == 1 else self.panels)
        for panel in self.panels.values():
            panel.end()

    def lines(self) -> dict[str, Any]:
        """Return the data of every visible line, by panel and key."""
        return {name: panel.lines() for name, panel in self.panels.items()}

    def haunt(self, lines: Mapping[str, Any]) -> None:
        """Show earlier lines, by panel and key, as grey ghosts; none where there are none."""
        for name, panel in self.panels.items():
            panel.haunt(lines.get(name, {}))

    def png(self) -> bytes:
        """Return the picture as PNG bytes, redrawing the fixed parts only if they changed."""
        self._agg.restore_region(self._background())
        for panel in self.panels.values():
            for artist in panel.moving():
                panel.axes.draw_artist(artist)
        return self._encoder.png(np.asarray(self._agg.buffer_rgba()))

    def forget_limits(self) -> None:
        """Let the next description choose limits, and places, as if it were the first."""
        for panel in self.panels.values():
            panel.forget_limits()
        self._as_if_first = True

    def _background(self) -> Any:
        other = False
        if self._as_if_first:
            self._as_if_first = False
            # How many ticks there are depends on the style too.
            with styled():
                other = not np.array_equal(self._margins, self._measure_margins())
        if other or any(panel.stale for panel in self.panels.values()):
            self._place_anew()
        key = tuple((panel.limits(), panel.fixed()) for panel in self.panels.values())
        if key not in self._backgrounds:
            with styled():
                self._draw_background()
            self._backgrounds[key] = self._agg.copy_from_bbox(self.figure.bbox)
            if len(self._backgrounds) > BACKGROUNDS:
                self._backgrounds.popitem(last=False)
        for panel in self.panels.values():
            if panel.axes.get_aspect() != "auto":
                # Where such axes stand depends on their limits.
                panel.axes.apply_aspect()
        self._backgrounds.move_to_end(key)
        return self._backgrounds[key]

    def _draw_background(self) -> None:
        """Draw the fixed parts; everything is placed anew only where it would not fit otherwise.

        Placing costs as much as drawing, and makes the axes jump.
        """
        fixed = [panel.fixed() for panel in self.panels.values()]
        spare = SPARE_POINTS / 72 * self.figure.dpi
        anew = fixed != self._layout or (self._measure_margins() > self._margins + spare).any()
        if anew:
            self._place_anew()
            self._draw_legend()
            self.figure.set_layout_engine("constrained")
            self._layout = fixed
        self._agg.draw()
        self.figure.set_layout_engine("none")
        if anew:
            self._margins = self._measure_margins()
            self._keep_legend()
        elif self._legend is not None:
            self._agg.restore_region(self._legend)
        for panel in self.panels.values():
            panel.stale = False
        self.full_redraws += 1

    def _measure_margins(self) -> NDArray[np.float64]:
        return np.array([panel.margins() for panel in self.panels.values()])

    def _place_anew(self) -> None:
        self._backgrounds.clear()
        self._layout = None

    def _draw_legend(self) -> None:
        for old in list(self.figure.legends):
            old.remove()
        entries: dict[str, Any] = {}
        for panel in self.panels.values():
            for artist in panel.labelled():
                entries.setdefault(str(artist.get_label()), artist)
        for columns in range(len(entries), 0, -1):
            legend = self.figure.legend(
                list(entries.values()),
                list(entries),
                loc="outside lower center",
                ncols=columns,
                columnspacing=1.4,
                handlelength=2.2,
            )
            # The legend copies the animated flag of what it stands for.
            for handle in legend.legend_handles:
                if handle is not None:
                    handle.set_animated(False)
            if columns == 1 or legend.get_window_extent().width < 0.98 * self.figure.bbox.width:
                return
            legend.remove()

    def _keep_legend(self) -> None:
        """Keep the pixels of the legend: it changes, and moves, only when all is placed anew."""
        self._legend = None
        for legend in self.figure.legends:
            around = legend.get_window_extent().padded(1)
            self._legend = self._agg.copy_from_bbox(around)
            legend.set_animated(True)

    def save(self, path: str | PathLike[str]) -> None:
        """Save the picture in the format of the file's ending (png, svg, pdf)."""
        with styled():
            self._draw_legend()
            self.figure.set_layout_engine("constrained")
            try:
                self.figure.savefig(path)
            finally:
                # Another renderer has placed everything its own way, even where the file could
                # not be written; the next picture places it again.
                self._place_anew()


def sentence_png(words: str, size: tuple[int, int], scale: float = 1.0) -> bytes:
    """Return a picture of the same size that says one sentence instead."""
    with styled(), warnings.catch_warnings():
        # A message may hold letters that the font has not; a box in their place will do.
        warnings.simplefilter("ignore")
        figure = _blank(size, scale)
        canvas: Any = FigureCanvasAgg(figure)
        figure.text(
            0.5,
            0.5,
            textwrap.fill(words, max(20, size[0] // 13)),
            ha="center",
            va="center",
            fontsize=15,
            color="#8A2B00",
            parse_math=False,
        )
        canvas.draw()
    return Encoder().png(np.asarray(canvas.buffer_rgba()))


def _blank(size: tuple[int, int], scale: float, **options: Any) -> Figure:
    width, height = (pixels / DOTS_PER_INCH for pixels in size)
    return Figure(figsize=(width, height), dpi=DOTS_PER_INCH * scale, **options)
