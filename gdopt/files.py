"""Files that are read: refused by name where they are not there."""

from __future__ import annotations

import os
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
