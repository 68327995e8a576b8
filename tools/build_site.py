"""Build a static course: every lesson as a page whose live figures work without a kernel.

    python -m tools.build_site                    every lesson, into site/
    python -m tools.build_site 01_name -o folder  the named lessons

Each lesson is executed; each of its live figures is drawn at many settings beforehand, for at most
so many seconds. Nothing on the pages asks another host for anything: mathematics is MathML.
"""

from __future__ import annotations

import argparse
import html
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from string import Template
from typing import Any

import nbformat
from nbconvert.exporters import HTMLExporter
from pygments.formatters import HtmlFormatter

from gradcourse.lecture.markdown import to_html
from tools.build_notebooks import NOTEBOOKS, BuildError, execute, read_source

ROOT = NOTEBOOKS.parent
LIGHT, DARK = "xcode", "github-dark"
# The cell that installs the course where it is missing has nothing to say here.
INSTALLS = "# Installed or on Binder"

# Runs in the lesson's kernel before its first cell.
SHOW_AS_PAGES = """
def show_figures_as_pages(folder, lesson, pictures, seconds):
    import html, pathlib
    from gradcourse.live import LiveFigure

    made = []

    def as_page(figure):
        name = f"figures/{lesson}-{len(made)}.html"
        made.append(name)
        at_most = int(seconds / max(figure.seconds, 1e-3))
        figure.save(pathlib.Path(folder) / name, pictures=max(4, min(pictures, at_most)))
        title = html.escape(figure.summary, quote=True)
        return f'<iframe src="{name}" title="{title}"></iframe>'

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
    asked = json.dumps([str(site), source.stem, pictures, seconds])
    setup: dict[str, Any] = {
        "cell_type": "code",
        "id": "setup",
        "metadata": {},
        "source": f"{SHOW_AS_PAGES}\nshow_figures_as_pages(*{asked})",
        "execution_count": None,
        "outputs": [],
    }
    notebook["cells"].insert(0, setup)
    # Read once more, which puts the lines of each text together.
    executed = nbformat.reads(json.dumps(execute(notebook, NOTEBOOKS)), as_version=4)
    executed.cells = [cell for cell in executed.cells[1:] if not cell.source.startswith(INSTALLS)]
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


def page(title: str, body: str, links: str) -> str:
    """Return a whole page."""
    template = Template((ROOT / "tools/site/page.html").read_text(encoding="utf-8"))
    light, dark = (
        HtmlFormatter(style=style).get_style_defs(".highlight") for style in (LIGHT, DARK)
    )
    return template.substitute(
        title=html.escape(title), body=body, links=links, light=light, dark=dark
    )


def build(source: Path, site: Path, links: str, pictures: int, seconds: float) -> None:
    """Write the page of a lesson and those of its figures."""
    notebook = run(source, site, pictures, seconds)
    body, _ = Exporter().from_notebook_node(notebook)
    title = re.search(r"# (.*)", notebook.cells[0].source)
    text = page(f"{title[1]} · gradcourse" if title else source.stem, body, links)
    (site / f"{source.stem}.html").write_text(text, encoding="utf-8")


def index() -> str:
    """Return the front page's body: the README up to its commands."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    front = readme.partition("\n## Two commands")[0]
    # A moving picture would be a file of its own, and the lessons have better ones.
    return markdown(re.sub(r"!\[[^]]*\]\([^)]*\)", "", front))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    parser = argparse.ArgumentParser(description="Build a static course.")
    parser.add_argument("lessons", nargs="*", help="names such as 01_name; all unless given")
    parser.add_argument("-o", "--output", type=Path, default=ROOT / "site")
    parser.add_argument("--pictures", type=int, default=60, help="of each figure, at most")
    parser.add_argument("--seconds", type=float, default=30, help="for each figure, about")
    asked = parser.parse_args(arguments)
    sources = sorted((NOTEBOOKS / "source").glob("*.py"))
    names = {Path(name).stem for name in asked.lessons}
    unknown = sorted(names - {source.stem for source in sources})
    if unknown:
        known = ", ".join(source.stem for source in sources)
        print(f"there is no lesson {unknown[0]!r}; there are {known}", file=sys.stderr)
        return 2
    site: Path = asked.output.resolve()
    (site / "figures").mkdir(parents=True, exist_ok=True)
    links = " ".join(
        ['<a href="index.html">gradcourse</a>']
        + [f'<a href="{source.stem}.html">{source.stem[:2]}</a>' for source in sources]
    )
    (site / "index.html").write_text(page("gradcourse", index(), links), encoding="utf-8")
    failed = False
    for source in sources:
        if names and source.stem not in names:
            continue
        try:
            build(source, site, links, asked.pictures, asked.seconds)
            print(f"{source.stem}: built")
        except BuildError as error:
            print(f"{source.stem}: {error}", file=sys.stderr)
            failed = True
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
