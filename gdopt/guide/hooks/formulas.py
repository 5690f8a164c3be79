"""Turns the formulas of a page, `$...$` and `$$...$$` in LaTeX, into MathML.

Browsers set MathML themselves, so that pages with formulas need no script.
"""

import html
import re
from typing import Any

from latex2mathml.converter import convert

# As pymdownx.arithmatex leaves them: \(...\) within a line, \[...\] on their own.
FORMULA = re.compile(
    r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', re.DOTALL
)


def on_page_content(text: str, **_: Any) -> str:
    """Return the HTML of a page with its formulas as MathML."""
    return FORMULA.sub(_mathml, text)


def mathml(text: str, display: str) -> str:
    """Return a formula in LaTeX as MathML, "inline" or as a "block"."""
    return str(convert(text, display=display))


def _mathml(found: re.Match[str]) -> str:
    return mathml(html.unescape(found[2]), "block" if found[1] == "div" else "inline")
