# ruff: noqa: N801 - these classes are called as functions, and print as they are called
"""Scales of whole numbers, and choices."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from gdopt.checks import sequence, whole
from gdopt.errors import ArgumentError, ArgumentTypeError
from gdopt.tune.scales import Interval, Scale


@dataclass(frozen=True)
class uniform_int(Interval):
    """A whole number, drawn evenly from low to high.

    Args:
        low: at least 0.
        high: at least low.

    >>> uniform_int(2, 4).place(3)
    0.5
    """

    low: int
    high: int

    def __post_init__(self) -> None:
        self._settle(whole("low", self.low, least=0), whole("high", self.high, least=0))

    def draw(self, trial: Any, label: str) -> Any:
        """See `Scale.draw`."""
        return trial.suggest_int(label, self.low, self.high)


@dataclass(frozen=True)
class power_of_two(Interval):
    """A power of two, each drawn as often: mini-batches of 64, 128, 256 or 512.

    Optuna keeps the exponent.

    Args:
        low: a power of two, at least 1.
        high: a power of two, at least low.

    >>> power_of_two(64, 1024).place(256)
    0.5
    """

    low: int
    high: int

    def __post_init__(self) -> None:
        low = whole("low", self.low, least=1)
        high = whole("high", self.high, least=1)
        for name, number in (("low", low), ("high", high)):
            if number & (number - 1):
                message = f"{name} must be a power of two, got {number}"
                raise ArgumentError(message)
        self._settle(low, high)

    def label(self, name: str) -> str:
        """See `Scale.label`."""
        return f"log2 {name}"

    def draw(self, trial: Any, label: str) -> Any:
        """See `Scale.draw`."""
        return trial.suggest_int(
            label, self.low.bit_length() - 1, self.high.bit_length() - 1
        )

    def value(self, kept: Any) -> Any:
        """See `Scale.value`."""
        return 1 << int(kept)

    def _stretched(self, value: Any) -> float:
        return math.log2(value)


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
        options = tuple(sequence("options", self.options))
        if not options:
            message = "options must hold at least one, got none"
            raise ArgumentError(message)
        for option in options:
            if not isinstance(option, str | bool | int | float | None):
                kind = type(option).__name__
                message = (
                    "options must be text, numbers, True, False or None, "
                    f"got {option!r} ({kind})"
                )
                raise ArgumentTypeError(message)
        # Optuna tells options apart by ==, to which 1 and True are one.
        if len(set(options)) < len(options) or any(o != o for o in options):  # noqa: PLR0124 - NaN
            message = f"options must all be different, got {options}"
            raise ArgumentError(message)
        object.__setattr__(self, "options", options)

    def draw(self, trial: Any, label: str) -> Any:
        """See `Scale.draw`."""
        return trial.suggest_categorical(label, self.options)

    def place(self, value: Any) -> float:
        """Give the place of an option among all of them, from 0 to 1."""
        last = len(self.options) - 1
        return self.options.index(value) / last if last else 0.5

    def narrowed(self, values: Iterable[Any]) -> Scale:
        """Give the options that are among some values, in their order here."""
        kept = set(values)
        return choice(tuple(option for option in self.options if option in kept))
