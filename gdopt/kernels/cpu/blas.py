"""Keeps BLAS to one thread for the length of a step, as gdopt's own threads share it.

BLAS's threads spin while they wait, and the order of its sums depends on their number.
"""

from __future__ import annotations

import ctypes
import functools
import itertools
import os
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy._core import _multiarray_umath  # type: ignore[attr-defined]

from gdopt.interrupt import Uninterrupted

PREFIXES, SUFFIXES = ("scipy_openblas", "openblas"), ("64_", "")  # of builds
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
OPENMP = 2  # as openblas_get_parallel returns it: each thread has a setting of its own


@functools.cache
def _finder() -> Callable[[str], Any] | None:
    """Return what finds OpenBLAS's functions in what NumPy has loaded, by name."""
    library = ctypes.CDLL(_multiarray_umath.__file__)
    for prefix, suffix in itertools.product(PREFIXES, SUFFIXES):
        if hasattr(library, f"{prefix}_set_num_threads{suffix}"):
            return lambda name: library[f"{prefix}_{name}{suffix}"]
    return None


@functools.cache
def _functions() -> tuple[Callable[[], int], Callable[[int], Any]] | None:
    """Find what gets and sets OpenBLAS's threads; None with another BLAS."""
    find = _finder()
    if find is None or find("get_parallel")() == OPENMP:
        return None
    return find("get_num_threads"), find("set_num_threads")


def describe_blas() -> str:
    """Return what the bits of products depend on: library, kernels and threads."""
    find = _finder()
    if find is None:
        built = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
        threads = [f"{name}={os.environ.get(name)}" for name in THREADS]
        return " ".join([built["name"], built["version"], *threads])
    config = find("get_config")
    config.restype = ctypes.c_char_p
    return f"{config().decode()}, threads: {find('get_num_threads')()}"


def can_limit_blas() -> bool:
    """Return whether BLAS can be kept to one thread: OpenBLAS without OpenMP."""
    return _functions() is not None


class BlasLimit:
    """Keeps BLAS to one thread while any thread is inside; the last one restores it."""

    def __init__(self) -> None:
        self._before = 0
        self._start()

    def _start(self) -> None:
        self._inside = 0
        self._lock = threading.Lock()

    def enter(self) -> None:
        """Set one thread, unless it is set."""
        functions = _functions()
        if functions is not None:
            with self._lock:
                if not self._inside:
                    self._before = functions[0]()
                    functions[1](1)
                self._inside += 1

    def leave(self) -> None:
        """Restore the number of threads, if no other thread is inside."""
        functions = _functions()
        if functions is not None:
            with self._lock:
                self._inside -= 1
                if not self._inside:
                    functions[1](self._before)

    def forget(self) -> None:
        """Leave, in a forked child, what threads were inside that it has not."""
        functions = _functions()
        if self._inside and functions is not None:
            functions[1](self._before)
        self._start()


LIMIT = BlasLimit()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=LIMIT.forget)


class OneBlasThread(Uninterrupted):
    """A context, which may be nested, in which BLAS has one thread and signals wait."""

    __slots__ = ()

    def __enter__(self) -> None:
        super().__enter__()
        try:
            LIMIT.enter()
        except BaseException:
            super().__exit__()
            raise

    def __exit__(self, *error: object) -> None:
        LIMIT.leave()
        super().__exit__(*error)
