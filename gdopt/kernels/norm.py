"""The sum of squares of a layout, in an order that every engine keeps.

Element number k is added, in float64, to lane k modulo the number of lanes, one after
the other; the lanes are added to 256 totals in the same way, and these one after the
other. The bits are those of the CUDA kernels. Where an element is NaN or infinite, the
sum is NaN; where the squares of finite elements overflow, it is infinite.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from gdopt.kernels.cpu.flush import FlushToZero

TOTALS = 256
MOST_LANES = 1 << 17  # 32 Ki threads of four: enough reads under way for any GPU
LANE_LENGTH = 64  # elements that a lane takes before there are more lanes


def lane_count(size: int) -> int:
    """Say how many lanes the sum of that many elements has: a power of two."""
    wanted = 1 << max(0, -(-size // LANE_LENGTH) - 1).bit_length()
    return min(max(wanted, TOTALS), MOST_LANES)


def square_totals(size: int, arrays: Iterable[tuple[int, Any]]) -> np.ndarray:
    """Add up the squares of NumPy arrays in a layout.

    Args:
        size: elements of the layout, padding included.
        arrays: where each array starts, and the array, in that order.

    Returns:
        (256,) float64, to be added one after the other.
    """
    lanes = np.zeros(lane_count(size))
    non_finite = np.zeros(lanes.size)
    with np.errstate(all="ignore"):
        for start, array in arrays:
            _add_squares(lanes, non_finite, start, array)
        lanes += non_finite
        totals: np.ndarray = np.add.reduce(lanes.reshape(-1, TOTALS), axis=0)
        return totals


def _add_squares(
    lanes: np.ndarray, non_finite: np.ndarray, start: int, array: Any
) -> None:
    flat = array.reshape(-1)
    done = 0
    while done < flat.size:
        lane = (start + done) % lanes.size
        stop = min(flat.size, done + lanes.size - lane)
        segment = _widened(flat[done:stop])
        place = slice(lane, lane + segment.size)
        non_finite[place] += segment - segment
        segment *= segment
        lanes[place] += segment
        done = stop


def _widened(array: Any) -> Any:
    """Copy to float64; denormals of float32 become zero, as they do on a GPU."""
    if array.dtype == np.float64:
        return array.copy()
    with FlushToZero():
        return array.astype(np.float32, copy=False).astype(np.float64)


def add_in_order(totals: np.ndarray) -> float:
    """Add numbers one after the other."""
    with np.errstate(all="ignore"):
        return float(np.add.accumulate(totals)[-1])
