"""Finds arrays that share memory."""

from __future__ import annotations

from collections.abc import Mapping

from gdopt.arrays.backend import Array, Backend, byte_bounds
from gdopt.errors import ArgumentError


def refuse_overlap(backend: Backend, labelled: Mapping[str, Array], what: str) -> None:
    """Refuse arrays that share memory: an update would be applied twice."""
    ranges = sorted(
        (*byte_bounds(backend, array), name)
        for name, array in labelled.items()
        if array.size
    )
    reaching: list[tuple[int, str]] = []  # arrays whose bytes reach the next one's
    for low, high, name in ranges:
        reaching = [(end, other) for end, other in reaching if end > low]
        for _, other in reaching:
            if backend.xp.shares_memory(labelled[other], labelled[name]):
                both = f"{other} and {name} overlap"
                message = f"{what} must not share memory, but {both}"
                if byte_bounds(backend, labelled[other]) == (low, high):
                    message += ": tied parameters are given once"
                raise ArgumentError(message)
        reaching.append((high, name))


def overlaps_itself(array: Array) -> bool:
    """Return whether two elements of one array share memory."""
    reach = 0
    for stride, length in sorted(
        (abs(stride), length)
        for stride, length in zip(array.strides, array.shape, strict=True)
        if length > 1
    ):
        if stride < reach + array.dtype.itemsize:
            return True
        reach += stride * (length - 1)
    return False
