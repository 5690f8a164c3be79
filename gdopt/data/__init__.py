"""Data: mini-batches, training/dev/test split, normalization, readers."""

from gdopt.data.batches import MiniBatches, minibatches
from gdopt.data.distribution import Difference, compare_distributions
from gdopt.data.normalize import Normalizer
from gdopt.data.readers import Dataset, read, read_csv, read_idx, read_npz
from gdopt.data.split import Split, split

__all__ = [
    "Dataset",
    "Difference",
    "MiniBatches",
    "Normalizer",
    "Split",
    "compare_distributions",
    "minibatches",
    "read",
    "read_csv",
    "read_idx",
    "read_npz",
    "split",
]
