"""Shares work among threads that sleep until there is some: one pool for everything.

The caller takes part, and waits only for what another thread has taken. A thread that
the system does not run therefore holds up at most one piece of work, and no thread
spins: both matter next to BLAS and on busy machines.
"""

from __future__ import annotations

import _signal
import contextvars
import itertools
import os
import threading
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from typing import Any

from gdopt.interrupt import Uninterrupted
from gdopt.kernels.cpu.flush import flushes, set_flush

CHUNK = 1 << 18  # elements: at a quarter of that, two threads take a third longer
GRAIN = 1 << 10  # elements that chunks start at a multiple of: pages
MOST_THREADS = 8  # more only wait for the memory


def available_cores() -> int:
    """Count the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def piece_count(size: int, parts: float, grain: int) -> int:
    """Return into how many pieces to cut a length: an even number, or one.

    Args:
        size: the length.
        parts: how many pieces there should be, about; 1 or less leaves it whole.
        grain: pieces start at multiples of it, and none is empty.
    """
    count = min(2 * max(1, round(parts / 2)), size // grain // 2 * 2)
    return count if parts > 1 and count else 1


def piece(k: int, count: int, size: int, grain: int) -> tuple[int, int]:
    """Return where piece k of a length starts and stops; they are equal but for grains.

    >>> [piece(k, 4, 100, 8) for k in range(4)]
    [(0, 24), (24, 48), (48, 72), (72, 100)]
    """
    last = size if k == count - 1 else size * (k + 1) // count // grain * grain
    return size * k // count // grain * grain, last


class _Job:
    """Tasks, numbered from 0, each of which one thread takes.

    They run in the caller's context, and so with its `numpy.errstate`, and flush
    denormals if the caller does.
    """

    def __init__(self, task: Callable[[int], object], count: int) -> None:
        self._task: Any = task
        self._count = count
        self._take = itertools.count().__next__  # one call, which threads cannot split
        self._finish = itertools.count(1).__next__
        self._finished: SimpleQueue[None] = SimpleQueue()
        self._error: BaseException | None = None
        self._flush, self._context = flushes(), contextvars.copy_context()

    def help(self) -> None:
        """Do what is left to take, in another thread than the caller's."""
        if flushes() != self._flush:
            set_flush(flush=self._flush)
        self._context.copy().run(self._work)

    def _work(self) -> None:
        while (k := self._take()) < self._count:
            try:
                if self._error is None:
                    self._task(k)
            except BaseException as error:  # noqa: BLE001 - `run` raises it
                self._error = error
            if self._finish() == self._count:
                self._finished.put(None)

    def run(self) -> None:
        """Do it in the calling thread; return or raise when all threads are done."""
        self._work()
        self._finished.get()
        self._task = None  # a thread that wakes up later must not keep the arrays
        if self._error is not None:
            raise self._error


class Pool:
    """Threads of the process, made when first needed, and again after a fork."""

    def __init__(self) -> None:
        self.size = min(available_cores(), MOST_THREADS)  # with the caller
        self.forget()

    def forget(self) -> None:
        """Drop the threads: a forked child has none of them."""
        self._lock = threading.Lock()
        self._inboxes: list[SimpleQueue[_Job]] = []

    def run(self, task: Callable[[int], object], count: int) -> None:
        """Call a task with each number below `count` once, in any order.

        If a call raises an error, the others that have started end first.
        """
        helpers = min(self.size, count) - 1
        if helpers < 1:
            for k in range(count):
                task(k)
            return
        if len(self._inboxes) < helpers:
            self._start(helpers)
        with Uninterrupted():
            job = _Job(task, count)
            for inbox in self._inboxes[:helpers]:
                inbox.put(job)
            job.run()

    def _start(self, count: int) -> None:
        with self._lock:
            while len(self._inboxes) < count:
                inbox: SimpleQueue[_Job] = SimpleQueue()
                thread = threading.Thread(
                    target=_serve, args=(inbox,), name="gdopt", daemon=True
                )
                try:
                    thread.start()
                except RuntimeError:  # the system has no more threads
                    return  # those that there are, and the caller, do everything
                self._inboxes.append(inbox)

    def shares(self, size: int) -> bool:
        """Return whether `map` cuts arrays of that size into chunks."""
        return size >= 2 * CHUNK and self.size > 1

    def map(self, function: Callable[[Any], None], arrays: Sequence[Any]) -> None:
        """Call a function of a list of flat arrays: once, or by chunks of long ones."""
        size = arrays[0].size
        if not self.shares(size):
            function(arrays)
            return

        count = piece_count(size, size / CHUNK, GRAIN)

        def task(k: int) -> None:
            low, high = piece(k, count, size, GRAIN)
            function([array[low:high] for array in arrays])

        self.run(task, count)


def _serve(inbox: SimpleQueue[_Job]) -> None:
    """Help with one job after the other; signals go to the caller's threads."""
    if hasattr(_signal, "pthread_sigmask"):
        _signal.pthread_sigmask(_signal.SIG_BLOCK, _signal.valid_signals())
    while True:
        inbox.get().help()


POOL = Pool()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=POOL.forget)
