"""What every reader returns, and the rules that a data set must meet."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gdopt.checks import host_array
from gdopt.data.schema import Schema
from gdopt.errors import ArgumentError


@dataclass(frozen=True, eq=False)
class Dataset:
    """Examples and their targets, as NumPy arrays on the host.

    Attributes:
        X: (m, n_x), one example a row, of the dtype in the file; float64 from CSV.
        y: (m,) int64 class numbers or floating-point quantities; (m, k) where the file
            holds k targets for each example.
        source: the file.
        feature_names: n_x names, where the file has them.
        classes: names of the classes 0, 1, ... in sorted order, where targets are text
            or a column of CSV.
        schema: of CSV, how its columns have become numbers.
    """

    X: np.ndarray
    y: np.ndarray
    source: str
    feature_names: tuple[str, ...] | None = None
    classes: tuple[str, ...] | None = None
    schema: Schema | None = None

    @classmethod
    def of(cls, path: Path, X: np.ndarray, y: np.ndarray) -> Dataset:
        """Bring what a file holds into the form of a data set.

        Raises:
            ArgumentError: the arrays are not examples and their targets.
        """
        X, y = host_array(f"{path}: features", X), host_array(f"{path}: targets", y)
        if X.ndim < 2 or X.dtype.kind not in "biuf":
            rule = "features must be rows of real numbers"
            raise refusal(path, f"{rule}, got {X.dtype} of shape {X.shape}")
        if y.ndim == 2 and y.shape[1] == 1:
            y = y[:, 0]
        if y.ndim not in (1, 2) or y.dtype.kind not in "biufU":
            rule = "targets must be numbers or text, one row for each example"
            raise refusal(path, f"{rule}, got {y.dtype} of shape {y.shape}")
        if len(X) != len(y):
            rule = "features and targets must have equally many examples"
            raise refusal(path, f"{rule}, got {len(X)} and {len(y)}")
        classes = None
        if y.dtype.kind == "U":
            names, numbers = np.unique(y, return_inverse=True)
            y, classes = numbers.reshape(y.shape), tuple(names.tolist())
        if y.dtype.kind != "f":  # unsigned numbers would wrap around in a difference
            if y.dtype == np.uint64 and (y > np.iinfo(np.int64).max).any():
                raise refusal(path, f"targets must fit int64, got {y.max()}")
            y = y.astype(np.int64)
        y = _native(y)
        X = _native(X).reshape(len(X), int(np.prod(X.shape[1:])))
        return cls(X, y, str(path), classes=classes)


def refusal(path: Path, rule: str) -> ArgumentError:
    """Make the error that names a file and the rule its content breaks."""
    return ArgumentError(f"{path}: {rule}")


def _native(array: np.ndarray) -> np.ndarray[Any, Any]:
    return array.astype(array.dtype.newbyteorder("="), copy=False)
