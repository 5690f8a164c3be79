"""Progress on standard error: a live bar on a terminal, else a line now and then."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Any, Protocol, Self

from gdopt.extras import load_extra
from gdopt.training import Record

LINES = 10  # in a whole run, where there is no terminal


class Progress(Protocol):
    """What shows a run while it is under way; a context manager."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...

    def show(self, record: Record) -> None:
        """Take in a record."""

    def note(self, text: str) -> None:
        """Say something beside."""


def progress(epochs: int, steps: int) -> Progress:
    """Make the progress of a run of so many epochs of so many steps.

    Raises:
        MissingExtraError: rich is not installed.
    """
    console = load_extra("rich.console", "train", "gdopt train").Console(stderr=True)
    if console.is_terminal and not console.is_dumb_terminal:
        return Bar(console, epochs, steps)
    return Lines(epochs)


class Plain:
    """A context with nothing to open or close."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Nothing is open."""


class Live:
    """A context in which a bar of rich's is shown."""

    _bar: Any

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()


class Lines(Plain):
    """Plain lines, for pipes and logs."""

    def __init__(self, epochs: int) -> None:
        self._epochs = epochs
        self._every = max(1, epochs // LINES)

    def show(self, record: Record) -> None:
        """Write a line at the end of every so many epochs."""
        due = record.epoch % self._every == 0 or record.epoch == self._epochs
        if record.dev_accuracy is not None and due:
            width = len(str(self._epochs))
            self.note(
                f"epoch {record.epoch:{width}}/{self._epochs}"
                f"  cost {record.smoothed_cost:.4f}"
                f"  dev accuracy {record.dev_accuracy:.3f}"
            )

    def note(self, text: str) -> None:
        """Write a line."""
        sys.stderr.write(text + "\n")
        sys.stderr.flush()


class Bar(Live):
    """A bar that grows, with the cost and the accuracy beside it."""

    def __init__(self, console: Any, epochs: int, steps: int) -> None:
        rich = load_extra("rich.progress", "train", "gdopt train")
        self._bar = rich.Progress(
            rich.TextColumn("epoch {task.fields[epoch]:>{task.fields[width]}}"),
            rich.TextColumn("of {task.fields[epochs]}"),
            rich.BarColumn(),
            rich.TextColumn("cost [bold]{task.fields[cost]}"),
            rich.TextColumn("dev accuracy [bold]{task.fields[accuracy]}"),
            rich.TimeRemainingColumn(compact=True),
            console=console,
        )
        self._task = self._bar.add_task(
            "",
            total=epochs * steps,
            epoch=1,
            epochs=epochs,
            width=len(str(epochs)),
            cost="-",
            accuracy="-",
        )
        self._accuracy = "-"

    def show(self, record: Record) -> None:
        """Set the bar to a record."""
        if record.dev_accuracy is not None:
            self._accuracy = f"{record.dev_accuracy:.3f}"
        self._bar.update(
            self._task,
            completed=record.step,
            epoch=record.epoch,
            cost=f"{record.smoothed_cost:.4f}",
            accuracy=self._accuracy,
        )

    def note(self, text: str) -> None:
        """Write a line above the bar."""
        self._bar.console.print(text, highlight=False, markup=False)


class PlanningLines(Plain):
    """Plain lines for pipes and logs, one for each kind of trial."""

    def __init__(self) -> None:
        self._told: set[str] = set()

    def show(self, done: int, total: int, text: str) -> None:
        """Write what is tried, once."""
        if text not in self._told:
            self._told.add(text)
            sys.stderr.write(f"planning {done}/{total}: {text}\n")
            sys.stderr.flush()


class PlanningBar(Live):
    """A bar that grows with the trials."""

    def __init__(self, console: Any) -> None:
        rich = load_extra("rich.progress", "train", "gdopt plan")
        self._bar = rich.Progress(
            rich.TextColumn("planning"),
            rich.BarColumn(),
            rich.TextColumn("{task.description}"),
            rich.TimeRemainingColumn(compact=True),
            console=console,
        )
        self._task = self._bar.add_task("", total=1)

    def show(self, done: int, total: int, text: str) -> None:
        """Set the bar."""
        self._bar.update(self._task, completed=done, total=total, description=text)


def planning_progress() -> PlanningBar | PlanningLines:
    """Make the progress of a plan.

    Raises:
        MissingExtraError: rich is not installed.
    """
    console = load_extra("rich.console", "train", "gdopt plan").Console(stderr=True)
    if console.is_terminal and not console.is_dumb_terminal:
        return PlanningBar(console)
    return PlanningLines()
