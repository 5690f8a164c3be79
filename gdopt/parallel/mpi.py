"""MPI through mpi4py: moves NumPy arrays. Every wait ends.

All goes from rank to rank, tagged with the kind and the number of the call. Ranks that
make different calls therefore never take each other's messages. A rank that waits for
long says in which call, so that errors can name both calls, or who is missing.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import numpy as np

from gdopt.errors import ParallelError
from gdopt.imports import load_extra
from gdopt.parallel.communicator import Move

KINDS = ("swap", "gather", "share", "allreduce", "the end of the block", "failure")
END, FAILURE = KINDS[-2:]
TAGS = 1 << 15  # MPI promises that many
SILENCE = 0.2  # seconds after which a rank that waits says so
KILLED = 2.0  # seconds within which a launcher kills the ranks of a job that failed


class Mpi:
    """Moves NumPy arrays by MPI; a rank that waits `timeout` seconds says for what."""

    def __init__(self, timeout: float = 300.0) -> None:
        self._mpi = load_extra("mpi4py.MPI", "mpi", "training on several ranks")
        self._timeout = timeout
        self._comm = self._mpi.COMM_WORLD.Dup()
        self._notices = self._mpi.COMM_WORLD.Dup()  # small messages about calls
        self.rank, self.size = self._comm.rank, self._comm.size
        self._others = [rank for rank in range(self.size) if rank != self.rank]
        self.sent = self.calls = 0
        self._kind = ""
        self._heard: dict[int, tuple[int, str]] = {}  # the last notice of each rank
        self._sending: list[Any] = []  # notices
        self._dead: list[int] = []
        self._follows = False  # whether another rank has failed first

    def swap(self, sends: Sequence[Move], receives: Sequence[Move]) -> None:
        """Send to and receive from several ranks at once."""
        self._exchange("swap", sends, receives)

    def gather(self, buffer: Any, bounds: Sequence[int]) -> None:
        """Fill a buffer of which rank r has written bounds[r] to bounds[r + 1]."""
        flat = buffer.reshape(-1)
        parts = [flat[low:high] for low, high in itertools.pairwise(bounds)]
        own = [(rank, parts[self.rank]) for rank in self._others]
        self._exchange("gather", own, [(rank, parts[rank]) for rank in self._others])

    def share(self, values: np.ndarray) -> np.ndarray:
        """Stack small host arrays of every rank: of equal shapes and dtypes."""
        return self._share("share", values)

    def allreduce(self, buffer: Any) -> None:
        """Add up the buffers of all ranks in place, in an order of MPI's own."""

        def begin(_: int) -> list[Any]:
            return [self._comm.Iallreduce(self._mpi.IN_PLACE, buffer)]

        self._finish("allreduce", [], [], begin)
        self.sent += 2 * (self.size - 1) * buffer.nbytes // self.size

    def leave(self) -> None:
        """Wait until all ranks have come to the end."""
        self._share(END, np.zeros(1))

    def fail(self, error: BaseException) -> NoReturn:
        """End all ranks, after the error has been shown once.

        Where several ranks fail, the lowest one shows its error.
        """
        with contextlib.suppress(self._mpi.Exception):
            if not self._follows:
                self._say(FAILURE)
                self._hear_for(SILENCE)
        failed = {rank for rank, (_, kind) in self._heard.items() if kind == FAILURE}
        alive = [rank for rank in range(self.size) if rank not in self._dead]
        first = min(failed | {self.rank}) if not self._dead else min(alive)
        if self._follows or first < self.rank:
            time.sleep(KILLED)
        else:
            _show(self.rank, error)
        sys.stdout.flush()
        with contextlib.suppress(Exception):  # under ULFM, those who wait hear of it
            self._comm.Revoke()
        code = error.code if isinstance(error, SystemExit) else 1
        self._mpi.COMM_WORLD.Abort(code if isinstance(code, int) and code else 1)
        os._exit(1)  # where the launcher does not listen

    def _share(self, kind: str, values: np.ndarray) -> np.ndarray:
        values = np.array(values, order="C")
        out = np.empty((self.size, *values.shape), values.dtype)
        out[self.rank] = values
        rows = out.reshape(self.size, -1)
        own = [(rank, rows[self.rank]) for rank in self._others]
        self._exchange(kind, own, [(rank, rows[rank]) for rank in self._others])
        return out

    def _exchange(
        self, kind: str, sends: Sequence[Move], receives: Sequence[Move]
    ) -> None:
        comm = self._comm

        def begin(tag: int) -> list[Any]:
            return [
                *(comm.Irecv(_bytes(array), source, tag) for source, array in receives),
                *(comm.Isend(_bytes(array), target, tag) for target, array in sends),
            ]

        self._finish(kind, receives, sends, begin)
        self.sent += sum(array.nbytes for _, array in sends)

    def _finish(
        self,
        kind: str,
        receives: Sequence[Move],
        sends: Sequence[Move],
        begin: Callable[[int], list[Any]],
    ) -> None:
        """Start what `begin` does with a tag, and wait for it: at most `timeout`."""
        self.calls += 1
        self._kind = kind
        number = self.calls % (TAGS // len(KINDS))
        statuses: list[Any] = []
        try:
            self._hear()  # what others said while this rank did not wait
            requests = begin(number * len(KINDS) + KINDS.index(kind))
            statuses += [self._mpi.Status() for _ in requests]
            start, silent = time.monotonic(), True
            while not self._mpi.Request.Testall(requests, statuses):
                waited = time.monotonic() - start
                if waited > SILENCE:
                    if silent:
                        self._say(kind)
                    silent = False
                    self._hear()
                    self._compare()
                if waited > self._timeout:
                    self._give_up([*receives, *sends], requests)
                os.sched_yield()
        except self._mpi.Exception as error:
            self._check_sizes(receives, statuses)
            self._explain(error)
        self._check_sizes(receives, statuses)

    def _say(self, kind: str) -> None:
        """Send all others the number and the kind of this rank's call."""
        notice = np.array([self.calls, KINDS.index(kind)])
        self._mpi.Request.Testall(self._sending)
        self._sending = [self._notices.Isend(notice, rank) for rank in self._others]

    def _hear(self) -> None:
        """Receive the notices that have come."""
        status = self._mpi.Status()
        while self._notices.Iprobe(status=status):
            notice = np.empty(2, np.int64)
            self._notices.Recv(notice, status.source)
            self._heard[status.source] = int(notice[0]), KINDS[notice[1]]

    def _hear_for(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self._hear()
            os.sched_yield()

    def _compare(self) -> None:
        """Do not wait for a rank that has failed, or is in another call."""
        for rank, (number, kind) in self._heard.items():
            if kind == FAILURE:
                self._follows = True
                message = f"rank {self.rank}: rank {rank} failed before {self._call}"
                raise ParallelError(message)
            if number == self.calls and kind != self._kind:
                message = (
                    "all ranks must make the same calls in the same order, but rank "
                    f"{self.rank} has come to {self._call}, and rank {rank} to "
                    f"{_call(number, kind)}"
                )
                raise ParallelError(message)

    def _give_up(self, moves: Sequence[Move], requests: list[Any]) -> NoReturn:
        """Raise an error that names the ranks that are missing."""
        pairs = zip(moves, requests, strict=False)  # allreduce names no ranks
        waiting = {rank for (rank, _), request in pairs if not request.Test()}
        missing = []
        for rank in sorted(waiting or self._others):
            number, kind = self._heard.get(rank, (0, ""))
            if number == self.calls - 1:
                missing.append(f"rank {rank} (which waits in {_call(number, kind)})")
            elif number < self.calls:
                missing.append(f"rank {rank}")
        message = (
            f"rank {self.rank}: all ranks must come to {self._call} within "
            f"{self._timeout:g} s, but {', '.join(missing) or 'some'} did not: see "
            "what it does there, or give world a longer timeout"
        )
        raise ParallelError(message)

    def _check_sizes(self, receives: Sequence[Move], statuses: list[Any]) -> None:
        """Refuse a message that has another size than the array that it fills."""
        for (rank, array), status in zip(receives, statuses, strict=False):
            more = status.error == self._mpi.ERR_TRUNCATE
            if more or (status.source == rank and status.count != array.nbytes):
                got = "more" if more else status.count
                message = (
                    f"rank {self.rank} must get {array.nbytes} bytes from rank {rank} "
                    f"in {self._call}, got {got}: arrays must have the same shapes on "
                    "all ranks"
                )
                raise ParallelError(message)

    def _explain(self, error: Exception) -> NoReturn:
        """Raise an error that names the ranks that have died, where MPI knows them."""
        with contextlib.suppress(self._mpi.Exception, NotImplementedError):
            failed, own = self._comm.Get_failed(), self._comm.Get_group()
            self._dead = [*failed.Translate_ranks(range(failed.size), own)]
        with contextlib.suppress(self._mpi.Exception, NotImplementedError):
            self._comm.Revoke()  # those who wait for others than the dead hear of it
        dead = ", ".join(f"rank {rank}" for rank in self._dead) or "another rank"
        message = f"rank {self.rank}: {dead} died before {self._call}: {error}"
        raise ParallelError(message) from error

    @property
    def _call(self) -> str:
        return _call(self.calls, self._kind)


def _call(number: int, kind: str) -> str:
    return f"{kind}, call {number}"


def _bytes(array: Any) -> list[Any]:
    return [array.reshape(-1).view(np.uint8), array.nbytes, "B"]


def _show(rank: int, error: BaseException) -> None:
    """Show an error as Python does where nothing catches it."""
    if not isinstance(error, SystemExit):
        sys.excepthook(type(error), error, error.__traceback__)
    elif isinstance(error.code, str):
        sys.stderr.write(f"{error.code}\n")
    else:
        message = f"gdopt: rank {rank} left the block of world by sys.exit"
        sys.stderr.write(f"{message}({error.code}), which ends all ranks\n")
    sys.stderr.flush()
