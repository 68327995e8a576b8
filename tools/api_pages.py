"""The library's doc pages, from its docstrings: pdoc's pages in the look of the site."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pdoc
from jinja2 import pass_context
from jinja2.runtime import Context
from markupsafe import Markup
from pdoc.doc_ast import walk_tree
from pdoc.render_helpers import linkify, to_html, to_markdown_with_context

import gradcourse
from gradcourse.lecture.markdown import to_html as with_mathml

__all__ = ["build_api", "public_modules"]

TEMPLATES = Path(__file__).resolve().parent / "site" / "api"
# Parts of the house that nobody imports into code of their own.
INSIDE = {"__main__", "checks", "cli", "lecture", "lessons"}


def public_modules() -> list[str]:
    """Return the names of the modules that have a page."""
    names = (module.name for module in pkgutil.iter_modules(gradcourse.__path__))
    return [f"gradcourse.{name}" for name in sorted(names) if name not in INSIDE]


def build_api(folder: Path, links: Callable[[int], str], css: str) -> None:
    """Write a page for each public module, an index, and a search that works offline.

    Parameters
    ----------
    folder
        Where the pages stand.
    links
        Returns the course's navigation for a page so many folders below the front page.
    css
        The look of the site and of its code.
    """
    names = public_modules()
    owners = {name: module for module in names for name in importlib.import_module(module).__all__}
    pdoc.render.configure(docformat="numpy", template_directory=TEMPLATES)
    pdoc.render.env.globals.update(links=links, css=css)
    pdoc.render.env.filters.update(
        as_written=partial(_as_written, owners), rendered=_rendered, told=_told, type=_type
    )
    # Modules inside of a public one have no pages: their names are those of its __all__.
    pdoc.pdoc(*names, r"!gradcourse\.\w+\.", output_directory=folder)


class _Words:
    """An annotation that reads as it is written."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text


def _as_written(
    owners: Mapping[str, str], signature: inspect.Signature, function: pdoc.doc.Function
) -> inspect.Signature:
    """Return a signature whose types read as in the source, ``ArrayLike`` and not all it means."""
    written = getattr(function.wrapped, "__annotations__", {})
    # Two modules may each have a class of one name.
    here = importlib.import_module(function.modulename).__all__
    owners = {**owners, **dict.fromkeys(here, function.modulename)}

    def words(name: str, otherwise: Any) -> Any:
        if not isinstance(written.get(name), str):
            return otherwise
        # A whole name becomes a link where the signature is drawn.
        return _Words(re.sub(r"(?<![\w.])\w+", lambda m: _dotted(owners, m[0]), str(written[name])))

    return signature.replace(
        parameters=[
            one.replace(annotation=words(one.name, one.annotation))
            for one in signature.parameters.values()
        ],
        return_annotation=words("return", signature.return_annotation),
    )


def _type(variable: pdoc.doc.Variable) -> str:
    """Return what a property gives, as written; of another variable nothing."""
    found: Any = importlib.import_module(variable.modulename)
    for part in variable.qualname.split("."):
        found = inspect.getattr_static(found, part, None)
    getter = getattr(found, "fget", None) or getattr(found, "func", None)
    return str(getattr(getter, "__annotations__", {}).get("return", ""))


def _told(doc: pdoc.doc.Doc[Any]) -> str:
    """Return a docstring; of a constant, the text below it where it is defined."""
    if doc.docstring or doc.kind != "variable":
        return doc.docstring
    inside = [one for name, one in sys.modules.items() if name.startswith(f"{doc.modulename}.")]
    texts = (walk_tree(module).var_docstrings.get(doc.name) for module in inside)
    return inspect.cleandoc(next(filter(None, texts), ""))


def _dotted(owners: Mapping[str, str], name: str) -> str:
    return f"{owners[name]}.{name}" if name in owners else name


@pass_context
def _rendered(context: Context, doc: pdoc.doc.Doc[Any]) -> Markup:
    """Return a docstring as HTML: formulas drawn, headings in order, code that scrolls by key."""
    formulas: list[str] = []

    def keep(match: re.Match[str]) -> str:
        formula = match[0]
        if r"\\" in formula:
            # Lines that stand below one another at &, which docstrings leave unsaid.
            formula = rf"$$\begin{{split}}{formula[2:-2]}\end{{split}}$$"
        # Inside of a paragraph, where the Markdown of formulas has none of its own.
        formulas.append(re.sub("</?p>", "", with_mathml(formula)))
        return f"FORMULA{len(formulas) - 1}."

    def put_back(match: re.Match[str]) -> str:
        return formulas[int(match[1])]

    markdown = to_markdown_with_context(context, _told(doc))
    markdown = re.sub(r"\\\\\( (.+?) \\\\\)", r"$\1$", markdown)
    markdown = re.sub(r"(\n\s*\.\.\.)?[ ]*# doctest: .*", "", markdown)
    text = to_html(re.sub(r"\$\$.+?\$\$|\$.+?\$", keep, markdown, flags=re.DOTALL))
    text = re.sub(r"FORMULA(\d+)\.", put_back, text)
    level = 4 if "." in doc.qualname else 3
    text = re.sub(r"(</?)h6[^>]*", rf"\1h{level}", text).replace("<pre>", '<pre tabindex="0">')
    return linkify(context, text, namespace=doc.qualname, shorten=False)
