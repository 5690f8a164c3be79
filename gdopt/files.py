"""Files: existing ones, free names, and atomic writes."""

from __future__ import annotations

import contextlib
import glob
import itertools
import json
import os
import platform
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from gdopt.errors import ArgumentError


def existing_file(path: str | os.PathLike[str]) -> Path:
    """Take the path of a file that exists."""
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
    """Make a folder, or take an empty one; nothing that is there is overwritten."""
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
    """Make the first of ``prefix-1``, ``prefix-2``, ... that does not exist."""
    first = Path(prefix)
    first.parent.mkdir(parents=True, exist_ok=True)
    numbers = itertools.count(1)
    while True:  # another program may take a number first
        path = first.with_name(f"{first.name}-{next(numbers)}")
        with contextlib.suppress(FileExistsError):
            path.mkdir()
            return path


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Open a temporary file, which replaces the one at a path when the block ends.

    The path holds the old content or the new one at any time, also after a power cut
    where folders can be opened; after an error nothing is left behind. A symbolic link
    stays one: its target is replaced. What killed processes left there is removed.
    """
    path = Path(os.path.realpath(path))
    own = f"{platform.node()}-{os.getpid()}"
    _remove_left(path)
    temporary = path.with_name(f".{path.name}.{own}-{secrets.token_hex(4)}.tmp")
    try:
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if path.exists():
            shutil.copymode(path, temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    if os.name == "posix":
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _remove_left(path: Path) -> None:
    """Remove the temporary files of a path whose processes, of this machine, ended."""
    start = f".{path.name}.{platform.node()}-"
    for found in path.parent.glob(f"{glob.escape(start)}*.tmp"):
        number = found.name.removeprefix(start).split("-")[0]
        if number.isdecimal() and not _is_alive(int(number)):
            found.unlink(missing_ok=True)


def _is_alive(process: int) -> bool:
    """Return whether a process runs; without POSIX, True."""
    try:
        if os.name == "posix":
            os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        pass  # another user's
    return True


def write_whole(path: str | os.PathLike[str], text: str) -> None:
    """Write a text, so that the file is complete at any time; make its folder."""
    final = Path(path)
    final.parent.mkdir(parents=True, exist_ok=True)
    with replacing(final) as file:
        file.write(text.encode())


def write_json(path: str | os.PathLike[str], content: Any, *, indent: int = 2) -> None:
    """Write what JSON knows, so that the file is always complete."""
    text = json.dumps(content, indent=indent, ensure_ascii=False)
    write_whole(path, text + "\n")
