"""Trials in this process, or in several at a time."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from typing import Any

from gdopt.errors import ArgumentTypeError, GdoptError
from gdopt.tune.space import Space
from gdopt.tune.storage import handle_of, load_study, opened, quiet
from gdopt.tune.trial import FAILED, Outcome, Trial, evaluate

Objective = Callable[[Trial], float]
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True)
class Job:
    """What it takes to run any trial of a search.

    Attributes:
        objective: takes a `Trial` and returns its score.
        space: what is drawn.
        path: of the file that stores the search; None for one in memory.
        name: of the search in it.
        settings: as in `load_study`.
    """

    objective: Objective
    space: Space
    path: Path | None
    name: str
    settings: dict[str, Any]

    def run(self, study: Any, number: int) -> Outcome:
        """Run a trial of the study; draw what it has not drawn yet."""
        reports = study.get_trials(deepcopy=False)[number].intermediate_values
        reported = max(reports, default=-1)  # before it was broken off, if it was
        handle = handle_of(study, number)

        def should_prune(score: float, step: int) -> bool:
            if step > reported:
                handle.report(score, step)
            pruned: bool = handle.should_prune()
            return pruned

        trial = Trial(number, self.space.draw(handle), should_prune)
        return evaluate(self.objective, trial)


def check_pickles(objective: Objective) -> None:
    """Refuse an objective that cannot be sent to another process.

    Raises:
        ArgumentTypeError: it does not pickle.
    """
    try:
        ForkingPickler.dumps(objective)
    except Exception as error:
        message = (
            "objective must pickle where jobs is above 1, as a function at the top "
            f"level of a module does, got {objective!r}: {error}"
        )
        raise ArgumentTypeError(message) from error


def run(job: Job, study: Any, jobs: int, numbers: Iterator[int]) -> Iterator[Outcome]:
    """Run trials, `jobs` at a time, and yield the outcome of each when it ends.

    With one job they run in this process; else each job has a process. One that dies
    fails its own trial alone, and another takes its place.

    Args:
        job: what to run.
        study: Optuna's, in this process.
        jobs: at least 1.
        numbers: of the trials; each is taken when it is due.

    Raises:
        GdoptError: a process ends before its first trial.
    """
    if jobs == 1:
        for number in numbers:
            yield job.run(study, number)
        return
    workers = [_Worker(job, jobs) for _ in range(jobs)]
    try:
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.wait_until_ready()
        yield from _run_in(workers, numbers)
    finally:
        for worker in workers:
            worker.kill()
        for worker in workers:
            worker.join()


def _run_in(workers: Sequence[_Worker], numbers: Iterator[int]) -> Iterator[Outcome]:
    """Give every idle process a trial until there are no more."""
    idle = list(workers)
    busy: dict[Future[Outcome], tuple[_Worker, int]] = {}
    while True:
        while idle and (number := next(numbers, None)) is not None:
            worker = idle.pop(0)
            busy[worker.submit(number)] = worker, number
        if not busy:
            return
        for future in wait(busy, return_when=FIRST_COMPLETED).done:
            worker, number = busy.pop(future)
            idle.append(worker)
            yield worker.outcome(future, number)


class _Worker:
    """A process that runs one trial at a time, in an executor of its own.

    An executor with several processes fails all their trials when one of them dies.
    """

    _process: BaseProcess | None = None
    _executor: ProcessPoolExecutor

    def __init__(self, job: Job, count: int) -> None:
        self._job, self._count = job, count

    def start(self) -> None:
        """Start the process, without waiting for it."""
        # A forked process would have this one's threads and GPU in a broken state.
        context = multiprocessing.get_context("spawn")
        others = set(multiprocessing.active_children())
        self._executor = ProcessPoolExecutor(1, context, _start, (self._job,))
        with _shared_cores(self._count):
            self._ready = self._executor.submit(os.getpid)
        (self._process,) = set(multiprocessing.active_children()) - others

    def wait_until_ready(self) -> None:
        """Wait until the process can run trials.

        Raises:
            GdoptError: it has ended.
        """
        try:
            self._ready.result()
        except BrokenProcessPool:
            message = (
                "a process for trials ended before it began, with exit code "
                f"{self.join()}: a script that tunes with jobs above 1 must begin its "
                'work under `if __name__ == "__main__":`'
            )
            raise GdoptError(message) from None

    def submit(self, number: int) -> Future[Outcome]:
        """Begin a trial; the process must be idle, or have died."""
        try:
            return self._executor.submit(_run, number)
        except BrokenProcessPool:
            self.join()
            self.start()
            self.wait_until_ready()
            return self._executor.submit(_run, number)

    def outcome(self, future: Future[Outcome], number: int) -> Outcome:
        """Return what came of a trial that has ended."""
        error = future.exception()
        if isinstance(error, BrokenProcessPool):
            cause = f"the process ended with exit code {self.join()}"
        elif error is not None:  # one that ends a process, such as SystemExit
            cause = f"{type(error).__name__}: {error}"
        else:
            return future.result()
        return Outcome(number, {}, FAILED, error=cause)

    def kill(self) -> None:
        """End the process, whatever it is doing."""
        if self._process is not None:
            self._process.kill()

    def join(self) -> int | None:
        """Wait until the process has ended, and return its exit code."""
        if self._process is None:
            return None
        self._executor.shutdown(cancel_futures=True)
        return self._process.exitcode


_work: tuple[Job, Any]  # of a process for trials: what it runs, and Optuna's study


def _start(job: Job) -> None:
    """Prepare a process for trials."""
    global _work  # noqa: PLW0603 - the executor hands its tasks nothing else
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends it without a traceback
    threading.Thread(target=_end_with_parent, daemon=True).start()
    stack = ExitStack()  # open as long as the process lives
    stack.enter_context(quiet())
    storage = stack.enter_context(opened(job.path))
    _work = job, load_study(storage, job.name, job.settings)


def _run(number: int) -> Outcome:
    job, study = _work
    return job.run(study, number)


def _end_with_parent() -> None:
    """End the process with the one that tunes, even where that was killed."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


@contextmanager
def _shared_cores(count: int) -> Iterator[None]:
    """Give processes that start now their share of the cores for matrix products."""
    share = str(max(1, (os.cpu_count() or 1) // count))
    unset = [name for name in THREADS if name not in os.environ]
    os.environ.update(dict.fromkeys(unset, share))
    try:
        yield
    finally:
        for name in unset:
            os.environ.pop(name, None)
