"""Data sets from files: ``.npz``, CSV and MNIST's IDX."""

from __future__ import annotations

import os
import re

from gdopt.data.readers.archive import read_npz
from gdopt.data.readers.dataset import Dataset, refusal
from gdopt.data.readers.idx import read_idx, read_images
from gdopt.data.readers.table import read_csv
from gdopt.exports import public_dir
from gdopt.files import existing_file

__all__ = ["Dataset", "read", "read_csv", "read_idx", "read_images", "read_npz"]
__dir__ = public_dir(__name__)

# As published, and as some copies are named: train-images.idx3-ubyte
IDX_NAME = re.compile(r"[-.]idx[1-9]-[a-z0-9]+(\.gz)?$")


def read(path: str | os.PathLike[str]) -> Dataset:
    r"""Read a data set from a file, of the format that its name tells.

    ``.npz`` is read by `read_npz`, ``.csv`` by `read_csv` with the last column as
    target, and ``*-images-idx3-ubyte``, compressed (``.gz``) or not, with the labels
    that lie beside it.

    Args:
        path: the file.

    Returns:
        A `Dataset` of NumPy arrays on the host.

    Raises:
        ArgumentError: there is no such file, its name tells none of these formats, or
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
