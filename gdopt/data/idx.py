"""Arrays in IDX files, as those of MNIST."""

from __future__ import annotations

import gzip
import math
import os
import struct
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from gdopt.data.dataset import Dataset, refusal
from gdopt.data.npz import RATIOS, fill, refusing
from gdopt.errors import DataWarning
from gdopt.files import existing_file

DTYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
MOST_DIMENSIONS = 64  # NumPy's arrays have no more


def read_idx(path: str | os.PathLike[str], *, sha256: str | None = None) -> np.ndarray:
    """Read the array in an IDX file, also one compressed by gzip (``.gz``).

    The format: two zero bytes, a byte for the dtype, a byte for the number of
    dimensions, the dimensions as big-endian 32-bit numbers, the elements in row order.

    Args:
        path: the file.
        sha256: as in `read`.

    Returns:
        A new array in this machine's byte order: uint8, int8, int16, int32, float32 or
        float64. Type 0x09 is signed: its bytes above 127 are negative numbers.

    Raises:
        ArgumentError: there is no such file, or it is not an IDX file, or shorter or
            longer than its dimensions say.

    Source:
        LeCun, Cortes and Burges, The MNIST database, "The IDX file format".

    >>> import pathlib, tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> path = pathlib.Path(folder.name, "labels-idx1-ubyte")
    >>> path.write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 3, 5, 0, 4]))
    11
    >>> read_idx(path)
    array([5, 0, 4], dtype=uint8)
    >>> folder.cleanup()
    """
    file = existing_file(path, sha256)
    packed = file.suffix.lower() == ".gz"
    rule = f"must be a whole {'gzip' if packed else 'IDX'} file"
    with (
        refusing(lambda why: refusal(file, f"{rule}: {why}")),
        gzip.open(file) if packed else file.open("rb") as stream,
    ):
        array = _idx(file, stream, packed=packed)
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _idx(file: Path, stream: Any, *, packed: bool) -> np.ndarray:
    """Read an array of which no more is allocated than a file of that size can hold."""
    head, size = stream.read(4), file.stat().st_size
    if len(head) < 4 or head[:2] != b"\0\0" or head[2] not in DTYPES:
        rule = "must begin with two zero bytes and a known dtype, as IDX files do"
        raise refusal(file, f"{rule}, got {head.hex(' ') or 'an empty file'}")
    dtype, dimensions = np.dtype(DTYPES[head[2]]), head[3]
    sizes = stream.read(4 * dimensions)
    start = 4 + 4 * dimensions
    if not 1 <= dimensions <= MOST_DIMENSIONS or len(sizes) < 4 * dimensions:
        rule = f"must hold 1 to {MOST_DIMENSIONS} dimensions, each of 4 bytes"
        got = 4 + len(sizes) if packed else size
        raise refusal(file, f"{rule}, got {dimensions} in {got} bytes")
    shape = struct.unpack(f">{dimensions}I", sizes)
    expected = start + math.prod(shape) * dtype.itemsize
    rule = f"must be {expected} bytes long to hold {dtype.name} of shape {shape}"
    if not packed and size != expected:
        raise refusal(file, f"{rule}, got {size} bytes")
    if packed and expected > size * RATIOS[zipfile.ZIP_DEFLATED]:
        raise refusal(file, f"{rule}, which {size} bytes cannot unpack to")
    array = np.empty(shape, dtype)
    got = start + fill(array, stream)
    if got < expected or stream.read(1):
        raise refusal(file, f"{rule}, got {got if got < expected else 'more'} bytes")
    return array


def _unsigned(file: Path) -> np.ndarray:
    """Read an IDX file, and report bytes that are signed."""
    found = read_idx(file)
    if found.dtype == np.int8:
        doubt = "holds signed bytes (type 0x09), -128 to 127; pixels and labels are "
        warnings.warn(f"{file}: {doubt}unsigned (0x08)", DataWarning, stacklevel=4)
    return found


def read_images(path: str | os.PathLike[str], *, sha256: str | None = None) -> Dataset:
    """Read ``*-images-idx3-ubyte``, with ``.gz`` or not, and the labels next to it.

    Signed bytes are reported by a `DataWarning`: pixels are unsigned as a rule.

    Args:
        path: the file of images.
        sha256: as in `read`, of the images.

    Raises:
        ArgumentError: it is not a file of images, the labels are not next to it, or one
            of the two is damaged.
    """
    file = existing_file(path, sha256)
    images = file.name
    if "images" not in images or "idx3" not in images:
        rule = "must be a file of images, *-images-idx3-ubyte"
        raise refusal(file, f"{rule}; read_idx reads any other IDX file as an array")
    labels = images.replace("images", "labels").replace("idx3", "idx1")
    plain = labels.removesuffix(".gz")
    beside = [file.with_name(name) for name in (labels, plain, f"{plain}.gz")]
    for candidate in beside:
        if candidate.is_file():
            return Dataset.of(file, _unsigned(file), _unsigned(candidate))
    raise refusal(file, f"its labels must be next to it as {plain} or {plain}.gz")
