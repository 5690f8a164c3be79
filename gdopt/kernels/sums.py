"""Sums, largest values and norms in the public order, by NumPy: the reference for bits.

The order is that of `gdopt.kernels.norm`: elements of an array, or of a row, are added
in float64 to 128 lanes of segments of 4,096 elements, lanes by halves, segments by
neighbours. Over the rows of a matrix, blocks of 64 rows are added one row after the
other, and blocks by neighbours. Sums start at +0.0, and largest values at -inf.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

SEGMENT, LANES = 4096, 128
BIG, SMALL = 2.0**486, 2.0**-511
SHRINK, GROW = 2.0**-538, 2.0**537
ROWS = 64  # that are added one after the other


def larger(x: Any, y: Any) -> Any:
    """Return the larger of two values; NaN wins, and of equal values the first."""
    return np.where((x >= y) | (x != x), x, y)  # noqa: PLR0124 - NaN


def combine(operation: str, x: Any, y: Any) -> Any:
    """Join two partial results of a reduction."""
    return larger(x, y) if operation == "max" else x + y


def start(operation: str) -> float:
    """Return what a reduction starts from."""
    return -np.inf if operation == "max" else 0.0


def terms(operation: str, x: np.ndarray) -> list[np.ndarray]:
    """Return what is added, in float64: three terms for the norm of float64 values."""
    wide = x.astype(np.float64)
    if operation != "norm":
        return [wide]
    if x.dtype != np.float64:
        return [np.square(wide)]
    size = np.abs(wide)
    big, small = size > BIG, size < SMALL
    parts = ((1.0, ~(big | small)), (SHRINK, big), (GROW, small))
    return [np.square(np.where(chosen, x * scale, 0.0)) for scale, chosen in parts]


def segment_results(operation: str, x: np.ndarray) -> np.ndarray:
    """Reduce each segment of the last axis, not empty: (terms, segments, ...)."""
    whole = x.shape[-1] // SEGMENT * SEGMENT
    parts = []
    for term in terms(operation, x):
        body = term[..., :whole].reshape(*x.shape[:-1], -1, SEGMENT)
        own = [lane_results(operation, body)] if whole else []
        if whole < x.shape[-1]:
            own.append(lane_results(operation, term[..., None, whole:]))
        parts.append(np.moveaxis(np.concatenate(own, axis=-1), -1, 0))
    return np.stack(parts)


def lane_results(operation: str, x: np.ndarray) -> Any:
    """Reduce the last axis, of at most a segment: to lanes, and these by halves."""
    length, lanes = x.shape[-1], LANES
    while lanes // 2 >= length and lanes > 1:  # no element reaches the others
        lanes //= 2
    first = start(operation)
    missing = -length % lanes
    if missing:
        pad = np.full((*x.shape[:-1], missing), first)
        x = np.concatenate([x, pad], axis=-1)
    rows = x.reshape(*x.shape[:-1], -1, lanes)
    held: Any
    if operation == "max":
        held = functools.reduce(larger, np.moveaxis(rows, -2, 0), np.float64(first))
    else:  # NumPy adds in order along any axis but the last; -0.0 becomes +0.0
        held = np.add.reduce(rows, axis=-2)
        held += 0.0
    while lanes > 1:
        lanes //= 2
        held = combine(operation, held[..., :lanes], held[..., lanes : 2 * lanes])
    return held[..., 0]


def neighbours(operation: str, parts: np.ndarray) -> Any:
    """Reduce the first axis by neighbours; an odd last one is carried."""
    while len(parts) > 1:
        even = len(parts) // 2 * 2
        pairs = combine(operation, parts[0:even:2], parts[1:even:2])
        parts = np.concatenate([pairs, parts[even:]])
    return parts[0]


def block_results(operation: str, x: np.ndarray) -> np.ndarray:
    """Reduce blocks of rows of a matrix to (terms, blocks, columns)."""
    parts = []
    for term in terms(operation, x):
        blocks = []
        for low in range(0, len(term), ROWS):
            held = np.full(x.shape[1], start(operation))
            for row in term[low : low + ROWS]:
                held = combine(operation, held, row)
            blocks.append(held)
        parts.append(np.stack(blocks))
    return np.stack(parts)


def finish(operation: str, parts: Sequence[np.ndarray] | np.ndarray) -> Any:
    """Join the results of segments or blocks, (terms, pieces, ...), to the value."""
    sums = [neighbours(operation, np.asarray(own)) for own in parts]
    return roots(*sums) if operation == "norm" else sums[0]


def roots(taken: Any, big: Any = 0.0, small: Any = 0.0) -> Any:
    """Return norms from arrays of sums of squares, as `gdopt.kernels.norm.root`."""
    ordinary = taken + small / GROW / GROW
    huge = big + taken * SHRINK * SHRINK
    total = np.where(big > 0, huge, np.where(taken == 0, small, ordinary))
    scale = np.where(big > 0, 1 / SHRINK, np.where(taken == 0, 1 / GROW, 1.0))
    return np.sqrt(total) * scale


def reduce(operation: str, x: np.ndarray) -> Any:
    """Reduce the last axis of values (..., n) in the public order."""
    with np.errstate(all="ignore"):
        return finish(operation, segment_results(operation, x))
