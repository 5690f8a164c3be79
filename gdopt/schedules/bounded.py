# ruff: noqa: N801 - these classes are called as functions, and print as they are called
"""Schedules with an end, whose last value holds from there on."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from functools import partial
from typing import Literal

from gdopt.checks import (
    check_choice,
    check_count,
    check_not_negative,
    check_positive,
    each,
    rising,
)
from gdopt.schedules.schedule import Schedule, check_boundaries


@dataclass(frozen=True)
class piecewise(Schedule):
    """Values by hand: the first up to the first boundary, and so on to the last.

    ``values[k]`` where k is the number of boundaries that the step has passed. optax
    and torch's ``MultiStepLR`` have the new value at the boundary itself; Keras's
    ``PiecewiseConstantDecay`` keeps the old one there.

    Args:
        boundaries: steps at which the value changes, rising, at least 1 each.
        values: one more than there are boundaries, at least 0 each.
        at_boundary: ``"new"`` or ``"old"``, the value at the boundary itself.

    >>> alpha = piecewise([100, 200], [0.1, 0.03, 0.01])
    >>> alpha(99), alpha(100), alpha(100_000)
    (0.1, 0.03, 0.01)
    >>> piecewise([100, 200], [0.1, 0.03, 0.01], at_boundary="old")(100)
    0.1
    """

    boundaries: Sequence[int]
    values: Sequence[float]
    _: KW_ONLY
    at_boundary: Literal["new", "old"] = "new"

    def __post_init__(self) -> None:
        self._check(boundaries=rising, values=partial(each, check_not_negative))
        check_boundaries("values", self.values, self.boundaries)
        check_choice("at_boundary", self.at_boundary, ("new", "old"))

    def _at(self, step: int) -> float:
        passed = bisect_right if self.at_boundary == "new" else bisect_left
        return self.values[passed(self.boundaries, step)]


@dataclass(frozen=True)
class polynomial(Schedule):
    """Go from one value to another: ``end + (start - end) * (1 - t)**power``.

    ``t = min(step / steps, 1)``: the end is reached after ``steps`` steps and kept.
    A power of 1 is a straight line. The same as torch's ``PolynomialLR``, Keras's
    ``PolynomialDecay`` and optax's ``polynomial_schedule``.

    Args:
        start: value at step 0, at least 0.
        end: value from step ``steps`` on, at least 0; it may be above the start.
        steps: at least 1.
        power: above 0.

    >>> alpha = polynomial(0.1, 0.0, steps=4)
    >>> [round(alpha(step), 4) for step in range(6)]
    [0.1, 0.075, 0.05, 0.025, 0.0, 0.0]
    """

    start: float
    end: float
    steps: int
    _: KW_ONLY
    power: float = 1.0

    def __post_init__(self) -> None:
        self._check(
            start=check_not_negative,
            end=check_not_negative,
            steps=check_count,
            power=check_positive,
        )

    def _at(self, step: int) -> float:
        left = self.steps - min(step, self.steps)
        share = math.pow(left / self.steps, self.power)
        return self.start * share + self.end * (1 - share)


@dataclass(frozen=True)
class cosine(Schedule):
    """Half a cosine: ``end + (start - end) * (1 + cos(pi * t)) / 2``.

    ``t = min(step / steps, 1)``: the end is reached after ``steps`` steps and kept, as
    in optax and Keras. torch's ``CosineAnnealingLR`` rises again after ``T_max``.

    Args:
        start: value at step 0, at least 0.
        end: value from step ``steps`` on, at least 0.
        steps: at least 1.

    Source: Loshchilov & Hutter 2017, SGDR, equation 5, without restarts.

    >>> alpha = cosine(0.1, 0.0, steps=100)
    >>> [round(alpha(step), 4) for step in (0, 25, 50, 100, 200)]
    [0.1, 0.0854, 0.05, 0.0, 0.0]
    """

    start: float
    end: float
    steps: int

    def __post_init__(self) -> None:
        self._check(start=check_not_negative, end=check_not_negative, steps=check_count)

    def _at(self, step: int) -> float:
        share = (1 + math.cos(math.pi * min(step, self.steps) / self.steps)) / 2
        return self.start * share + self.end * (1 - share)
