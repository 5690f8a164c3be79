# ruff: noqa: N801 - these classes are called as functions, and print as they are called
"""Scales: what a hyper-parameter may be, and how its draws are spread."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from gdopt.checks import FINITE, POSITIVE, Range, check_number
from gdopt.errors import ArgumentError


class Scale(ABC):
    """What a hyper-parameter may be; every one is a frozen dataclass."""

    def label(self, name: str) -> str:
        """Give the name by which Optuna keeps it."""
        return name

    @abstractmethod
    def draw(self, trial: Any, label: str) -> Any:
        """Ask a trial of Optuna's for what it keeps."""

    def value(self, kept: Any) -> Any:
        """Give the value of what Optuna keeps."""
        return kept

    @abstractmethod
    def place(self, value: Any) -> float:
        """Give where a value stands between low, 0, and high, 1, as draws see it."""

    @abstractmethod
    def narrowed(self, values: Iterable[Any]) -> Scale:
        """Give the same scale from the least to the largest of some values."""


class Interval(Scale):
    """A scale from low to high, both included."""

    low: Any
    high: Any

    def _settle(self, low: Any, high: Any) -> None:
        """Set the ends to their checked values.

        Raises:
            ArgumentError: they stand the wrong way round.
        """
        if low > high:
            message = f"low must be at most high, got {self}"
            raise ArgumentError(message)
        object.__setattr__(self, "low", low)
        object.__setattr__(self, "high", high)

    def place(self, value: Any) -> float:
        """See `Scale.place`; where low is high, it is in the middle."""
        first, last = self._stretched(self.low), self._stretched(self.high)
        return (
            (self._stretched(value) - first) / (last - first) if last > first else 0.5
        )

    def _stretched(self, value: Any) -> float:
        """Give what is drawn evenly."""
        return float(value)

    def narrowed(self, values: Iterable[Any]) -> Scale:
        """See `Scale.narrowed`."""
        values = list(values)
        kind: Any = type(self)
        narrow: Scale = kind(min(values), max(values))
        return narrow


@dataclass(frozen=True)
class uniform(Interval):
    """A number, drawn evenly from low to high.

    Args:
        low: finite.
        high: finite, at least low.

    >>> uniform(0, 2).place(0.5)
    0.25
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        self._settle(
            check_number("low", self.low, FINITE),
            check_number("high", self.high, FINITE),
        )

    def draw(self, trial: Any, label: str) -> Any:
        """See `Scale.draw`."""
        return trial.suggest_float(label, self.low, self.high)


@dataclass(frozen=True)
class log(Interval):
    """A number whose logarithm is drawn evenly: each decade gets as many draws.

    Of 0.0001 to 1, even draws would lie above 0.1 nine times of ten.

    Args:
        low: positive.
        high: finite, at least low.

    Source: Ng, Improving deep neural networks, week 3, "Using an appropriate scale to
    pick hyperparameters".

    >>> round(log(1e-4, 1).place(0.01), 3)
    0.5
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        self._settle(
            check_number("low", self.low, POSITIVE),
            check_number("high", self.high, POSITIVE),
        )

    def draw(self, trial: Any, label: str) -> Any:
        """See `Scale.draw`."""
        return trial.suggest_float(label, self.low, self.high, log=True)

    def _stretched(self, value: Any) -> float:
        return math.log(value)


@dataclass(frozen=True)
class log_one_minus(Interval):
    """A number v for which the logarithm of 1 - v is drawn evenly.

    For the beta of an average over 1/(1 - beta) values: of 0.9 to 0.999, as many draws
    average over 10 to 100 values as over 100 to 1,000. Optuna keeps ``1 - v``.

    Args:
        low: in [0, 1).
        high: in [0, 1), at least low.

    Source: Ng, Improving deep neural networks, week 3, "Using an appropriate scale to
    pick hyperparameters".

    >>> round(log_one_minus(0.9, 0.999).place(0.99), 3)
    0.5
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        below_one = Range.parse("[0, 1)")
        self._settle(
            check_number("low", self.low, below_one),
            check_number("high", self.high, below_one),
        )

    def label(self, name: str) -> str:
        """See `Scale.label`."""
        return f"1 - {name}"

    def draw(self, trial: Any, label: str) -> Any:
        """See `Scale.draw`."""
        return trial.suggest_float(label, 1 - self.high, 1 - self.low, log=True)

    def value(self, kept: Any) -> Any:
        """See `Scale.value`; a rounding beyond an end is taken back."""
        return min(max(1 - kept, self.low), self.high)

    def _stretched(self, value: Any) -> float:
        return -math.log1p(-value)
