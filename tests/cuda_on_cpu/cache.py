"""A folder of what was built, shared by processes: every entry is named by a hash."""

import hashlib
import os
import tempfile
from pathlib import Path


def folder():
    """Return the folder, which ``GDOPT_TEST_CACHE`` names; by default, the user's."""
    place = os.environ.get("GDOPT_TEST_CACHE")
    if place is None:
        user = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        place = Path(user) / "gdopt-tests"
    return Path(place)


def key_of(*parts):
    """Hash texts, bytes and whatever else has a representation."""
    digest = hashlib.sha256()
    for part in parts:
        data = part if isinstance(part, bytes) else repr(part).encode()
        digest.update(len(data).to_bytes(8, "little") + data)
    return digest.hexdigest()[:24]


def describe_headers(folders):
    """Return what tells folders of headers apart, wherever they lie.

    That is CuPy's texts, and the sizes of CUDA's.
    """
    folders = list(map(Path, folders))
    texts = [
        path.read_bytes() for f in folders for path in sorted(f.glob("cupy/*.cuh"))
    ]
    headers = [path for folder in folders for path in sorted(folder.glob("*.h"))]
    return texts, [(path.name, path.stat().st_size) for path in headers]


def made_once(name, make):
    """Return the entry as `made` does; a second process waits while one makes it."""
    import fcntl

    entry = folder() / name
    if entry.exists():
        return entry
    entry.parent.mkdir(parents=True, exist_ok=True)
    with entry.with_name(f"{entry.name}.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return made(name, make)


def made(name, make):
    """Return the entry of that name; where it is missing, have it made first.

    Two processes that make the same entry at once both do the work, and one of the two
    results stays. An entry is never seen before it is complete.

    Args:
        name: of a file, relative to the folder.
        make: called with the path to write, which may be a file or a folder.
    """
    entry = folder() / name
    if entry.exists():
        return entry
    entry.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="making-", dir=entry.parent) as scratch:
        result = Path(scratch) / entry.name
        make(result)
        try:
            result.rename(entry)
        except OSError:  # a folder that another process has made meanwhile
            if not entry.exists():
                raise
    return entry
