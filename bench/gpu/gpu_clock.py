"""A clock that the device reads: time between events, all work before them done."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cupy

MOST_STEPS = 2000


class DeviceClock:
    """Gives seconds since it was made, by an event behind everything asked for so far.

    Args:
        wait: waits for work that is on streams of its own, as JAX's is.
    """

    def __init__(self, wait: Callable[[], Any]) -> None:
        self._wait = wait
        self._start = self._mark()

    def _mark(self) -> Any:
        self._wait()
        event = cupy.cuda.Event()
        event.record()
        event.synchronize()
        return event

    def __call__(self) -> float:
        """Wait for the device, and say what time it is there."""
        milliseconds: float = cupy.cuda.get_elapsed_time(self._start, self._mark())
        return milliseconds / 1e3


def pace(step: Callable[[], Any], clock: DeviceClock, seconds: float) -> int:
    """Warm a step up, and find how many of them take that long."""
    for _ in range(3):
        step()
    steps = 1
    while True:
        start = clock()
        for _ in range(steps):
            step()
        taken = clock() - start
        if taken >= seconds or steps >= MOST_STEPS:
            return steps
        steps = min(MOST_STEPS, max(2 * steps, int(steps * seconds / max(taken, 1e-6))))
