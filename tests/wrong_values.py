"""Values that a user may pass by mistake, and what shows that nothing has changed."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

import gdopt


def read_only(shape=(2, 3)):
    array = np.ones(shape)
    array.flags.writeable = False
    return array


WRONG = {  # by name: a way to make one
    "None": lambda: None,
    "text": lambda: "no",
    "empty text": lambda: "",
    "bytes": lambda: b"\xff\xfe",
    "nan": lambda: float("nan"),
    "inf": lambda: float("inf"),
    "-1": lambda: -1,
    "-0.5": lambda: -0.5,
    "0": lambda: 0,
    "True": lambda: True,
    "2.0": lambda: 2.0,
    "1.5": lambda: 1.5,
    "huge": lambda: 10**30,
    "complex": lambda: 1 + 2j,
    "[]": list,
    "()": tuple,
    "{}": dict,
    "other keys": lambda: {"no": 1, 2: "x"},
    "set": lambda: {1, 2},
    "nested": lambda: [[1, 2], [3]],
    "texts": lambda: ["a", "b"],
    "Nones": lambda: [None, None],
    "class": lambda: dict,
    "own class": lambda: gdopt.Adam,
    "object": object,
    "function": lambda: lambda *_args, **_options: None,
    "generator": lambda: (k for k in range(2)),
    "int array": lambda: np.arange(6).reshape(2, 3),
    "bool array": lambda: np.ones((2, 3), bool),
    "uint8 array": lambda: np.full((2, 3), 255, np.uint8),
    "float16 array": lambda: np.ones((2, 3), np.float16),
    "float32 array": lambda: np.ones((2, 3), np.float32),
    "complex array": lambda: np.ones((2, 3), complex),
    "object array": lambda: np.array([None, {}, "x"], object),
    "text array": lambda: np.array(["a", "b"]),
    "bytes array": lambda: np.array([b"a", b"\xff"]),
    "dates": lambda: np.array(["2020-01-01", "NaT"], "datetime64[D]"),
    "masked": lambda: np.ma.masked_equal(np.ones((2, 3)), 1.0),
    "read-only": read_only,
    "0-d": lambda: np.array(0.5),
    "0-d text": lambda: np.array("no"),
    "0-d object": lambda: np.array(None, object),
    "1-d": lambda: np.ones(7),
    "3-d": lambda: np.ones((2, 2, 2)),
    "empty array": lambda: np.zeros(0),
    "no columns": lambda: np.zeros((2, 0)),
    "nan array": lambda: np.full((2, 3), np.nan),
    "big-endian": lambda: np.ones((2, 3), ">f8"),
    "structured": lambda: np.zeros(2, [("a", float), ("b", int)]),
    "matrix": lambda: np.ones((2, 3)).view(np.matrix),
    "nowhere": lambda: Path("not-there/file.csv"),
    "folder": Path,
    "null in path": lambda: "a\0b",
    "surrogate": lambda: "\udcff.npz",
}


def freeze(value, seen=None):
    """Return all that a call could change in what it was passed, as plain values."""
    if isinstance(value, str | bytes | int | float | complex):
        return repr(value)
    seen = {} if seen is None else seen
    if id(value) in seen:
        return "seen"
    seen[id(value)] = value
    if isinstance(value, np.ndarray) and value.dtype != object:
        return value.dtype.str, value.shape, value.strides, value.tobytes()
    for kind, parts in PARTS.items():
        if isinstance(value, kind):
            return [(str(key), freeze(part, seen)) for key, part in parts(value)]
    if type(value).__module__.startswith("gdopt") and hasattr(value, "__dict__"):
        return [(key, freeze(part, seen)) for key, part in vars(value).items()]
    return ""


def files_in(path):
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    return [(file, file.read_bytes() if file.is_file() else "") for file in files]


PARTS = {  # what objects hold, with names
    Path: files_in,
    np.ndarray: lambda array: enumerate(array.flat),
    np.random.Generator: lambda one: one.bit_generator.state.items(),
    gdopt.Kernel: lambda _: (),  # keeps what it has compiled
    gdopt.Optimizer: lambda one: [*one.params.items(), *one.state_dict().items()],
    gdopt.nn.Network: lambda one: [*one.params.items(), *one.state_dict().items()],
    Mapping: lambda mapping: mapping.items(),
    list | tuple: enumerate,
}
