"""Matrix products by cuBLAS itself, with a handle and workspaces of our own."""

from __future__ import annotations

import ctypes
import threading
from typing import Any

from gdopt.errors import BackendError

WORKSPACE = 32 << 20  # bytes: what NVIDIA recommends for Hopper
NAMES = {"f": "cublasSgemm_v2", "d": "cublasDgemm_v2"}  # by the dtype's character
SCALARS = {
    character: tuple(ctypes.byref(kind(value)) for value in (1.0, 0.0))
    for character, kind in (("f", ctypes.c_float), ("d", ctypes.c_double))
}
NORMAL, TRANSPOSED = 0, 1  # cublasOperation_t
STATUSES = {
    1: "CUBLAS_STATUS_NOT_INITIALIZED",
    3: "CUBLAS_STATUS_ALLOC_FAILED",
    7: "CUBLAS_STATUS_INVALID_VALUE",
    8: "CUBLAS_STATUS_ARCH_MISMATCH",
    11: "CUBLAS_STATUS_MAPPING_ERROR",
    13: "CUBLAS_STATUS_EXECUTION_FAILED",
    14: "CUBLAS_STATUS_INTERNAL_ERROR",
    15: "CUBLAS_STATUS_NOT_SUPPORTED",
    16: "CUBLAS_STATUS_LICENSE_ERROR",
}


def load_library(cupy: Any) -> Any:
    """Load the cuBLAS that CuPy has loaded."""
    cupy.cuda.device.get_cublas_handle()
    major = cupy.cuda.runtime.runtimeGetVersion() // 1000
    try:
        return ctypes.CDLL(f"libcublas.so.{major}")
    except OSError:
        return ctypes.CDLL(f"cublas64_{major}.dll")


class Cublas:
    """cuBLAS on one device; products go to the current stream, from any thread."""

    def __init__(self, cupy: Any) -> None:
        self._cupy = cupy
        self._library = load_library(cupy)
        self._handle = ctypes.c_void_p()
        self._lock = threading.Lock()  # a product must go to its own thread's stream
        self._stream: int | None = None
        self._workspaces: dict[int, Any] = {}
        self._call("cublasCreate_v2", ctypes.byref(self._handle))

    def _call(self, name: str, *arguments: Any) -> None:
        status = getattr(self._library, name)(*arguments)
        if status:
            reason = STATUSES.get(status, f"status {status}")
            raise BackendError(f"cuBLAS failed: {name} gave {reason}")

    def _follow(self) -> None:
        """Send what comes to the current stream; each has a workspace of its own."""
        stream = self._cupy.cuda.get_current_stream().ptr
        if stream == self._stream:
            return
        if stream not in self._workspaces:
            # Not from the current pool, which may be a graph's and go with it.
            pool = self._cupy.get_default_memory_pool()
            with self._cupy.cuda.using_allocator(pool.malloc):
                self._workspaces[stream] = self._cupy.empty(WORKSPACE, "uint8")
        space = ctypes.c_void_p(self._workspaces[stream].data.ptr)
        self._call("cublasSetStream_v2", self._handle, ctypes.c_void_p(stream))
        size = ctypes.c_size_t(WORKSPACE)
        self._call("cublasSetWorkspace_v2", self._handle, space, size)
        self._stream = stream

    def multiply(self, a: Any, b: Any, out: Any) -> bool:
        """Compute ``out = a b`` unless cuBLAS would need a copy; return whether it did.

        cuBLAS counts along columns, so it is asked for ``out^T = b^T a^T``.
        """
        (m, k), n, kind = a.shape, b.shape[1], a.dtype
        placed = [_place(array) for array in (b, a, out)]
        if (
            kind.char not in NAMES
            or not kind == b.dtype == out.dtype
            or b.shape[0] != k
            or 0 in (m, k, n)
            or None in placed
            or placed[2][0] != NORMAL
        ):
            return False
        (order_b, *of_b), (order_a, *of_a), (_, *of_out) = placed
        one, zero = SCALARS[kind.char]
        sizes = map(ctypes.c_int, (order_b, order_a, n, m, k))
        arguments = self._handle, *sizes, one, *of_b, *of_a, zero, *of_out
        with self._lock:
            self._follow()
            self._call(NAMES[kind.char], *arguments)
        return True


def _place(array: Any) -> Any:
    """Return the order, the address, and the length of what lies together."""
    flags, (rows, columns) = array.flags, array.shape
    if flags.c_contiguous:
        order, length = NORMAL, columns
    elif flags.f_contiguous:
        order, length = TRANSPOSED, rows
    else:
        return None
    return order, ctypes.c_void_p(array.data.ptr), ctypes.c_int(length)
