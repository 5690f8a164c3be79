"""Checkpoints: nested dictionaries of arrays and numbers in one file, no pickle."""

from __future__ import annotations

import errno
import io
import os
import secrets
import shutil
import struct
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from gdopt.errors import StateError
from gdopt.files import existing_file
from gdopt.training.saving.packing import Packed, digest, pack, parse, unpack

HEADER = "$header"
HEADER_DIGEST = "$header.sha256"

# What a damaged archive makes the readers of zip, npy and JSON raise.
DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    KeyError,
    RuntimeError,  # a member that claims a password or another version
    SyntaxError,  # the header of an npy member is a Python literal
    ValueError,  # and of UTF-8, JSON and npy
)


def save(path: str | os.PathLike[str], tree: Mapping[str, Any]) -> None:
    """Write nested dictionaries of arrays and numbers to a file, all or nothing.

    The file is an ``.npz``, which ``numpy.load(path)`` opens too: an array that stands
    at ``tree["params"]["W1"]`` is its ``params/W1``. The rest, and the SHA-256 of every
    array, is JSON in its ``$header``. The same tree gives the same bytes.

    It is written to a temporary file in the same folder, which then takes the place of
    the old one: whatever happens meanwhile, the old file stays whole.

    Args:
        path: of the file; the folder must exist.
        tree: dictionaries with text as keys, lists, arrays of numbers, truth values or
            text (those on a GPU are copied to the host), numbers, text, None. A tuple
            comes back as a list, and NumPy's numbers as Python's.

    Raises:
        ArgumentTypeError: something in the tree is of another kind; it is named.
        ArgumentError: a key begins with ``$``.
        OSError: the file cannot be written.

    >>> import numpy as np, pathlib, tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> path = pathlib.Path(folder.name, "model.npz")
    >>> save(path, {"params": {"W": np.ones((2, 2))}, "t": 7, "note": None})
    >>> load(path)
    {'params': {'W': array([[1., 1.],
           [1., 1.]])}, 't': 7, 'note': None}
    >>> folder.cleanup()
    """
    packed = pack(tree)
    final = Path(path)
    temporary = final.with_name(f".{final.name}.{secrets.token_hex(4)}.tmp")
    try:
        with temporary.open("xb") as file:
            _write(file, packed)
            file.flush()
            os.fsync(file.fileno())
        if final.exists():
            shutil.copymode(final, temporary)
        temporary.replace(final)
    finally:
        temporary.unlink(missing_ok=True)
    _settle(final.parent)


def load(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read what `save` wrote, as NumPy arrays on the host; nothing is unpickled.

    Args:
        path: of the file.

    Raises:
        ArgumentError: there is no such file.
        StateError: the file is truncated or damaged, holds Python objects, is no
            checkpoint, or was written by a newer gdopt; the message names it and says
            what was wrong.
    """
    file = existing_file(path)
    try:
        with zipfile.ZipFile(file) as archive:
            return _read(archive)
    except StateError as error:
        message = f"{file}: {error}"
        raise StateError(message) from error
    except OSError as error:
        if error.errno != errno.EINVAL:  # a damaged archive sends readers before byte 0
            raise
        message = f"{file}: must be a whole checkpoint, but its directory is damaged"
        raise StateError(message) from error
    except DAMAGE as error:
        message = f"{file}: must be a whole checkpoint, but it is damaged: {error}"
        raise StateError(message) from error


def _write(file: BinaryIO, packed: Packed) -> None:
    own = np.frombuffer(bytes.fromhex(digest(packed.header)), np.uint8)
    members = {HEADER: packed.header, HEADER_DIGEST: own, **packed.arrays}
    with zipfile.ZipFile(file, "w") as archive:  # stored, as compression gains little
        for name, array in members.items():
            member = zipfile.ZipInfo(f"{name}.npy")  # dated 1980, not now
            with archive.open(member, "w", force_zip64=True) as out:
                np.lib.format.write_array(out, array, allow_pickle=False)


def _read(archive: zipfile.ZipFile) -> dict[str, Any]:
    members = {m.filename.removesuffix(".npy"): m for m in archive.infolist()}
    if len(members) != len(archive.infolist()):
        message = "must hold every name once, got some twice"
        raise StateError(message)
    if HEADER not in members or HEADER_DIGEST not in members:
        message = f"must be a checkpoint of gdopt, got no {HEADER} in it"
        raise StateError(message)
    # Stored members are no larger than the file, whatever they claim to unpack to.
    if any(m.compress_type != zipfile.ZIP_STORED for m in members.values()):
        message = "must hold its arrays as they are, got compressed ones"
        raise StateError(message)
    header = _array(archive, members.pop(HEADER))
    if digest(header) != _array(archive, members.pop(HEADER_DIGEST)).tobytes().hex():
        message = f"the SHA-256 of {HEADER} must be the saved one: it is damaged"
        raise StateError(message)
    content = parse(header)
    return unpack(content, {n: _array(archive, m) for n, m in members.items()})


def _array(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray:
    """Read an array, after zip's own checksum has passed all of it."""
    content = io.BytesIO(archive.read(member))
    array: np.ndarray = np.lib.format.read_array(content, allow_pickle=False)
    return array


def _settle(folder: Path) -> None:
    """Make the new name last through a power cut, where folders can be opened."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
