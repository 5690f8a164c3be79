"""What every schedule shares: a checked step in, a finite float out, and a product."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

from gdopt.checks import (
    check_count,
    check_each,
    check_finite,
    check_flag,
    check_function,
    check_increasing,
    check_int,
    check_not_negative,
    check_positive,
    field_checks,
)
from gdopt.errors import ArgumentError

Function = Callable[[int], float]


def check_part(name: str, value: Any) -> Any:
    """Take a function or a number."""
    check = check_function if callable(value) else check_finite
    return check(name, value)


# Types of fields with their checks, functions of a name and a value. The range of a
# value, such as that of learning rates, is checked by what uses it.
Number = Annotated[float, check_finite]
Numbers = Annotated[Sequence[float], partial(check_each, check_finite)]
Factor = Annotated[float, check_positive]
NotNegative = Annotated[float, check_not_negative]
Count = Annotated[int, check_count]
Flag = Annotated[bool, check_flag]
Boundaries = Annotated[Sequence[int], check_increasing]
FunctionOrNumber = Annotated[Function | float, check_part]


class Schedule(ABC):
    """A pure function of the step, written as a frozen dataclass.

    A schedule of your own needs no class: any ``function(step) -> float`` is one.
    ``a * b`` is the product of a schedule and another one, a function or a number.

    >>> from gdopt.schedules import halving, join
    >>> join([lambda step: 0.1 * (step + 1), halving(0.4, every=2)], [3])(5)
    0.2
    >>> 0.5 * halving(0.4, every=2)
    (0.5 * exponential(start=0.4, rate=0.5, steps=2, staircase=True, end=None))
    """

    __array_ufunc__ = None  # NumPy's numbers leave products to the schedule

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
            ArgumentError: the step is negative, or the value is not finite, as where
                growth leaves the range of floats.
        """
        step = check_int("step", step, least=0)
        try:
            value = float(self._at(step))
        except OverflowError:
            value = math.inf
        if not math.isfinite(value):
            message = f"{self} must be finite at every step, got {value} at step {step}"
            raise ArgumentError(message)
        return value

    def __mul__(self, other: Function | float) -> Schedule:
        return Multiplied(self, other)

    def __rmul__(self, other: Function | float) -> Schedule:
        return Multiplied(other, self)

    @abstractmethod
    def _at(self, step: int) -> float:
        """Return the value at a step that was checked."""


@dataclass(frozen=True, repr=False)
class Multiplied(Schedule):
    """A schedule times another one, a function or a number."""

    a: FunctionOrNumber
    b: FunctionOrNumber

    def __repr__(self) -> str:
        return f"({self.a!r} * {self.b!r})"

    def _at(self, step: int) -> float:
        return value_at(self.a, step) * value_at(self.b, step)


def value_at(schedule: Function | float, step: int) -> float:
    """Return the value at a step of a function or a number."""
    return schedule(step) if callable(schedule) else schedule


def mixed(start: float, end: float, share: float) -> float:
    """Return ``end + (start - end) * share``, exact where the share is 0 or 1."""
    if share > 1:  # where the terms of the other sum would cancel each other
        return end + (start - end) * share
    return start * share + end * (1 - share)


def half_cosine(done: float, total: float) -> float:
    """Fall from 1 to 0 as `done` grows from 0 to `total`."""
    return (1 + math.cos(math.pi * done / total)) / 2


def check_boundaries(
    name: str, values: Sequence[Any], boundaries: Sequence[int]
) -> None:
    """Refuse boundaries that do not lie between values."""
    if len(values) != len(boundaries) + 1:
        rule = f"{name} must be one more than boundaries"
        message = f"{rule}, got {len(values)} {name} for {len(boundaries)} boundaries"
        raise ArgumentError(message)
