"""Where separate arrays lie, as tables on the device: one launch for all."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from operator import attrgetter
from typing import Any

import numpy as np

from gdopt.arrays.arena import PADDING, Slot
from gdopt.arrays.backend import Array, Backend
from gdopt.optim.parameters import SeenArrays

ADDRESS = attrgetter("data.ptr")
IS_FLAT = attrgetter("flags.c_contiguous")


def block_counts(slots: Collection[Slot]) -> np.ndarray:
    """Count the blocks of 64 elements that each slot takes in its layout."""
    sizes = np.array([slot.stop - slot.start for slot in slots], np.int64)
    return -(-sizes // PADDING)


class PointerTable:
    """The tables of the arrays of one dtype, made again only when one has moved.

    Args:
        backend: of the arrays.
        device: of the arrays.
        slots: of the arrays in their layout, in its order.
        columns: of arrays that stay, with None for the column that changes.
    """

    def __init__(
        self,
        backend: Backend,
        device: str,
        slots: Collection[Slot],
        columns: Sequence[Sequence[Array] | None],
    ) -> None:
        self._backend = backend
        self._device = device
        self._columns = columns
        self._seen = SeenArrays()
        self._places = np.array([(s.start, s.stop - s.start) for s in slots], np.int64)
        self._layout: np.ndarray = np.zeros(0)
        self._pointers = np.zeros((len(slots), len(columns)), np.uint64)
        staying = [own for own in columns if own is not None]
        for k, own in enumerate(columns):
            if own is not None:
                self._pointers[:, k] = list(map(ADDRESS, own))
        self._flat = all(all(map(IS_FLAT, own)) for own in staying)
        self._arguments: dict[str, Any] = {}
        order = np.arange(len(slots), dtype=np.int32)
        self._blocks = self._send(np.repeat(order, block_counts(slots)))

    def locate(self, changing: Sequence[Array] = ()) -> dict[str, Any]:
        """Return the tables as a kernel's arguments.

        Args:
            changing: the column that may have moved, where there is one.
        """
        if self._arguments and (not changing or self._seen.are(changing)):
            return self._arguments
        columns = [changing if own is None else own for own in self._columns]
        pointers = self._pointers.copy()
        for k, own in enumerate(self._columns):
            if own is None:
                pointers[:, k] = list(map(ADDRESS, changing))
        layout = self._describe(
            columns, flat=self._flat and all(map(IS_FLAT, changing))
        )
        arguments = dict(self._arguments)
        if not np.array_equal(layout, self._layout):
            arguments = {"blocks_": self._blocks, "slots_": self._send(layout)}
            axes = (layout.shape[1] - 2) // (1 + len(columns))
            if axes:
                arguments["axes_"] = np.int32(axes)
        if "pointers_" not in arguments or not np.array_equal(pointers, self._pointers):
            arguments["pointers_"] = self._send(pointers)
        self._layout, self._pointers, self._arguments = layout, pointers, arguments
        self._seen = SeenArrays(changing)
        return arguments

    def _describe(
        self, columns: Sequence[Sequence[Array]], *, flat: bool
    ) -> np.ndarray:
        """Return (arrays, 2 or more): start, size; with strides, lengths and steps."""
        if flat:
            return self._places
        axes = max(array.ndim for array in columns[0])
        rows = []
        for place, row in zip(self._places, zip(*columns, strict=True), strict=True):
            missing = axes - row[0].ndim
            numbers = [*place, *[1] * missing, *row[0].shape]
            for array in row:
                steps = [step // array.dtype.itemsize for step in array.strides]
                numbers += [0] * missing + steps
            rows.append(numbers)
        return np.array(rows, np.int64)

    def _send(self, table: np.ndarray) -> Array:
        return self._backend.from_host(table.reshape(-1), self._device)
