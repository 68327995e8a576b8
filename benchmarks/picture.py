"""What a picture costs in the kernel: to draw it, to encode it, and a heatmap of it.

python -m benchmarks.picture               one thread, on lesson 01's main figure
python -m benchmarks.picture --scale 2     at twice the pixels, for a display of high density
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Callable, Mapping
from functools import partial
from statistics import median
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from numpy.typing import NDArray
from PIL import Image

from benchmarks.report import interleaved, machine, ratios, spread, table
from gradcourse.lessons import vanishing_and_exploding as lesson
from gradcourse.live import live
from gradcourse.live.canvas import Canvas
from gradcourse.live.encoder import Encoder

Pixels = NDArray[np.uint8]
# Where a drag of the weight scale takes the picture: none of these is like the one before.
SCALES = (0.7, 0.9, 1.1, 1.3, 1.5, 1.7)


def drawings(scale: float) -> dict[str, Callable[[], object]]:
    """Return ways to draw and encode lesson 01's main figure at a new setting."""
    results = [lesson.measure_network(50, weight_scale) for weight_scale in SCALES]
    canvases = {
        way: Canvas([["gradient", "weights"]], scale=scale) for way in ("ours", "all", "save")
    }
    turns = dict.fromkeys(canvases, 0)

    def describe(way: str) -> Canvas:
        turns[way] += 1
        canvases[way].describe(lesson.draw_network, results[turns[way] % len(results)])
        return canvases[way]

    def all_again() -> bytes:
        canvas = describe("all")
        for panel in canvas.panels.values():
            panel.stale = True
        return canvas.png()

    def savefig() -> bytes:
        buffer = io.BytesIO()
        describe("save").figure.savefig(buffer, format="png")
        return buffer.getvalue()

    return {
        "ours: fixed parts kept, a palette": lambda: describe("ours").png(),
        "the same, all drawn again": all_again,
        "figure.savefig, as the inline backend does": savefig,
    }


def encoders(rgba: Pixels) -> dict[str, Callable[[], bytes]]:
    """Return ways to turn pixels into bytes that a page can show."""

    def pillow(**options: Any) -> bytes:
        buffer = io.BytesIO()
        Image.fromarray(rgba[..., :3].copy()).save(buffer, **options)
        return buffer.getvalue()

    def quantised() -> bytes:
        buffer = io.BytesIO()
        picture = Image.fromarray(rgba[..., :3].copy())
        picture = picture.quantize(256, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
        picture.save(buffer, format="png", compress_level=1)
        return buffer.getvalue()

    encoder = Encoder()
    encoder.png(rgba)
    return {
        "PNG, palette kept (ours)": lambda: encoder.png(rgba),
        "PNG, palette by Pillow each time": quantised,
        "PNG, compression 1": partial(pillow, format="png", compress_level=1),
        "PNG, compression 6": partial(pillow, format="png", compress_level=6),
        "WebP, lossless": partial(pillow, format="webp", lossless=True, method=0, quality=0),
        "JPEG, quality 90": partial(pillow, format="jpeg", quality=90),
    }


def heatmaps(scale: float) -> dict[str, Callable[[], object]]:
    """Return ways to draw 64 x 32 new numbers over a picture."""
    random = np.random.default_rng(0)

    def numbers() -> NDArray[np.float64]:
        return random.standard_normal((64, 32))

    canvas = Canvas("A", scale=scale)
    panel = canvas.panels["A"]

    def ours() -> None:
        panel.heatmap("heat", np.arange(32), np.arange(64), numbers(), (-2, 2))
        panel.axes.draw_artist(panel.moving()[0])

    ways: dict[str, Callable[[], object]] = {"mesh (ours)": ours}
    for interpolation in ("nearest", "bilinear"):
        figure = Figure((9, 4.2), dpi=100 * scale)
        agg = FigureCanvasAgg(figure)
        axes = figure.subplots()
        image = axes.imshow(numbers(), aspect="auto", interpolation=interpolation, animated=True)
        agg.draw()  # type: ignore[no-untyped-call]

        def again(axes: Axes = axes, image: AxesImage = image) -> None:
            image.set_data(numbers())
            axes.draw_artist(image)

        ways[f"imshow, {interpolation}"] = again
    ours()
    canvas.png()
    return ways


def error(png: bytes, rgba: Pixels) -> int:
    """Return the largest difference of any channel of any pixel, of 255."""
    shown = np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)
    return int(np.abs(shown - rgba[..., :3]).max())


def show(
    title: str, ways: Mapping[str, Callable[[], object]], rounds: int, *more: list[str]
) -> None:
    """Measure ways in turns and print a table, with further columns if there are any."""
    times = interleaved(ways, rounds)
    first = next(iter(ways))
    compared = ratios(times, first)
    head = ["way", "median", "of ours (10 to 90 %)", *[column[0] for column in more]]
    rows = [
        [way, f"{median(times[way]) * 1e3:.2f} ms", spread(compared[way])]
        + [column[row + 1] for column in more]
        for row, way in enumerate(ways)
    ]
    print(f"\n{title}\n\n{table(head, rows)}")


def main() -> None:
    """Measure and print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--scale", type=float, default=1.5, help="pixels for one CSS pixel")
    chosen = parser.parse_args()
    print(machine(f"matplotlib {matplotlib.__version__}"))
    size = " x ".join(f"{length * chosen.scale:.0f}" for length in (900, 420))
    show(f"Lesson 01's main figure, {size} pixels", drawings(chosen.scale), chosen.rounds)
    figure = live(
        lesson.measure_network,
        lesson.draw_network,
        panels=[["gradient", "weights"]],
        scale=chosen.scale,
    )
    rgba = np.asarray(figure.canvas._agg.buffer_rgba()).copy()
    ways = encoders(rgba)
    pictures = [way() for way in ways.values()]
    sizes = ["size", *[f"{len(png) / 1e3:.0f} kB" for png in pictures]]
    errors = ["largest error of 255", *[str(error(png, rgba)) for png in pictures]]
    show("Encoding it", ways, chosen.rounds, sizes, errors)
    show("64 x 32 cells drawn over the fixed parts", heatmaps(chosen.scale), chosen.rounds)


if __name__ == "__main__":
    main()
