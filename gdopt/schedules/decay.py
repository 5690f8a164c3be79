# ruff: noqa: N801 - these classes are called as functions, and print as they are called
"""Schedules by a formula of the step; the last value holds where there is an end."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from dataclasses import KW_ONLY, dataclass
from functools import partial
from typing import Annotated, Literal

from gdopt.checks import check_count, check_finite, check_optional
from gdopt.schedules.schedule import (
    Boundaries,
    Count,
    Factor,
    Flag,
    NotNegative,
    Number,
    Numbers,
    Schedule,
    check_boundaries,
    half_cosine,
    mixed,
)


@dataclass(frozen=True)
class constant(Schedule):
    """The same value at every step: ``value``.

    >>> constant(0.1)(1000)
    0.1
    """

    value: Number

    def _at(self, step: int) -> float:  # noqa: ARG002 - it depends on nothing
        return self.value


@dataclass(frozen=True)
class inverse_time(Schedule):
    """Decay with the reciprocal of time: ``start / (1 + rate * step / steps)**power``.

    The course's decay counts epochs from 1, which `per_epoch` does with ``first=1``.
    scikit-learn's invscaling has a rate of 1 and counts examples. It does not end.

    Args:
        start: value at step 0.
        rate: at least 0.
        steps: in which the sum grows by the rate, at least 1.
        staircase: whether it grows in one jump, at their end.
        power: at least 0.

    Source: Andrew Ng, Improving Deep Neural Networks, "Learning rate decay".

    >>> from gdopt.schedules import per_epoch
    >>> alpha = per_epoch(inverse_time(0.2, rate=1), steps=10, first=1)
    >>> [round(alpha(step), 4) for step in (0, 10, 20, 30)]
    [0.1, 0.0667, 0.05, 0.04]
    """

    start: Number
    rate: NotNegative
    steps: Count = 1
    _: KW_ONLY
    staircase: Flag = False
    power: NotNegative = 1.0

    def _at(self, step: int) -> float:
        time = step // self.steps if self.staircase else step / self.steps
        return self.start / math.pow(1 + self.rate * time, self.power)


@dataclass(frozen=True)
class exponential(Schedule):
    """Change by a factor every `steps` steps: ``start * rate**(step / steps)``.

    As a staircase the exponent is a whole number, ``step // steps``: the course's
    discrete staircase, which holds each value for ``steps`` steps. The course's
    ``.95**epoch`` is ``per_epoch(exponential(start, .95), steps, first=1)``.
    Without an end it goes to 0, or grows until no float is large enough: that step is
    refused.

    Args:
        start: value at step 0.
        rate: factor, above 0; growth above 1.
        steps: after how many steps the factor is reached, at least 1.
        staircase: whether the value changes in one jump, at the end of those steps.
        end: least value if the rate is below 1, else largest, as in optax; or None.

    >>> alpha = exponential(0.1, 0.96, steps=100_000, staircase=True)
    >>> alpha(0), alpha(99_999), alpha(100_000)
    (0.1, 0.1, 0.096)
    >>> exponential(1e-6, 10, steps=100, end=1.0)(10_000)
    1.0
    """

    start: Number
    rate: Factor
    steps: Count = 1
    _: KW_ONLY
    staircase: Flag = False
    end: Annotated[float | None, partial(check_optional, check_finite)] = None

    def _at(self, step: int) -> float:
        exponent = step // self.steps if self.staircase else step / self.steps
        try:
            value = self.start * self.rate**exponent
        except OverflowError:
            value = self.start and self.start * math.inf
        if self.end is None:
            return value
        return max(value, self.end) if self.rate < 1 else min(value, self.end)


def halving(start: float, every: int) -> exponential:
    """Halve the value every `every` steps: ``start * .5**(step // every)``.

    Args:
        start: value at step 0.
        every: steps between two halvings, at least 1.

    >>> [halving(0.8, every=100)(step) for step in (0, 99, 100, 200)]
    [0.8, 0.8, 0.4, 0.2]
    """
    return exponential(start, 0.5, check_count("every", every), staircase=True)


@dataclass(frozen=True)
class inv_sqrt(Schedule):
    """Decay with the root of time: ``start * k / sqrt(t)``, where ``t = step + 1``.

    ``t`` counts mini-batches from 1, as in the course. Its form with epochs, also from
    1, is ``per_epoch(inv_sqrt(start, k), steps)``: as ``t`` counts from 1 already,
    `per_epoch` keeps its ``first=0``. It does not end.

    Source: Andrew Ng, Improving Deep Neural Networks, "Learning rate decay".

    >>> [inv_sqrt(0.2)(step) for step in (0, 3, 15)]
    [0.2, 0.1, 0.05]
    """

    start: Number
    k: Number = 1.0

    def _at(self, step: int) -> float:
        return self.start * self.k / math.sqrt(step + 1)


@dataclass(frozen=True)
class piecewise(Schedule):
    """Values by hand: the first up to the first boundary, and so on to the last.

    ``values[k]`` where k is the number of boundaries that the step has passed. optax
    and torch's ``MultiStepLR`` have the new value at the boundary itself; Keras's
    ``PiecewiseConstantDecay`` keeps the old one there.

    Args:
        boundaries: steps at which the value changes, rising, at least 1 each.
        values: one more than there are boundaries; the last one is kept.
        at_boundary: ``"new"`` or ``"old"``, the value at the boundary itself.

    >>> alpha = piecewise([100, 200], [0.1, 0.03, 0.01])
    >>> alpha(99), alpha(100), alpha(100_000)
    (0.1, 0.03, 0.01)
    >>> piecewise([100, 200], [0.1, 0.03, 0.01], at_boundary="old")(100)
    0.1
    """

    boundaries: Boundaries
    values: Numbers
    _: KW_ONLY
    at_boundary: Literal["new", "old"] = "new"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_boundaries("values", self.values, self.boundaries)

    def _at(self, step: int) -> float:
        passed = bisect_right if self.at_boundary == "new" else bisect_left
        return self.values[passed(self.boundaries, step)]


@dataclass(frozen=True)
class polynomial(Schedule):
    """Go from one value to another: ``end + (start - end) * (1 - t)**power``.

    ``t = min(step / steps, 1)``: the end is reached after ``steps`` steps and kept.
    A power of 1 is a straight line. In a cycle ``t = step / (k * steps)``, where k is
    the least number from 1 on with t <= 1, as in Keras: from the end the value jumps.

    Args:
        start: value at step 0.
        end: value at step ``steps``; it may be above the start.
        steps: at least 1.
        power: above 0.
        cycle: whether it jumps up after the end, ever less, instead of keeping it.

    >>> alpha = polynomial(0.1, 0.0, steps=4)
    >>> [round(alpha(step), 4) for step in range(6)]
    [0.1, 0.075, 0.05, 0.025, 0.0, 0.0]
    >>> polynomial(0.1, 0.0, steps=4, cycle=True)(6)
    0.025
    """

    start: Number
    end: Number
    steps: Count
    _: KW_ONLY
    power: Factor = 1.0
    cycle: Flag = False

    def _at(self, step: int) -> float:
        steps = self.steps
        if self.cycle:
            steps *= max(-(-step // steps), 1)
        left = steps - min(step, steps)
        return mixed(self.start, self.end, math.pow(left / steps, self.power))


@dataclass(frozen=True)
class cosine(Schedule):
    """Half a cosine: ``end + (start - end) * ((1 + cos(pi * t)) / 2)**power``.

    ``t = min(step / steps, 1)``: the end is reached after ``steps`` steps and kept, as
    in optax and Keras. torch's ``CosineAnnealingLR`` rises again after ``T_max``.

    Args:
        start: value at step 0.
        end: value from step ``steps`` on.
        steps: at least 1.
        power: above 0.

    Source: Loshchilov & Hutter 2017, SGDR, equation 5, without restarts.

    >>> alpha = cosine(0.1, 0.0, steps=100)
    >>> [round(alpha(step), 4) for step in (0, 25, 50, 100, 200)]
    [0.1, 0.0854, 0.05, 0.0, 0.0]
    """

    start: Number
    end: Number
    steps: Count
    _: KW_ONLY
    power: Factor = 1.0

    def _at(self, step: int) -> float:
        share = half_cosine(min(step, self.steps), self.steps)
        return mixed(self.start, self.end, math.pow(share, self.power))
