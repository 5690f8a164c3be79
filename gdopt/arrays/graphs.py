"""Work that a GPU does again and again, captured once as a CUDA graph."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable
from typing import Any

from gdopt.errors import BackendError


@functools.cache
def capture_stream(cupy: Any, device: int) -> Any:
    """Return the stream to capture on: one, as cuBLAS takes 32 MiB for each."""
    with cupy.cuda.Device(device):
        return cupy.cuda.Stream(non_blocking=True)


class CapturedWork:
    """Does some work once as it is, then captures it; `replay` does it again.

    The first time compiles what there is to compile and fills a memory pool that is the
    graph's own: nothing else is ever put where the graph writes. The pool's memory goes
    back to the device with the object.

    Args:
        cupy: the module.
        stream: to capture on, not the default one.
        work: does the work on the current stream, and asks nothing of the device. Its
            result, arrays in the graph's own memory, is `result`. It is kept: the graph
            writes to arrays that only its closure holds.

    Raises:
        BackendError: CUDA refuses to capture it.
    """

    def __init__(self, cupy: Any, stream: Any, work: Callable[[], Any]) -> None:
        self._cupy = cupy
        self._work = work
        self._pool, self._device = cupy.cuda.MemoryPool(), cupy.cuda.Device()
        outside = cupy.cuda.get_current_stream()
        stream.wait_event(outside.record())
        with cupy.cuda.using_allocator(self._pool.malloc), stream:
            self.first = work()
            self.result, self._graph = self._capture(stream, work)
        outside.wait_event(stream.record())

    @staticmethod
    def _capture(stream: Any, work: Callable[[], Any]) -> tuple[Any, Any]:
        stream.begin_capture()
        try:
            result = work()
        except BaseException as error:
            with contextlib.suppress(RuntimeError):  # the capture may be invalid
                stream.end_capture()  # what has been captured so far is thrown away
            message = f"CUDA could not capture the work as a graph: {error}"
            raise BackendError(message) from error
        return result, stream.end_capture()

    def replay(self) -> Any:
        """Do the work again on the current stream; give its result, the same arrays."""
        self._graph.launch(self._cupy.cuda.get_current_stream())
        return self.result

    def __del__(self) -> None:
        """Return the pool's memory: a pool that is dropped keeps its free blocks."""
        pool, device = self._pool, self._device
        self.__dict__.clear()
        with device:
            pool.free_all_blocks()
