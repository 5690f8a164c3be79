"""What some work takes of a memory at its peak."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import FrameType


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
    moments: dict[tuple[tuple[str, int], int], int] = field(default_factory=dict)
    _times: dict[tuple[str, int], int] = field(default_factory=dict)

    def note(self, frame: FrameType, size: int) -> None:
        """Take in how much is in use at a line of Python."""
        place = frame.f_code.co_filename, frame.f_lineno
        times = self._times[place] = self._times.get(place, 0) + 1
        self.moments[place, times] = size
