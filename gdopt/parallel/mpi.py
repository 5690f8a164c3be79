"""MPI through mpi4py: moves NumPy arrays. Every wait ends.

All goes from rank to rank, tagged with the kind and the number of the call. Ranks that
make different calls therefore never take each other's messages. A rank that waits for
long says in which call, so that errors can name both calls, or who is missing.
"""

from __future__ import annotations

import contextlib
import faulthandler
import itertools
import os
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from gdopt.errors import ParallelError
from gdopt.imports import load_extra
from gdopt.parallel.communicator import Move, on_host

KINDS = ("swap", "gather", "share", "allreduce", "GPU work", "the end", "failure")
GPU, END, FAILURE = KINDS[-3:]
TAGS = (1 << 15) // len(KINDS)  # calls until a tag comes again: MPI has 32,768 tags
LONGEST = 1 << 30  # elements of a message: a C int counts them
SILENCE = 0.2  # seconds after which a rank that waits says so
YIELD = getattr(os, "sched_yield", lambda: time.sleep(0))  # not on Windows
KILLED = 2.0  # seconds within which a launcher kills the ranks of a job that failed


class Mpi:
    """Moves NumPy arrays by MPI; a rank that waits `timeout` seconds says for what."""

    def __init__(self, timeout: float) -> None:
        self._mpi = load_extra("mpi4py.MPI", "mpi", "training on several ranks")
        world, self._timeout = self._mpi.COMM_WORLD, timeout
        self._comm, self._notices = world.Dup(), world.Dup()  # the latter: of calls
        self.rank, self.size = world.rank, world.size
        node = world.Split_type(self._mpi.COMM_TYPE_SHARED)
        self.node = node.allgather(self.rank)  # the ranks on this machine
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
        self._to_all("gather", [flat[a:b] for a, b in itertools.pairwise(bounds)])

    def share(self, values: Any, kind: str = "share") -> np.ndarray:
        """Stack small arrays of every rank, as NumPy's: of equal shapes and dtypes."""
        values = on_host(values)
        out = np.empty((self.size, *values.shape), values.dtype)
        out[self.rank] = values
        self._to_all(kind, [*out.reshape(self.size, -1)])
        return out

    def allreduce(self, buffer: Any) -> None:
        """Add up the buffers of all ranks in place, in an order of MPI's own."""
        add, here = self._comm.Iallreduce, self._mpi.IN_PLACE
        parts = _pieces(buffer.reshape(-1))
        self._finish("allreduce", lambda _: [add(here, part) for part in parts])
        self.sent += 2 * (self.size - 1) * buffer.nbytes // self.size

    def leave(self) -> None:
        """Wait until all ranks have come to the end."""
        self.share(0, END)

    def _to_all(self, kind: str, parts: Sequence[Any]) -> None:
        """Send this rank's part to all others, and receive theirs."""
        sends = [(rank, parts[self.rank]) for rank in self._others]
        self._exchange(kind, sends, [(rank, parts[rank]) for rank in self._others])

    def _exchange(
        self, kind: str, sends: Sequence[Move], receives: Sequence[Move]
    ) -> None:
        comm, sends, receives = self._comm, _in_pieces(sends), _in_pieces(receives)

        def begin(tag: int) -> list[Any]:
            requests = [comm.Irecv(part, source, tag) for source, part in receives]
            return requests + [comm.Isend(part, to, tag) for to, part in sends]

        self._finish(kind, begin, receives, sends)
        self.sent += sum(part.nbytes for _, part in sends)

    def _finish(
        self,
        kind: str,
        begin: Callable[[int], list[Any]],
        receives: Sequence[Move] = (),
        sends: Sequence[Move] = (),
    ) -> None:
        """Start what `begin` does with a tag, and wait until it is done."""
        self.count(kind)
        moves, requests, statuses = [*receives, *sends], list[Any](), list[Any]()
        try:
            requests += begin(self.calls % TAGS * len(KINDS) + KINDS.index(kind))
            statuses += [self._mpi.Status() for _ in requests]
            self.wait(
                lambda: bool(self._mpi.Request.Testall(requests, statuses)),
                lambda: [
                    rank
                    for (rank, _), request in zip(moves, requests, strict=False)
                    if not request.Test()
                ],
            )
        except self._mpi.Exception as error:
            self._explain(error, receives, statuses)
        for (rank, part), status in zip(receives, statuses, strict=False):
            if status.count != part.nbytes:
                self._refuse_size(rank, part, status.count)

    def count(self, kind: str) -> None:
        """Begin a call."""
        self.calls += 1
        self._kind = kind

    def wait(
        self, done: Callable[[], bool], missing: Callable[[], Iterable[int]]
    ) -> None:
        """Wait for a call for at most `timeout`, and so that Ctrl-C is heard."""
        self._hear()  # what others said while this rank did not wait
        start, silent = time.monotonic(), True
        while not done():
            waited = time.monotonic() - start
            if waited > SILENCE:
                if silent:
                    self._say(self._kind)
                silent = False
                self._hear()
                self._compare()
            if waited > self._timeout:
                self._give_up(missing())
            YIELD()

    def _say(self, kind: str) -> None:
        """Send all others the number and the kind of this rank's call."""
        notice = np.array([self.calls, KINDS.index(kind)])
        self._sending = [sent for sent in self._sending if not sent.Test()]
        self._sending += [self._notices.Isend(notice, rank) for rank in self._others]

    def _hear(self) -> None:
        """Receive the notices that have come."""
        status = self._mpi.Status()
        while self._notices.Iprobe(status=status):
            notice = np.empty(2, np.int64)
            self._notices.Recv(notice, status.source)
            self._heard[status.source] = int(notice[0]), KINDS[notice[1]]

    def _compare(self) -> None:
        """Do not wait for a rank that has failed, or is in another call."""
        for rank, (number, kind) in self._heard.items():
            if kind == FAILURE:
                self._follows = True
                message = f"rank {self.rank}: rank {rank} failed before {self._call}"
                raise ParallelError(message)
            if number == self.calls and kind != self._kind:
                raise ParallelError(
                    "all ranks must make the same calls in the same order, but rank "
                    f"{self.rank} has come to {self._call}, and rank {rank} to "
                    f"{_call(number, kind)}"
                )

    def _give_up(self, missing: Iterable[int]) -> NoReturn:
        """Raise an error that names the ranks that are missing."""
        named = []
        for rank in sorted(set(missing)) or self._others:  # allreduce knows none
            number, kind = self._heard.get(rank, (-1, ""))
            if (number, kind) != (self.calls, self._kind):
                waits = number >= self.calls - 1  # else it was heard long ago
                where = f" (which waits in {_call(number, kind)})" if waits else ""
                named.append(f"rank {rank}{where}")
        raise ParallelError(
            f"rank {self.rank}: all ranks must come to {self._call} within "
            f"{self._timeout:g} s, but {', '.join(named) or 'some'} did not: see "
            "what it does there, or give world a longer timeout"
        )

    def _refuse_size(self, rank: int, part: Any, got: object) -> NoReturn:
        raise ParallelError(
            f"rank {self.rank} must get {part.nbytes} bytes from rank {rank} in "
            f"{self._call}, got {got}: arrays must have the same shapes on all ranks"
        )

    def _explain(
        self, error: Exception, receives: Sequence[Move], statuses: Sequence[Any]
    ) -> NoReturn:
        """Raise an error that names what was wrong, or the ranks that have died."""
        for (rank, part), status in zip(receives, statuses, strict=False):
            if status.error == self._mpi.ERR_TRUNCATE:
                self._refuse_size(rank, part, "more")
        with contextlib.suppress(self._mpi.Exception, NotImplementedError):
            failed, own = self._comm.Get_failed(), self._comm.Get_group()
            self._dead = [*failed.Translate_ranks(range(failed.size), own)]
            self._comm.Revoke()  # those who wait for others than the dead hear of it
        dead = ", ".join(f"rank {rank}" for rank in self._dead) or "another rank"
        message = f"rank {self.rank}: {dead} died before {self._call}: {error}"
        raise ParallelError(message) from error

    @property
    def _call(self) -> str:
        return _call(self.calls, self._kind)

    def fail(self, error: BaseException) -> NoReturn:
        """End all ranks, after the error has been shown once.

        Where several ranks fail, the lowest one shows its error.
        """
        sys.stdout.flush()
        with contextlib.suppress(self._mpi.Exception):
            if not self._follows:
                self._say(FAILURE)
                end = time.monotonic() + SILENCE
                while time.monotonic() < end:
                    self._hear()
        failed = {rank for rank, (_, kind) in self._heard.items() if kind == FAILURE}
        if self._dead:  # with ULFM, all others notice
            failed = {*range(self.size)} - {*self._dead}
        if not self._follows and min({*failed, self.rank}) == self.rank:
            _show(self.rank, error)
            time.sleep(SILENCE if self._dead else 0)
        elif self._dead:  # Abort kills no other rank, and each has its time to say so
            time.sleep(3 * SILENCE)
        else:
            time.sleep(KILLED)
            _show(self.rank, error)  # the rank that failed first did not end this one
        with Path(os.devnull).open("w") as nowhere:  # as Abort may hang
            faulthandler.dump_traceback_later(KILLED, exit=True, file=nowhere)
            self._end(error)

    def _end(self, error: BaseException) -> NoReturn:
        code = error.code if isinstance(error, SystemExit) else 1
        with contextlib.suppress(self._mpi.Exception, NotImplementedError):
            self._comm.Revoke()  # with ULFM, those who wait hear of nothing else
        self._mpi.COMM_WORLD.Abort(code if isinstance(code, int) and code else 1)
        os._exit(1)  # where the launcher does not listen


def _call(number: int, kind: str) -> str:
    return f"{kind}, call {number}"


def _in_pieces(moves: Sequence[Move]) -> list[Move]:
    """Return the bytes to move, of each array in as few messages as can be."""
    flat = [(rank, array.reshape(-1).view(np.uint8)) for rank, array in moves]
    return [(rank, part) for rank, whole in flat for part in _pieces(whole)]


def _pieces(flat: Any) -> list[Any]:
    return [flat[k : k + LONGEST] for k in range(0, max(1, len(flat)), LONGEST)]


def _show(rank: int, error: BaseException) -> None:
    """Show an error as Python does where nothing catches it."""
    if not isinstance(error, SystemExit):
        sys.excepthook(type(error), error, error.__traceback__)
    elif isinstance(error.code, str):
        sys.stderr.write(f"{error.code}\n")
    else:
        where = "inside the block of gdopt.parallel.world, which ends all ranks"
        sys.stderr.write(f"rank {rank} called sys.exit({error.code}) {where}\n")
    sys.stderr.flush()
