"""One array, a sequence or a mapping of them: how every entry point names arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gdopt.arrays.backend import Array
from gdopt.checks import name_differences
from gdopt.errors import ArgumentError, ArgumentTypeError


def named_arrays(arrays: Any, what: str) -> dict[str, Array]:
    """Name every array: its key, its position in a sequence, or ``"0"``.

    Args:
        arrays: an array, a list or tuple of them, or a mapping from names.
        what: what the caller calls the argument, for the errors.

    Raises:
        ArgumentTypeError: the container has no order, or a name is not a string.
        ArgumentError: there is no array at all.
    """
    if isinstance(arrays, Mapping):
        named = dict(arrays)
    elif isinstance(arrays, list | tuple):
        named = {str(k): array for k, array in enumerate(arrays)}
    elif hasattr(arrays, "dtype") and hasattr(arrays, "shape"):
        named = {"0": arrays}
    else:
        kind = "an unordered " if isinstance(arrays, set | frozenset) else "a "
        message = (
            f"{what} must be an array, a list or tuple of arrays, or a mapping from "
            f"names to arrays, got {kind}{type(arrays).__name__}"
        )
        raise ArgumentTypeError(message)
    if not named:
        message = f"{what} must hold at least one array, got none"
        raise ArgumentError(message)
    for name in named:
        if not isinstance(name, str):
            message = f"names in {what} must be strings, got {name!r}"
            raise ArgumentTypeError(message)
    return named


def array_label(name: str, what: str = "params") -> str:
    """Return what messages call an array: its quoted key, or its position.

    >>> array_label("W"), array_label("0"), array_label("2", "grads")
    ("'W'", 'params[0]', 'grads[2]')
    """
    return f"{what}[{name}]" if name.isdecimal() else repr(name)


def gradient_label(name: str) -> str:
    """Return what messages call the gradient of a parameter."""
    return f"the gradient of {array_label(name)}"


def refuse_other_names(
    expected: Sequence[str], got: Mapping[str, Any], what: str
) -> None:
    """Refuse a mapping whose names differ from those expected, naming both sides.

    Raises:
        ArgumentError: a name is missing or unknown.
    """
    if wrong := name_differences(expected, got):
        message = f"{what} must have the names of the parameters: {wrong}"
        raise ArgumentError(message)
