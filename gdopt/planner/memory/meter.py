"""The meters of memory, and work that may run out of it."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from gdopt.arrays.backend import get_backend
from gdopt.errors import ArgumentError
from gdopt.planner.memory.device import DeviceMemory
from gdopt.planner.memory.failures import is_out_of_memory
from gdopt.planner.memory.host import HostMemory

Meter = HostMemory | DeviceMemory


def meter_of(device: Any) -> Meter:
    """Return the meter of a device's memory."""
    if device == "cpu":
        return HostMemory()
    if not re.fullmatch(r"cuda:\d+", str(device)):
        message = f"device must be 'cpu' or like 'cuda:0', got {device!r}"
        raise ArgumentError(message)
    return DeviceMemory(get_backend("cupy"), device)


def attempt(meter: Meter, size: int, work: Callable[[], Any]) -> tuple[Any, str | None]:
    """Do some work with batches of a size.

    Return its result, and how it ran out of memory, or None if it did not. Any other
    error is raised with a note of the size.
    """
    result = failure = None
    try:
        result = work()
    except Exception as error:
        if not is_out_of_memory(error):
            error.add_note(f"raised by a trial step of batch size {size:,}")
            raise
        failure = f"{type(error).__name__}: {error}".partition("\n")[0]
    if failure is not None:  # out of the except block: its traceback holds arrays
        meter.tidy()
    return result, failure
