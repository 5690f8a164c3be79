"""Files: existing ones, free names, and atomic writes."""

from __future__ import annotations

import contextlib
import errno
import functools
import hashlib
import io
import itertools
import json
import os
import platform
import re
import shutil
import stat
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from secrets import token_hex
from typing import Any, BinaryIO

import numpy as np

from gdopt.errors import ArgumentError, ArgumentTypeError, PathError


def check_path(name: str, value: Any, rule: str = "a path") -> Path:
    """Take a path: text, or an object that stands for one."""
    if not isinstance(value, str | os.PathLike) or isinstance(os.fspath(value), bytes):
        raise ArgumentTypeError(f"{name} must be {rule}, got {value!r:.200}")
    unnamed = not os.fspath(value)
    try:
        os.lstat(value)
    except ValueError:  # a null, or what the file system cannot encode
        unnamed = True
    except OSError as error:
        unnamed |= error.errno == errno.ENAMETOOLONG
    if unnamed:
        raise ArgumentError(f"{name} must be a path that can exist, got {value!r:.200}")
    return Path(value)


def digest(array: np.ndarray) -> str:
    """Return the SHA-256 of an array: of its dtype, its shape and its elements."""
    sha256 = hashlib.sha256(f"{array.dtype.str} {array.shape} ".encode())
    sha256.update(array.reshape(-1).view(np.uint8).data)
    return sha256.hexdigest()


def existing_file(path: str | os.PathLike[str], sha256: str | None = None) -> Path:
    """Take the path of a file that exists, and has that SHA-256 if one is given."""
    found = check_path("path", path)
    if not found.is_file():
        what = "a folder" if found.is_dir() else "nothing"
        message = f"path must name a file that exists, got {what} at {str(found)!r}"
        raise PathError(message)
    if sha256 is not None:
        if not isinstance(sha256, str) or not re.fullmatch("[0-9a-fA-F]{64}", sha256):
            raise ArgumentError(f"sha256 must be 64 hexadecimal digits, got {sha256!r}")
        with found.open("rb") as file:
            own = hashlib.file_digest(file, "sha256").hexdigest()
        if own != sha256.lower():
            message = f"{found}: its SHA-256 must be {sha256.lower()}, got {own}"
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
    """Take a folder that is new or empty; nothing that is there is overwritten."""
    path = check_path(name, folder)
    if path.exists() and not path.is_dir():
        raise ArgumentError(f"{name} must name a new folder, got a file: '{path}'")
    remove_left(path)
    if there := sorted(entry.name for entry in path.glob("*")):
        raise ArgumentError(
            f"{name} must name a new or empty folder, got '{path}' with "
            f"{', '.join(there[:3])} in it"
        )
    return path


@contextlib.contextmanager
def numbered_folder(prefix: str | os.PathLike[str]) -> Iterator[Path]:
    """Make the first of ``prefix-1``, ``prefix-2``, ... that does not exist.

    If the block fails, it vanishes again, unless there is something in it.
    """
    first = Path(prefix)
    with made_folder(first.parent):
        for number in itertools.count(1):  # another program may take a number first
            path = first.with_name(f"{first.name}-{number}")
            with contextlib.suppress(FileExistsError):
                path.mkdir()
                break
        with _vanishing([path]):
            yield path


@contextlib.contextmanager
def made_folder(path: Path, mode: int = 0o777) -> Iterator[None]:
    """Make a folder; if the block fails, those that were made and are empty vanish."""
    with _vanishing([one for one in (path, *path.parents) if not one.exists()]):
        try:
            path.mkdir(mode, parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError) as error:
            message = f"'{path}' must be a folder, or a place for a new one: {error}"
            raise PathError(message) from error
        yield


@contextlib.contextmanager
def _vanishing(folders: Iterable[Path]) -> Iterator[None]:
    """Remove folders that are empty, the innermost first, if the block fails."""
    try:
        yield
    except BaseException:
        with contextlib.suppress(OSError):
            for folder in folders:
                folder.rmdir()
        raise


# What is being written is named .NAME.MACHINE-BOOT-PROCESS-BEGIN-RANDOM.tmp
TEMPORARY = re.compile(r"\..+\.([^.-]+)-([^.-]+)-(\d+)-(\d*)-[^.-]+\.tmp")


def remove_left(folder: Path) -> None:
    """Remove what processes of this machine left unfinished in a folder, if they ended.

    What cannot be listed or removed, as another user's, is left.
    """
    machine, boot = _machine()
    with contextlib.suppress(OSError):
        for path in folder.iterdir():
            found = TEMPORARY.fullmatch(path.name)
            if found is None or found[1] != machine:
                continue
            _, then, process, began = found.groups()
            now = _began(int(process)) if then == boot else None
            if now is None or (now and began and now != began):
                _remove(path)


def _remove(path: Path) -> None:
    """Remove a file, or a folder with what is in it, as far as it can be."""
    with contextlib.suppress(OSError):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink()


@functools.cache
def _machine() -> tuple[str, str]:
    """Return names of the machine whose process numbers are ours, and of its start."""
    names, boot = platform.node(), "0"
    with contextlib.suppress(OSError):
        names += Path("/etc/machine-id").read_text(encoding="ascii")
    with contextlib.suppress(OSError):
        names += str(Path("/proc/self/ns/pid").readlink())  # a container has its own
    with contextlib.suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")
    return hashlib.sha256(names.encode()).hexdigest()[:8], boot[:8]


def _began(process: int) -> str | None:
    """Return when a process began, in ticks; "" if that is not known, None if it ended.

    Without POSIX, no process is taken for ended.
    """
    if os.name != "posix":
        return ""
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return None
    except PermissionError:
        pass  # another user's
    try:
        known = Path(f"/proc/{process}/stat").read_bytes()
    except OSError:
        return ""
    state, *numbers = known.rpartition(b")")[2].split()
    return None if state in {b"Z", b"X"} else numbers[18].decode()


@contextlib.contextmanager
def _temporary(path: Path) -> Iterator[Path]:
    """Return a new name next to a path, for what replaces it; in the end, remove it."""
    remove_left(path.parent)
    process = os.getpid()
    own = "-".join([*_machine(), f"{process}", _began(process) or "", token_hex(4)])
    temporary = path.with_name(f".{path.name[:50]}.{own}.tmp")  # 255 bytes at most
    try:
        yield temporary
    finally:
        _remove(temporary)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Open a temporary file, which replaces the one at a path when the block ends.

    The path holds the old content or the new one at any time, also after a power cut
    where folders can be opened; after an error nothing is left behind. A symbolic link
    stays one: its target is replaced. Owner, group and permissions are kept where that
    is allowed. What killed processes left in the folder is removed.
    """
    if path.exists() and not path.is_file() and not path.is_dir():  # as /dev/stdout
        content = io.BytesIO()
        yield content
        path.write_bytes(content.getvalue())
        return
    path = Path(os.path.realpath(path))
    if path.is_dir() or not path.parent.is_dir():
        raise PathError(f"path must name a file in a folder that exists, got '{path}'")
    if path.is_symlink():
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
    old = path.stat() if path.exists() else None
    mode = 0o666 if old is None else stat.S_IMODE(old.st_mode)
    with _temporary(path) as temporary:
        temporary.touch(mode | stat.S_IWUSR, exist_ok=False)
        with temporary.open("r+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if old is not None:
            with contextlib.suppress(AttributeError, PermissionError):
                os.chown(temporary, old.st_uid, old.st_gid)
            temporary.chmod(mode)
        temporary.replace(path)
        _sync(path.parent)


@contextlib.contextmanager
def building(path: Path) -> Iterator[Path]:
    """Make a private temporary folder, which gets its name when the block ends.

    If another process has made one of that name by then, that one stays.
    """
    with _temporary(path) as temporary:
        temporary.mkdir(mode=0o700)
        yield temporary
        for made in (temporary, *temporary.rglob("*")):
            _sync(made)
        try:
            temporary.rename(path)
        except OSError:
            if not path.is_dir():
                raise
        _sync(path.parent)


def _sync(path: Path) -> None:
    """Write a file or folder to the disk, where it can be opened."""
    try:
        opened = os.open(path, os.O_RDONLY)
    except PermissionError:  # as any folder without POSIX
        return
    try:
        os.fsync(opened)
    except OSError as error:
        if error.errno != errno.EINVAL:  # some file systems cannot sync a folder
            raise
    finally:
        os.close(opened)


def write_whole(path: str | os.PathLike[str], text: str) -> None:
    """Write a text, so that the file is complete at any time; make its folder."""
    final = check_path("path", path)
    with made_folder(final.parent), replacing(final) as file:
        file.write(_utf8(text))


def write_json(
    path: str | os.PathLike[str],
    content: Mapping[str, Any],
    *,
    indent: int = 2,
    sha256: bool = True,
) -> None:
    """Write what JSON knows, so that the file is always complete.

    Its first entry is the SHA-256 of the file as it is without that, for `read_json`.
    """
    own = {"sha256": ""} if sha256 else {}
    text = json.dumps({**own, **content}, indent=indent, ensure_ascii=False) + "\n"
    if sha256:
        found = hashlib.sha256(_utf8(text)).hexdigest()
        text = text.replace('""', f'"{found}"', 1)
    write_whole(path, text)


def read_json(
    path: str | os.PathLike[str], rule: str, names: Iterable[str]
) -> dict[str, Any]:
    """Read what `write_json` wrote.

    Raises:
        ArgumentError: there is no such file, it lacks one of the names, by that rule,
            or it is damaged.
    """
    file = existing_file(path)
    content = file.read_bytes()
    try:
        found = json.loads(content)
    except (ValueError, RecursionError) as error:
        message = f"{path} must be a file of JSON by gdopt: {error}"
        raise ArgumentError(message) from error
    if not isinstance(found, dict):
        message = f"{path} must be a file of JSON by gdopt, got {found!r:.200}"
        raise ArgumentError(message)
    if missing := [name for name in ("sha256", *names) if name not in found]:
        raise ArgumentError(f"{rule}, got none of {', '.join(missing)} in '{path}'")
    own = f"{found.pop('sha256')}"
    empty = content.replace(_utf8(f'"{own}"'), b'""', 1)
    if hashlib.sha256(empty).hexdigest() != own:
        message = f"{path}: its SHA-256 must match what is in it: it has been changed"
        raise ArgumentError(message)
    return found


def _utf8(text: str) -> bytes:
    """Encode a text; names of files that are not UTF-8 become escapes, as JSON's."""
    return text.encode(errors="backslashreplace")
