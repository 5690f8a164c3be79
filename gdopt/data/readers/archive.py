"""Data sets in NumPy's ``.npz``."""

from __future__ import annotations

import os
import zipfile
import zlib
from pathlib import Path

import numpy as np

from gdopt.checks import listed, shown
from gdopt.data.readers.dataset import Dataset, refusal
from gdopt.errors import GdoptError
from gdopt.files import existing_file

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
            arrays are no examples and targets.

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
