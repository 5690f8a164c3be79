"""Makes the page of rules: its sections come from the code and the table of parity.

Each class has its formula, its source, what is printed for every engine, and the lines
of other libraries that take the same steps, from the page on coming from these.
"""

import html
import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

import gdopt
from gdopt.guide.hooks.docstrings import as_markdown
from gdopt.guide.hooks.formulas import mathml
from gdopt.guide.hooks.latex import formula
from gdopt.optim.families import __all__ as CLASSES  # noqa: N812 - a constant

GUIDE = Path(__file__).parents[1]
TESTS = GUIDE.parents[1] / "tests"
ROW = re.compile(r"\| `(.+?)` \| (`gdopt\.(\w+)\(.*\)`) \| (.*) \|")
SECTION = re.compile(r"^(\S.*):\n((?:    .*\n|\n)+)", re.MULTILINE)
LETTERS = {"weight_decay": "λ", "momentum": "μ", "lambd": "λ"}  # not their names' own


def on_page_markdown(text: str, page: Any, **_: Any) -> str:
    """Add a section for every class to the page of rules."""
    if page.file.src_uri != "rules.md":
        return text
    return text + "".join(
        _section(getattr(gdopt, name)) for name in sorted(CLASSES, key=str.lower)
    )


def forms(kind: type) -> Iterator[tuple[Any, dict[str, Any]]]:
    """Yield the rules of a class, its default first, with the arguments for each."""
    if str(TESTS) not in sys.path:
        sys.path.append(str(TESTS))
    from oracles import CASES, MATRIX_CASES  # noqa: PLC0415 - tests are in a checkout

    seen = set()
    default = kind(np.zeros((2, 2))).rule
    cases = [case for case in (CASES | MATRIX_CASES).values() if case.kind is kind]
    found = [(default, {})] + [
        (c.make(np.zeros((2, 2))).rule, c.choices) for c in cases
    ]
    for rule, choices in found:
        if rule.name not in seen:
            seen.add(rule.name)
            yield rule, choices


def lines_elsewhere(kind: type) -> list[str]:
    """Return the rows of other libraries for a class: their line, ours, differences."""
    text = (GUIDE / "coming.md").read_text(encoding="utf-8")
    rows = [row for row in ROW.findall(text) if row[2] == kind.__name__]
    return [f"| `{there}` | {here} | {other} |" for there, here, _, other in rows]


def _section(kind: type) -> str:
    name, (first, *_) = kind.__name__, (inspect.getdoc(kind) or "").splitlines()
    (default, _), *others = forms(kind)
    parts = [f"\n\n## {name}\n", f"{as_markdown(first)}"]
    parts[-1] += f" [Reference](reference/gdopt.optim.md#gdopt.{name}).\n"
    parts.append(_form(default))
    if source := re.search(r"^Source: .*?(?=\n\n|\Z)", inspect.getdoc(kind) or "", 24):
        parts.append(f"{as_markdown(source[0])}\n")
    for rule, choices in others:
        shown = ", ".join(f"{key}={value!r}" for key, value in choices.items())
        parts.append(_details(f"<code>{html.escape(shown)}</code>", _form(rule)))
    if rows := lines_elsewhere(kind):
        parts += ["\n| elsewhere | here | defaults there that differ, and limits |"]
        parts += ["| --- | --- | --- |", *rows]
    return "\n".join(parts)


def _form(rule: Any) -> str:
    """Return the formula of a rule, and what is printed of it."""
    path = f"gdopt.rules.{rule.name}"
    public = rule.name in gdopt.rules.__all__
    anchor = f'<a id="{path}"></a>' if public else ""
    scalars = inspect.signature(rule.function).parameters
    letters = [f"{LETTERS[n]} is <code>{n}</code>" for n in LETTERS if n in scalars]
    about = [f"<code>{path}</code>: {html.escape(_note(rule))}"] if public else []
    text = ". ".join([*about, *letters])
    printed = "".join(_printed(str(rule)))
    return (
        f'<div class="rule">{anchor}{mathml(formula(rule.function), "block")}'
        f"<p>{text}.</p>{_details('Printed for each engine', printed)}</div>\n"
        if printed
        else f'<div class="rule">{mathml(formula(rule.function), "block")}</div>\n'
    )


def _note(rule: Any) -> str:
    first, *_ = (inspect.getdoc(inspect.unwrap(rule.function)) or "").splitlines()
    return first.rstrip(".")


def _printed(description: str) -> Iterator[str]:
    """Yield what a rule prints, a section for each engine."""
    for title, text in SECTION.findall(f"{description}\n"):
        body = html.escape(inspect.cleandoc(f"\n{text}"))
        yield f"<p>{title}</p><pre><code>{body}</code></pre>"


def _details(title: str, body: str) -> str:
    return f'<details class="plain"><summary>{title}</summary>{body}</details>'
