"""The memory of devices: what is free, what work takes, and what "full" looks like."""

from gdopt.arrays.backend import Backend
from gdopt.planner.memory.device import DeviceMemory
from gdopt.planner.memory.failures import attempt, is_out_of_memory
from gdopt.planner.memory.host import HostMemory
from gdopt.planner.memory.meter import Meter, Peak
from gdopt.planner.memory.sizes import format_bytes, parse_bytes


def meter_of(backend: Backend, device: str) -> Meter:
    """Give the meter of a device's memory."""
    return HostMemory() if device == "cpu" else DeviceMemory(backend, device)


__all__ = [
    "Meter",
    "Peak",
    "attempt",
    "format_bytes",
    "is_out_of_memory",
    "meter_of",
    "parse_bytes",
]
