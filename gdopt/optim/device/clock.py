"""Counts the steps on the device, where the host does not know which were done."""

from __future__ import annotations

from typing import Any

import numpy as np

from gdopt.arrays.backend import Array, Backend

AHEAD = 256  # steps whose values are sent at once; then the host asks where it stands


class Clock:
    """Steps done, on the device, and the step of the first row of values sent.

    A step that is skipped on the device does not advance it. The host reads it, and so
    waits for the device, only when somebody asks, or when the rows run out.
    """

    def __init__(self, backend: Backend, device: str) -> None:
        self._backend = backend
        self._device = device
        self.array: Array = backend.zeros(2, np.int64, device)
        self.running = False
        self._launched = 0
        self._ahead = 0
        self._version: Any = None

    def read(self) -> int:
        """Give the steps done; waits for the device."""
        return int(self._backend.to_host(self.array)[0])

    def stop(self) -> None:
        """Forget the count: the host knows better."""
        self.running = False

    def lacks_rows(self, version: Any) -> bool:
        """Tell whether values must be sent before the next step."""
        spent = self._launched >= self._ahead
        return not self.running or spent or version != self._version

    def start(self, step: int, ahead: int, version: Any) -> None:
        """Begin with rows for `ahead` steps from `step` on."""
        counts = np.array([step, step], np.int64)
        self.array[...] = self._backend.from_host(counts, self._device)
        self.running, self._launched = True, 0
        self._ahead, self._version = ahead, version

    def launched(self) -> None:
        """Note that a step has been asked for, whether it will be done or not."""
        self._launched += 1
