"""Shares work among threads that sleep until there is some: one pool for everything.

The caller takes part, and waits only for what another thread has taken. A thread that
the system does not run therefore holds up at most one piece of work, and no thread
spins: both matter next to BLAS and on busy machines.
"""

from __future__ import annotations

import contextvars
import itertools
import os
import threading
from collections.abc import Callable, Generator, Sequence
from queue import SimpleQueue
from typing import Any

from gdopt.interrupt import Uninterrupted, start_thread
from gdopt.kernels.cpu.flush import flushes, set_flush

CHUNK = 1 << 18  # elements: at a quarter of that, two threads take a third longer
WORTH = 20 * CHUNK  # operations on elements that outweigh waking a thread, some 40 us
GRAIN = 1 << 10  # elements that chunks start at a multiple of: pages
MOST_THREADS = 8  # more only wait for the memory

Phases = Generator[tuple[Callable[[int], object], int], None, Any]  # task and count


def available_cores() -> int:
    """Count the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def piece_count(size: int, parts: float, grain: int) -> int:
    """Return into how many pieces to cut a length: an even number, or one.

    There are about as many as `parts`; pieces start at multiples of the grain, and none
    is empty.
    """
    count = min(2 * max(1, round(parts / 2)), size // grain // 2 * 2)
    return count if parts > 1 and count else 1


def piece(k: int, count: int, size: int, grain: int) -> tuple[int, int]:
    """Return where piece k of a length starts and stops; all are about as long."""
    last = size if k == count - 1 else size * (k + 1) // count // grain * grain
    return size * k // count // grain * grain, last


class _Phase:
    """Tasks, numbered from 0, each of which one thread takes."""

    def __init__(self, task: Callable[[int], object], count: int) -> None:
        self.task: Any = task
        self.count = count
        self.take = itertools.count().__next__  # one call, which threads cannot split
        self.finish = itertools.count(1).__next__


class _Job:
    """Phases of tasks, one after the other, with what runs between them.

    The thread that does the last task of a phase starts the next one: it does not wait
    for the caller to wake up. All runs in the caller's context, and so with its
    `numpy.errstate`, and flushes denormals if the caller does.
    """

    def __init__(self, phases: Phases, inboxes: Callable[[int], list[Any]]) -> None:
        self._phases, self._inboxes = phases, inboxes
        self._inbox: SimpleQueue[Any] = SimpleQueue()  # the caller's; None is the end
        self._result: Any = None
        self._error: BaseException | None = None
        self._flush, self._context = flushes(), contextvars.copy_context()

    def help(self, phase: _Phase, inbox: Any) -> None:
        """Do what is left to take, in another thread than the caller's."""
        if flushes() != self._flush:
            set_flush(flush=self._flush)
        self._context.copy().run(self._work, phase, inbox)

    def _work(self, phase: _Phase | None, inbox: Any) -> None:
        while phase is not None:
            finished = False
            while (k := phase.take()) < phase.count:
                try:
                    if self._error is None:
                        phase.task(k)
                except BaseException as error:  # noqa: BLE001 - `run` raises it
                    self._error = error
                finished = phase.finish() == phase.count
            if not finished:
                return
            phase.task = None  # a thread that wakes up later must not keep the arrays
            phase = self._next(inbox)

    def _next(self, inbox: Any) -> _Phase | None:
        """Start the next phase, in the thread that has this inbox; None at the end."""
        found = None
        if self._error is None:
            try:
                found = next(self._phases)
            except StopIteration as end:
                self._result = end.value
            except BaseException as error:  # noqa: BLE001 - `run` raises it
                self._error = error
        if found is None:
            self._inbox.put(None)
            return None
        phase = _Phase(*found)
        for other in (self._inbox, *self._inboxes(phase.count - 1)):
            if other is not inbox:
                other.put((self, phase))
        return phase

    def run(self) -> Any:
        """Do it in the calling thread; return or raise when all threads are done."""
        self._work(self._next(self._inbox), self._inbox)
        while (sent := self._inbox.get()) is not None:
            self._work(sent[1], self._inbox)
        if self._error is not None:
            raise self._error
        result, self._result = self._result, None
        return result


class Pool:
    """Threads of the process, made when first needed, and again after a fork."""

    def __init__(self) -> None:
        self.size = min(available_cores(), MOST_THREADS)  # with the caller
        self.forget()

    def forget(self) -> None:
        """Drop the threads: a forked child has none of them."""
        self._lock = threading.Lock()
        self._inboxes: list[SimpleQueue[tuple[_Job, _Phase]]] = []

    def run(self, task: Callable[[int], object], count: int) -> None:
        """Call a task with each number below `count` once, in any order.

        If a call raises an error, the others that have started end first.
        """

        def phases() -> Phases:
            if count:
                yield task, count

        with Uninterrupted():
            self.follow(phases())

    def follow(self, phases: Phases) -> Any:
        """Run a generator and the tasks that it yields; return what it returns.

        The generator continues when all of them are done, in any thread, unless one has
        raised an error. The caller has to hold back signals meanwhile.
        """
        try:
            if self.size > 1:
                return _Job(phases, self._helpers).run()
            while True:
                try:
                    task, count = next(phases)
                except StopIteration as end:
                    return end.value
                for k in range(count):
                    task(k)
        finally:
            phases.close()

    def _helpers(self, count: int) -> list[Any]:
        """Return the inboxes of `count` threads, or of as many as there may be."""
        count = min(count, self.size - 1)
        if len(self._inboxes) < count:
            self._start(count)
        return self._inboxes[:count]

    def _start(self, count: int) -> None:
        with self._lock:
            while len(self._inboxes) < count:
                inbox: SimpleQueue[tuple[_Job, _Phase]] = SimpleQueue()
                try:
                    start_thread(_serve, inbox)
                except (RuntimeError, MemoryError):  # the system has no more threads
                    return  # those that there are, and the caller, do everything
                self._inboxes.append(inbox)

    def shares(self, size: int, operations: int) -> bool:
        """Return whether to cut arrays of that size into chunks for several threads."""
        return self.size > 1 and size >= 2 * CHUNK and size * operations >= WORTH

    def map(self, function: Callable[[Any], None], arrays: Sequence[Any]) -> None:
        """Call a function of a list of flat arrays, chunk by chunk."""
        size = arrays[0].size
        count = piece_count(size, size / CHUNK, GRAIN)

        def task(k: int) -> None:
            low, high = piece(k, count, size, GRAIN)
            function([array[low:high] for array in arrays])

        self.run(task, count)


def _serve(inbox: SimpleQueue[tuple[_Job, _Phase]]) -> None:
    """Help with one job after the other."""
    while True:
        job, phase = inbox.get()
        job.help(phase, inbox)
        del job, phase


POOL = Pool()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=POOL.forget)
