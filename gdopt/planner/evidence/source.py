"""Batches for trial steps, gathered as training gathers them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from gdopt.arrays import Array
from gdopt.arrays.backend import Backend
from gdopt.arrays.numpy_ import PAGE
from gdopt.data.checks import example_axis
from gdopt.data.gather import gathered

POOL = 8192  # examples that trial batches are drawn from, at least


class Source:
    """Draws batches of any size from the data; the user's own sampler is not touched.

    Args:
        backend: of the arrays.
        arrays: of the data, with equally many examples.
        axis: of the examples.
        count: how many there are.
        largest: the largest batch that will be asked for.
    """

    def __init__(
        self,
        backend: Backend,
        arrays: tuple[Array, ...],
        axis: int,
        *,
        count: int,
        largest: int,
    ) -> None:
        self._backend, self._arrays, self._axis = backend, arrays, axis
        self.count = count
        self.device = backend.device(arrays[0])
        self.drawn = min(count, max(POOL, 4 * largest))
        # Spread over all of the data, as training's are: it is memory that is slow.
        drawn = np.random.default_rng(0).choice(count, self.drawn, replace=False)
        self.pool = backend.from_host(drawn, self.device)

    def batches(self, size: int) -> Callable[[int], tuple[Array, ...]]:
        """Give a function that gathers a whole batch of this size by its number."""
        draw = gathered(self._backend, self._arrays, self._axis, size, self.pool)
        whole = self.drawn // size

        def batch(number: int) -> tuple[Array, ...]:
            return _as_tuple(draw(number % whole))

        return batch

    def first_epoch(self, size: int) -> Iterator[tuple[Array, ...]]:
        """Give two whole batches, and then the smaller one that ends an epoch.

        As in a loop over mini-batches, a batch is there while the next is gathered.
        """
        batch = self.batches(size)
        for number in range(2):
            yield batch(number)
        ragged = self.ragged(size)
        if ragged:
            draw = gathered(
                self._backend, self._arrays, self._axis, size, self.pool[:ragged]
            )
            yield _as_tuple(draw(0))

    def ragged(self, size: int) -> int:
        """Give the examples in the last, smaller batch of an epoch; 0 without one."""
        return self.count % size

    def bytes(self, rows: int, unit: int) -> float:
        """Give the bytes of a batch in memory."""
        total = 0.0
        for array in self._arrays:
            width = array.size // array.shape[example_axis(array, self._axis)]
            size = rows * width * array.dtype.itemsize
            # On the CPU a batch begins in a quarter of a page of its own.
            apart = 1.5 * PAGE if unit == 1 and size >= PAGE else 0
            total += -(-size // unit) * unit + apart
        return total


def _as_tuple(batch: Any) -> tuple[Array, ...]:
    return batch if isinstance(batch, tuple) else (batch,)
