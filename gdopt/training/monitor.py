"""What a callback watches: a number of the records, and which of two is better."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gdopt.checks import check_choice
from gdopt.errors import ArgumentError
from gdopt.training.objectives import NetworkLoss
from gdopt.training.records import NUMBERS, Record
from gdopt.training.sources import examples_in

if TYPE_CHECKING:
    from gdopt.training.run import Run

HIGHER = {"dev_accuracy", "examples_per_second"}  # are better; of all others lower ones


class Monitor:
    """The number of a record that a callback watches."""

    def __init__(self, name: str | None, mode: str | None) -> None:
        if name is not None:
            check_choice("monitor", name, NUMBERS)
        if mode is not None:
            check_choice("mode", mode, ("max", "min"))
        self.given = {"monitor": name, "mode": mode}
        self.watched, self.mode = name or "", mode

    def begin(self, run: Run) -> None:
        """Choose what is watched in a run; refuse what it does not measure."""
        own = "loss" if run.data is None else "smoothed_loss"
        measured = own if run.dev is None else run.objective.measures
        self.watched = self.given["monitor"] or measured
        better = "max" if self.watched in HIGHER else "min"
        self.mode = self.given["mode"] or better
        if not self.watched.startswith("dev_"):
            return
        if run.dev is None:
            message = f"monitor={self.watched!r} needs dev examples: give dev=(X, y)"
            raise ArgumentError(message)
        both = measured == "dev_accuracy" and isinstance(run.objective, NetworkLoss)
        if self.watched != measured and not both:
            message = f"monitor must be {measured!r}, which is what this run measures "
            message += f"on dev examples, got {self.watched!r}"
            raise ArgumentError(message)
        first = run.dev[0]
        count = examples_in(first, run.data) if hasattr(first, "shape") else 2
        if count < (2 if measured == "dev_accuracy" else 1):
            message = f"dev must hold 2 examples or more to be watched, got {count}"
            raise ArgumentError(message)

    def value(self, record: Record) -> float | None:
        """Return the number of a record; None where it was not measured."""
        value: float | None = getattr(record, self.watched)
        return value
