"""Makes the reference: a page for each public module, with every public name.

A name is described once, by its shortest path; where it is listed elsewhere, a line
leads there. Each path is an anchor, such as `reference/gdopt.optim.md#gdopt.Adam`.
"""

import inspect
from collections.abc import Iterator
from types import ModuleType
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

import gdopt
from gdopt import errors
from gdopt.guide.hooks.docstrings import as_markdown

ADDED = (errors,)  # a module whose names gdopt alone lists
ELSEWHERE = "gdopt.rules"  # on the page of rules


def modules() -> list[ModuleType]:
    """Return the public modules, in the order of their names."""
    found, queue = {}, [gdopt, *ADDED]
    while queue:
        module = queue.pop()
        found[module.__name__] = module
        listed = [getattr(module, name) for name in names_of(module)]
        queue += [x for x in listed if is_module(x) and x.__name__ not in found]
    return [found[name] for name in sorted(found)]


def names_of(module: ModuleType) -> list[str]:
    """Return the public names of a module, in the order of its text."""
    if module in ADDED:
        return [n for n in gdopt.__all__ if n in vars(module)]
    return list(module.__all__)


def is_module(thing: Any) -> bool:
    """Return whether something is a module of gdopt."""
    return inspect.ismodule(thing) and thing.__name__.startswith("gdopt.")


def public_names() -> Iterator[tuple[str, Any]]:
    """Yield the path of every public name, with what it names."""
    for module in modules():
        for name in names_of(module):
            yield f"{module.__name__}.{name}", getattr(module, name)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages of the reference."""
    for name, text in pages().items():
        path = f"reference/{name}.md"
        files.append(File.generated(config, path, content=text))
    return files


def pages() -> dict[str, str]:
    """Return the text of every page of the reference by the name of its module."""
    shortest: dict[int, str] = {}
    for path, thing in public_names():
        before = shortest.get(id(thing), path)
        shortest[id(thing)] = min(before, path, key=lambda one: one.count("."))
    places: dict[str, str] = {}  # the page on which a name is described
    texts = {}
    # What gdopt itself lists is described on the page of the module that it is from.
    for module in sorted(modules(), key=lambda one: one is gdopt):
        name = module.__name__
        if name == ELSEWHERE:
            continue
        parts = [f"# {name}\n\n{as_markdown(inspect.getdoc(module) or '')}\n"]
        for own in names_of(module):
            path, thing = f"{name}.{own}", getattr(module, own)
            short = shortest[id(thing)]
            if is_module(thing):
                parts.append(_anchors(path) + _of_module(path, thing))
            elif short in places:
                anchor = _anchors(path) if path != short else ""
                parts.append(f"{anchor}[`{path}`]({places[short]}.md#{short})\n")
            else:
                places[short] = name
                parts.append(_anchors(path, short) + _description(short, thing))
        texts[name] = "\n".join(parts)
    return texts


def _anchors(*paths: str) -> str:
    return "".join(f'<a id="{path}"></a>\n\n' for path in dict.fromkeys(paths))


def _of_module(path: str, module: ModuleType) -> str:
    page = "../rules.md" if path == ELSEWHERE else f"{module.__name__}.md"
    first, *_ = (inspect.getdoc(module) or "").splitlines()
    return f"[`{path}`]({page}): {as_markdown(first)}\n"


def _description(name: str, thing: Any) -> str:
    """Return what mkdocstrings makes the description of a name from."""
    if isinstance(thing, dict):
        return (
            f"### `{name}`\n\nA dictionary of {', '.join(f'`{k}`' for k in thing)}.\n"
        )
    if not callable(thing):
        return f"### `{name}`\n\n`{thing!r}`\n"
    kind = isinstance(thing, type) and issubclass(thing, gdopt.Optimizer)
    inherited = thing is gdopt.Optimizer or not kind  # whose methods all others have
    return (
        f"::: {thing.__module__}.{thing.__qualname__}\n    options:\n"
        f"      heading: {name}\n      toc_label: {name.rpartition('.')[2]}\n"
        f"      inherited_members: {str(inherited).lower()}\n"
    )
