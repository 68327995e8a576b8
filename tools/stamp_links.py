"""Write the repository's address where a reader needs it, from one place: pyproject.toml.

    python -m tools.stamp_links           write
    python -m tools.stamp_links --check   compare

``[project.urls] Repository`` decides the badges of the README, the address in CITATION.cff, and in
each lesson the link to Colab and the cell that installs the course. Without an address there is no
badge and no link, and that cell says so. Nothing is executed: only the text of cells changes.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tools.build_notebooks import BuildError, differences, read_source, serialise

ROOT = Path(__file__).resolve().parent.parent
# Colab opens a lesson from this branch, and the lesson installs the library from it: the two were
# committed together. A tag would be as good, but no link would work until somebody has set it.
BRANCH = "main"
FIRST_LESSON = "00_start_here"
ADDRESS = re.compile(r"https://github\.com/([A-Za-z0-9][A-Za-z0-9-]*)/([A-Za-z0-9._-]+)")
BEGIN = "<!-- links: python -m tools.stamp_links writes this from pyproject.toml -->\n"
END = "<!-- /links -->\n"
CITED = "repository-code: "
OPEN = "# [Open this lesson in Colab]("

INSTALL = """\
# %%
# Installed or on Binder, this cell does nothing. On Colab it installs the course, once.
import importlib.util
import pathlib
import subprocess
import sys

if importlib.util.find_spec("gradcourse") is None:
"""
WITH_ADDRESS = """\
    address = "{archive}"
    course = next(pathlib.Path().glob("gradcourse-*.whl"), address)
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", course]
    done = subprocess.run(pip, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"The course could not be installed; pip says: {{done.stderr}}")
"""
WITHOUT_ADDRESS = """\
    wheel = next(pathlib.Path().glob("gradcourse-*.whl"), None)
    if wheel is None:
        lack = "This copy of the course has no address to install from."
        raise RuntimeError(f"{lack} Put gradcourse-*.whl beside this notebook and run again.")
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", "--no-deps", wheel], check=True)
"""


class StampError(Exception):
    """Something that cannot be stamped, told in one sentence."""


@dataclass(frozen=True)
class Address:
    """A repository on GitHub, the one host that both Binder and Colab open a repository from."""

    owner: str
    name: str

    @property
    def page(self) -> str:
        """The address of its front page."""
        return f"https://github.com/{self.owner}/{self.name}"

    @property
    def archive(self) -> str:
        """What pip installs: one file, without the history."""
        return f"{self.page}/archive/refs/heads/{BRANCH}.zip"

    @property
    def binder(self) -> str:
        """Where Binder opens the course at its first lesson."""
        opens = f"HEAD?urlpath=lab/tree/notebooks/{FIRST_LESSON}.ipynb"
        return f"https://mybinder.org/v2/gh/{self.owner}/{self.name}/{opens}"

    def colab(self, lesson: str) -> str:
        """Return where Colab opens a lesson."""
        path = f"{self.owner}/{self.name}/blob/{BRANCH}/notebooks/{lesson}.ipynb"
        return f"https://colab.research.google.com/github/{path}"


def read_address(root: Path) -> Address | None:
    """Return the repository that pyproject.toml names, or None if it names none.

    Raises
    ------
    StampError
        If it names something else than a repository on GitHub.
    """
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    named = project.get("urls", {}).get("Repository")
    if named is None:
        return None
    found = ADDRESS.fullmatch(named)
    if not found or found[2].endswith(".git") or not found[2].strip("."):
        raise StampError(
            "in pyproject.toml, [project.urls] Repository must be https://github.com/OWNER/NAME "
            f"(Binder and Colab open no other kind), got {named!r}"
        )
    return Address(found[1], found[2])


def stamp_readme(text: str, address: Address | None, lessons: Sequence[str]) -> str:
    """Return the README with the badges between its two marks, or nothing there."""
    before, begun, rest = text.partition(BEGIN)
    _, ended, after = rest.partition(END)
    if not (begun and ended):
        raise StampError(f"README.md has lost the marks {BEGIN.strip()} and {END.strip()}")
    badges = ""
    if address:
        numbers = " · ".join(f"[{name[:2]}]({address.colab(name)})" for name in lessons)
        badges = f"""\
[![Open in Binder](https://mybinder.org/badge_logo.svg)]({address.binder})
[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]({address.colab(FIRST_LESSON)})
Each lesson in Colab: {numbers}
"""
    return before + begun + badges + ended + after


def stamp_citation(text: str, address: Address | None) -> str:
    """Return CITATION.cff with the repository after the licence, or without it."""
    lines = [line for line in text.splitlines(keepends=True) if not line.startswith(CITED)]
    if address:
        licensed = [number for number, line in enumerate(lines) if line.startswith("license:")]
        if not licensed:
            raise StampError("CITATION.cff has no line 'license:', after which the address goes")
        lines.insert(licensed[0] + 1, f"{CITED}{address.page}\n")
    return "".join(lines)


def stamp_source(text: str, address: Address | None, lesson: str) -> str:
    """Return a lesson's source with its cell that installs the course, and its link to Colab."""
    head, *cells = re.split(r"(?=^# %%)", text, flags=re.MULTILINE)
    code = [number for number, cell in enumerate(cells) if not cell.startswith("# %% [markdown]")]
    if code[:1] != [1] or not cells[1].startswith(INSTALL.partition("\nimport")[0]):
        raise StampError(f"{lesson}: its second cell must be the one that installs the course")
    title = re.sub(rf"#\n{re.escape(OPEN)}.*\n", "", cells[0])
    body = WITHOUT_ADDRESS
    if address:
        title = f"{title.rstrip()}\n#\n{OPEN}{address.colab(lesson)})\n\n"
        body = WITH_ADDRESS.format(archive=address.archive)
    return "".join([head, title, f"{INSTALL}{body}\n", *cells[2:]])


def stamp_notebook(source: Path, stamped: str) -> None:
    """Write a source, and into its notebook the text and the ids of its cells; outputs stay.

    Raises
    ------
    StampError
        If the notebook was out of step with its source before.
    """
    path = source.parent.parent / f"{source.stem}.ipynb"
    if problem := differences(source, path.parent):
        raise StampError(f"{path.name} {problem}; run 'make notebooks' first")
    source.write_text(stamped, encoding="utf-8", newline="\n")
    notebook = json.loads(path.read_text(encoding="utf-8"))
    for cell, wanted in zip(notebook["cells"], read_source(source)["cells"], strict=True):
        cell |= {"id": wanted["id"], "source": wanted["source"].splitlines(keepends=True)}
    path.write_text(serialise(notebook), encoding="utf-8", newline="\n")


def stamp(root: Path, *, write: bool) -> list[Path]:
    """Bring everything into step with pyproject.toml; return the files that were not."""
    address = read_address(root)
    sources = sorted((root / "notebooks" / "source").glob("*.py"))
    readme, citation = root / "README.md", root / "CITATION.cff"
    texts = {path: path.read_text(encoding="utf-8") for path in (readme, citation, *sources)}
    wanted = {
        readme: stamp_readme(texts[readme], address, [source.stem for source in sources]),
        citation: stamp_citation(texts[citation], address),
        **{source: stamp_source(texts[source], address, source.stem) for source in sources},
    }
    stale = [path for path, text in wanted.items() if text != texts[path]]
    for path in stale if write else ():
        if path.suffix == ".py":
            stamp_notebook(path, wanted[path])
        else:
            path.write_text(wanted[path], encoding="utf-8", newline="\n")
    return stale


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    parser = argparse.ArgumentParser(description="Write the repository's address where it belongs.")
    parser.add_argument("--check", action="store_true", help="compare, write nothing")
    parser.add_argument("--root", type=Path, default=ROOT, help=argparse.SUPPRESS)
    asked = parser.parse_args(arguments)
    root: Path = asked.root.resolve()
    try:
        stale = stamp(root, write=not asked.check)
    except (StampError, BuildError) as error:
        print(error, file=sys.stderr)
        return 1
    for path in stale:
        print(f"{path.relative_to(root)} {'is out of step' if asked.check else 'written'}")
    if stale and asked.check:
        print("run 'python -m tools.stamp_links'", file=sys.stderr)
    if not stale:
        print("everything agrees with pyproject.toml")
    return int(bool(stale) and asked.check)


if __name__ == "__main__":
    sys.exit(main())
