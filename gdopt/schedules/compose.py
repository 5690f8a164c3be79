# ruff: noqa: N801 - these classes are called as functions, and print as they are called
"""Schedules made of schedules."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from functools import partial
from typing import Annotated

from gdopt.checks import check_each, check_int
from gdopt.errors import ArgumentError
from gdopt.schedules.schedule import (
    Boundaries,
    Count,
    Function,
    FunctionOrNumber,
    Schedule,
    check_boundaries,
    check_part,
    value_at,
)


@dataclass(frozen=True)
class warmup(Schedule):
    """Rise in a straight line first: ``min(1, (step + 1) / steps) * schedule(step)``.

    The first step already moves (optax's and torch's warm-ups start from 0 or from a
    factor, Keras's from a value of its own). The schedule itself is not delayed, so
    that it ends at the same step; for one that begins after the rise,
    write ``join([warmup(1e-3, 100), cosine(1e-3, 0, 900)], [100])``.

    Args:
        schedule: any function of the step, or a number.
        steps: of the rise, at least 1; with 1 nothing is changed.

    Source: Goyal et al. 2017, Accurate, Large Minibatch SGD, section 2.2.

    >>> alpha = warmup(0.4, steps=4)
    >>> [round(alpha(step), 4) for step in range(6)]
    [0.1, 0.2, 0.3, 0.4, 0.4, 0.4]
    """

    schedule: FunctionOrNumber
    steps: Count

    def _at(self, step: int) -> float:
        value = value_at(self.schedule, step)
        return value if step >= self.steps else value * ((step + 1) / self.steps)


@dataclass(frozen=True)
class join(Schedule):
    """One schedule after the other, each counting steps from its own start.

    ``schedules[k](step - boundaries[k - 1])`` where k is the number of boundaries that
    the step has passed; the boundary itself belongs to the next one, as in optax's
    ``join_schedules`` and torch's ``SequentialLR``.

    Args:
        schedules: functions of the step or numbers, one more than boundaries.
        boundaries: steps at which the next one begins, rising, at least 1 each.

    >>> from gdopt.schedules import cosine
    >>> alpha = join([warmup(0.1, steps=5), cosine(0.1, 0.0, steps=10)], [5])
    >>> [round(alpha(step), 4) for step in (0, 4, 5, 10, 15, 99)]
    [0.02, 0.1, 0.1, 0.05, 0.0, 0.0]
    """

    schedules: Annotated[Sequence[Function | float], partial(check_each, check_part)]
    boundaries: Boundaries

    def __post_init__(self) -> None:
        super().__post_init__()
        check_boundaries("schedules", self.schedules, self.boundaries)

    def _at(self, step: int) -> float:
        passed = bisect_right(self.boundaries, step)
        start = self.boundaries[passed - 1] if passed else 0
        return value_at(self.schedules[passed], step - start)


@dataclass(frozen=True)
class per_epoch(Schedule):
    """Change once an epoch: ``schedule(first + step // steps)``.

    Args:
        schedule: any function of the number of the epoch, or a number.
        steps: mini-batches in an epoch, at least 1.
        first: number of the first epoch, 0 or 1; the course counts from 1.

    >>> from gdopt.schedules import exponential
    >>> alpha = per_epoch(exponential(0.2, 0.95), steps=100, first=1)
    >>> round(alpha(0), 6), round(alpha(99), 6), round(alpha(100), 6)
    (0.19, 0.19, 0.1805)
    """

    schedule: FunctionOrNumber
    steps: Count
    _: KW_ONLY
    first: Annotated[int, partial(check_int, least=0)] = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.first > 1:
            raise ArgumentError(f"first must be 0 or 1, got {self.first}")

    def _at(self, step: int) -> float:
        return value_at(self.schedule, self.first + step // self.steps)
