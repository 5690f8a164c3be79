"""The memory of a CUDA device: what is free, and what some work takes at its peak."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

from gdopt.arrays.backend import Backend
from gdopt.arrays.cublas import WORKSPACE
from gdopt.planner.memory.host import Peak
from gdopt.tables import format_bytes

UNIT = 512  # bytes, to which CuPy's pool rounds
UNTRACKED_BYTES = 64 << 20  # bytes outside the pool, from which on they are reported


class DeviceMemory:
    """A CUDA device's memory, as CuPy's pool and the driver count it.

    What is measured lives in a fresh pool of its own, so that the user's pool is not
    filled, below what its limit leaves.
    """

    unit = UNIT
    workspace = WORKSPACE  # of cuBLAS, for the products of gdopt's own network

    def __init__(self, backend: Backend, device: str) -> None:
        self._cupy = backend.xp
        self._backend = backend
        self.device = device
        self.notices: list[str] = []
        self._left_over: list[Any] = []  # pools in which something still lives
        found = self._cupy.cuda.get_allocator()
        self._own = found == self._cupy.get_default_memory_pool().malloc
        if not self._own:
            owner = type(getattr(found, "__self__", found)).__name__
            self.notices.append(
                f"another allocator than CuPy's pool is installed ({owner}): it stays "
                "in place, and what it takes is read from the device's free memory, "
                "which other processes change too"
            )

    def _left(self) -> int:
        free, _ = self._cupy.cuda.runtime.memGetInfo()
        return int(free)

    def _limit(self) -> int | None:
        """Return what the limit of the user's pool leaves, if it has one."""
        pool = self._cupy.get_default_memory_pool()
        limit = int(pool.get_limit())
        return max(0, limit - int(pool.used_bytes())) if limit and self._own else None

    def free(self) -> int:
        """Return the bytes that this process may still take, cached blocks included."""
        with self._backend.on(self.device):
            self._release()
            left = self._left()
            # A step that keeps an array until its next call frees it there.
            left += sum(int(pool.total_bytes()) for pool in self._left_over)
            limit = self._limit()
        return left if limit is None else min(left, limit)

    def _release(self) -> None:
        """Free what is cached: by trials, in their pools, and by the user's."""
        for pool in [*self._left_over, self._cupy.get_default_memory_pool()]:
            pool.free_all_blocks()
        self._left_over = [pool for pool in self._left_over if pool.total_bytes()]

    @contextmanager
    def watch(self, *, samples: bool = False) -> Iterator[Peak]:  # noqa: ARG002
        """Measure what is allocated in a pool of its own; sample at the allocations."""
        peak = Peak()
        with self._backend.on(self.device):
            self._release()
            pool, allocating = None, nullcontext()
            if self._own:
                pool = self._cupy.cuda.MemoryPool()
                limit = self._limit()  # what is left below that of the user's pool
                if limit is not None:
                    pool.set_limit(size=max(limit, UNIT))  # 0 would be no limit
                self._left_over.append(pool)
                allocating = self._cupy.cuda.using_allocator(pool.malloc)
            before = self._left()
            try:
                with allocating, _hook(self._cupy, peak):
                    yield peak
                    self._backend.synchronize()
            finally:
                fell = before - self._left()
                peak.reserved = fell if pool is None else int(pool.total_bytes())
                beside = fell - peak.reserved
                if beside > UNTRACKED_BYTES:
                    self.notices.append(
                        f"the device's free memory fell by {format_bytes(beside)} more "
                        "than arrays took: workspaces of libraries, or another process"
                    )

    def time(self, work: Callable[[], Any]) -> float:
        """Return the seconds between two events on the device."""
        cuda = self._cupy.cuda
        with self._backend.on(self.device):
            start, end = cuda.Event(), cuda.Event()
            start.record()
            work()
            end.record()
            end.synchronize()
            return float(cuda.get_elapsed_time(start, end)) / 1e3

    def tidy(self) -> None:
        """Free cached blocks that are no longer used."""
        gc.collect()
        with self._backend.on(self.device):
            self._release()

    def describe(self) -> str:
        """Return a readable name of the device."""
        with self._backend.on(self.device):
            return self._backend.describe().removesuffix(", with CuPy")


def _hook(cupy: Any, peak: Peak) -> Any:
    """Make a hook that follows the bytes of arrays allocated since, for a peak."""
    base: Any = cupy.cuda.MemoryHook

    class PeakHook(base):  # type: ignore[misc]
        name = "gdopt peak"

        def __init__(self) -> None:
            self.live: dict[int, int] = {}
            self.now = 0

        def malloc_postprocess(self, **event: Any) -> None:
            if event["mem_ptr"]:  # 0 where the allocation failed
                self.live[event["mem_ptr"]] = event["mem_size"]
                self.now += event["mem_size"]
                peak.used = max(peak.used, self.now)
                peak.note(sys._getframe(1), self.now)  # noqa: SLF001 - CuPy's caller

        def free_postprocess(self, **event: Any) -> None:
            self.now -= self.live.pop(event["mem_ptr"], 0)

    return PeakHook()
