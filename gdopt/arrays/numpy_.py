"""NumPy on the CPU."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np

from gdopt.arrays.backend import Backend
from gdopt.checks import shows

ALIGNMENT = 64  # bytes: a cache line, and the widest vector register
PAGE = 4096
# Loads from where another array was just stored to, a multiple of a page away, wait for
# the store in vain. Arrays that start in different quarters of a page do not meet so
# (nor a caller's, which start near a page's beginning): an Adam step over 77 k elements
# takes 32 us each time, not 32 to 44 by chance.
_places = itertools.cycle(range(PAGE // 8, PAGE, PAGE // 4))


@shows("name")
class NumpyBackend(Backend):
    """Arrays in the machine's main memory."""

    name = "numpy"
    xp: Any = np

    def is_array(self, value: object) -> bool:
        return isinstance(value, np.ndarray)

    def device(self, array: Any) -> str:  # noqa: ARG002 - there is one
        return "cpu"

    def on(self, device: str | None) -> AbstractContextManager[Any]:  # noqa: ARG002
        return nullcontext()

    def zeros(self, shape: Any, dtype: Any, device: str | None = None) -> Any:  # noqa: ARG002
        dtype = np.dtype(dtype)
        count = int(np.prod(shape, dtype=np.int64))
        size = count * dtype.itemsize
        boundary, offset = (PAGE, next(_places)) if size >= PAGE else (ALIGNMENT, 0)
        raw = np.zeros(size + boundary + offset, np.uint8)
        start = -self.address(raw) % boundary + offset
        return raw[start : start + size].view(dtype).reshape(shape)

    def from_host(self, array: Any, device: str | None = None) -> Any:  # noqa: ARG002
        return np.asarray(array)

    def to_host(self, array: Any) -> np.ndarray:
        return np.asarray(array)

    def fetch(self, array: Any) -> Callable[[], float]:
        """See `Backend.fetch`."""
        number = float(array)
        return lambda: number

    def address(self, array: Any) -> int:
        return int(array.__array_interface__["data"][0])

    def owner(self, array: Any) -> object | None:
        while (base := array.base) is not None:
            if not isinstance(base, np.ndarray):
                return None  # memory of another library may have several owners
            array = base
        owner: object = array
        return owner

    def writeable(self, array: Any) -> bool:
        return bool(array.flags.writeable)

    def matmul(self, a: Any, b: Any, out: Any = None) -> Any:
        return np.matmul(a, b, out=out)

    def synchronize(self) -> None:
        """Do nothing: NumPy has finished when it returns."""

    def describe(self) -> str:
        return "the CPU, with NumPy"
