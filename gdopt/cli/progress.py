"""Progress on standard error: a live bar on a terminal, else occasional lines."""

from __future__ import annotations

import math
from typing import Self

from gdopt.extras import load_extra

LINES = 10  # in a run, after its first, where there is no terminal


class Progress:
    """Shows how far a command has come, on standard error; a context manager.

    On a terminal this is a bar with the time that remains. In a pipe, in a log and on a
    terminal that cannot move its cursor, it writes occasional lines.

    Args:
        text: shown on the bar until the first call of `show`.

    Attributes:
        done: as given to the last call of `show`; 0 before.

    Raises:
        MissingExtraError: rich is not installed.
    """

    def __init__(self, text: str = "") -> None:
        rich = load_extra("rich.progress", "train", "a progress bar")
        self._console = load_extra("rich.console", "train", "a progress bar").Console(
            stderr=True
        )
        self._live = self._console.is_terminal and not self._console.is_dumb_terminal
        self._bar = rich.Progress(
            rich.BarColumn(bar_width=20),  # all that a training says fits into 80
            rich.TimeRemainingColumn(compact=True),
            rich.TextColumn("{task.description}", markup=False),
            console=self._console,
            speed_estimate_period=math.inf,  # one trial of a search may take minutes
        )
        self._task = self._bar.add_task(text, total=None)
        self._line_at = 0.0
        self.done = 0

    def __enter__(self) -> Self:
        if self._live:
            self._bar.start()
        return self

    def __exit__(self, *_error: object) -> None:
        if self._live:
            self._bar.stop()

    def show(
        self, done: int, total: int, text: str, *, line: bool | None = None
    ) -> None:
        """Set the bar, or write a line where one is due.

        Args:
            done: steps, trials or whatever is counted, of which `total` are to be done.
            total: at least 1.
            text: what is known at this point.
            line: whether a line is due, where there is no bar; by default, one is at
                the first call and after every tenth of the total.
        """
        self.done = done
        if self._live:
            state = {"completed": done, "total": total, "description": text}
            self._bar.update(self._task, **state)
        elif done >= self._line_at if line is None else line:
            self._line_at = (done * LINES // total + 1) * total / LINES
            self.note(text)

    def note(self, text: str) -> None:
        """Write a line, above the bar where there is one."""
        self._console.out(text, highlight=False)
