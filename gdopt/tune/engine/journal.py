"""The file that keeps a search: Optuna's journal, a line of JSON for every change."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from gdopt.errors import ArgumentError, StateError
from gdopt.extras import load_extra
from gdopt.tune.engine.sampler import EXTRA, PURPOSE

FAR = 1 << 40  # a byte beyond every journal: Windows lets nobody read what is locked


@contextmanager
def opened(path: Path | None) -> Iterator[Any]:
    """Open a journal for this process alone; without a path, keep all in memory.

    A last line without an end, as a crash leaves it, is a change that was not made, and
    is cut off.

    Raises:
        ArgumentError: the path's folder does not exist, or the path is a folder.
        StateError: another search is under way in the file, or it is no journal.
        MissingExtraError: Optuna is not installed.
    """
    storages = load_extra("optuna.storages", EXTRA, PURPOSE)
    if path is None:
        yield storages.InMemoryStorage()
        return
    files = load_extra("optuna.storages.journal", EXTRA, PURPOSE)
    if path.is_dir() or not path.parent.is_dir():
        message = f"storage must name a file in a folder that exists, got '{path}'"
        raise ArgumentError(message)
    with path.open("a+b") as file:
        if not _lock(file):
            message = f"'{path}' must be free, but another search is under way in it"
            raise StateError(message)
        _mend(file, path)
        backend = files.JournalFileBackend(str(path), lock_obj=Ours())
        yield storages.JournalStorage(backend)


class Ours:
    """The lock that Optuna asks for at every line; the file is this process's."""

    def acquire(self) -> bool:
        """Have it."""
        return True

    def release(self) -> None:
        """Keep it, until the search ends."""


def _lock(file: BinaryIO) -> bool:
    """Take the file for this process until it is closed, however that comes."""
    try:
        if sys.platform == "win32":
            import msvcrt  # noqa: PLC0415 - of Windows

            file.seek(FAR)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl  # noqa: PLC0415 - of the others

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _mend(file: BinaryIO, path: Path) -> None:
    """Cut off a last line without its end; refuse what is no journal."""
    file.seek(0)
    whole = 0
    for number, line in enumerate(file, start=1):
        if not line.endswith(b"\n"):
            break
        try:
            known = "op_code" in json.loads(line)
        except (ValueError, TypeError):
            known = False
        if not known:
            message = (
                f"'{path}' must be a journal of Optuna's, but line {number} is not"
            )
            raise StateError(message)
        whole += len(line)
    else:
        return
    if whole == 0:  # what has no whole line may be anything
        message = f"'{path}' must be a journal of Optuna's, but line 1 is not"
        raise StateError(message)
    file.truncate(whole)
