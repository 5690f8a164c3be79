"""Costs and norms as users hold them: numbers, arrays or records."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gdopt.arrays import backend_of
from gdopt.checks import as_number, sequence
from gdopt.errors import ArgumentError
from gdopt.training.loop import Record


def read_costs(costs: Any) -> tuple[np.ndarray, float | None]:
    """Take costs, and the last learning rate that records tell.

    Raises:
        ArgumentError: a cost is not finite, or an array is not of one dimension.
        ArgumentTypeError: a cost is no number, or records and numbers are mixed.
    """
    if not hasattr(costs, "dtype"):
        costs = sequence("costs", costs)
        if costs and all(isinstance(one, Record) for one in costs):
            series = _numbers("costs", [one.cost for one in costs])
            return series, costs[-1].lr
    return _numbers("costs", costs), None


def read_norms(norms: Any, count: int) -> np.ndarray | None:
    """Take as many norms as there are costs, if any.

    Raises:
        ArgumentError: there are more or fewer, or one is negative or not finite.
        ArgumentTypeError: one is no number.
    """
    if norms is None:
        return None
    numbers = _numbers("gradient_norms", norms)
    if len(numbers) != count or (numbers < 0).any():
        message = (
            f"gradient_norms must be {count} numbers of at least 0, one for each cost, "
            f"got {len(numbers)}, the least {numbers.min(initial=math.inf):g}"
        )
        raise ArgumentError(message)
    return numbers


def _numbers(what: str, values: Any) -> np.ndarray:
    """Take an array or a sequence of finite numbers as float64 on the host.

    Raises:
        ArgumentError: one is not finite, or the array is not of one dimension.
        ArgumentTypeError: one is no number.
    """
    if hasattr(values, "dtype"):
        values = backend_of(values).to_host(values)
        if values.ndim != 1 or values.dtype.kind not in "fiu":
            message = (
                f"{what} must be real numbers of one dimension, got {values.dtype} of "
                f"shape {values.shape}"
            )
            raise ArgumentError(message)
        numbers = np.array(values, dtype=np.float64)
    else:
        values = sequence(what, values)
        numbers = np.array([as_number(f"{what}[{k}]", v) for k, v in enumerate(values)])
    strange = ~np.isfinite(numbers)
    if strange.any():
        place = int(strange.argmax())
        message = f"{what} must be finite, got {numbers[place]} at {place}"
        raise ArgumentError(message)
    return numbers
