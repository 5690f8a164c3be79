"""MPI through mpi4py: moves NumPy arrays. Every wait has an end."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gdopt.errors import ParallelError
from gdopt.parallel.communicator import Move


class Mpi:
    """Moves NumPy arrays by MPI; a rank that waits `timeout` seconds says for what."""

    def __init__(self, timeout: float = 300.0) -> None:
        from mpi4py import MPI  # noqa: PLC0415 - needs the extra

        self._mpi, self._timeout = MPI, timeout
        self._comm = MPI.COMM_WORLD.Dup()
        self.rank, self.size = self._comm.rank, self._comm.size
        self.sent = self.calls = 0

    def swap(self, sends: Sequence[Move], receives: Sequence[Move]) -> None:
        """Send to and receive from several ranks at once."""
        comm = self._comm
        self._finish(
            "swap",
            lambda: [
                *(comm.Irecv(_bytes(array), source) for source, array in receives),
                *(comm.Isend(_bytes(array), target) for target, array in sends),
            ],
        )
        self.sent += sum(array.nbytes for _, array in sends)

    def gather(self, buffer: Any, bounds: Sequence[int]) -> None:
        """Fill a buffer of which rank r has written bounds[r] to bounds[r + 1]."""
        sizes = np.diff(bounds) * buffer.itemsize
        starts = np.array(bounds[:-1]) * buffer.itemsize
        into = [_bytes(buffer)[0], sizes, starts, self._mpi.BYTE]
        begin = self._comm.Iallgatherv
        self._finish("gather", lambda: [begin(self._mpi.IN_PLACE, into)])
        self.sent += (self.size - 1) * int(sizes[self.rank])

    def share(self, values: np.ndarray) -> np.ndarray:
        """Stack small host arrays of every rank: of equal shapes and dtypes."""
        values = np.ascontiguousarray(values)
        out = np.empty((self.size, *values.shape), values.dtype)
        self._finish("share", lambda: [self._comm.Iallgather(values, out)])
        self.sent += (self.size - 1) * values.nbytes
        return out

    def allreduce(self, buffer: Any) -> None:
        """Add up the buffers of all ranks in place, in an order of MPI's own."""
        begin = self._comm.Iallreduce
        self._finish("allreduce", lambda: [begin(self._mpi.IN_PLACE, buffer)])
        self.sent += 2 * (self.size - 1) * buffer.nbytes // self.size

    def _finish(self, what: str, begin: Callable[[], list[Any]]) -> None:
        """Wait with an end to it, and so that Ctrl-C is heard."""
        self.calls += 1
        start, call = time.monotonic(), f"{what}, call {self.calls}"
        requests = begin()
        while not self._mpi.Request.Testall(requests):
            if time.monotonic() - start > self._timeout:
                message = f"rank {self.rank}: all ranks must come to {call} within "
                message += f"{self._timeout:g} s, but some did not"
                raise ParallelError(message)
            os.sched_yield()


def _bytes(array: Any) -> list[Any]:
    return [array.reshape(-1).view(np.uint8), array.nbytes, "B"]
