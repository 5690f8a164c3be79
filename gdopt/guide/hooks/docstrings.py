"""Lets docstrings be read as Markdown, though they are written as plain text."""

import re
from typing import Any

import griffe

# Is left as it is: code, and the names of arguments, which griffe reads.
KEPT = re.compile(r"(``.+?``|`[^`]+`|^ +\*{0,2}\w+:)", re.DOTALL | re.MULTILINE)
SPECIAL = re.compile(r"[*<>\[\]|~^$]|\b_|_\b")
EXAMPLE = re.compile(r"^( *)>>> .*?(?=\n *\n|\Z)", re.DOTALL | re.MULTILINE)


class PlainText(griffe.Extension):
    """Escapes what Markdown would read as markup, and fences the examples."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rewrite the docstring of an object."""
        if obj.docstring:
            obj.docstring.value = as_markdown(obj.docstring.value)


def as_markdown(text: str) -> str:
    """Return a docstring as Markdown."""
    parts, end = [], 0
    for example in EXAMPLE.finditer(text):
        indent = example[1]
        parts += [_escaped(text[end : example.start()])]
        parts += [f"{indent}```pycon\n{example[0]}\n{indent}```"]
        end = example.end()
    return "".join([*parts, _escaped(text[end:])])


def _escaped(text: str) -> str:
    return "".join(
        part if KEPT.fullmatch(part) else SPECIAL.sub(_entity, part)
        for part in KEPT.split(text)
    )


def _entity(found: re.Match[str]) -> str:
    return f"&#{ord(found[0])};"
