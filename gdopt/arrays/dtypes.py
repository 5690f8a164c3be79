"""How numbers are stored and computed with: half precisions are storage alone."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np

from gdopt.checks import shown
from gdopt.errors import ArgumentTypeError
from gdopt.imports import load_extra

COMPLEX = {"complex64": "float32", "complex128": "float64"}  # with that of the parts
STORED_HALF = ("float16", "bfloat16")  # arithmetic and state are float32


@dataclass(frozen=True)
class Storage:
    """How one array of a pass lies in memory."""

    dtype: str  # float16, bfloat16, float32 or float64
    random_stream: int | None = None  # whose bits round an element; None: to nearest
    separate: bool = False  # reached by a table of pointers, not in a buffer


@functools.cache
def is_float(dtype: Any) -> bool:
    """Return whether numbers of that dtype can be updated: float16 to 64, bfloat16."""
    dtype = np.dtype(dtype)
    plain = dtype.kind == "f" and dtype.itemsize <= 8
    return bool(plain or dtype.name == "bfloat16")


def check_dtype(name: str, value: Any, known: Collection[str]) -> Any:
    """Take one of the known dtypes, or what NumPy makes one of."""
    dtype = None
    with contextlib.suppress(TypeError, ValueError):
        dtype = None if value is None else as_dtype(value)
    if dtype is None or dtype.name not in known or not dtype.isnative:
        message = f"{name} must be {' or '.join(known)}, got {shown(value)}"
        raise ArgumentTypeError(message)
    return dtype


def real_name(name: str) -> str:
    """Name the dtype of the parts of complex numbers; of real ones their own."""
    return COMPLEX.get(name, name)


def as_parts(array: Any) -> Any:
    """View complex numbers as real ones, with a last axis for both parts."""
    if array.dtype.name not in COMPLEX:
        return array
    return array[..., None].view(real_name(array.dtype.name))


def as_complex(parts: Any) -> Any:
    """View real numbers whose last axis holds both parts as complex ones."""
    return parts.view(f"complex{16 * parts.dtype.itemsize}")[..., 0]


def as_dtype(name: Any) -> Any:
    """Return the dtype of a name, bfloat16 included, which NumPy has from ml_dtypes."""
    if isinstance(name, str) and name == "bfloat16":
        module = load_extra("ml_dtypes", "bfloat16", "bfloat16")
        return np.dtype(module.bfloat16)
    return np.dtype(name)


@functools.cache  # for every array of every call
def compute_dtype(dtype: Any) -> Any:
    """Return the dtype of the arithmetic: float32 for half, else the storage's own."""
    return np.dtype(compute_name(as_dtype(dtype).name))


def compute_name(name: str) -> str:
    """Name the dtype of the arithmetic, as `compute_dtype` gives it."""
    return "float32" if name in STORED_HALF else name
