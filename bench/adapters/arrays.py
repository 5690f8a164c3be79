"""Arrays of NumPy on the CPU, of CuPy on a GPU."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np


def library(device: str) -> Any:
    """Return the library that computes on a device, "cpu" or "cuda"."""
    return importlib.import_module("cupy" if device == "cuda" else "numpy")


def place(arrays: Iterable[np.ndarray], device: str, dtype: str = "float32") -> list:
    """Copy arrays to a device."""
    xp, kind = library(device), np.dtype(dtype)
    return [xp.asarray(array.astype(kind)) for array in arrays]


def host(arrays: Iterable[Any]) -> list[np.ndarray]:
    """Return arrays on the host, in float32."""
    found = (array.get() if hasattr(array, "get") else array for array in arrays)
    return [array.astype(np.float32, copy=False) for array in found]


def waiting(device: str) -> Callable[[], None]:
    """Return what waits until a device has done all of its work."""
    if device == "cuda":
        return library(device).cuda.Device().synchronize
    return lambda: None
