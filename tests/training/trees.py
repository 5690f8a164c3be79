"""A tree with everything a checkpoint may hold, and when two trees are alike."""

import numpy as np

from gdopt.training.checkpoint import digest

TREE = {
    "params": {"W": np.arange(6.0).reshape(2, 3), "b": np.float32([1, -0.0])},
    "empty": np.zeros((0, 4), np.int64),
    "scalar": np.array(True),
    "names": np.array(["ä", "b"]),
    "list": [1, 2.5, None, "text", {"deep": np.array([1 + 2j])}],
    "t": 3,
    "rate": 0.1,
    "limits": [float("inf"), -(2**70)],
    "flag": False,
    "nothing": {},
}


def same(one, other):
    """Return whether two trees are alike, to the bits and types of everything."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[k], other[k]) for k in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, np.ndarray):
        return digest(one) == digest(other)
    return type(one) is type(other) and one == other
