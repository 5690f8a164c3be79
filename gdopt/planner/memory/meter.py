"""What the planner asks of a device's memory, and of its clock."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from types import FrameType
from typing import Any, Protocol

Moment = tuple[tuple[str, int], int]


@dataclass
class Peak:
    """What some work took at its peak, in bytes.

    Attributes:
        used: by arrays at one time, exactly, of memory allocated meanwhile.
        reserved: from the device: gaps between arrays and memory that is not traced
            count too; 0 where it is not known.
        moments: in use at each of many moments on the way, where they were asked for:
            by the line of Python, and how often it had been come by. Work that does the
            same with more examples comes by the same.
    """

    used: int = 0
    reserved: int = 0
    moments: dict[Moment, int] = field(default_factory=dict)
    _times: dict[tuple[str, int], int] = field(default_factory=dict)

    def note(self, frame: FrameType, size: int) -> None:
        """Take in how much is in use at a line of Python."""
        place = frame.f_code.co_filename, frame.f_lineno
        times = self._times[place] = self._times.get(place, 0) + 1
        self.moments[place, times] = size


class Meter(Protocol):
    """The memory of one device.

    Attributes:
        device: ``"cpu"`` or ``"cuda:0"``.
        unit: bytes; every allocation takes a multiple of it.
        workspace: bytes that libraries keep for good once they have worked.
        notices: what a reader of the plan should know.
    """

    device: str
    unit: int
    workspace: int
    notices: list[str]

    def free(self) -> int:
        """Give the bytes that this process may still take."""

    def watch(self, *, moments: bool = False) -> AbstractContextManager[Peak]:
        """Measure the peak of a block; the device has done all of it at its end."""

    def time(self, work: Callable[[], Any]) -> float:
        """Give the seconds that the device is busy with some work."""

    def tidy(self) -> None:
        """Give back what nobody holds any more."""

    def describe(self) -> str:
        """Name the device, for people."""
