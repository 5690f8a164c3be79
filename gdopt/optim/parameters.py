"""The arrays an optimizer updates: named, checked once, never copied."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from gdopt.arrays.arena import Arena, Layout, refuse_unusable_dtype
from gdopt.arrays.backend import Array, Backend, byte_bounds, common_backend
from gdopt.arrays.naming import array_label, named_arrays
from gdopt.errors import ArgumentError, ArgumentTypeError


@dataclass(frozen=True)
class Parameters:
    """Named arrays on one device, and the arena they are views of, if they are."""

    arrays: Mapping[str, Array]
    backend: Backend
    device: str
    layout: Layout
    arena: Arena | None

    @classmethod
    def of(cls, params: Any) -> Parameters:
        """Name and check what a user calls parameters.

        Raises:
            ArgumentTypeError: a container without order, something that is no array,
                integers, a read-only array, foreign byte order.
            ArgumentError: nothing at all, or arrays that share memory.
            BackendError: arrays on several devices.
        """
        named = named_arrays(params, "params")
        backend = common_backend((array_label(n), array) for n, array in named.items())
        device = backend.device(next(iter(named.values())))
        for name, array in named.items():
            label = array_label(name)
            refuse_unusable_dtype(label, array.dtype)
            if not backend.writeable(array):
                message = f"{label} must be writeable, got a read-only array"
                raise ArgumentTypeError(message)
        if isinstance(params, Arena):
            return cls(params, backend, device, params.layout, params)
        refuse_overlap(backend, named)
        return cls(named, backend, device, Layout.of(named), None)


def refuse_overlap(backend: Backend, named: Mapping[str, Array]) -> None:
    """Refuse arrays that share memory: an update would be applied twice.

    Raises:
        ArgumentError: names the first two that overlap.
    """
    ranges = sorted(
        (*byte_bounds(backend, array), name)
        for name, array in named.items()
        if array.size
    )
    for name, array in named.items():
        if array.size and _overlaps_itself(array):
            label = array_label(name)
            message = f"params must not share memory, but elements of {label} do"
            raise ArgumentError(message)
    reaching: list[tuple[int, str]] = []  # arrays whose bytes reach the next one's
    for low, high, name in ranges:
        reaching = [(end, other) for end, other in reaching if end > low]
        for _, other in reaching:
            if backend.xp.shares_memory(named[other], named[name]):
                both = f"{array_label(other)} and {array_label(name)}"
                message = f"params must not share memory, but {both} overlap"
                raise ArgumentError(message)
        reaching.append((high, name))


def _overlaps_itself(array: Array) -> bool:
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


def finite(backend: Backend, array: Array) -> bool:
    """Return whether all elements are finite; waits for the device."""
    return bool(backend.xp.isfinite(array).all()) if np.size(array) else True
