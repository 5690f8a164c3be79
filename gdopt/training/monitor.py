"""What a callback watches: a number of the records, and which of two is better."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gdopt.checks import check_choice, check_optional
from gdopt.errors import ArgumentError
from gdopt.training.records import NUMBERS, Record

if TYPE_CHECKING:
    from gdopt.training.run import Run

HIGHER = {"dev_accuracy", "examples_per_second"}  # are better; of all others lower ones


class Monitor:
    """The number of a record that a callback watches.

    Args:
        name: of a field of `Record`; by default what the dev examples give, if there
            are some, or else the loss, smoothed in a run with data.
        mode: ``"max"`` or ``"min"``; by default what is better of such a number.

    Attributes:
        mode: as given, or as follows from the number that is watched.
        watched: the name of that number.
    """

    def __init__(self, name: str | None, mode: str | None) -> None:
        check_optional(_check_name, "monitor", name)
        check_optional(_check_mode, "mode", mode)
        self._name, self.mode = name, mode
        self._fixed = mode is not None
        self._names: tuple[str, ...] = () if name is None else (name,)
        self.watched = name or ""

    def begin(self, run: Run) -> None:
        """Choose what is watched in a run.

        Raises:
            ArgumentError: the run does not measure it, or on too few dev examples.
        """
        if self._name is None:
            own = "loss" if run.data is None else "smoothed_loss"
            self._names = ("dev_accuracy", "dev_loss") if run.dev else (own,)
        watched = self._names[0]
        if not watched.startswith("dev_"):
            return
        if run.dev is None:
            message = f"monitor={watched!r} needs dev examples: give dev=(X, y)"
            raise ArgumentError(message)
        count = len(run.dev[0]) if hasattr(run.dev[0], "__len__") else 2
        if count < (2 if watched == "dev_accuracy" else 1):
            message = f"dev must hold 2 examples or more to be watched, got {count}"
            raise ArgumentError(message)

    def value(self, record: Record) -> float | None:
        """Return the number of a record; None where it was not measured."""
        for name in self._names:
            value: float | None = getattr(record, name)
            if value is not None:
                self.watched = name
                if not self._fixed:
                    self.mode = "max" if name in HIGHER else "min"
                return value
        return None


def _check_name(name: str, value: str) -> str:
    check_choice(name, value, NUMBERS)
    return value


def _check_mode(name: str, value: str) -> str:
    check_choice(name, value, ("max", "min"))
    return value
