"""A lesson's Markdown as HTML whose mathematics browsers draw by themselves, as MathML."""

from __future__ import annotations

import re

from latex2mathml.converter import convert
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath

__all__ = ["CODE_STYLES", "to_html"]

# Of Pygments, for code on a light and on a dark page.
CODE_STYLES = ("xcode", "github-dark")


def to_html(source: str) -> str:
    """Return the HTML of Markdown with mathematics."""
    # Links from a heading to itself would be shown by nobody, and spoil mathematics in it.
    renderer = _Renderer(escape=False, exclude_anchor_links=True)
    return str(MarkdownWithMath(renderer=renderer).render(source))


class _Renderer(IPythonRenderer):
    def block_math(self, body: str) -> str:
        return _mathml(body, "block")

    def inline_math(self, body: str) -> str:
        return _mathml(body, "inline")


def _mathml(formula: str, display: str) -> str:
    # The converter leaves the backslash of an underscore inside of text.
    converted = convert(formula, display=display).replace(r"\_", "_")
    # A thin space after the name of a function.
    return re.sub(r"(<mi>[A-Za-z]{2,}</mi>)(?=<m[is])", r'\1<mspace width="0.17em"/>', converted)
