# ruff: noqa: N801 - these classes are called as functions, and print as they are called
"""Schedules without an end: constant, or falling ever more slowly."""

from __future__ import annotations

import functools
import math
from dataclasses import KW_ONLY, dataclass

from gdopt.checks import Range, check_count, check_not_negative, check_number
from gdopt.schedules.schedule import Schedule

_factor = functools.partial(check_number, bounds=Range.parse("(0, 1]"))


@dataclass(frozen=True)
class constant(Schedule):
    """The same value at every step: ``value``.

    Args:
        value: at least 0.

    >>> constant(0.1)(1000)
    0.1
    """

    value: float

    def __post_init__(self) -> None:
        self._check(value=check_not_negative)

    def _at(self, step: int) -> float:  # noqa: ARG002 - it depends on nothing
        return self.value


@dataclass(frozen=True)
class inverse_time(Schedule):
    """Decay with the reciprocal of time: ``start / (1 + rate * step)``.

    The course's decay counts epochs from 1, which `per_epoch` does with ``first=1``.
    Keras's ``InverseTimeDecay`` divides the step by ``decay_steps`` first: put that
    into the rate.

    Args:
        start: value at step 0, at least 0.
        rate: per step, at least 0.

    Source: Andrew Ng, Improving Deep Neural Networks, "Learning rate decay".

    >>> from gdopt.schedules import per_epoch
    >>> alpha = per_epoch(inverse_time(0.2, rate=1), steps=10, first=1)
    >>> [round(alpha(step), 4) for step in (0, 10, 20, 30)]
    [0.1, 0.0667, 0.05, 0.04]
    """

    start: float
    rate: float

    def __post_init__(self) -> None:
        self._check(start=check_not_negative, rate=check_not_negative)

    def _at(self, step: int) -> float:
        return self.start / (1 + self.rate * step)


@dataclass(frozen=True)
class exponential(Schedule):
    """Decay by a factor every so many steps: ``start * rate**(step / steps)``.

    As a staircase the exponent is a whole number, ``step // steps``: the course's
    discrete staircase, which holds each value for ``steps`` steps. The course's
    ``.95**epoch`` is ``per_epoch(exponential(start, .95), steps, first=1)``.
    The arguments are those of TensorFlow's ``exponential_decay`` and Keras's
    ``ExponentialDecay``. optax has ``transition_steps``; torch's ``ExponentialLR`` has
    ``steps=1`` alone, its ``StepLR`` is the staircase.

    Args:
        start: value at step 0, at least 0.
        rate: factor, in (0, 1].
        steps: after how many steps the factor is reached, at least 1.
        staircase: whether the value falls at once, at the end of those steps.

    >>> alpha = exponential(0.1, 0.96, steps=100_000, staircase=True)
    >>> alpha(0), alpha(99_999), alpha(100_000)
    (0.1, 0.1, 0.096)
    """

    start: float
    rate: float
    steps: int = 1
    _: KW_ONLY
    staircase: bool = False

    def __post_init__(self) -> None:
        self._check(start=check_not_negative, rate=_factor, steps=check_count)

    def _at(self, step: int) -> float:
        exponent = step // self.steps if self.staircase else step / self.steps
        return self.start * self.rate**exponent


def halving(start: float, every: int) -> exponential:
    """Halve the value every so many steps: ``start * .5**(step // every)``.

    Args:
        start: value at step 0, at least 0.
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
    `per_epoch` keeps its ``first=0``.

    Args:
        start: at least 0.
        k: factor, at least 0.

    Source: Andrew Ng, Improving Deep Neural Networks, "Learning rate decay".

    >>> [inv_sqrt(0.2)(step) for step in (0, 3, 15)]
    [0.2, 0.1, 0.05]
    """

    start: float
    k: float = 1.0

    def __post_init__(self) -> None:
        self._check(start=check_not_negative, k=check_not_negative)

    def _at(self, step: int) -> float:
        return self.start * self.k / math.sqrt(step + 1)
