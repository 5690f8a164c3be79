"""The memory of devices: what is free, what work takes, and what "full" looks like."""

from gdopt.planner.memory.device import DeviceMemory
from gdopt.planner.memory.failures import is_out_of_memory
from gdopt.planner.memory.host import HostMemory
from gdopt.planner.memory.meter import Meter, attempt
from gdopt.planner.memory.peak import Peak
from gdopt.planner.memory.sizes import format_bytes, parse_bytes

__all__ = [
    "DeviceMemory",
    "HostMemory",
    "Meter",
    "Peak",
    "attempt",
    "format_bytes",
    "is_out_of_memory",
    "parse_bytes",
]
