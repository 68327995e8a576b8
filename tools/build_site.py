"""Build a static course: every lesson as a page whose live figures work without a kernel.

    python -m tools.build_site                    every lesson and the library's pages, into site/
    python -m tools.build_site 01_name -o folder  the named lessons
    python -m tools.build_site api                the library's pages, in seconds

Each lesson is executed; each of its live figures is drawn at many settings beforehand, for at most
so many seconds. Nothing on the pages asks another host for anything: mathematics is MathML.
"""

from __future__ import annotations

import argparse
import html
import json
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from string import Template
from typing import Any

import nbformat
from bs4 import BeautifulSoup
from nbconvert.exporters import HTMLExporter
from pygments.formatters import HtmlFormatter

from gradcourse.lecture.markdown import CODE_STYLES, to_html
from tools.api_pages import build_api
from tools.build_notebooks import NOTEBOOKS, BuildError, execute, read_source

ROOT = NOTEBOOKS.parent
SITE = ROOT / "tools" / "site"
SOURCES = sorted((NOTEBOOKS / "source").glob("*.py"))
# A cell draws all pictures of a figure.
CELL_TIMEOUT = 3600
# The cell that installs the course where it is missing has nothing to say here.
INSTALLS = 'find_spec("gradcourse") is None'

# What a page offers whose point is no matter of its first controls; of a choice None means all.
CHOSEN: dict[str, dict[str, list[float] | None]] = {
    "12_gans_and_policies-2": {"remedy": None, "generator_rate": [0.03, 0.3, 1, 3]},
    "13_the_clinic-0": {"case": None, "cure": None},
}

# Runs in the lesson's kernel before its first cell.
SHOW_AS_PAGES = """
def show_figures_as_pages(folder, lesson, pictures, seconds, chosen):
    import html, pathlib
    from gradcourse.live import LiveFigure

    made = []

    def as_page(figure):
        stem = f"{lesson}-{len(made)}"
        name = f"figures/{stem}.html"
        made.append(name)
        if stem in chosen:
            figure.save(
                pathlib.Path(folder) / name,
                **{one: values or figure.positions(one) for one, values in chosen[stem].items()},
            )
        else:
            figure.save(pathlib.Path(folder) / name, pictures=pictures, seconds=seconds)
        title = html.escape(figure.summary, quote=True)
        height = figure.canvas.size[1] + 240
        return (
            f'<iframe src="{name}" title="{title}" loading="lazy" style="height:{height}px">'
            "</iframe>"
        )

    formatters = get_ipython().display_formatter.formatters
    formatters["text/html"].for_type(LiveFigure, as_page)
"""


class Exporter(HTMLExporter):
    """A notebook's cells as HTML, without a page around them."""

    def __init__(self) -> None:
        super().__init__(template_name="basic")  # type: ignore[no-untyped-call]
        self.exclude_input_prompt = self.exclude_output_prompt = True

    def default_filters(self) -> Any:
        """Yield the filters that a template may use, the course's Markdown among them."""
        yield from super().default_filters()  # type: ignore[no-untyped-call]
        yield "markdown2html", markdown


def markdown(source: str) -> str:
    """Return the HTML of Markdown with mathematics."""
    # Links between lessons lead to pages here.
    return re.sub(r'href="(?:notebooks/)?(\d\d_\w+)\.ipynb', r'href="\1.html', to_html(source))


def run(source: Path, site: Path, pictures: int, seconds: float) -> Any:
    """Execute a lesson whose live figures become pages, and return it."""
    notebook = read_source(source)
    asked = json.dumps([str(site), source.stem, pictures, seconds, CHOSEN])
    setup: dict[str, Any] = {
        "cell_type": "code",
        "id": "setup",
        "metadata": {},
        "source": f"{SHOW_AS_PAGES}\nimport json\nshow_figures_as_pages(*json.loads({asked!r}))",
        "execution_count": None,
        "outputs": [],
    }
    notebook["cells"].insert(0, setup)
    # Read once more, which puts the lines of each text together.
    executed = nbformat.reads(json.dumps(execute(notebook, NOTEBOOKS, CELL_TIMEOUT)), as_version=4)
    executed.cells = [cell for cell in executed.cells[1:] if INSTALLS not in cell.source]
    for cell in executed.cells:
        outputs = cell.get("outputs", [])
        if any("<iframe" in one.get("data", {}).get("text/html", "") for one in outputs):
            # What a figure's page says itself: its words, and how many pictures it has.
            cell["outputs"] = [
                one
                for one in outputs
                if "text/html" in one.get("data", {}) or one["output_type"] == "stream"
            ]
            for one in cell["outputs"]:
                if one["output_type"] == "stream":
                    lines = one["text"].splitlines(keepends=True)
                    one["text"] = "".join(line for line in lines if not line.startswith("drawing "))
    return executed


def look(code: str) -> str:
    """Return the style of a page whose code stands in elements of this class."""
    light, dark = (HtmlFormatter(style=style).get_style_defs(code) for style in CODE_STYLES)
    house = (SITE / "house.css").read_text(encoding="utf-8")
    return f"{house}{light}\n@media (prefers-color-scheme: dark) {{ {dark} }}"


def links(here: str, folders: int = 0) -> str:
    """Return the navigation of a page so many folders below the front page."""
    up = "../" * folders
    pages = [("index", "gradcourse", "")]
    pages += [(one.stem, one.stem[:2], one.stem[3:].replace("_", " ")) for one in SOURCES]
    pages.append(("api/index", "library", ""))
    return " ".join(
        f'<a href="{up}{name}.html"{_titled(title)}{_current(name == here)}>{shown}</a>'
        for name, shown, title in pages
    )


def _titled(title: str) -> str:
    return f' title="{title}"' if title else ""


def _current(current: bool) -> str:
    return ' aria-current="page"' if current else ""


def page(name: str, title: str, body: str) -> str:
    """Return a whole page."""
    template = Template((SITE / "page.html").read_text(encoding="utf-8"))
    return template.substitute(
        title=html.escape(title), body=body, links=links(name), look=look(".highlight")
    )


def build(source: Path, site: Path, pictures: int, seconds: float) -> str:
    """Write the page of a lesson and those of its figures, all or none; say how large they are."""
    with tempfile.TemporaryDirectory(dir=site, prefix=".building-") as folder:
        made = Path(folder)
        (made / "figures").mkdir()
        notebook = run(source, made, pictures, seconds)
        body, _ = Exporter().from_notebook_node(notebook)
        first = re.search(r"# (.*)", notebook.cells[0].source)
        title = f"{first[1]} · gradcourse" if first else source.stem
        text = page(source.stem, title, readable(body))
        (made / f"{source.stem}.html").write_text(text, encoding="utf-8")
        for old in (site / "figures").glob(f"{source.stem}-*.html"):
            old.unlink()
        figures = sorted((made / "figures").iterdir())
        for figure in figures:
            figure.replace(site / "figures" / figure.name)
        (made / f"{source.stem}.html").replace(site / f"{source.stem}.html")
    written = [site / "figures" / figure.name for figure in figures]
    size = sum(path.stat().st_size for path in [*written, site / f"{source.stem}.html"])
    return f"{len(figures)} figures, {size / 1e6:.1f} MB"


def readable(body: str) -> str:
    """Return a lesson's HTML whose wide code a keyboard can scroll."""
    return body.replace("<pre>", '<pre tabindex="0">')


def front(site: Path) -> str:
    """Return the front page's body, and copy its pictures: the README's first words and lessons."""
    sections = re.split(r"(?m)^(?=## )", (ROOT / "README.md").read_text(encoding="utf-8"))
    lessons = next(one for one in sections[1:] if f"{SOURCES[0].stem}.ipynb" in one)
    about = (SITE / "about.md").read_text(encoding="utf-8")
    soup = BeautifulSoup(to_html(f"{sections[0]}\n{lessons}\n{about}"), "html.parser")
    for image in soup("img"):
        picture = ROOT / str(image["src"])
        # A moving picture cannot be stopped, and the lessons have ones that the reader moves.
        if picture.is_file() and picture.suffix != ".gif":
            (site / "pictures").mkdir(exist_ok=True)
            shutil.copy(picture, site / "pictures")
            image["src"] = f"pictures/{picture.name}"
            image["loading"] = "lazy"
        else:
            image.replace_with("")
    for link in soup("a"):
        address = re.sub(r"^notebooks/(\w+)\.ipynb$", r"\1.html", str(link.get("href", "")))
        link["href"] = address
        shown = link.find("img")
        if not link.get_text(strip=True) and not shown:
            link.decompose()
        elif shown and not (link.get_text(strip=True) or shown.get("alt")):
            # The same link stands beside it, in words.
            link.attrs |= {"aria-hidden": "true", "tabindex": "-1"}
        elif not re.match(r"https?:|#|\d\d_\w+\.html|api/", address):
            # The repository's other files have no pages.
            link.unwrap()
    for empty in soup("p"):
        if not empty.get_text(strip=True) and not empty.find("img"):
            empty.decompose()
    return str(soup)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    parser = argparse.ArgumentParser(description="Build a static course.")
    parser.add_argument("parts", nargs="*", help="lessons such as 01_name, api; all unless given")
    parser.add_argument("-o", "--output", type=Path, default=ROOT / "site")
    parser.add_argument("--pictures", type=int, default=80, help="of each figure, at most")
    parser.add_argument("--seconds", type=float, default=60, help="for each figure, about")
    asked = parser.parse_args(arguments)
    parts = [*(source.stem for source in SOURCES), "api"]
    names = [Path(name).stem for name in asked.parts] or parts
    unknown = sorted(set(names) - set(parts))
    if unknown:
        print(f"there is no part {unknown[0]!r}; there are {', '.join(parts)}", file=sys.stderr)
        return 2
    site: Path = asked.output.resolve()
    (site / "figures").mkdir(parents=True, exist_ok=True)
    # Or a host of pages leaves out what begins with a line below.
    (site / ".nojekyll").touch()
    (site / "index.html").write_text(page("index", "gradcourse", front(site)), encoding="utf-8")
    failed = False
    for name in parts:
        if name not in names:
            continue
        started = time.monotonic()
        try:
            if name == "api":
                build_api(site / "api", partial(links, "api/index"), look(".pdoc-code"))
                done = "built"
            else:
                source = NOTEBOOKS / "source" / f"{name}.py"
                done = build(source, site, asked.pictures, asked.seconds)
            print(f"{name}: {done}, {time.monotonic() - started:.0f} s", flush=True)
        except BuildError as error:
            print(f"{name}: {error}", file=sys.stderr)
            failed = True
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
