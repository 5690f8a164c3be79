"""Numbers of bytes: as people write them, and what some work takes at its peak."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

from gdopt.checks import shown, whole
from gdopt.errors import ArgumentError

NAMES = ("B", "kB", "MB", "GB", "TB")
UNITS = {name: 1000**k for k, name in enumerate(NAMES)}
UNITS |= {f"{letter}iB": 1024**k for k, letter in enumerate("KMGT", start=1)}
BY_NAME = {name.lower(): factor for name, factor in UNITS.items()}


def parse_bytes(name: str, value: Any) -> int:
    """Read a number of bytes, or text with a unit: B, kB to TB, KiB to TiB.

    Raises:
        ArgumentError: it is below 0, or no such text.
        ArgumentTypeError: it is of another kind.

    >>> parse_bytes("memory", "8GB"), parse_bytes("memory", "1.5 KiB")
    (8000000000, 1536)
    """
    if not isinstance(value, str):
        return whole(name, value, least=0)
    found = re.fullmatch(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*([A-Za-z]+)\s*", value)
    if not found or found[2].lower() not in BY_NAME:
        message = (
            f"{name} must be bytes, or a number with one of the units "
            f"{', '.join(UNITS)}, got {shown(value)}"
        )
        raise ArgumentError(message)
    return int(float(found[1]) * BY_NAME[found[2].lower()])


def format_bytes(count: float) -> str:
    """Write bytes with three digits and a unit that keeps them short.

    >>> format_bytes(999), format_bytes(12_345_678), format_bytes(-2e9)
    ('999 B', '12.3 MB', '-2.00 GB')
    """
    size, power = abs(count), 0
    while size >= 999.5 and power < len(NAMES) - 1:
        size, power = size / 1000, power + 1
    digits = 0 if power == 0 or size >= 99.95 else 1 if size >= 9.995 else 2
    return f"{'-' if count < 0 else ''}{size:.{digits}f} {NAMES[power]}"


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
