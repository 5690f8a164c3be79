"""Finds what functions reach and may change: variables, attributes, entries."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from types import CodeType, FunctionType, ModuleType
from typing import Any

import numpy as np

from gdopt.arrays import backend_of
from gdopt.errors import GdoptError

PLAIN = (int, float, complex, str, bytes, bool, type(None), np.generic)
IGNORED = (*PLAIN, ModuleType, type)
DEPTH = 7  # levels of attributes and entries that are followed


def reachable(
    functions: Mapping[str, Any], kinds: tuple[type, ...], known: set[int]
) -> list[tuple[str, Any]]:
    """Return the arrays, and the objects of some kinds, that functions reach, by name.

    Followed are variables, global ones too, defaults, attributes, and entries of
    dictionaries, lists, tuples and sets; other functions only if they are of the same
    package. What is `known`, by ``id``, is left out, with all that it holds.
    """
    found: list[tuple[str, Any]] = []
    seen: dict[int, Any] = {}  # held, so that no other gets the same id
    packages = {_package(function) for function in functions.values()}
    level = list(functions.items())
    for _ in range(DEPTH):  # all of a level before the next: the shortest way counts
        parts: list[tuple[str, Any]] = []
        for name, thing in level:
            if isinstance(thing, IGNORED) or id(thing) in seen or id(thing) in known:
                continue
            seen[id(thing)] = thing
            if isinstance(thing, kinds) or _is_array(thing):
                found.append((name, thing))
            elif not isinstance(thing, FunctionType) or _package(thing) in packages:
                parts += _parts(name, thing)
        level = parts
    return found


def _package(function: Any) -> str:
    return str(getattr(function, "__module__", None)).partition(".")[0]


def _is_array(thing: Any) -> bool:
    try:
        backend_of(thing)
    except GdoptError:
        return False
    return True


def _parts(name: str, thing: Any) -> Iterator[tuple[str, Any]]:
    """Yield what a function or an object reaches at once, with names."""
    if isinstance(thing, FunctionType):
        yield from _variables(thing)
    elif hasattr(thing, "__self__"):  # a method
        yield "self", thing.__self__
        yield name, getattr(thing, "__func__", None)
    elif isinstance(thing, partial):
        yield from _parts(name, [thing.func, *thing.args, thing.keywords])
    elif isinstance(thing, dict):
        yield from ((f"{name}[{key!r}]", part) for key, part in thing.items())
    elif isinstance(thing, list | tuple | set):
        yield from ((f"{name}[{k}]", part) for k, part in enumerate(thing))
    else:
        yield name, vars(type(thing)).get("__call__")
        attributes = getattr(thing, "__dict__", {})
        yield from ((f"{name}.{key}", part) for key, part in attributes.items())


def _variables(function: FunctionType) -> Iterator[tuple[str, Any]]:
    """Yield the variables of a function and of those within it, and its defaults."""
    cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
    for name, cell in cells:
        if cell != type(cell)():  # which is empty until its variable is assigned
            yield name, cell.cell_contents
    for name in _names(function.__code__):
        if name in function.__globals__:
            yield name, function.__globals__[name]
    yield from _parts("default", [*(function.__defaults__ or ())])
    yield from (function.__kwdefaults__ or {}).items()


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for part in code.co_consts:
        if isinstance(part, CodeType):
            yield from _names(part)
