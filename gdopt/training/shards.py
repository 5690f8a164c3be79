"""Checkpoints of a run on several ranks: a file of each, and a head that names them.

The head is what a run alone writes, but for the arrays of the optimizer's state. Each
rank writes those of its elements first; then the head gets its name, by which the
checkpoint becomes valid. Any number of ranks reads it, and a run alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from gdopt.checks import listed
from gdopt.errors import ArgumentError, StateError
from gdopt.training.checkpoint import load, save


def shard_name(head: str, rank: int, size: int) -> str:
    """Name the file of a rank next to a head.

    >>> shard_name("checkpoint-000000000123.npz", 0, 4)
    'checkpoint-000000000123.0-of-4.npz'
    """
    return f"{head.removesuffix('.npz')}.{rank}-of-{size}.npz"


def head_name(shard: str) -> str:
    """Name the head that a rank's file belongs to."""
    return f"{shard.partition('.')[0]}.npz"


def load_whole(head: Path) -> dict[str, Any]:
    """Read a checkpoint, with the arrays that the files of ranks hold, if any do.

    Raises:
        StateError: a file is missing, damaged, or of another checkpoint.
    """
    found = load(head)
    shards = found.pop("shards", None)
    if shards is None:
        return found
    whole: dict[str, dict[str, np.ndarray]] = {name: {} for name in found["params"]}
    for name, expected in shards.items():
        file = head.with_name(name)
        pieces = _read(file, expected["sha256"], expected["holds"])
        for key, (start, stop) in expected["holds"].items():
            shape = found["params"][key].shape
            for part, array in pieces[key].items():
                made = whole[key].setdefault(part, np.empty(shape, array.dtype))
                made.reshape(-1)[start:stop] = array
    found["method"]["state"] = whole
    return found


def _read(file: Path, sha256: str, holds: Mapping[str, Any]) -> dict[str, Any]:
    try:
        pieces: dict[str, Any] = load(file, sha256=sha256)["pieces"]
    except (ArgumentError, OSError) as error:
        pieces_of = [f"{key}[{start}:{stop}]" for key, (start, stop) in holds.items()]
        rule = f"{file} must hold the state of {listed(pieces_of)}"
        why = error if file.exists() else "there is no such file"
        raise StateError(f"{rule}, as {head_name(file.name)} says: {why}") from error
    return pieces


def write_shard(file: Path, pieces: Mapping[str, Any]) -> bytes:
    """Write a rank's pieces of the state; return the SHA-256 of the file."""
    arrays = {
        key: {n: a for n, a in piece.items() if n not in {"start", "stop"}}
        for key, piece in pieces.items()
    }
    save(file, {"pieces": arrays})
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").digest()
