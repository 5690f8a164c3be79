"""Arrays in archives (``.npz``): nothing that one claims is believed unchecked."""

from __future__ import annotations

import errno
import gzip
import math
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import PurePosixPath
from tokenize import TokenError
from typing import Any

import numpy as np

from gdopt.errors import GdoptError

# What damaged or forged files make the readers of zip, gzip, npy and JSON raise.
DAMAGE = (
    zipfile.BadZipFile,
    gzip.BadGzipFile,
    zlib.error,
    struct.error,
    EOFError,
    KeyError,
    MemoryError,  # what is claimed is limited by the size of the file
    RuntimeError,  # a member that claims a password or another version
    SyntaxError,  # the header of an npy member is a Python literal
    TokenError,
    TypeError,
    ValueError,  # and of UTF-8, JSON and npy
)
CHUNK = 1 << 20  # bytes that are read at a time
# Most bytes that one byte can unpack to.
RATIOS = {zipfile.ZIP_STORED: 1, zipfile.ZIP_DEFLATED: 1032}
HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


@contextmanager
def refusing(refuse: Callable[[object], GdoptError]) -> Iterator[None]:
    """Raise an error of ours where the content of a file makes its reader raise one."""
    try:
        yield
    except GdoptError:
        raise
    except DAMAGE as error:
        raise refuse(error) from error
    except OSError as error:
        if error.errno != errno.EINVAL:  # damage makes readers seek before byte 0
            raise
        raise refuse(error) from error


def members_of(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """Return the members of an archive by the names of their arrays.

    Raises:
        ValueError: names occur twice or lead out of a folder, or members claim more
            than the file holds, as in a zip bomb.
    """
    entries = archive.infolist()
    found = {entry.filename.removesuffix(".npy"): entry for entry in entries}
    if len(found) != len(entries):
        raise ValueError("it must hold every name once, got duplicates")
    for name, entry in found.items():
        path = PurePosixPath(name.replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts:
            raise ValueError(f"names must not lead out of a folder, got {name!r}")
        if entry.file_size > RATIOS.get(entry.compress_type, 0) * entry.compress_size:
            raise ValueError(f"{name} cannot unpack to {entry.file_size} bytes")
    if sum(entry.compress_size for entry in entries) > archive.start_dir:
        raise ValueError("its members claim more bytes than it holds")
    return found


def read_member(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> np.ndarray:
    """Read an array to the end of its member, where ZIP's own checksum is compared.

    `numpy.load` stops after the last element that the array's header names, and then
    compares nothing; and it allocates whatever the header claims.

    Raises:
        ValueError: it holds Python objects, or another size than its header says.
    """
    with archive.open(entry) as stream:
        version = np.lib.format.read_magic(stream)
        if version not in HEADERS:
            raise ValueError(f"its format must be npy 1.0 or 2.0, got {version}")
        shape, by_columns, dtype = HEADERS[version](stream)
        if dtype.hasobject:
            raise ValueError("Object arrays cannot be loaded: they are pickles")
        size, left = math.prod(shape) * dtype.itemsize, entry.file_size - stream.tell()
        if size != left or min(shape, default=0) < 0:
            message = f"{dtype} of shape {shape} must be {size} bytes, got {left}"
            raise ValueError(message)
        array = np.empty(shape, dtype, order="F" if by_columns else "C")
        if fill(array, stream) < size:
            raise EOFError("it is truncated")
        stream.read(1)  # compares the checksum of an empty array, too
    return array


def fill(array: np.ndarray, stream: Any) -> int:
    """Read the elements of an array from a stream; return the bytes that it had."""
    left = array.reshape(-1, order="A").view(np.uint8).data
    while left and (got := stream.readinto(left[:CHUNK])):
        left = left[got:]
    return array.nbytes - len(left)
