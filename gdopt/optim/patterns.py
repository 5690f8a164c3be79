"""Names of arrays, and patterns of names such as ``"bias*"``."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from fnmatch import fnmatchcase
from typing import Any

from gdopt.checks import listed, shown
from gdopt.errors import ArgumentError, ArgumentTypeError


def matching(what: str, key: object, names: Collection[str]) -> list[str]:
    """Return what a name or a pattern stands for; an exact name is not a pattern.

    Args:
        what: the argument that holds the key, for the errors.
        key: a name, or a pattern with ``*``, ``?`` and ``[...]`` as in a shell.
        names: all names that there are.

    Raises:
        ArgumentTypeError: the key is not a string.
        ArgumentError: it stands for nothing.
    """
    if not isinstance(key, str):
        message = f"{what} must have names or patterns as strings, got {shown(key)}"
        raise ArgumentTypeError(message)
    found = [key] if key in names else [n for n in names if fnmatchcase(n, key)]
    if not found:
        message = f"{what} must have the names of the parameters: unknown {key!r}; "
        message += f"a name or a pattern must match one of {listed(map(repr, names))}"
        raise ArgumentError(message)
    return found


def key_of_each(
    what: str, keys: Iterable[Any], names: Collection[str]
) -> dict[str, str]:
    """Return for each name the key that holds for it: itself, or the first pattern.

    Names that no key matches are left out.

    Raises:
        ArgumentTypeError: a key is not a string.
        ArgumentError: a key matches no name.

    >>> key_of_each("lr", ["b*", "*", "W2"], ["W1", "b1", "W2"])
    {'W1': '*', 'b1': 'b*', 'W2': 'W2'}
    """
    key_of: dict[str, str] = {}
    for key in keys:
        for name in matching(what, key, names):
            if name == key or name not in key_of:
                key_of[name] = key
    return {name: key_of[name] for name in names if name in key_of}
