"""IDX files, the format of MNIST."""

from __future__ import annotations

import gzip
import math
import os
import struct
import zlib

import numpy as np

from gdopt.data.readers.dataset import Dataset, refusal
from gdopt.files import existing_file

DTYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
MOST_DIMENSIONS = 64  # NumPy's arrays have no more


def read_idx(path: str | os.PathLike[str]) -> np.ndarray:
    """Read the array in an IDX file, also one compressed by gzip (``.gz``).

    The format: two zero bytes, a byte for the dtype, a byte for the number of
    dimensions, the dimensions as big-endian 32-bit numbers, the elements in row order.

    Args:
        path: the file.

    Returns:
        A new array in this machine's byte order: uint8, int8, int16, int32, float32 or
        float64.

    Raises:
        ArgumentError: there is no such file, or it is no IDX file, or shorter or longer
            than its dimensions say.

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
    file = existing_file(path)
    try:
        with gzip.open(file) if file.suffix == ".gz" else file.open("rb") as stream:
            content = stream.read()
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise refusal(file, f"must be a whole gzip file: {error}") from error
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] not in DTYPES:
        rule = "must begin with two zero bytes and a known dtype, as IDX files do"
        raise refusal(file, f"{rule}, got {content[:4].hex(' ') or 'an empty file'}")
    dtype, dimensions = np.dtype(DTYPES[content[2]]), content[3]
    start = 4 + 4 * dimensions
    if not 1 <= dimensions <= MOST_DIMENSIONS or len(content) < start:
        rule = f"must hold 1 to {MOST_DIMENSIONS} dimensions, each of 4 bytes"
        raise refusal(file, f"{rule}, got {dimensions} in {len(content)} bytes")
    shape = struct.unpack_from(f">{dimensions}I", content, 4)
    expected = start + math.prod(shape) * dtype.itemsize
    if len(content) != expected:
        rule = f"must be {expected} bytes long to hold {dtype.name} of shape {shape}"
        raise refusal(file, f"{rule}, got {len(content)} bytes")
    elements = np.frombuffer(content, dtype, offset=start).reshape(shape)
    return elements.astype(dtype.newbyteorder("="))


def read_images(path: str | os.PathLike[str]) -> Dataset:
    """Read ``*-images-idx3-ubyte``, with ``.gz`` or not, and the labels beside it.

    Raises:
        ArgumentError: it is no file of images, the labels are not beside it, or one of
            the two is damaged.
    """
    file = existing_file(path)
    images = file.name
    if "images" not in images or "idx3" not in images:
        rule = "must be a file of images, *-images-idx3-ubyte"
        raise refusal(file, f"{rule}; read_idx reads any other IDX file as an array")
    labels = images.replace("images", "labels").replace("idx3", "idx1")
    plain = labels.removesuffix(".gz")
    beside = [file.with_name(name) for name in (labels, plain, f"{plain}.gz")]
    for candidate in beside:
        if candidate.is_file():
            return Dataset.of(file, read_idx(file), read_idx(candidate))
    raise refusal(file, f"its labels must lie beside it as {plain} or {plain}.gz")
