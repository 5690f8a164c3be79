"""Examples that name themselves by their numbers."""

import numpy as np

IRIS = "width,length,kind\n3.5,5.1,setosa\n3.2,7.0,versicolor\n3.0,4.9,setosa\n"


def rows(count, width=3, dtype=np.float32):
    """Rows that tell their own index: row k holds k everywhere."""
    return np.repeat(np.arange(count, dtype=dtype)[:, None], width, axis=1)


def indices(batches):
    """Indices visited by one epoch of batches of `rows`."""
    return [int(k) for batch in batches for k in np.asarray(batch)[:, 0]]


def data(count, width=3):
    """Random features, whose first tells the index, and the indices."""
    X = np.random.default_rng(7).normal(size=(count, width))
    X[:, 0] = np.arange(count)
    return X, np.arange(count, dtype=float)
