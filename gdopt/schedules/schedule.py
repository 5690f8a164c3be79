"""What every schedule shares: a checked step in, a finite float out."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Annotated, Any

from gdopt.checks import (
    check_count,
    check_increasing,
    check_int,
    check_not_negative,
    field_checks,
)
from gdopt.errors import ArgumentError

Function = Callable[[int], float]
# Types of fields with their checks, functions of a name and a value.
Rate = Annotated[float, check_not_negative]
Count = Annotated[int, check_count]
Boundaries = Annotated[Sequence[int], check_increasing]


class Schedule(ABC):
    """A pure function of the step, written as a frozen dataclass.

    A schedule of your own needs no class: any ``function(step) -> float`` is one.

    >>> from gdopt.schedules import halving, join
    >>> join([lambda step: 0.1 * (step + 1), halving(0.4, every=2)], [3])(5)
    0.2
    """

    def __post_init__(self) -> None:
        """Set the fields to their checked values."""
        for name, check in field_checks(type(self)).items():
            object.__setattr__(self, name, check(name, getattr(self, name)))

    def __call__(self, step: int) -> float:
        """Return the value for one update.

        Args:
            step: whole number of updates made before this one; 0 is the first update.

        Raises:
            ArgumentTypeError: the step is not a whole number; neither are True and 3.0.
            ArgumentError: the step is negative, or a function that the schedule was
                made of gives a value that is not finite.
        """
        step = check_int("step", step, least=0)
        value = float(self._at(step))
        if not math.isfinite(value):
            message = f"{self} must be finite at every step, got {value} at step {step}"
            raise ArgumentError(message)
        return value

    @abstractmethod
    def _at(self, step: int) -> float:
        """Return the value at a step that was checked."""


def check_boundaries(
    name: str, values: Sequence[Any], boundaries: Sequence[int]
) -> None:
    """Refuse boundaries that do not lie between values.

    Raises:
        ArgumentError: the values are not one more.
    """
    if len(values) != len(boundaries) + 1:
        message = (
            f"{name} must be one more than boundaries, got {len(values)} {name} for "
            f"{len(boundaries)} boundaries"
        )
        raise ArgumentError(message)
