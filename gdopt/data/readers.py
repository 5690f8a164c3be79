"""Data sets from files: ``.npz``, CSV and MNIST's IDX."""

from __future__ import annotations

import gzip
import math
import os
import re
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np

from gdopt.checks import listed, shown
from gdopt.data.csv import read_csv
from gdopt.data.dataset import Dataset, refusal
from gdopt.errors import GdoptError
from gdopt.files import existing_file

__all__ = ["Dataset", "read", "read_csv", "read_idx", "read_images", "read_npz"]

# As published, and as some copies are named: train-images.idx3-ubyte
IDX_NAME = re.compile(r"[-.]idx[1-9]-[a-z0-9]+(\.gz)?$")


def read(path: str | os.PathLike[str]) -> Dataset:
    r"""Read a data set from a file, in the format of its suffix.

    ``.npz`` is read by `read_npz`, ``.csv`` by `read_csv` with the last column as
    target, and ``*-images-idx3-ubyte``, compressed (``.gz``) or not, with the labels
    in the same folder.

    Args:
        path: the file.

    Returns:
        A `Dataset` of NumPy arrays on the host.

    Raises:
        ArgumentError: there is no such file, its suffix is not one of these, or
            it is damaged.

    >>> import numpy as np, pathlib, tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> path = pathlib.Path(folder.name, "points.csv")
    >>> path.write_text("0.5,1,0\n0.25,2,1\n")
    17
    >>> data = read(path)
    >>> data.X.tolist(), data.y.tolist()
    ([[0.5, 1.0], [0.25, 2.0]], [0, 1])
    >>> folder.cleanup()
    """
    file = existing_file(path)
    name = file.name.lower()
    if name.endswith(".npz"):
        return read_npz(file)
    if name.endswith(".csv"):
        return read_csv(file)
    if IDX_NAME.search(name):
        return read_images(file)
    rule = "the name must end in .npz, .csv or -images-idx3-ubyte (also .gz)"
    raise refusal(file, f"{rule} to tell its format")


NAMES = (("X", "y"), ("x", "y"), ("X_train", "y_train"), ("x_train", "y_train"))


def read_npz(
    path: str | os.PathLike[str],
    *,
    features: str | None = None,
    targets: str | None = None,
) -> Dataset:
    """Read a data set from an ``.npz`` file, never unpickling anything.

    Args:
        path: the file.
        features: name of the array of examples, (m, ...): real numbers, rows are
            examples; flattened to (m, n_x).
        targets: name of the array of targets, (m,), (m, 1) or (m, k): numbers or text.
            Where neither name is given, the first pair that the file has of X, y; x, y;
            X_train, y_train; x_train, y_train is read. Of Keras's ``mnist.npz`` that is
            the training part; name x_test and y_test for the other.

    Raises:
        ArgumentError: there is no such file, it is damaged or holds objects, or its
            arrays are not examples and targets.

    >>> import numpy as np, pathlib, tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> path = pathlib.Path(folder.name, "points.npz")
    >>> np.savez(path, X=np.zeros((3, 2)), y=["b", "a", "b"])
    >>> data = read_npz(path)
    >>> data.X.shape, data.y, data.classes
    ((3, 2), array([1, 0, 1]), ('a', 'b'))
    >>> folder.cleanup()
    """
    file = existing_file(path)
    if (features is None) != (targets is None):
        rule = "features and targets must be named both or neither"
        raise refusal(file, f"{rule}, got {shown(features)} and {shown(targets)}")
    named = None if features is None or targets is None else (features, targets)
    # Opened here: numpy.load leaves a damaged file open.
    with file.open("rb") as content:
        if not zipfile.is_zipfile(content):
            raise refusal(file, "must be a whole .npz file, got no ZIP archive")
        content.seek(0)
        try:
            archive = np.load(content, allow_pickle=False)
            X, y = (archive[name] for name in _pair(file, archive.files, named))
        except GdoptError:
            raise
        # NumPy refuses pickled objects by a ValueError.
        except (zipfile.BadZipFile, zlib.error, EOFError, ValueError) as error:
            rule = "must be a whole .npz file of numbers"
            raise refusal(file, f"{rule}: {error}") from error
    return Dataset.of(file, X, y)


def _pair(
    file: Path, found: list[str], named: tuple[str, str] | None
) -> tuple[str, str]:
    """Choose the names of features and targets."""
    for pair in (named,) if named else NAMES:
        if set(pair) <= set(found):
            return pair
    wanted = "; ".join(", ".join(pair) for pair in ((named,) if named else NAMES))
    raise refusal(file, f"must hold arrays named {wanted}; got {listed(found)}")


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
    """Read ``*-images-idx3-ubyte``, with ``.gz`` or not, and the labels next to it.

    Raises:
        ArgumentError: it is not a file of images, the labels are not next to it, or one
            of the two is damaged.
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
    raise refusal(file, f"its labels must be next to it as {plain} or {plain}.gz")
