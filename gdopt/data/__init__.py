"""Data: mini-batches, training/dev/test split, normalization, readers."""

from typing import TYPE_CHECKING

from gdopt.data import augment
from gdopt.data.batches import MiniBatches, minibatches
from gdopt.data.normalize import Normalizer
from gdopt.data.prefetch import prefetch
from gdopt.data.split import Split, split
from gdopt.imports import lazy_getattr, public_dir

if TYPE_CHECKING:
    from gdopt.data.readers import Dataset, read, read_csv, read_idx, read_npz
else:
    # The readers bring zipfile, csv and gzip: 10 ms that `import gdopt` need not take.
    _READERS = "Dataset read read_csv read_idx read_npz"
    __getattr__ = lazy_getattr(__name__, {"gdopt.data.readers": _READERS})

__all__ = [
    "Dataset",
    "MiniBatches",
    "Normalizer",
    "Split",
    "augment",
    "minibatches",
    "prefetch",
    "read",
    "read_csv",
    "read_idx",
    "read_npz",
    "split",
]
__dir__ = public_dir(__name__)
