"""The sum of squares of all gradients on the device, without waiting for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from gdopt.arrays.backend import Array, Backend
from gdopt.arrays.dtypes import Storage
from gdopt.kernels.cuda import Launch, pack_width, print_lanes, print_totals
from gdopt.kernels.norm import TOTALS, lane_count


class GradNorm:
    """Adds the squares of the gradients of every dtype to totals on the device."""

    def __init__(self, backend: Backend, device: str, sizes: Mapping[str, int]) -> None:
        self._sizes = sizes
        self.totals: Array = backend.zeros(TOTALS * len(sizes), np.float64, device)
        self._partials: Array = backend.zeros(
            max(lane_count(size) for size in sizes.values()), np.float64, device
        )
        self._launches: dict[Any, Launch] = {}
        self.arguments = {"totals_": self.totals, "sums_": np.int32(self.totals.size)}

    def add(
        self,
        group: str,
        gradients: Mapping[str, Any],
        *,
        columns: int = 1,
        column: int = 0,
    ) -> None:
        """Launch both stages for one dtype.

        Args:
            group: the dtype.
            gradients: the buffer g, or the tables of arrays kept apart.
            columns: of the table of pointers.
            column: which of them is the gradients'.
        """
        size = self._sizes[group]
        lanes = lane_count(size)
        offset = TOTALS * list(self._sizes).index(group)
        direct = lanes == TOTALS
        place = slice(offset, offset + TOTALS)
        partials = self.totals[place] if direct else self._partials
        apart, strided = "pointers_" in gradients, "axes_" in gradients
        key = group, columns, column, apart, strided
        if key not in self._launches:
            stored = Storage(group, apart=apart)
            text = print_lanes(stored, columns=columns, column=column, strided=strided)
            fixed = {"size_": np.int64(size), "lanes_": np.int64(lanes)}
            fixed["partials_"] = partials
            width = pack_width(group, strided=strided)
            self._launches[key] = Launch(text, lanes // width, fixed)
        self._launches[key](dict(gradients))
        if not direct:
            if group not in self._launches:
                fixed = {"lanes_": np.int64(lanes), "offset_": np.int64(offset)}
                fixed |= {"partials_": partials, "totals_": self.totals}
                self._launches[group] = Launch(print_totals(), TOTALS, fixed)
            self._launches[group]({})
