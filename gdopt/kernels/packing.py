"""Hands arrays of any strides and storage to engines that take flat, contiguous ones.

Contiguous arrays are passed on as flat views. Others, and half precisions, are copied
piece by piece into scratch of the arithmetic's dtype, updated there, and copied back.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np

from gdopt.kernels.rounding import Rounding


class FlatEngine(Protocol):
    """What `run_packed` asks of a CPU engine."""

    dtype: Any
    size: int

    def run(self, arrays: Sequence[Any], values: Any) -> None:
        """Update flat, contiguous arrays in place."""


def cast(scalars: Sequence[float] | np.ndarray, dtype: Any) -> Any:
    """Round the hoisted values once; beyond the dtype's range they become infinite."""
    values = np.array(scalars, np.float64)
    if dtype == np.float64:
        return values
    with np.errstate(over="ignore"):
        return values.astype(dtype)


def flat_view(array: Any, dtype: Any) -> Any | None:
    """Return a contiguous array of that dtype as a flat view; None for any other."""
    if not array.flags.c_contiguous or array.dtype != dtype:
        return None
    return array if array.ndim == 1 else array.reshape(-1)


def run_packed(
    engine: FlatEngine,
    arrays: Sequence[Any],
    values: Any,
    written: int,
    rounding: Rounding | None = None,
) -> None:
    """Update arrays of one shape in place, whatever their strides and storage.

    Args:
        engine: computes on flat arrays of its own dtype.
        arrays: of one shape; the first `written` of them are changed.
        values: the hoisted values, as the engine's ``cast`` gave them.
        written: how many arrays are copied back.
        rounding: of those that are rounded at random; the others go to the nearest.
    """
    views = [flat_view(array, engine.dtype) for array in arrays]
    if all(view is not None for view in views):
        engine.run(views, values)
        return
    size = min(engine.size, arrays[0].size)
    scratch = [np.empty(size, engine.dtype) for _ in arrays]
    done, draws = 0, rounding.draws if rounding else {}
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        for pieces in split(arrays, engine.size):
            packed = [space[: pieces[0].size] for space in scratch]
            for space, piece in zip(packed, pieces, strict=True):
                space.reshape(piece.shape)[...] = piece
            engine.run(packed, values)
            for k, piece in enumerate(pieces[:written]):
                result = packed[k]
                if rounding and k in draws:
                    result = rounding(result, k, done)
                piece[...] = result.reshape(piece.shape)
            done += pieces[0].size


def split(arrays: Sequence[Any], size: int) -> Iterator[list[Any]]:
    """Cut arrays of one shape alike into views of at most `size` elements."""
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
