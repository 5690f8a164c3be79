"""What a number must be, and the errors that say so."""

from __future__ import annotations

import itertools
import math
import operator
from collections.abc import Sequence
from numbers import Real
from typing import Any

from gdopt.errors import ArgumentError, ArgumentTypeError


def whole(name: str, value: Any, least: int) -> int:
    """Return a whole number of at least `least` as an int; 3.0 and True are none.

    Raises:
        ArgumentTypeError: it is of another kind.
        ArgumentError: it is too small.
    """
    rule = f"{name} must be a whole number of at least {least}, got"
    try:
        number = operator.index(value)
    except TypeError:
        message = f"{rule} {value!r}"
        raise ArgumentTypeError(message) from None
    if isinstance(value, bool):
        message = f"{rule} {value!r}"
        raise ArgumentTypeError(message)
    if number < least:
        message = f"{rule} {number}"
        raise ArgumentError(message)
    return number


def finite(
    name: str, value: Any, *, positive: bool = False, most: float = math.inf
) -> float:
    """Return a finite number, not negative and at most `most`, as a float.

    Raises:
        ArgumentTypeError: it is a bool or no number.
        ArgumentError: it is NaN, infinite, negative or too large; or zero where it
            must be positive.
    """
    bound = "" if most == math.inf else f" and at most {most:g}"
    sign = "positive" if positive else "not negative"
    rule = f"{name} must be a finite number, {sign}{bound}, got {value!r}"
    if isinstance(value, bool) or not isinstance(value, Real):
        raise ArgumentTypeError(rule)
    number = float(value)
    if not (math.isfinite(number) and 0 <= number <= most) or (positive and not number):
        raise ArgumentError(rule)
    return number


def rising(name: str, values: Any) -> tuple[int, ...]:
    """Return whole numbers of at least 1 that rise strictly, as a tuple.

    Raises:
        ArgumentTypeError: it is no sequence, or holds something else.
        ArgumentError: a number is below 1, or not above the one before it.
    """
    numbers = tuple(
        whole(f"{name}[{k}]", value, least=1)
        for k, value in enumerate(sequence(name, values))
    )
    if any(low >= high for low, high in itertools.pairwise(numbers)):
        message = f"{name} must rise strictly, got {numbers}"
        raise ArgumentError(message)
    return numbers


def sequence(name: str, values: Any) -> Sequence[Any]:
    """Return a list or tuple as it is.

    Raises:
        ArgumentTypeError: it is neither.
    """
    if not isinstance(values, list | tuple):
        message = f"{name} must be a list or tuple, got {type(values).__name__}"
        raise ArgumentTypeError(message)
    return values
