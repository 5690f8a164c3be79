"""Ranks that are threads of one process: as many as wanted, started in no time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from gdopt.parallel.world import Ranks

LIMIT = 60.0


class Meeting:
    """Where threads exchange what they bring, all at the same time."""

    def __init__(self, size: int) -> None:
        self._barrier = threading.Barrier(size, timeout=LIMIT)
        self._brought: dict[int, Any] = {}

    def bring(self, rank: int, what: Any) -> dict[int, Any]:
        """Return what all ranks have brought; their arrays stay until `leave`."""
        self._brought[rank] = what
        self._barrier.wait()
        return dict(self._brought)

    def leave(self) -> None:
        """Wait until all have taken what they need."""
        self._barrier.wait()

    def abort(self) -> None:
        """Let all who wait raise an error."""
        self._barrier.abort()


class Threads:
    """A communicator between threads."""

    def __init__(self, rank: int, size: int, meeting: Meeting) -> None:
        self.rank, self.size, self.sent, self._meeting = rank, size, 0, meeting

    def swap(self, sends: Sequence[Any], receives: Sequence[Any]) -> None:
        """Send to and receive from several ranks at once."""
        brought = self._meeting.bring(self.rank, list(sends))
        for source in {source for source, _ in receives}:
            here = [array for rank, array in receives if rank == source]
            there = [array for rank, array in brought[source] if rank == self.rank]
            for into, array in zip(here, there, strict=True):
                assert into.dtype == array.dtype
                into[...] = array
        self.sent += sum(array.nbytes for _, array in sends)
        self._meeting.leave()

    def gather(self, buffer: Any, bounds: Sequence[int]) -> None:
        """Fill a buffer of which rank r has written bounds[r] to bounds[r + 1]."""
        brought = self._meeting.bring(self.rank, buffer)
        for rank, theirs in brought.items():
            low, high = bounds[rank : rank + 2]
            if rank != self.rank:
                buffer[low:high] = theirs[low:high]
            else:
                self.sent += (self.size - 1) * buffer[low:high].nbytes
        self._meeting.leave()

    def share(self, values: np.ndarray) -> np.ndarray:
        """Stack arrays of every rank."""
        brought = self._meeting.bring(self.rank, np.array(values))
        self.sent += (self.size - 1) * np.asarray(values).nbytes
        stacked = np.stack([brought[rank] for rank in range(self.size)])
        self._meeting.leave()
        return stacked

    def allreduce(self, buffer: Any) -> None:
        """Add up, in the order of the ranks."""
        brought = self._meeting.bring(self.rank, buffer.copy())
        buffer[...] = sum(brought[rank] for rank in range(self.size))
        self._meeting.leave()


class ThreadRanks(Ranks):
    """Ranks of one process, whose arithmetic is that of all."""

    def communicator(self, backend: str, order: str = "tree") -> Any:
        """Return what moves arrays between threads."""
        return self._host


def on_ranks(
    size: int, function: Callable[[Ranks], Any], kind: type[Ranks] = ThreadRanks
) -> list[Any]:
    """Return what a function returns on each of a number of ranks."""
    meeting = Meeting(size)

    def call(rank: int) -> Any:
        host: Any = Threads(rank, size, meeting)
        try:
            return function(kind(host, LIMIT))
        except BaseException:
            meeting.abort()
            raise

    with ThreadPoolExecutor(size) as pool:
        futures = [pool.submit(call, rank) for rank in range(size)]
    errors = [future.exception() for future in futures]
    first = [
        e for e in errors if not isinstance(e, threading.BrokenBarrierError | None)
    ]
    if first:
        raise first[0]
    return [future.result() for future in futures]
