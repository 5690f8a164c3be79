"""What data must be, shared by batches, splits and normalization."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from gdopt.arrays.backend import Array, Backend, common_backend
from gdopt.errors import ArgumentError

# Elements looked at together: one pass over large data needs no copy of it, and a GPU
# is still asked for few results.
BLOCK = 1 << 21


def check_axis(axis: Any) -> int:
    """Take the axis of the examples: 0 for rows, 1 for columns.

    Raises:
        ArgumentError: it is neither.
    """
    if isinstance(axis, bool) or axis not in (0, 1):
        message = f"axis must be 0 (rows are examples) or 1 (columns are), got {axis!r}"
        raise ArgumentError(message)
    return int(axis)


def example_axis(array: Array, axis: int) -> int:
    """Return the axis of the examples of one array; one dimension leaves no choice."""
    return 0 if array.ndim == 1 else axis


def examples_at(array: Array, axis: int, places: Any) -> Array:
    """Return the examples at indices, or those of a slice as a view."""
    return array[(slice(None),) * example_axis(array, axis) + (places,)]


def check_arrays(
    arrays: Sequence[Array], axis: int, name: str = "array {}"
) -> tuple[Backend, int]:
    """Return the backend of arrays and the number of examples that all of them hold.

    Args:
        arrays: what to check.
        axis: of the examples.
        name: what errors call the array at position ``{}``.

    Raises:
        ArgumentTypeError: something is not a NumPy or CuPy array.
        BackendError: they are on several devices.
        ArgumentError: there is none, one has no dimension, or their numbers of examples
            differ.
    """
    if not arrays:
        message = "at least one array must be given, got none"
        raise ArgumentError(message)
    backend = common_backend((name.format(k), array) for k, array in enumerate(arrays))
    counts = []
    for k, array in enumerate(arrays):
        if array.ndim == 0:
            message = f"{name.format(k)} must have one dimension or more, got shape ()"
            raise ArgumentError(message)
        counts.append(int(array.shape[example_axis(array, axis)]))
        if counts[k] != counts[0]:
            message = (
                "arrays must hold equally many examples along axis "
                f"{axis}: {name.format(0)} holds {counts[0]}, {name.format(k)} holds "
                f"{counts[k]} (shapes {tuple(arrays[0].shape)} and "
                f"{tuple(array.shape)})"
            )
            raise ArgumentError(message)
    return backend, counts[0]


def example_blocks(array: Array, axis: int) -> Iterator[Array]:
    """Return views of a few million elements, examples along their first axis."""
    examples = array if example_axis(array, axis) == 0 else array.swapaxes(0, 1)
    step = max(1, BLOCK // max(1, math.prod(examples.shape[1:])))
    for start in range(0, int(examples.shape[0]), step):
        yield examples[start : start + step]


def refuse_nan(name: str, array: Array, axis: int, backend: Backend, hint: str) -> None:
    """Refuse floating-point data that contain NaN.

    Raises:
        ArgumentError: they do; the message tells how many, and where the first is.
    """
    if array.dtype.kind not in "fc":
        return
    xp = backend.xp
    if not any(bool(xp.isnan(block).any()) for block in example_blocks(array, axis)):
        return
    bad = xp.isnan(array)
    first = np.unravel_index(int(xp.argmax(bad)), array.shape)
    found = f"{int(bad.sum())}, the first at {[int(k) for k in first]}"
    message = f"{name} must not contain NaN, got {found}{hint}"
    raise ArgumentError(message)
