"""Turns nested dictionaries into named arrays and one JSON header, and back."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gdopt.arrays.backend import common_backend
from gdopt.errors import ArgumentError, ArgumentTypeError, StateError

FORMAT = 1
ARRAY = "$array"  # {"$array": name} stands in the header where the tree has an array
KINDS = "biufcSU"


@dataclass
class Packed:
    """Arrays by name, and the JSON that tells where in the tree they stand."""

    header: np.ndarray = field(default_factory=lambda: np.empty(0, np.uint8))
    arrays: dict[str, np.ndarray] = field(default_factory=dict)


def pack(tree: Mapping[str, Any]) -> Packed:
    """Take the arrays out of a tree; see `gdopt.training.save` for what it may hold."""
    if not isinstance(tree, Mapping):
        message = f"tree must be a dictionary, got {type(tree).__name__}"
        raise ArgumentTypeError(message)
    packed = Packed()
    stripped = _strip(tree, (), packed.arrays)
    digests = {name: digest(array) for name, array in packed.arrays.items()}
    header = {"format": FORMAT, "sha256": digests, "tree": stripped}
    packed.header = np.frombuffer(json.dumps(header).encode(), np.uint8)
    return packed


def parse(header: np.ndarray) -> dict[str, Any]:
    """Read a header.

    Raises:
        StateError: it is of a newer format, or is none.
        ValueError: it is no JSON.
    """
    content: Any = json.loads(header.tobytes())
    known = content.get("format") if isinstance(content, dict) else None
    if not isinstance(known, int):
        message = f"must be of format {FORMAT} or older, got {known!r}"
        raise StateError(message)
    if known > FORMAT:
        message = (
            f"must be of format {FORMAT} or older, got {known}: a newer gdopt wrote it"
        )
        raise StateError(message)
    if set(content) != {"format", "sha256", "tree"}:
        message = f"header must hold format, sha256 and tree, got {sorted(content)}"
        raise StateError(message)
    return dict(content)


def unpack(
    content: Mapping[str, Any], arrays: Mapping[str, np.ndarray]
) -> dict[str, Any]:
    """Put arrays back into the tree of a header, each checked by its SHA-256.

    Raises:
        StateError: an array is damaged, missing or not mentioned.
    """
    expected = content["sha256"]
    if set(expected) != set(arrays):
        message = (
            f"arrays must be {', '.join(sorted(expected))}, as its header says, got "
            f"{', '.join(sorted(arrays))}"
        )
        raise StateError(message)
    for name, array in arrays.items():
        if digest(array) != expected[name]:
            message = f"the SHA-256 of {name} must be the saved one: it is damaged"
            raise StateError(message)
    tree: dict[str, Any] = _fill(content["tree"], arrays)
    return tree


def digest(array: np.ndarray) -> str:
    """Give the SHA-256 of an array: of its dtype, its shape and its elements."""
    sha256 = hashlib.sha256(f"{array.dtype.str} {array.shape} ".encode())
    sha256.update(array.reshape(-1).view(np.uint8).data)
    return sha256.hexdigest()


def _strip(value: Any, place: tuple[str, ...], arrays: dict[str, np.ndarray]) -> Any:
    """Give a part of the tree as JSON knows it; its arrays go to `arrays`."""
    if isinstance(value, Mapping):
        for key in value:
            _check_key(key, place)
        return {key: _strip(value[key], (*place, key), arrays) for key in value}
    if isinstance(value, list | tuple):
        return [_strip(part, (*place, str(k)), arrays) for k, part in enumerate(value)]
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    label = f"tree[{'/'.join(place)}]"
    array = common_backend([(label, value)]).to_host(value)
    if array.dtype.kind not in KINDS:
        message = f"{label} must hold numbers, truth values or text, got {array.dtype}"
        raise ArgumentTypeError(message)
    name = _free_name(place, arrays)
    arrays[name] = np.asarray(array, order="C")
    return {ARRAY: name}


def _check_key(key: Any, place: tuple[str, ...]) -> None:
    if not isinstance(key, str):
        message = f"keys of tree[{'/'.join(place)}] must be text, got {key!r}"
        raise ArgumentTypeError(message)
    if key.startswith("$"):
        message = f"keys must not begin with $, got {key!r} in tree[{'/'.join(place)}]"
        raise ArgumentError(message)


def _free_name(place: tuple[str, ...], taken: Mapping[str, Any]) -> str:
    """Name an array by its place, in letters that every zip program keeps."""
    wanted = name = "/".join(re.sub(r"[^\w.+-]", "_", key) for key in place)
    number = 2
    while name in taken:
        name, number = f"{wanted}~{number}", number + 1
    return name


def _fill(value: Any, arrays: Mapping[str, np.ndarray]) -> Any:
    if isinstance(value, dict):
        if ARRAY in value:
            return arrays[value[ARRAY]]
        return {key: _fill(part, arrays) for key, part in value.items()}
    return [_fill(part, arrays) for part in value] if isinstance(value, list) else value
