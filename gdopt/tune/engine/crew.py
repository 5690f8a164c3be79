"""Who runs the trials: this process one by one, or several processes beside each other.

Every message between processes goes through pipes of `multiprocessing`; this process
alone draws, prunes and keeps.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.reduction import ForkingPickler
from types import TracebackType
from typing import Any, Self

from gdopt.errors import ArgumentTypeError, GdoptError
from gdopt.tune.engine.trial import FAILED, Trial, Verdict, evaluate

Objective = Callable[[Trial], float]
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True)
class Task:
    """A trial that is to be run.

    Attributes:
        number: of the trial.
        values: its hyper-parameters.
        told: takes a report's score and step, and tells whether to prune.
        handle: Optuna's trial.
    """

    number: int
    values: Mapping[str, Any]
    told: Callable[[float, int], bool]
    handle: Any


class Alone:
    """Runs one trial at a time, in this process."""

    room = 1

    def __init__(self, objective: Objective) -> None:
        self._objective = objective
        self._tasks: list[Task] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is open."""

    def begin(self, task: Task) -> None:
        """Take a trial."""
        self._tasks.append(task)

    def ended(self) -> tuple[Task, Verdict]:
        """Run it, and give what came of it."""
        task = self._tasks.pop()
        trial = Trial(task.number, task.values, task.told)
        return task, evaluate(self._objective, trial)


class Processes:
    """Runs as many trials at a time as there are processes.

    Args:
        objective: must pickle, as a function at the top level of a module does.
        count: of the processes. They share the cores: each has as many threads for
            matrix products as its share, unless the environment says otherwise.

    Raises:
        ArgumentTypeError: the objective does not pickle.
    """

    def __init__(self, objective: Objective, count: int) -> None:
        try:
            ForkingPickler.dumps(objective)
        except Exception as error:
            message = (
                "objective must pickle where jobs is above 1, as a function at the top "
                f"level of a module does, got {objective!r}: {error}"
            )
            raise ArgumentTypeError(message) from error
        self._objective = objective
        self.room = count
        self._workers: list[_Worker] = []

    def __enter__(self) -> Self:
        with _shared_cores(self.room):
            self._workers = [_Worker(self._objective) for _ in range(self.room)]
        try:
            for worker in self._workers:
                worker.greet()
        except BaseException:
            self._kill()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._kill()

    def _kill(self) -> None:
        for worker in self._workers:
            worker.kill()

    def begin(self, task: Task) -> None:
        """Give a trial to a process that has none; there must be one."""
        idle = next(worker for worker in self._workers if worker.task is None)
        idle.task = task
        idle.send((task.number, dict(task.values)))

    def ended(self) -> tuple[Task, Verdict]:
        """Wait for the next trial that ends, and take reports meanwhile."""
        while True:
            busy = {w.connection: w for w in self._workers if w.task is not None}
            for connection in wait(list(busy)):
                worker = busy[connection]  # type: ignore[index] # one of them
                task, verdict = worker.hear()
                if verdict is not None:
                    if not worker.is_alive():
                        self._replace(worker)
                    return task, verdict

    def _replace(self, dead: _Worker) -> None:
        dead.kill()
        with _shared_cores(self.room):
            new = _Worker(self._objective)
        new.greet()
        self._workers[self._workers.index(dead)] = new


class _Worker:
    """A process, the pipe to it, and the trial that it has."""

    def __init__(self, objective: Objective) -> None:
        # A forked process would have this one's threads and GPU in a broken state.
        context = multiprocessing.get_context("spawn")
        self.connection, far = context.Pipe()
        self._process = context.Process(
            target=serve, args=(objective, far), daemon=True
        )
        self._process.start()
        far.close()
        self.task: Task | None = None

    def greet(self) -> None:
        """Wait until the process is ready."""
        try:
            self.connection.recv()
        except EOFError:
            self._process.join()
            message = (
                "a process for trials ended before it began, with exit code "
                f"{self._process.exitcode}: a script that tunes with jobs above 1 must "
                'begin its work under `if __name__ == "__main__":`'
            )
            raise GdoptError(message) from None

    def send(self, message: Any) -> None:
        """Send something; that the process has died shows when it is heard."""
        try:
            self.connection.send(message)
        except OSError:
            return

    def hear(self) -> tuple[Task, Verdict | None]:
        """Take a report, and answer it, or the verdict that ends the trial."""
        task = self.task
        assert task is not None  # noqa: S101 - only those that have one are listened to
        try:
            message = self.connection.recv()
        except (EOFError, OSError):
            self._process.join()
            code = self._process.exitcode
            error = f"the process ended with exit code {code}"
            return task, Verdict(FAILED, error=error)
        if isinstance(message, Verdict):
            self.task = None
            return task, message
        self.send(task.told(*message))
        return task, None

    def is_alive(self) -> bool:
        """Tell whether it can take another trial."""
        return self._process.is_alive()

    def kill(self) -> None:
        """End the process, whatever it is doing."""
        self._process.terminate()
        self._process.join()
        self.connection.close()


def serve(objective: Objective, connection: Connection) -> None:
    """Run trials in a process of its own, until the other end of the pipe is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that tunes
    connection.send("ready")

    def told(score: float, step: int) -> bool:
        connection.send((score, step))
        answer: bool = connection.recv()
        return answer

    try:
        while True:
            number, values = connection.recv()
            connection.send(evaluate(objective, Trial(number, values, told)))
    except (EOFError, OSError):  # the other end is gone
        return


@contextmanager
def _shared_cores(count: int) -> Iterator[None]:
    """Have processes that start now take their share of the cores alone."""
    share = str(max(1, (os.cpu_count() or 1) // count))
    unset = [name for name in THREADS if name not in os.environ]
    os.environ.update(dict.fromkeys(unset, share))
    try:
        yield
    finally:
        for name in unset:
            os.environ.pop(name, None)
