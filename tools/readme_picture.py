"""Draw docs/live_figure.gif, the moving picture of the README, from lesson 01's live figure.

    python tools/readme_picture.py

Each frame is what the live figure shows at one position of its slider, with its line of words.
"""

from __future__ import annotations

import io
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from gradcourse.lessons.vanishing_and_exploding import draw_network, measure_network
from gradcourse.live import LiveFigure, live

TARGET = Path(__file__).resolve().parent.parent / "docs" / "live_figure.gif"
FONT = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
WORDS_HEIGHT = 56
FRAME_MS, LAST_MS = 220, 1600


def frame(figure: LiveFigure) -> Image.Image:
    """Return the picture with its line of words below."""
    picture = Image.open(io.BytesIO(figure.canvas.png())).convert("RGB")
    whole = Image.new("RGB", (picture.width, picture.height + WORDS_HEIGHT), "white")
    whole.paste(picture)
    font = ImageFont.truetype(str(FONT), 14)
    first, _, rest = figure.summary.partition("; ")
    ImageDraw.Draw(whole).multiline_text(
        (12, picture.height + 4), f"{first}\n{rest}", fill="black", font=font, spacing=6
    )
    return whole


def main() -> None:
    """Sweep the weight scale from vanishing to exploding."""
    figure = live(
        measure_network,
        draw_network,
        weight_scale=(0.1, 3.0, 0.05),
        panels=[["gradient", "weights"]],
        size=(840, 400),
        scale=1.0,
    )
    frames = []
    for scale in np.arange(0.5, 2.55, 0.1):
        figure.set(weight_scale=float(scale))
        frames.append(frame(figure))
    # One palette for all frames: a palette of its own for each would flicker.
    palette = frames[len(frames) // 2].quantize(64)
    flat = [picture.quantize(palette=palette, dither=Image.Dither.NONE) for picture in frames]
    flat += flat[-2:0:-1]
    durations = [FRAME_MS] * len(flat)
    durations[0] = durations[len(frames) - 1] = LAST_MS
    TARGET.parent.mkdir(exist_ok=True)
    flat[0].save(TARGET, save_all=True, append_images=flat[1:], duration=durations, loop=0)
    print(f"{TARGET.name}: {len(flat)} frames, {TARGET.stat().st_size // 1024} KiB")


if __name__ == "__main__":
    main()
