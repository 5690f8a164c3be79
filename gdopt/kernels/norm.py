"""The norm of the gradients, summed in one order that every engine keeps.

The order is public, and its bits do not depend on the engine, on where arrays lie, or
on the arrays next to them:

1. The elements of an array, in C order, are cut into segments of 4,096 elements.
2. Element k of a segment is squared and added, in float64, to lane k modulo 128, one
   element after the other. Lanes start at +0.0.
3. Lanes are added by halves: lane l takes lane l + 64, then lane l + 32, down to 1.
4. The sums of an array's segments are added by neighbours: 0 + 1, 2 + 3, ...; an odd
   last one is carried. That is repeated until one sum is left. An array without
   elements has the sum +0.0.
5. The sums of the arrays are added by neighbours as well, in the parameters' order.

float32 denormals count as zero wherever they are flushed. An element of a float64 array
is added to one of three sums, each with lanes of its own: above 2**486 in magnitude it
is multiplied by 2**-538 first, below 2**-511 by 2**537 (as in LAPACK's dnrm2); others,
and NaN, are taken as they are. `root` joins the three, so the norm does not vanish, and
overflows only if it is itself beyond float64's range. It is NaN if an element is NaN,
and otherwise infinite if one is.

A segment's sum depends on its elements alone, so processes that hold parts of arrays
need to exchange sums only: see `gdopt.kernels.norm_parts`.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np

from gdopt.arrays.arena import Layout
from gdopt.kernels.cpu.flush import FlushToZero
from gdopt.kernels.sums import (
    BIG,
    GROW,
    LANES,
    SEGMENT,
    SHRINK,
    SMALL,
    lane_results,
    terms,
)

BATCH = 64 * SEGMENT  # elements that NumPy adds at a time: 2 MiB of float64


def _cut(sizes: np.ndarray, length: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cut runs into pieces; return how many each has, and a piece's run and start."""
    counts = np.maximum(-(-sizes // length), 1)
    run = np.repeat(np.arange(sizes.size), counts)
    start = (np.arange(run.size) - (np.cumsum(counts) - counts)[run]) * length
    return counts, run, start


class NormPlan:
    """Where the segments of a layout's arrays lie; sums are added `fan` at a time."""

    def __init__(self, layout: Layout, fan: int = 2) -> None:
        slots = list(layout.slots.values())
        starts = np.array([slot.start for slot in slots])
        sizes = np.array([slot.stop for slot in slots]) - starts
        counts, array, start = _cut(sizes, SEGMENT)
        length = np.minimum(sizes[array] - start, SEGMENT)
        table = [start, start + starts[array], length, np.arange(array.size), array]
        self.sums = 3 if "float64" in layout.sizes else 1  # of each segment
        # For each dtype (segments, 5) int64: the first element in its array, and in the
        # arena's buffer; the number of elements; which sum it is; the number of its
        # array within the dtype.
        self.segments: dict[str, np.ndarray] = {}
        for group in layout.sizes:
            inside = np.array([slot.group == group for slot in slots])[array]
            rows = np.stack(table, axis=1).astype(np.int64)[inside]
            rows[:, 4] = np.unique(rows[:, 4], return_inverse=True)[1]
            self.segments[group] = rows
        ends, firsts = [0, array.size], []
        for of_arrays in (True, False):
            while counts.max() > 1:
                offsets = ends[-2] + np.cumsum(counts) - counts
                counts, run, start = _cut(counts, fan)
                firsts.append(offsets[run] + start)
                ends.append(ends[-1] + run.size)
            if of_arrays:  # one sum for each array: these are neighbours now
                self.arrays = slice(*ends[-2:])
                counts = np.array([counts.size])
        # Where the segments' sums end, and those of each level of neighbours; for each
        # of the latter the first of those it adds up, until the next one's first.
        self.ends = np.array(ends[1:], np.int32)
        self.firsts = np.array([*np.concatenate([[], *firsts]), ends[-2]], np.int32)


def segment_sums(arrays: Sequence[Any], *, scaled: bool) -> np.ndarray:
    """Add up the squares of each segment of NumPy arrays; three sums where scaled."""
    firsts = np.cumsum([0, *(max(-(-a.size // SEGMENT), 1) for a in arrays)]).tolist()
    sums = np.zeros((3 if scaled else 1, firsts[-1]))
    alike: dict[Any, list[tuple[int, Any]]] = defaultdict(list)
    for first, array in zip(firsts, arrays, strict=False):
        flat = array.reshape(-1)
        for start in range(0, flat.size, BATCH):
            part = flat[start : start + BATCH]
            whole = part.size // SEGMENT * SEGMENT
            place = first + start // SEGMENT
            if whole:
                alike[SEGMENT, flat.dtype].append((place, part[:whole]))
            if whole < part.size:
                length = -(-(part.size - whole) // LANES) * LANES
                place += whole // SEGMENT
                alike[length, flat.dtype].append((place, part[whole:]))
    for (length, dtype), found in alike.items():
        zeros = np.zeros(LANES, dtype)
        while found:
            places, parts, filled = list[int](), list[Any](), 0
            while found and filled < BATCH:
                first, part = found.pop()
                padding = -part.size % length
                parts += [part, zeros[:padding]] if padding else [part]
                places += range(first, first - (-part.size // length))
                filled += len(part)
            own = np.zeros((len(sums), len(places)))
            _add_squares(parts, length, own)
            sums[:, places] = own
    return sums


def _add_squares(parts: list[Any], length: int, sums: np.ndarray) -> None:
    """Add up the squares of segments of equal length, a multiple of the lanes."""
    exact = parts[0].dtype == np.float64
    if parts[0].dtype.itemsize == 2:
        parts = [part.astype(np.float32) for part in parts]
    with np.errstate(all="ignore"):
        if not exact:
            with FlushToZero():
                x = np.concatenate(parts, dtype=np.float64)
            squares = np.square(x, out=x)
            sums[0] = lane_results("sum", squares.reshape(-1, length))
            return
        x = np.concatenate(parts) if len(parts) > 1 else parts[0]
        squares = np.square(x)
        sums[0] = lane_results("sum", squares.reshape(-1, length))
        tiny = squares < SMALL * SMALL
        has_small = tiny.any() and (tiny & (x != 0)).any()
        if has_small or not sums[0].max() <= BIG * BIG:  # or NaN
            for k, term in enumerate(terms("norm", x)):
                sums[k] = lane_results("sum", term.reshape(-1, length))


def root(taken: float, big: float = 0.0, small: float = 0.0) -> float:
    """Return the norm from the sums of squares."""
    total, scale = taken + small / GROW / GROW, 1.0
    if big:
        total, scale = big + taken * SHRINK * SHRINK, 1 / SHRINK
    elif not taken:
        total, scale = small, 1 / GROW
    return math.sqrt(total) * scale


def join_norms(xp: Any, norms: Any) -> Any:
    """Return the norm of all from the norm of each, scaled: no square overflows."""
    exponent = xp.frexp(norms.max())[1]
    squares = xp.square(xp.ldexp(norms, -exponent))
    while squares.size > 1:
        even = squares.size // 2 * 2
        pairs = squares[:even:2] + squares[1:even:2]
        squares = xp.concatenate([pairs, squares[even:]])
    return xp.ldexp(xp.sqrt(squares[0]), exponent)
