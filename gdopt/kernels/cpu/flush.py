"""Flushes float32 denormals to zero for the length of a pass, as the GPU does.

CUDA flushes them under CuPy; a CPU takes tens of times longer over them instead (an
Adam step whose gradients have become zero slows from 1.5 to 16 ns an element). On
x86-64 with glibc the calling thread's mode is set through ``fesetenv`` and restored.
Elsewhere the CPU engines keep denormals, and bits may differ from CUDA's on them.
"""

from __future__ import annotations

import ctypes
import functools
import platform
import threading
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from gdopt.interrupt import Uninterrupted

FLUSH = 0x8040  # MXCSR: flush results to zero, take denormal operands as zero
MXCSR_OFFSET = 28  # its place in glibc's fenv_t on x86-64
FENV_BYTES = 64  # more than sizeof(fenv_t)
TINY, ONE = 5e-324, 1.0


@functools.cache
def _environment() -> tuple[Any, Any] | None:
    """Find glibc's functions; None where the mode cannot be set."""
    if platform.machine() not in {"x86_64", "AMD64"}:
        return None
    if platform.libc_ver()[0] != "glibc":
        return None
    library = ctypes.PyDLL("libm.so.6")  # without the cost of releasing the lock
    for function in (library.fegetenv, library.fesetenv):
        function.argtypes, function.restype = [ctypes.c_void_p], ctypes.c_int
    return library.fegetenv, library.fesetenv


def can_flush() -> bool:
    """Return whether the CPU engines flush float32 denormals on this machine."""
    return _environment() is not None


class _Mode:
    """A copy of the floating-point environment, and the word in it."""

    def __init__(self) -> None:
        self.environment = ctypes.create_string_buffer(FENV_BYTES)
        self.place = ctypes.addressof(self.environment)
        self.mode = ctypes.c_uint32.from_buffer(self.environment, MXCSR_OFFSET)


class _ThreadMode(threading.local, _Mode):
    """A thread's own copy."""


_thread = _ThreadMode()


class FlushToZero(Uninterrupted):
    """A context in which the calling thread flushes denormals, where it can.

    No handler of a signal runs within it: one that raises could skip its end.
    """

    __slots__ = ("_before", "_mode", "_place", "_put")

    def __enter__(self) -> None:
        super().__enter__()
        functions = _environment()
        self._put = functions and functions[1]
        if functions is not None:
            self._place, self._mode = place, mode = _thread.place, _thread.mode
            functions[0](place)
            self._before = before = mode.value
            mode.value = before | FLUSH
            functions[1](place)

    def __exit__(self, *_: object) -> None:
        if self._put is not None:
            self._mode.value = self._before
            self._put(self._place)
        super().__exit__()


class FlushedCalls:
    """Calls of C functions between which denormals are flushed, where they can be."""

    def __init__(self) -> None:
        self._before, self._flushed = _Mode(), _Mode()

    def around(self, calls: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
        """Return the calls with those that set and restore the mode around them."""
        functions = _environment()
        if functions is None:
            return calls
        get, put = functions
        get(self._before.place)
        get(self._flushed.place)
        self._flushed.mode.value |= FLUSH
        return [(put, self._flushed.place), *calls, (put, self._before.place)]

    def restore(self) -> None:
        """Restore the mode, as one of the calls has raised an error."""
        functions = _environment()
        if functions is not None:
            functions[1](self._before.place)


def flushing(dtype: Any) -> AbstractContextManager[None]:
    """Return a context for arithmetic in a dtype: denormals of float32 are flushed."""
    return FlushToZero() if dtype == "float32" else nullcontext()


def flushes() -> bool:
    """Return whether the calling thread flushes denormals."""
    return TINY * ONE == 0.0


def set_flush(*, flush: bool) -> None:
    """Let the calling thread flush denormals or keep them, where that can be set."""
    functions = _environment()
    if functions is not None:
        get, put = functions
        get(_thread.place)
        mode = _thread.mode.value
        _thread.mode.value = mode | FLUSH if flush else mode & ~FLUSH
        put(_thread.place)
