"""Data: mini-batches, training/dev/test split, normalization, readers."""

import importlib
from typing import TYPE_CHECKING, Any

from gdopt.data import augment
from gdopt.data.batches import MiniBatches, minibatches
from gdopt.data.normalize import Normalizer
from gdopt.data.prefetch import prefetch
from gdopt.data.split import Split, split

if TYPE_CHECKING:
    from gdopt.data.readers import Dataset, read, read_csv, read_idx, read_npz

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


def __getattr__(name: str) -> Any:
    # The readers bring zipfile, csv and gzip: 10 ms that `import gdopt` need not take.
    if name not in __all__:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    return getattr(importlib.import_module("gdopt.data.readers"), name)
