# ruff: noqa: N801 - these classes are called as functions, and print as they are called
"""Scales: what a hyper-parameter may be, and how its draws are spread."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

from gdopt.checks import (
    FINITE,
    POSITIVE,
    Range,
    check_choice,
    check_count,
    check_int,
    check_number,
    check_sequence,
    shown,
)
from gdopt.errors import ArgumentError, ArgumentTypeError


class Scale(ABC):
    """What a hyper-parameter may be; every scale is a frozen dataclass."""

    prefix: ClassVar[str] = ""  # of the name under which Optuna stores what it draws

    @abstractmethod
    def draw(self, trial: Any, label: str) -> Any:
        """Return what Optuna's trial draws; `value` makes the value of it."""

    def value(self, drawn: Any) -> Any:
        """Return the hyper-parameter's value for what Optuna has drawn."""
        return drawn

    @abstractmethod
    def place(self, value: Any) -> float:
        """Return the position of a value between low, 0, and high, 1, as drawn."""

    @abstractmethod
    def narrowed(self, values: Iterable[Any]) -> Scale:
        """Return the same scale from the smallest to the largest of some values."""


@dataclass(frozen=True)
class Interval(Scale):
    """A scale from low to high, both included."""

    low: Any
    high: Any
    bounds: ClassVar[Range] = FINITE
    by_log: ClassVar[bool] = False  # whether the logarithm is drawn evenly

    def __post_init__(self) -> None:
        for name in ("low", "high"):
            object.__setattr__(self, name, self._check(name, getattr(self, name)))
        if self.low > self.high:
            raise ArgumentError(f"low must be at most high, got {self}")

    def _check(self, name: str, end: Any) -> Any:
        return check_number(name, end, self.bounds)

    def _drawn(self, value: Any) -> Any:
        """Return what Optuna draws for a value: the inverse of `value`."""
        return value

    def draw(self, trial: Any, label: str) -> Any:
        low, high = sorted([self._drawn(self.low), self._drawn(self.high)])
        if isinstance(low, int):
            return trial.suggest_int(label, low, high, log=self.by_log)
        return trial.suggest_float(label, low, high, log=self.by_log)

    def place(self, value: Any) -> float:
        """See `Scale.place`; where low is high, it is in the middle."""
        value = self._check("value", value)
        drawn = [self._drawn(one) for one in (self.low, value, self.high)]
        low, at, high = map(math.log, drawn) if self.by_log else drawn
        return (at - low) / (high - low) if high != low else 0.5

    def narrowed(self, values: Iterable[Any]) -> Scale:
        values = list(values)
        return type(self)(min(values), max(values))


class uniform(Interval):
    """A number, drawn evenly from low to high.

    Args:
        low: finite.
        high: finite, at least low.

    >>> uniform(0, 2).place(0.5)
    0.25
    """


class log_uniform(Interval):
    """A number whose logarithm is drawn evenly: each decade gets as many draws.

    Of 0.0001 to 1, even draws would lie above 0.1 nine times of ten.

    Args:
        low: positive.
        high: finite, at least low.

    Source: Ng, Improving deep neural networks, week 3, "Using an appropriate scale to
    pick hyperparameters".

    >>> round(log_uniform(1e-4, 1).place(0.01), 3)
    0.5
    """

    bounds = POSITIVE
    by_log = True


class log_one_minus(Interval):
    """A number v for which the logarithm of 1 - v is drawn evenly.

    For the beta of an average over 1/(1 - beta) values: of 0.9 to 0.999, as many draws
    average over 10 to 100 values as over 100 to 1,000. Optuna stores ``1 - v``.

    Args:
        low: in [0, 1).
        high: in [0, 1), at least low.

    Source: Ng, Improving deep neural networks, week 3, "Using an appropriate scale to
    pick hyperparameters".

    >>> round(log_one_minus(0.9, 0.999).place(0.99), 3)
    0.5
    """

    prefix = "1 - "
    bounds = Range.parse("[0, 1)")
    by_log = True

    def _drawn(self, value: Any) -> Any:
        return 1 - value

    def value(self, drawn: Any) -> Any:
        """See `Scale.value`; a rounding beyond an end is taken back."""
        return min(max(1 - drawn, self.low), self.high)


class uniform_int(Interval):
    """A whole number, drawn evenly from low to high.

    Args:
        low: at least 0.
        high: at least low.

    >>> uniform_int(2, 4).place(3)
    0.5
    """

    def _check(self, name: str, end: Any) -> int:
        return check_int(name, end, least=0)


class log_uniform_int(uniform_int):
    """A whole number, drawn as `log_uniform` draws and rounded; both ends are drawn.

    A number k gets the draws between k - 1/2 and k + 1/2: of 1 to 1,000, about as many
    lie below 10 as between 100 and 1,000.

    Args:
        low: at least 1.
        high: at least low.

    >>> round(log_uniform_int(1, 100).place(10), 3)
    0.5
    """

    by_log = True

    def _check(self, name: str, end: Any) -> int:
        return check_count(name, end)


class power_of_two(Interval):
    """A power of two, each drawn as often: mini-batches of 64, 128, 256 or 512.

    Optuna stores the exponent.

    Args:
        low: a power of two, at least 1.
        high: a power of two, at least low.

    >>> power_of_two(64, 1024).place(256)
    0.5
    """

    prefix = "log2 "

    def _check(self, name: str, end: Any) -> int:
        number = check_count(name, end)
        if number & (number - 1):
            raise ArgumentError(f"{name} must be a power of two, got {number}")
        return number

    def _drawn(self, value: Any) -> Any:
        return int(value).bit_length() - 1

    def value(self, drawn: Any) -> Any:
        return 1 << int(drawn)


@dataclass(frozen=True)
class choice(Scale):
    """One of some options, each drawn as often; they have no order.

    Args:
        options: text, numbers, True, False or None; at least one, all different.

    >>> choice(["relu", "tanh", "sigmoid"]).place("tanh")
    0.5
    """

    options: tuple[Any, ...]

    def __post_init__(self) -> None:
        options = tuple(check_sequence("options", self.options))
        if not options:
            raise ArgumentError("options must hold at least one, got none")
        for option in options:
            if not isinstance(option, str | bool | int | float | None):
                rule = "options must be text, numbers, True, False or None"
                message = f"{rule}, got {option!r} ({type(option).__name__})"
                raise ArgumentTypeError(message)
        # Optuna compares options by ==, for which 1 and True are equal.
        if len(set(options)) < len(options) or any(o != o for o in options):  # noqa: PLR0124 - NaN
            raise ArgumentError(f"options must all be different, got {shown(options)}")
        object.__setattr__(self, "options", options)

    def draw(self, trial: Any, label: str) -> Any:
        return trial.suggest_categorical(label, self.options)

    def place(self, value: Any) -> float:
        """Return the position of an option among all of them, from 0 to 1."""
        check_choice("value", value, self.options)
        last = len(self.options) - 1
        return self.options.index(value) / last if last else 0.5

    def narrowed(self, values: Iterable[Any]) -> Scale:
        """Return the options that are among some values, in their order here."""
        chosen = set(values)
        return choice(tuple(option for option in self.options if option in chosen))
