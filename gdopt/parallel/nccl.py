"""NCCL through CuPy: moves CuPy arrays. MPI meets, and moves what is on the host."""

from __future__ import annotations

import contextlib
import itertools
import time
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from gdopt.arrays.backend import cuda_extra, get_backend
from gdopt.errors import MissingExtraError, ParallelError
from gdopt.imports import install, load_extra
from gdopt.interrupt import start_thread
from gdopt.parallel.communicator import Move, on_host
from gdopt.parallel.mpi import GPU, SILENCE, Mpi


def _load() -> Any:
    """Import CuPy's bindings, or say which extra brings the library."""
    extra = "nccl12x" if cuda_extra() == "cuda12x" else "nccl"
    nccl = load_extra("cupy.cuda.nccl", extra, "several GPUs")
    if not nccl.available:
        message = f"several GPUs need NCCL, which is not installed: {install(extra)}"
        raise MissingExtraError(message, name="nccl")
    return nccl


class Nccl:
    """Moves CuPy arrays by NCCL on the current stream; only `share` waits for it.

    A thread watches what is under way: if another rank does not take part, work on the
    stream never ends, and the host may wait for it anywhere.
    """

    def __init__(self, host: Mpi, timeout: float) -> None:
        self._nccl = _load()
        self.rank, self.size, self.sent = host.rank, host.size, 0
        self._host, self._timeout = host, timeout
        self._backend = get_backend("cupy")
        self._cuda = self._backend.xp.cuda
        self._device = self._cuda.Device().id
        self._begun: deque[list[Any]] = deque()  # calls, each with its event
        self._comm: Any = None
        self._open = True
        start_thread(self._watch)
        key = self._nccl.get_unique_id() if host.rank == 0 else bytes(128)
        key = host.share(np.frombuffer(key, np.uint8))[0].tobytes()
        with self._watched("share"):
            self._comm = self._nccl.NcclCommunicator(self.size, key, self.rank)

    def swap(self, sends: Sequence[Move], receives: Sequence[Move]) -> None:
        """Send to and receive from several ranks at once."""
        with self._call("swap") as stream:
            for rank, array in sends:
                self._comm.send(*self._bytes(array), rank, stream)
            for rank, array in receives:
                self._comm.recv(*self._bytes(array), rank, stream)
        self.sent += sum(array.nbytes for _, array in sends)

    def gather(self, buffer: Any, bounds: Sequence[int]) -> None:
        """Fill a buffer of which rank r has written bounds[r] to bounds[r + 1]."""
        flat = buffer.reshape(-1)
        parts = [flat[low:high] for low, high in itertools.pairwise(bounds)]
        with self._call("gather") as stream:
            for rank, part in enumerate(parts):
                place, size, kind = self._bytes(part)
                self._comm.broadcast(place, place, size, kind, rank, stream)
        self.sent += (self.size - 1) * parts[self.rank].nbytes

    def allreduce(self, buffer: Any) -> None:
        """Add up the buffers of all ranks in place, in an order of NCCL's own."""
        kind = getattr(self._nccl, f"NCCL_{buffer.dtype.name.upper()}")
        place, add = self._bytes(buffer)[0], self._nccl.NCCL_SUM
        with self._call("allreduce") as stream:
            self._comm.allReduce(place, place, buffer.size, kind, add, stream)
        self.sent += 2 * (self.size - 1) * buffer.nbytes // self.size

    def share(self, values: Any) -> np.ndarray:
        """Stack small arrays of every rank, as NumPy's; wait for the stream first."""
        self._host.count(GPU)
        with self._on_device():
            there = self._cuda.get_current_stream().record()
            try:
                self._host.wait(lambda: bool(there.done), tuple)
            except ParallelError:
                self._comm.abort()
                raise
            values = on_host(values)
        self.sent += (self.size - 1) * values.nbytes
        return self._host.share(values)

    def leave(self) -> None:
        """Wait until all is done, and end NCCL."""
        self.share(0)
        self._open = False
        self._comm.destroy()

    def _on_device(self) -> Any:
        return self._backend.on(f"cuda:{self._device}")

    @contextlib.contextmanager
    def _watched(self, kind: str) -> Iterator[None]:
        """Watch what is called in the block until the stream has done it."""
        self._host.count(kind)
        under_way = [f"{kind}, call {self._host.calls}", None]
        with self._on_device():
            self._begun.append(under_way)
            yield
            under_way[1] = self._cuda.get_current_stream().record()

    @contextlib.contextmanager
    def _call(self, kind: str) -> Iterator[int]:
        """Group what is called in the block on the stream, whose pointer it gets."""
        with self._watched(kind):
            self._nccl.groupStart()
            try:
                yield self._cuda.get_current_stream().ptr
            finally:
                self._nccl.groupEnd()

    def _bytes(self, array: Any) -> tuple[int, int, int]:
        if array.data.device_id != self._device:
            raise ParallelError(
                f"rank {self.rank}: arrays must be on cuda:{self._device}, where NCCL "
                f"was started, got one on cuda:{array.data.device_id}"
            )
        return array.data.ptr, array.nbytes, self._nccl.NCCL_INT8

    def _watch(self) -> None:
        """End all ranks if a call is not done in time."""
        since = time.monotonic()
        while self._open:
            time.sleep(SILENCE / 4)
            while self._begun and self._begun[0][1] and self._begun[0][1].done:
                self._begun.popleft()
                since = time.monotonic()
            if not self._begun:
                since = time.monotonic()
            elif time.monotonic() - since > self._timeout + SILENCE:
                message = (
                    f"rank {self.rank}: {self._begun[0][0]}, of NCCL is not done after "
                    f"{self._timeout:g} s: see what other ranks do there, or give "
                    "world a longer timeout"
                )
                if self._comm:  # else it is being made
                    self._comm.abort()
                self._host.fail(ParallelError(message))
