"""Files: existing ones, free names, and atomic writes."""

from __future__ import annotations

import contextlib
import itertools
import os
import tempfile
from pathlib import Path

from gdopt.errors import ArgumentError


def existing_file(path: str | os.PathLike[str]) -> Path:
    """Take the path of a file that exists.

    Raises:
        ArgumentError: it does not, or is a folder.
    """
    found = Path(path)
    if not found.is_file():
        what = "a folder" if found.is_dir() else "nothing"
        message = f"path must name a file that exists, got {what} at {str(found)!r}"
        raise ArgumentError(message)
    return found


def cache_folder() -> Path:
    """Return the folder of caches: ``GDOPT_CACHE_DIR``, or the user's."""
    chosen = os.environ.get("GDOPT_CACHE_DIR")
    if chosen:
        return Path(chosen)
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "gdopt"


def free_name(stem: str, suffix: str) -> Path:
    """Return the first of STEM, STEM-2, ..., each with the suffix, that is not there.

    >>> free_name("surely-not-there", ".png").name
    'surely-not-there.png'
    """
    names = itertools.chain([stem], (f"{stem}-{k}" for k in itertools.count(2)))
    return next(path for name in names if not (path := Path(name + suffix)).exists())


def empty_folder(name: str, folder: str | os.PathLike[str]) -> Path:
    """Make a folder, or take an empty one; nothing that is there is overwritten.

    Args:
        name: of the argument, for the error.
        folder: its path.

    Raises:
        ArgumentError: it is a file, or something is in it.
        OSError: it cannot be made.
    """
    path = Path(folder)
    if path.exists() and not path.is_dir():
        message = f"{name} must name a new folder, got a file: '{path}'"
        raise ArgumentError(message)
    path.mkdir(parents=True, exist_ok=True)
    there = sorted(entry.name for entry in path.iterdir())
    if there:
        message = (
            f"{name} must name a new or empty folder, got '{path}' with "
            f"{', '.join(there[:3])} in it"
        )
        raise ArgumentError(message)
    return path


def numbered_folder(prefix: str | os.PathLike[str]) -> Path:
    """Make the first of ``prefix-1``, ``prefix-2``, ... that does not exist.

    Raises:
        OSError: it cannot be made.
    """
    first = Path(prefix)
    first.parent.mkdir(parents=True, exist_ok=True)
    numbers = itertools.count(1)
    while True:  # another program may take a number first
        path = first.with_name(f"{first.name}-{next(numbers)}")
        with contextlib.suppress(FileExistsError):
            path.mkdir()
            return path


def write_whole(path: Path, text: str) -> None:
    """Write a file through a temporary one, so that it is complete at any time.

    Raises:
        OSError: it, or its folder, cannot be written; nothing is left behind.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
