"""Trials in this process, or in several at a time."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, contextmanager
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from typing import Any

from gdopt.checks import shown
from gdopt.errors import ArgumentTypeError, GdoptError
from gdopt.interrupt import start_thread
from gdopt.kernels.cpu.blas import THREADS
from gdopt.tune.space import Space
from gdopt.tune.storage import handle_of, load_study, opened, quiet
from gdopt.tune.study import FAILED, Outcome, Trial, evaluate

Objective = Callable[[Trial], float]


def run_trial(objective: Objective, space: Space, study: Any, number: int) -> Outcome:
    """Run a trial of Optuna's study; draw what it has not drawn yet."""
    reports = study.get_trials(deepcopy=False)[number].intermediate_values
    reported = max(reports, default=-1)  # before an interruption, if any
    handle = handle_of(study, number)

    def should_prune(score: float, step: int) -> bool:
        if step > reported:
            handle.report(score, step)
        pruned: bool = handle.should_prune()
        return pruned

    return evaluate(objective, Trial(number, space.draw(handle), should_prune))


def check_pickles(objective: Objective) -> None:
    """Refuse an objective that cannot be sent to another process."""
    try:
        ForkingPickler.dumps(objective)
    except Exception as error:
        raise ArgumentTypeError(
            "objective must be picklable if jobs is above 1, as is a function at the "
            f"top level of a module, got {shown(objective)}: {error}"
        ) from error


def run_in_processes(
    jobs: int, numbers: Iterator[int], *start: Any
) -> Generator[Outcome, None, None]:
    """Run trials in as many processes as jobs, and yield each outcome as it comes.

    A process that dies fails only its own trial, and another takes its place.
    """
    workers: list[_Worker] = []
    busy: dict[Future[Outcome], tuple[_Worker, int]] = {}
    try:
        while len(workers) < jobs:
            workers.append(_Worker(jobs, start))
        for worker in workers:
            worker.wait_until_ready()
        idle = list(workers)
        while True:
            while idle and (number := next(numbers, None)) is not None:
                worker = idle.pop(0)
                if not worker.process.is_alive():
                    worker = _Worker(jobs, start)
                    workers.append(worker)
                    worker.wait_until_ready()
                busy[worker.executor.submit(_run, number)] = worker, number
            if not busy:
                return
            for future in wait(busy, return_when=FIRST_COMPLETED).done:
                worker, number = busy.pop(future)
                idle.append(worker)
                yield worker.outcome(future, number)
    finally:
        for worker in workers:
            worker.process.kill()
        for worker in workers:
            worker.join()


class _Worker:
    """A process that runs one trial at a time, in an executor of its own.

    An executor with several processes fails all their trials when one of them dies.
    """

    def __init__(self, jobs: int, start: tuple[Any, ...]) -> None:
        # A forked process would have this one's threads and GPU in a broken state.
        context = multiprocessing.get_context("spawn")
        others = set(multiprocessing.active_children())
        self.executor = ProcessPoolExecutor(1, context, _start, start)
        with _shared_cores(jobs):
            self._ready = self.executor.submit(os.getpid)
        (self.process,) = set(multiprocessing.active_children()) - others

    def wait_until_ready(self) -> None:
        """Wait until the process can run trials."""
        try:
            self._ready.result()
        except BrokenProcessPool:
            raise GdoptError(
                f"a process for trials exited while starting, with code {self.join()}: "
                "a script that tunes with jobs above 1 must do its work under "
                '`if __name__ == "__main__":`'
            ) from None

    def outcome(self, future: Future[Outcome], number: int) -> Outcome:
        """Return how a trial has ended."""
        error = future.exception()
        if error is None:
            return future.result()
        cause = f"{type(error).__name__}: {error}"  # such as SystemExit
        if isinstance(error, BrokenProcessPool):
            cause = f"the process ended with exit code {self.join()}"
        return Outcome(number, {}, FAILED, error=cause)

    def join(self) -> int | None:
        """Wait until the process has ended, and return its exit code."""
        self.executor.shutdown(cancel_futures=True)
        return self.process.exitcode


_contexts = ExitStack()  # of a process for trials: open as long as it lives
_work: tuple[Objective, Space, Any]  # of a process for trials; the last is the study


def _start(
    objective: Objective, space: Space, path: Path, name: str, settings: dict[str, Any]
) -> None:
    """Prepare a process for trials of the search that a file stores."""
    global _work  # noqa: PLW0603 - the executor hands its tasks nothing else
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends it without a traceback
    start_thread(_end_with_parent)
    _contexts.enter_context(quiet())
    storage = _contexts.enter_context(opened(path))
    _work = objective, space, load_study(storage, name, settings)


def _run(number: int) -> Outcome:
    return run_trial(*_work, number)


def _end_with_parent() -> None:
    """End the process with the one that tunes, even where that was killed."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


@contextmanager
def _shared_cores(count: int) -> Iterator[None]:
    """Limit processes that start now to their share of the cores."""
    share = str(max(1, (os.cpu_count() or 1) // count))
    unset = [name for name in THREADS if name not in os.environ]
    os.environ.update(dict.fromkeys(unset, share))
    try:
        yield
    finally:
        for name in unset:
            os.environ.pop(name, None)
