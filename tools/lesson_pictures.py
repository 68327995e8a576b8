"""Draw the README's picture of each lesson, docs/lessons/NN.webp, from the committed notebooks.

    python -m tools.lesson_pictures

A live figure's picture and its words are stored in the notebook; the most telling one of each
lesson is made small here, and its words become the alternative text in the README.
"""

from __future__ import annotations

import base64
import html
import io
import re
from collections.abc import Iterator
from pathlib import Path

import nbformat
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
README, PICTURES = ROOT / "README.md", ROOT / "docs" / "lessons"
WIDTH = 480
# Which of a lesson's live figures, counted from 0.
CHOSEN = {
    "00": 0,
    "01": 1,
    "02": 2,
    "03": 2,
    "04": 5,
    "05": 1,
    "06": 1,
    "07": 1,
    "08": 5,
    "09": 0,
    "10": 2,
    "11": 1,
    "12": 2,
    "13": 1,
}


def live_figures(notebook: Path) -> Iterator[tuple[Image.Image, str]]:
    """Yield the picture and the words of each live figure in an executed notebook."""
    for cell in nbformat.read(notebook, as_version=4).cells:
        for output in cell.get("outputs", []):
            picture = output.get("data", {}).get("image/png")
            if picture:
                image = Image.open(io.BytesIO(base64.b64decode(picture))).convert("RGB")
                yield image, output["metadata"]["image/png"]["alt"]


def chosen(number: str) -> tuple[Image.Image, str]:
    """Return the small picture of a lesson and its words."""
    (notebook,) = (ROOT / "notebooks").glob(f"{number}_*.ipynb")
    picture, words = list(live_figures(notebook))[CHOSEN[number]]
    height = round(picture.height * WIDTH / picture.width)
    return picture.resize((WIDTH, height), Image.Resampling.LANCZOS), words


def main() -> None:
    """Write the pictures, and their words into the README."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    text = README.read_text(encoding="utf-8")
    for number in CHOSEN:
        picture, words = chosen(number)
        picture.save(PICTURES / f"{number}.webp", lossless=True, method=6)
        alternative = html.escape(words).replace("|", "&#124;")
        pattern = rf'(<img src="docs/lessons/{number}\.webp"[^>]* alt=")[^"]*'
        text = re.sub(pattern, lambda found, to=alternative: found[1] + to, text)  # type: ignore[misc]
    README.write_text(text, encoding="utf-8")
    size = sum(path.stat().st_size for path in PICTURES.glob("*.webp"))
    print(f"{len(CHOSEN)} pictures, {size // 1024} KiB")


if __name__ == "__main__":
    main()
