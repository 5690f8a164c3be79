"""Stochastic rounding to bfloat16: up or down at random, right on average.

The randomness of an element is a function of the seed, the step and its index alone,
so that every engine, layout and piece of work draws the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from gdopt.arrays.storage import as_dtype

EXPONENT, FRACTION, QUIET = 0x7F800000, 0x007FFFFF, 0x00400000
WORD = 0xFFFFFFFF


def _mix(x: Any) -> Any:
    """Spread 32 bits over 32 bits, one to one (C. Wellons, lowbias32)."""
    x = (x ^ (x >> np.uint32(16))) * np.uint32(0x7FEB352D)
    x = (x ^ (x >> np.uint32(15))) * np.uint32(0x846CA68B)
    return x ^ (x >> np.uint32(16))


def random_bits(seed: int, t: int, index: np.ndarray) -> Any:
    """Return 32 random bits for each element of a step.

    Args:
        seed: its lower 32 bits count.
        t: the step; its lower 32 bits count.
        index: (n,) int64, of the elements.

    >>> random_bits(0, 1, np.arange(2)).tolist()
    [604019821, 3412962653]
    """
    with np.errstate(over="ignore"):
        start = _mix(np.uint32(t & WORD) ^ _mix(np.uint32(seed & WORD)))
        key = _mix((index >> 32).astype(np.uint32) ^ start)
        return _mix((index & WORD).astype(np.uint32) ^ key)


def group_seed(seed: int, group: int) -> int:
    """Return the seed of the arrays of one dtype, by the dtype's number."""
    return (seed + 1_000_003 * group) & WORD


@dataclass(frozen=True)
class Rounding:
    """How the results of one pass are rounded.

    Attributes:
        seed: of the layout's part.
        t: the step.
        start: index of the arrays' first element.
        draws: for each array by its place, which of the element's draws.
    """

    seed: int
    t: int
    start: int
    draws: Mapping[int, int]

    def __call__(self, values: np.ndarray, place: int, offset: int) -> np.ndarray:
        """Round float32 values (n,) of elements from `offset` on to bfloat16."""
        first = self.start + offset
        index = np.arange(first, first + values.size, dtype=np.int64)
        draw = self.draws[place]
        word = random_bits(self.seed + draw // 2, self.t, index)
        noise = (word >> np.uint32(16 * (draw % 2))) & np.uint32(0xFFFF)
        bits = values.view(np.uint32)
        number = bits & np.uint32(EXPONENT) != EXPONENT
        strange = bits | np.where(bits & np.uint32(FRACTION), np.uint32(QUIET), 0)
        rounded = np.where(number, bits + noise, strange) >> np.uint32(16)
        return rounded.astype(np.uint16).view(as_dtype("bfloat16"))
