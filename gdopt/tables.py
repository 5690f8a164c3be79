"""Tables, and numbers of bytes, as text."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from gdopt.checks import check_int, shown
from gdopt.errors import ArgumentError

BYTE_UNITS = ("B", "kB", "MB", "GB", "TB")
UNITS = {name: 1000**k for k, name in enumerate(BYTE_UNITS)}
UNITS |= {f"{letter}iB": 1024**k for k, letter in enumerate("KMGT", start=1)}
BY_NAME = {name.lower(): factor for name, factor in UNITS.items()}


def aligned(lines: Sequence[Sequence[str]]) -> list[str]:
    """Lay cells out in columns, two spaces apart: the first to the left, others right.

    >>> aligned([["name", "error"], ["W", "1e-9"]])
    ['name  error', 'W      1e-9']
    """
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return [
        "  ".join(
            cell.rjust(width) if k else cell.ljust(width)
            for k, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    ]


def parse_bytes(name: str, value: Any) -> int:
    """Read a number of bytes, or text with a unit: B, kB to TB, KiB to TiB."""
    if not isinstance(value, str):
        return check_int(name, value, least=0)
    found = re.fullmatch(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*([A-Za-z]+)\s*", value)
    if not found or found[2].lower() not in BY_NAME:
        rule = f"{name} must be bytes, or a number with one of the units"
        message = f"{rule} {', '.join(UNITS)}, got {shown(value)}"
        raise ArgumentError(message)
    return int(float(found[1]) * BY_NAME[found[2].lower()])


def format_bytes(count: float) -> str:
    """Write bytes with three digits and a unit that keeps them short."""
    size, power = abs(count), 0
    while size >= 999.5 and power < len(BYTE_UNITS) - 1:
        size, power = size / 1000, power + 1
    digits = 0 if power == 0 or size >= 99.95 else 1 if size >= 9.995 else 2
    return f"{'-' if count < 0 else ''}{size:.{digits}f} {BYTE_UNITS[power]}"
