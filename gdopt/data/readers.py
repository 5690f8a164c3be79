"""Data sets from files: ``.npz``, CSV and MNIST's IDX."""

from __future__ import annotations

import gzip
import math
import os
import re
import struct
import warnings
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gdopt.checks import check_sequence, listed, shown
from gdopt.data.csv import read_table
from gdopt.data.dataset import Dataset, refusal
from gdopt.data.schema import Schema, choose_target
from gdopt.errors import DataWarning, GdoptError
from gdopt.files import existing_file

__all__ = ["Dataset", "read", "read_csv", "read_idx", "read_images", "read_npz"]

# As published, and as some copies are named: train-images.idx3-ubyte
IDX_NAME = re.compile(r"[-.]idx[1-9]-[a-z0-9]+(\.gz)?$")


def read(path: str | os.PathLike[str], **options: Any) -> Dataset:
    r"""Read a data set from a file, in the format of its suffix.

    ``.npz`` is read by `read_npz`, ``.csv``, ``.tsv`` and ``.txt`` by `read_csv`, and
    ``*-images-idx3-ubyte`` with the labels in the same folder; all but ``.npz`` may be
    compressed (``.gz``).

    Args:
        path: the file.
        **options: of `read_csv`, such as ``target``.

    Returns:
        A `Dataset` of NumPy arrays on the host.

    Raises:
        ArgumentError: there is no such file, its suffix is not one of these, it is
            damaged, or there are options for a format that has none.

    >>> import numpy as np, pathlib, tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> path = pathlib.Path(folder.name, "points.csv")
    >>> path.write_text("0.5,1.5,no\n0.25,2,yes\n")
    22
    >>> data = read(path, target=2)
    >>> data.X.tolist(), data.y.tolist()
    ([[0.5, 1.5], [0.25, 2.0]], [0, 1])
    >>> folder.cleanup()
    """
    file = existing_file(path)
    name = file.name.lower()
    if name.removesuffix(".gz").endswith((".csv", ".tsv", ".txt")):
        return read_csv(file, **options)
    if options:
        rule = f"only CSV has {listed(options)}, and the name must end in .csv"
        raise refusal(file, rule)
    if name.endswith(".npz"):
        return read_npz(file)
    if IDX_NAME.search(name):
        return read_images(file)
    rule = "the name must end in .npz, .csv, .tsv, .txt or -images-idx3-ubyte[.gz]"
    raise refusal(file, f"{rule} to tell its format")


def read_csv(
    path: str | os.PathLike[str],
    *,
    target: int | str | None = None,
    task: str | None = None,
    columns: Sequence[int | str] | None = None,
    exclude: Sequence[int | str] = (),
    **form: Any,
) -> Dataset:
    r"""Read a data set from a CSV file: one example a line, one column the target.

    Columns of numbers are features as they are; columns of text are one-hot encoded.
    Missing cells, dates, and numbers mixed with text are refused.

    Args:
        path: the file, in UTF-8, also compressed by gzip (``.gz``).
        target: the target's column: its name; its number from 0, from the end where
            negative; or as text, as in the shell, its number from 1. It may be left
            out where the last column is the only one that can hold classes.
        task: ``"classification"`` or ``"regression"``; by default classification of
            text, of codes such as 007, and of whole numbers that repeat.
        columns: names or numbers of the features; by default all other columns.
        exclude: names or numbers of columns that are not features.
        **form: ``header``, whether the first line names the columns; ``delimiter``
            between cells; ``decimal`` mark, ``"."`` or ``","``: by default found out.

    Returns:
        A `Dataset`, with its `Schema`. Classes are numbered in sorted order.

    Raises:
        ArgumentError: the file is damaged, a cell cannot be used, or there is no such
            column; the message names line and column, counted from 1.
        MissingExtraError: pandas is not installed.

    >>> import pathlib, tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> path = pathlib.Path(folder.name, "iris.csv")
    >>> path.write_text("width;kind\n3,5;setosa\n3,2;versicolor\n3,1;setosa\n")
    48
    >>> data = read_csv(path)
    >>> data.feature_names, data.y, data.classes
    (('width',), array([0, 1, 0]), ('setosa', 'versicolor'))
    >>> folder.cleanup()
    """
    table = read_table(path, **form)
    goal = choose_target(table, target)
    others = [name for name in table.columns if name != goal.name]
    if columns is not None:
        others = [table.find("columns", c) for c in check_sequence("columns", columns)]
    left = {table.find("exclude", c) for c in check_sequence("exclude", exclude)}
    features = [table.columns[n] for n in others if n not in {*left, goal.name}]
    schema = Schema.of(table, features, goal, task)
    for cells in features:
        if doubt := cells.doubt():
            warnings.warn(f"{table.source}: {doubt}", DataWarning, stacklevel=2)
    X, y = schema.encode(table), schema.encode_target(table)
    names = schema.feature_names if table.header else None
    return Dataset(X, y, table.source, names, schema.classes, schema)


def read_column(
    path: str | os.PathLike[str], column: int | str | None = None, **form: Any
) -> tuple[str, np.ndarray]:
    """Return the name of a column, and its numbers, (n,) float64; NaN is missing.

    Args:
        path: as in `read_csv`; other columns may hold anything.
        column: as `target` there; None is the only column.
        **form: as there.

    Raises:
        ArgumentError: as there.
    """
    table = read_table(path, **form)
    if column is None and len(table.columns) > 1:
        rule = f"column must be named where there are several: {listed(table.columns)}"
        raise refusal(Path(table.source), rule)
    name = table.find("column", 0 if column is None else column)
    return name, table.columns[name].numbers(gaps=True)


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
