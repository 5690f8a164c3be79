"""What moves bytes between ranks: engines move them, and add nothing up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from gdopt.arrays.backend import is_on_device

Move = tuple[int, Any]  # the other rank, and a contiguous array


def on_host(values: Any) -> np.ndarray:
    """Copy an array of any device, or a number, to a NumPy array."""
    host: Any = values.get() if is_on_device(values) else values
    return np.array(host, order="C")


class Communicator(Protocol):
    """What moves arrays between ranks, all of which make the same calls in order."""

    rank: int
    size: int
    sent: int  # bytes to other ranks so far

    def swap(self, sends: Sequence[Move], receives: Sequence[Move]) -> None:
        """Send to and receive from several ranks at once."""

    def gather(self, buffer: Any, bounds: Sequence[int]) -> None:
        """Fill a buffer of which rank r has written bounds[r] to bounds[r + 1]."""

    def share(self, values: Any) -> np.ndarray:
        """Stack small arrays of every rank, as NumPy's: of equal shapes and dtypes.

        This waits for the values of all ranks, and for what was moved before.
        """

    def allreduce(self, buffer: Any) -> None:
        """Add up the buffers of all ranks in place, in an order of the engine's own."""


class Single:
    """One rank alone.

    >>> single = Single()
    >>> single.rank, single.size, single.share(np.arange(2)).tolist()
    (0, 1, [[0, 1]])
    """

    rank, size, sent = 0, 1, 0

    def swap(self, sends: Sequence[Move], receives: Sequence[Move]) -> None:
        """Move nothing: there is no other rank."""

    def gather(self, buffer: Any, bounds: Sequence[int]) -> None:
        """Leave the buffer, all of which is this rank's."""

    def share(self, values: Any) -> np.ndarray:
        """Return the values of the one rank."""
        return on_host(values)[None]

    def allreduce(self, buffer: Any) -> None:
        """Leave the buffer, which is the sum."""

    def leave(self) -> None:
        """Wait for no other rank."""

    def fail(self, error: BaseException) -> None:
        """Let the error be raised: it ends no other rank."""
