"""The slides of a lecture, made by rule from the shape that all lessons share.

The first slide asks the lesson's question. Each section gives its text and its claims, packed into
slides, and a slide of its own to each live figure, with the prediction that it asks for. What the
lesson says on how to read the figure is kept beside it, folded, and so is the code. The end is what
to remember. Exercise, hearsay, references and whatever the notebook folds stay in the notebook.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gradcourse.lecture.needed import calls, needed_cells

__all__ = ["Claim", "Lecture", "Slide", "make_lecture"]

LEFT_OUT = ("Heard and measured", "Exercise", "References")
# A claim's measurement stands behind it or, where it is long, on the next line.
CLAIM = re.compile(r"^✓ (.+?)(?:(?:  |\n  )\[(measured .*)\])?$", re.MULTILINE)
# What is true or false was measured as 1 or 0.
YES = re.compile(r"^measured 1; expected 1(?:; |$)")
FOLDED = re.compile(r"<details>.*?</details>", re.DOTALL)
# In a lecture nobody writes a number into a cell, sees what it printed, or looks for a star.
FOR_READERS = re.compile(
    r"^\(?Write\b|becomes a star|\b(?:next|the) cell\b|just printed|^(?:The|Your) star "
)
A_STAR = re.compile(r"\s*\(A star[^)]*\)")
SENTENCE_END = re.compile(r"(?<=[.?!)])\s+(?=[A-Z(`*])")
LINK_TO_LESSON = re.compile(r"\[([^]]+)\]\([^)]*\.ipynb\)")
# A block ends at an empty line, except inside of a formula or of code on lines of their own.
BLOCK = re.compile(r"(?:\$\$.*?\$\$|```.*?```|.+?)+?(?=\n\s*\n|\Z)", re.DOTALL)

# What a slide of 1280 by 720 pixels holds, in lines of text and in characters of one line.
LINES = 14.5
CHARACTERS = 88
IN_A_LIST = 78
# What may stand above a figure, in lines: the prediction, and a text before it if it is short.
ABOVE = 4.2


@dataclass
class Claim:
    """A statement that the lesson measured, in its words, and what was measured and expected."""

    statement: str
    measured: str


@dataclass
class Slide:
    """One screen.

    Attributes
    ----------
    heading
        The heading of the lesson's section, or the lesson's title.
    text
        Markdown: a piece of the section.
    claims
        Statements that the lesson measured.
    figure
        The place of the live figure's cell among the cells that run, or None.
    predict
        Markdown: what the audience predicts before the figure moves, and an introduction if it is
        short.
    words
        Markdown, folded: what the lesson says beside the figure.
    code
        Folded: the code of the cells that belong here.
    picture
        The figure as the notebook was saved with it, a PNG in base64, for the time until it lives.
    said
        What that picture says, in words.
    """

    heading: str
    text: str = ""
    claims: list[Claim] = field(default_factory=list)
    figure: int | None = None
    predict: str = ""
    words: str = ""
    code: str = ""
    picture: str = ""
    said: str = ""


@dataclass
class Lecture:
    """The slides of a lesson, and the code that brings its figures to life.

    Attributes
    ----------
    title
        The lesson's title.
    slides
        In the order of the lesson.
    cells
        The code that runs: the figures' cells and those that they need.
    """

    title: str
    slides: list[Slide]
    cells: list[str]


def make_lecture(notebook: Mapping[str, Any]) -> Lecture:
    """Return the lecture of a lesson.

    Parameters
    ----------
    notebook
        The lesson's executed notebook, in format 4.

    Raises
    ------
    ValueError
        If the notebook has no title, or no live figure.
    """
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    sources = [cell["source"] for cell in code]
    figures = [place for place, source in enumerate(sources) if calls(source, "live")]
    if not figures:
        raise ValueError("it has no live figure")
    needed = needed_cells(sources, figures)
    slides = list(_Slides(notebook, {id(code[place]): needed.index(place) for place in figures}))
    if not slides or not slides[0].heading:
        raise ValueError("its first cell has no title")
    return Lecture(slides[0].heading, slides, [sources[place] for place in needed])


class _Slides:
    """Goes through a notebook from its first cell to its last and yields slides."""

    def __init__(self, notebook: Mapping[str, Any], figures: Mapping[int, int]) -> None:
        self._cells = notebook["cells"]
        self._figures = figures
        self._heading = ""
        self._headings = 0
        self._items: list[str | Claim] = []
        self._code: list[str] = []

    def __iter__(self) -> Iterator[Slide]:
        for cell in self._cells:
            if cell["cell_type"] == "markdown":
                for heading, text in _sections(cell["source"]):
                    if heading:
                        asked = self._asked_at_the_end()
                        yield from self._pack()
                        self._heading, self._items = heading, [*asked]
                        self._headings += 1
                    self._items += _blocks(text)
            elif self._headings > 1 and self._heading not in LEFT_OUT:
                # Above the first section stand the cells that install and import.
                self._code.append(cell["source"])
                if id(cell) in self._figures:
                    yield from self._figure(cell)
                else:
                    self._items += _claims(cell)
        yield from self._pack()

    def _figure(self, cell: Mapping[str, Any]) -> Iterator[Slide]:
        asks = [place for place, item in enumerate(self._items) if _asks(item)]
        predict, words = "", ""
        if asks:
            block, *after = self._items[asks[-1] :]
            predict, then = _question(str(block))
            words = "\n\n".join([then, *_texts(after)]).strip()
            self._items[asks[-1] :] = [item for item in after if isinstance(item, Claim)]
        text = _texts(self._items)
        if len(text) == len(self._items) and sum(map(_lines, [*text, predict])) <= ABOVE:
            predict = "\n\n".join([*text, predict])
            self._items = []
        # What ran before belongs to the text that announced it, if that has a slide.
        before = len(self._code) - 1 if self._items else 0
        self._code, code = self._code[:before], self._code[before:]
        yield from self._pack()
        picture, said = _saved(cell)
        yield Slide(
            self._heading,
            figure=self._figures[id(cell)],
            predict=predict,
            words=words,
            code="\n\n".join(code),
            picture=picture,
            said=said,
        )
        self._items += _claims(cell)

    def _asked_at_the_end(self) -> list[str]:
        """Take a prediction that ends a section away: the figure that shows it comes next."""
        ends = self._items and _asks(self._items[-1])
        return [str(self._items.pop())] if ends else []

    def _pack(self) -> Iterator[Slide]:
        """Yield the text and the claims that wait, in as few slides as hold them."""
        items, code = _kept_together(self._items), self._code
        self._items, self._code = [], []
        if self._heading in LEFT_OUT or not items:
            return
        packed = _packed(items)
        for place, held in enumerate(packed):
            yield Slide(
                self._heading,
                text="".join(f"{one}\n\n" for one in _texts(held)),
                claims=[one for one in held if isinstance(one, Claim)],
                code="\n\n".join(code) if place == len(packed) - 1 else "",
            )


def _sections(source: str) -> Iterator[tuple[str, str]]:
    """Yield the parts of a text cell, each with its heading; the first may have none."""
    parts = re.split(r"^##? (.+)$", FOLDED.sub("", source), flags=re.MULTILINE)
    yield "", parts[0]
    yield from zip(parts[1::2], parts[2::2], strict=True)


def _blocks(text: str) -> list[str]:
    text = LINK_TO_LESSON.sub(r"\1", text)
    return [block.strip("\n") for block in BLOCK.findall(text) if block.strip()]


def _question(block: str) -> tuple[str, str]:
    """Return what a prediction asks for, and what it says on moving the figure afterwards."""
    asks, *others = SENTENCE_END.split(A_STAR.sub("", block))
    others = [one for one in others if not FOR_READERS.search(one)]
    then = [place for place, one in enumerate(others) if one.startswith("Then ")]
    end = then[0] if then else len(others)
    return " ".join([asks, *others[:end]]), " ".join(others[end:])


def _claims(cell: Mapping[str, Any]) -> list[Claim]:
    printed = "".join(one["text"] for one in cell["outputs"] if one["output_type"] == "stream")
    return [Claim(said, YES.sub("", measured)) for said, measured in CLAIM.findall(printed)]


def _saved(cell: Mapping[str, Any]) -> tuple[str, str]:
    for output in cell["outputs"]:
        picture = output.get("data", {}).get("image/png")
        if picture:
            return picture, output["metadata"].get("image/png", {}).get("alt", "")
    return "", ""


def _asks(item: str | Claim) -> bool:
    return isinstance(item, str) and "**Predict" in item


def _texts(items: Sequence[str | Claim]) -> list[str]:
    return [item for item in items if isinstance(item, str)]


def _kept_together(items: Sequence[str | Claim]) -> list[str | Claim]:
    """Join what a slide's end must not part: formulas from their text, headings from theirs."""
    joined: list[str | Claim] = []
    for item in items:
        before = joined[-1] if joined else ""
        if isinstance(item, str) and isinstance(before, str):
            announces = before.endswith((":", ",")) or before.rpartition("\n")[2].startswith("#")
            belongs = announces or (before and item.startswith("$$"))
            if belongs and _lines(before) + _lines(item) <= LINES:
                joined[-1] = f"{before}\n\n{item}"
                continue
        joined.append(item)
    return joined


def _packed(items: Sequence[str | Claim]) -> list[list[str | Claim]]:
    """Put items into as few slides as hold them, as evenly filled as so few allow."""
    fewest, room = _filled(items, LINES), LINES
    while room > 1 and len(filled := _filled(items, room - 0.5)) == len(fewest):
        fewest, room = filled, room - 0.5
    return fewest


def _filled(items: Sequence[str | Claim], room: float) -> list[list[str | Claim]]:
    slides: list[list[str | Claim]] = []
    left = 0.0
    for item in items:
        lines = _lines(item)
        # On a slide, claims stand below the text that they belong to.
        after_claims = slides and isinstance(item, str) and isinstance(slides[-1][-1], Claim)
        if not slides or lines > left or after_claims:
            slides.append([])
            left = room
        slides[-1].append(item)
        left -= lines
    return slides


def _lines(block: str | Claim) -> float:
    """Return about how many lines of text a block is as high as."""
    if isinstance(block, Claim):
        # The measurement is in smaller type.
        characters = len(block.statement) + 0.86 * len(block.measured)
        return 1.2 * (1 + int(characters) // (CHARACTERS - 1))
    if len(parts := _blocks(block)) > 1:
        return sum(map(_lines, parts))
    if block.startswith("|"):
        return 1.15 * (block.count("\n") + 1)
    gap = 0.5
    if block.startswith("$$"):
        return gap + 1.5 + 1.5 * block.count("\\\\")
    if re.match(r"[-*\d]", block):
        items = re.split(r"\n(?=[-*] |\d+\. )", block)
        return gap + sum(1 + len(item) // IN_A_LIST for item in items)
    return gap + 1 + len(block) // CHARACTERS
