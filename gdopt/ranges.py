"""Ranges of numbers in the notation of mathematics: ``"[0, 1)"``."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from gdopt.errors import ArgumentError, ArgumentTypeError


@dataclass(frozen=True)
class Range:
    """An interval of finite numbers, open or closed at either end.

    >>> 1.0 in Range.parse("[0, 1)")
    False
    """

    text: str
    low: float
    high: float
    holds_low: bool
    holds_high: bool

    @classmethod
    def parse(cls, text: str) -> Range:
        """Read ``"[0, 1)"``: a square bracket holds its end, a round one does not."""
        low, high = (float(part) for part in text[1:-1].split(","))
        return cls(text, low, high, text[0] == "[", text[-1] == "]")

    def __contains__(self, value: float) -> bool:
        above = value > self.low or (self.holds_low and value == self.low)
        below = value < self.high or (self.holds_high and value == self.high)
        return above and below and math.isfinite(value)


def as_number(name: str, value: Any) -> float:
    """Take a real number as a float; refuse truth values, text and all else.

    Raises:
        ArgumentTypeError: the value is no real number.
    """
    number = isinstance(value, int | float | np.integer | np.floating)
    if not number or isinstance(value, bool):
        kind = type(value).__name__
        message = f"{name} must be a number, got {value!r} ({kind})"
        raise ArgumentTypeError(message)
    return float(value)


def check_number(name: str, value: Any, bounds: Range, dtype: Any = None) -> float:
    """Take a number within a range, which the dtype of the arithmetic must keep.

    Raises:
        ArgumentTypeError: the value is no real number.
        ArgumentError: it lies outside, is not finite, or leaves the range when it is
            rounded to `dtype`, as an epsilon of 1e-60 does in float32.
    """
    number = as_number(name, value)
    if number not in bounds:
        message = f"{name} must be in {bounds.text} and finite, got {value!r}"
        raise ArgumentError(message)
    if dtype is not None and not bounds.holds_low and number > bounds.low:
        smallest = float(np.finfo(dtype).tiny)
        if bounds.low == 0 and number < smallest:
            message = (
                f"{name} must not vanish in {np.dtype(dtype)}, whose smallest normal "
                f"number is {smallest:.3g}, got {value!r}"
            )
            raise ArgumentError(message)
    if dtype is not None and abs(number) > float(np.finfo(dtype).max):
        message = f"{name} must be finite in {np.dtype(dtype)}, got {value!r}"
        raise ArgumentError(message)
    return number


FINITE = Range.parse("(-inf, inf)")
