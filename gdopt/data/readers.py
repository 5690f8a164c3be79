"""Data sets from files: ``.npz``, CSV and MNIST's IDX."""

from __future__ import annotations

import os
import re
import warnings
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gdopt.checks import check_sequence, listed, shown
from gdopt.data.csv import read_table
from gdopt.data.dataset import Dataset, refusal
from gdopt.data.idx import read_idx, read_images
from gdopt.data.npz import members_of, read_member, refusing
from gdopt.data.schema import Schema, choose_target
from gdopt.errors import ArgumentError, DataWarning
from gdopt.files import existing_file

__all__ = ["Dataset", "read", "read_csv", "read_idx", "read_images", "read_npz"]

# As published, and as some copies are named: train-images.idx3-ubyte
IDX_NAME = re.compile(r"[-.]idx[1-9]-[a-z0-9]+(\.gz)?$")


def read(
    path: str | os.PathLike[str], *, sha256: str | None = None, **options: Any
) -> Dataset:
    r"""Read a data set from a file, in the format of its suffix.

    ``.npz`` is read by `read_npz`, ``.csv``, ``.tsv`` and ``.txt`` by `read_csv`, and
    ``*-images-idx3-ubyte`` with the labels in the same folder; all but ``.npz`` may be
    compressed (``.gz``).

    Args:
        path: the file.
        sha256: what the SHA-256 of the file must be, 64 hexadecimal digits; by default
            only what its format can tell is checked.
        **options: of `read_csv`, such as ``target``.

    Returns:
        A `Dataset` of NumPy arrays on the host.

    Raises:
        ArgumentError: there is no such file, its suffix is not one of these, it is
            damaged, its SHA-256 is another, or there are options for a format that has
            none.

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
    file = existing_file(path, sha256)
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
    sha256: str | None = None,
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
        sha256: as in `read`.
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
    table = read_table(existing_file(path, sha256), **form)
    goal = choose_target(table, target)
    others = [name for name in table.columns if name != goal.name]
    if columns is not None:
        others = [table.find("columns", c) for c in check_sequence("columns", columns)]
        if twice := [name for name in {*others} if others.count(name) > 1]:
            message = f"columns must all be different, but {twice[0]!r} is given twice"
            raise ArgumentError(message)
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
    sha256: str | None = None,
) -> Dataset:
    """Read a data set from an ``.npz`` file, never unpickling anything.

    The checksums of ZIP are compared to the end of each array, and sizes are checked
    before they are allocated.

    Args:
        path: the file.
        features: name of the array of examples, (m, ...): real numbers, rows are
            examples; flattened to (m, n_x).
        targets: name of the array of targets, (m,), (m, 1) or (m, k): numbers or text.
            Where neither name is given, the first pair that the file has of X, y; x, y;
            X_train, y_train; x_train, y_train is read. Of Keras's ``mnist.npz`` that is
            the training part; name x_test and y_test for the other.
        sha256: as in `read`.

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
    file = existing_file(path, sha256)
    if (features is None) != (targets is None):
        rule = "features and targets must be named both or neither"
        raise refusal(file, f"{rule}, got {shown(features)} and {shown(targets)}")
    named = None if features is None or targets is None else (features, targets)
    if not zipfile.is_zipfile(file):
        raise refusal(file, "must be a whole .npz file, got no ZIP archive")
    rule = "must be a whole .npz file of numbers"
    with (
        refusing(lambda why: refusal(file, f"{rule}: {why}")),
        file.open("rb") as content,  # which ZipFile leaves open where it is damaged
        zipfile.ZipFile(content) as archive,
    ):
        members = members_of(archive)
        pair = _pair(file, list(members), named)
        X, y = (read_member(archive, members[name]) for name in pair)
    return Dataset.of(file, X, y)


def _pair(
    file: Path, found: list[str], named: tuple[str, str] | None
) -> tuple[str, str]:
    pairs = (named,) if named else NAMES
    for pair in pairs:
        if set(pair) <= set(found):
            return pair
    wanted = "; ".join(map(", ".join, pairs))
    raise refusal(file, f"must hold arrays named {wanted}; got {listed(found)}")
