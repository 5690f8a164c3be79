"""Hands arrays of any strides and storage to engines that take flat, contiguous ones.

Contiguous arrays are passed on as flat views. Others, and half precisions, are copied
segment by segment into scratch of the arithmetic's dtype, updated there, and copied
back. What is rounded to bfloat16 at random goes up or down, right on average: the
randomness of an element is a function of the seed, the step and its index alone, so
that every engine, layout and segment of work draws the same.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gdopt.arrays.dtypes import as_dtype

EXPONENT, FRACTION, QUIET = 0x7F800000, 0x007FFFFF, 0x00400000
WORD = 0xFFFFFFFF
SEGMENT = 1 << 15  # elements that stay in cache
STREAMS, GOLDEN = 3, 0x9E3779B1  # of a word; 2**32 over the golden ratio, a prime


def _mix(x: Any) -> Any:
    """Spread 32 bits over 32 bits, one to one (C. Wellons, lowbias32)."""
    x = x ^ (x >> np.uint32(16))  # a new array, which the rest works in
    x *= np.uint32(0x7FEB352D)
    x ^= x >> np.uint32(15)
    x *= np.uint32(0x846CA68B)
    x ^= x >> np.uint32(16)
    return x


def random_bits(seed: int, t: int, index: np.ndarray) -> Any:
    """Return 32 random bits for each element of a step, by its index (n,), int64.

    Of seed and step, the lower 32 bits count.

    >>> random_bits(0, 1, np.arange(2)).tolist()
    [604019821, 3412962653]
    """
    keys = random_keys(seed, t, (index >> 32).astype(np.uint32))
    return random_words(keys, (index & WORD).astype(np.uint32))


def random_keys(seed: int, t: int, high: Any) -> Any:
    """Return what the bits of elements share by the upper halves of their indices."""
    with np.errstate(all="ignore"):
        return _mix(high ^ _mix(np.uint32(t & WORD) ^ _mix(np.uint32(seed & WORD))))


def random_words(keys: Any, low: Any) -> Any:
    """Return the bits of elements by keys and lower halves, uint32, which broadcast."""
    return _mix(low ^ keys)


def random_noise(seed: int, t: int, index: np.ndarray, stream: int) -> Any:
    """Return 16 random bits of each element, uint32; a word serves three streams."""
    word = random_bits(seed + stream // STREAMS, t, index)
    if stream % STREAMS == 0:
        return word & np.uint32(0xFFFF)
    return (word if stream % STREAMS == 1 else word * np.uint32(GOLDEN)) >> np.uint32(
        16
    )


def group_seed(seed: int, group: int) -> int:
    """Return the seed of the arrays of one dtype, by the dtype's number."""
    return (seed + 1_000_003 * group) & WORD


@dataclass(frozen=True)
class Rounding:
    """How the results of one pass are rounded."""

    seed: int  # of the layout's part
    t: int
    start: int  # index of the arrays' first element
    random_streams: Mapping[int, int]  # by the places of arrays rounded at random

    def __call__(self, values: np.ndarray, place: int, offset: int) -> Any:
        """Round float32 values (n,) of elements from `offset` on to bfloat16."""
        first = self.start + offset
        index = np.arange(first, first + values.size, dtype=np.int64)
        noise = random_noise(self.seed, self.t, index, self.random_streams[place])
        return round_by(values, noise)


def round_by(values: Any, noise: Any) -> Any:
    """Round float32 values (n,) to bfloat16, by 16 random bits for each, as uint32."""
    bits = values.view(np.uint32)
    number = bits & np.uint32(EXPONENT) != EXPONENT
    non_finite = bits | np.where(bits & np.uint32(FRACTION), np.uint32(QUIET), 0)
    rounded = np.where(number, bits + noise, non_finite) >> np.uint32(16)
    return rounded.astype(np.uint16).view(as_dtype("bfloat16"))


def cast(scalars: Sequence[float] | np.ndarray, dtype: Any) -> Any:
    """Round the hoisted values once; beyond the dtype's range they become infinite."""
    values = np.array(scalars, np.float64)
    if dtype == np.float64:
        return values
    with np.errstate(all="ignore"):
        return values.astype(dtype)


class Scratch(dict[Any, np.ndarray]):
    """Space for the inputs of a program, which arrays take one after the other."""

    def take(self, place: int, size: int, dtype: Any) -> np.ndarray:
        """Return space for an input, new only where what there is does not suffice."""
        space = self.get((place, dtype))
        if space is None or space.size < size:
            space = self[place, dtype] = np.empty(size, dtype)
        return space[:size]


def flat_view(array: Any, dtype: Any) -> Any | None:
    """Return a contiguous array of that dtype as a flat view; None for any other."""
    if not array.flags.c_contiguous or array.dtype != dtype:
        return None
    return array if array.ndim == 1 else array.reshape(-1)


def run_packed(
    engine: Any,
    arrays: Sequence[Any],
    values: Any,
    written: int,
    rounding: Rounding | None = None,
    *,
    copy: Any = None,
    scratch: Scratch | None = None,
) -> None:
    """Update arrays of one shape in place, whatever their strides and storage.

    The first `written` are changed: rounded at random or to the nearest. The first
    array may have a copy in half precision; see `adopt`.
    """
    views = [flat_view(array, engine.dtype) for array in arrays]
    if copy is None and all(view is not None for view in views):
        engine.run(views, values)
        return
    run_half = getattr(engine, "run_half", None)
    plain = rounding is None and copy is None
    if plain and run_half is not None and run_half(arrays, values):
        return
    every = arrays if copy is None else [*arrays, copy]
    size = min(engine.size, arrays[0].size)
    scratch = Scratch() if scratch is None else scratch
    spaces = [scratch.take(k, size, engine.dtype) for k in range(len(arrays))]
    done, random_streams = 0, rounding.random_streams if rounding else {}
    with np.errstate(all="ignore"):
        for segments in split(every, engine.size):
            packed = [space[: segments[0].size] for space in spaces]
            for space, segment in zip(packed, segments, strict=False):
                space.reshape(segment.shape)[...] = segment
            first = packed[0].reshape(segments[0].shape)
            if copy is not None:
                adopt(first, segments[-1])
            engine.run(packed, values)
            if copy is not None:
                segments[-1][...] = first
            for k, segment in enumerate(segments[:written]):
                result = packed[k]
                if rounding and k in random_streams:
                    result = rounding(result, k, done)
                segment[...] = result.reshape(segment.shape)
            done += segments[0].size


def rows_and_columns(shape: Sequence[int]) -> tuple[int, int]:
    """Return the numbers of rows and columns: a vector is one row."""
    rows = shape[0] if len(shape) > 1 else 1
    return rows, math.prod(shape) // max(rows, 1)


def run_whole(
    engine: Any,
    program: Any,
    arrays: Sequence[Any],
    values: Any,
    rounding: Rounding | None = None,
    *,
    copy: Any = None,
    scratch: Scratch | None = None,
) -> None:
    """Update an array by passes, whatever its strides and storage; see `run_packed`."""
    if not arrays[0].size:
        return
    flat, packed = [], []
    scratch = Scratch() if scratch is None else scratch
    with np.errstate(all="ignore"):
        if copy is not None:
            for segments in split([arrays[0], copy], SEGMENT):
                adopt(*segments)
        for k, (symbol, array) in enumerate(zip(program.inputs, arrays, strict=True)):
            dtype = engine.dtype if symbol.element else np.dtype(np.float64)
            view = flat_view(array, dtype)
            if view is None:
                view = scratch.take(k, array.size, dtype)
                view.reshape(array.shape)[...] = array
                packed += [k] if program.writes(k) else []
            flat.append(view)
        row = [*rows_and_columns(arrays[0].shape), *[0] * len(arrays)]
        engine.run(np.array([row], np.int64), flat, np.array([values], np.float64))
        for k in packed:
            result = flat[k]
            if rounding and k in rounding.random_streams:
                result = rounding(result, k, 0)
            arrays[k][...] = result.reshape(arrays[k].shape)
        if copy is not None and program.writes(0):
            copy[...] = arrays[0]


def adopt(master: Any, copy: Any) -> None:
    """Take over what was written to a rounded copy, where it is not the rounded master.

    >>> master = np.array([1.0001, 2.0001], np.float32)
    >>> copy = master.astype(np.float16)
    >>> copy[1] = 3
    >>> adopt(master, copy)
    >>> master
    array([1.0001, 3.    ], dtype=float32)
    """
    rounded = master.astype(copy.dtype)
    written = rounded.view(np.uint16) != copy.view(np.uint16)
    if written.any():
        np.copyto(master, copy, where=written)


def split(arrays: Sequence[Any], size: int) -> Iterator[list[Any]]:
    """Cut arrays of one shape into the same views, of at most `size` elements."""
    shape = arrays[0].shape
    if arrays[0].size <= size:
        yield list(arrays)
        return
    inner = arrays[0].size // shape[0]
    if inner > size:
        for k in range(shape[0]):
            yield from split([array[k] for array in arrays], size)
        return
    rows = size // inner
    for start in range(0, shape[0], rows):
        yield [array[start : start + rows] for array in arrays]
