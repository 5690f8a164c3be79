"""Progress of a search on standard error: a live bar on a terminal, else lines."""

from __future__ import annotations

import sys
from typing import Any

from gdopt.cli.parts.progress import LINES, Live, Plain
from gdopt.extras import load_extra
from gdopt.tune import Outcome


class TrialLines(Plain):
    """Plain lines for pipes and logs: now and then, and for every failure."""

    done = 0
    best = "-"

    def show(self, trial: Outcome, done: int, total: int) -> None:
        """Take in a trial that has ended."""
        self.done = done
        if trial.score is not None:
            self.best = max(self.best, f"{trial.score:.3f}")  # "-" is before digits
        if trial.error is not None:
            self.note(f"trial {trial.number} failed: {trial.error}")
        self.grow(done, total)

    def note(self, text: str) -> None:
        """Write a line."""
        sys.stderr.write(text + "\n")
        sys.stderr.flush()

    def grow(self, done: int, total: int) -> None:
        """Write how far the search is, where it is due."""
        if done == total or done % max(1, total // LINES) == 0:
            self.note(f"trial {done}/{total}, best dev accuracy {self.best}")


class TrialBar(Live, TrialLines):
    """A bar that grows with the trials, and a line above it for every failure."""

    def __init__(self, console: Any, total: int) -> None:
        rich = load_extra("rich.progress", "train", "gdopt tune")
        self._bar = rich.Progress(
            rich.TextColumn("trial {task.completed} of {task.total}"),
            rich.BarColumn(),
            rich.TextColumn("best dev accuracy [bold]{task.description}"),
            rich.TimeRemainingColumn(compact=True),
            console=console,
        )
        self._task = self._bar.add_task("-", total=total)

    def note(self, text: str) -> None:
        """Write a line above the bar."""
        self._bar.console.print(text, highlight=False, markup=False)

    def grow(self, done: int, total: int) -> None:
        """Set the bar."""
        state = {"completed": done, "total": total, "description": self.best}
        self._bar.update(self._task, **state)


def trial_progress(total: int) -> TrialLines:
    """Make the progress of a search of so many trials.

    Raises:
        MissingExtraError: rich is not installed.
    """
    console = load_extra("rich.console", "train", "gdopt tune").Console(stderr=True)
    if console.is_terminal and not console.is_dumb_terminal:
        return TrialBar(console, total)
    return TrialLines()
