"""Names of arrays, and patterns of names such as ``"bias*"``."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any

from gdopt.checks import listed, shown
from gdopt.errors import ArgumentError, ArgumentTypeError


def key_of_each(
    what: str, keys: Iterable[Any], names: Collection[str]
) -> dict[str, str]:
    """Return for each name the key that holds for it: itself, or the first pattern.

    An exact name is not a pattern.

    >>> key_of_each("lr", ["b*", "*", "W2"], ["W1", "b1", "W2"])
    {'W1': '*', 'b1': 'b*', 'W2': 'W2'}
    """
    key_of: dict[str, str] = {}
    for key in keys:
        if not isinstance(key, str):
            message = f"{what} must have names or patterns as strings, got {shown(key)}"
            raise ArgumentTypeError(message)
        found = [key] if key in names else [n for n in names if fnmatchcase(n, key)]
        if not found:
            known = listed(map(repr, names))
            message = f"{what} must have the names of the parameters: unknown {key!r}; "
            message += f"a name or a pattern must match one of {known}"
            raise ArgumentError(message)
        for name in found:
            if name == key or name not in key_of:
                key_of[name] = key
    return {name: key_of[name] for name in names if name in key_of}


def refuse_groups(kind: type, params: Any, settings: Mapping[str, Any]) -> None:
    """Refuse a list of torch's groups of parameters, with the line to write instead."""
    groups = params if isinstance(params, list | tuple) else ()
    if not groups or not all(isinstance(g, Mapping) and "params" in g for g in groups):
        return
    parts = ["rule"] if kind.__name__ == "Optimizer" else []
    for key in dict.fromkeys(key for group in groups for key in group):
        if key != "params":
            values = [shown(group.get(key, settings.get(key))) for group in groups]
            named = [f'"{k}.*": {value}' for k, value in enumerate(values)]
            parts.append(f"{key}={{{', '.join(named)}}}")
    every = "for k, group in enumerate(groups) for j, p in enumerate(group['params'])"
    message = "params must be an array, or a list or mapping of arrays, got torch's "
    message += f"groups: write {kind.__name__}({{f'{{k}}.{{j}}': p {every}}}, "
    message += f"{', '.join(parts)})"
    raise ArgumentTypeError(message)
