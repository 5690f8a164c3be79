"""Tables, numbers of bytes, and text for a terminal."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from typing import Any

from gdopt.checks import check_int, shown
from gdopt.errors import ArgumentError

NUMBER = re.compile(r"[-+.<~]*\d\S*( \S+)?|[-+]?(nan|inf)|-?|[(\[].*")
BYTE_UNITS = ("B", "kB", "MB", "GB", "TB")
UNITS = {name: 1000**k for k, name in enumerate(BYTE_UNITS)}
UNITS |= {f"{letter}iB": 1024**k for k, letter in enumerate("KMGT", start=1)}
BY_NAME = {name.lower(): factor for name, factor in UNITS.items()}


def printable(text: str, kept: str = "") -> str:
    r"""Return text with escapes in place of what would steer a terminal.

    >>> printable("a\x1b[2J")
    'a\\x1b[2J'
    """
    return "".join(c if c.isprintable() or c in kept else repr(c)[1:-1] for c in text)


def write(text: str, *, error: bool = False) -> None:
    """Write text to standard output, or to standard error."""
    (sys.stderr if error else sys.stdout).write(printable(text, kept="\n"))


def aligned(lines: Sequence[Sequence[str]]) -> list[str]:
    """Lay cells out in columns, two spaces apart: text to the left, numbers right.

    The first line and the first column are names.

    >>> aligned([["name", "error", "note"], ["W", "1e-9", "fine"]])
    ['name  error  note', 'W      1e-9  fine']
    """
    cells = [[printable(cell) for cell in line] for line in lines]
    columns = list(zip(*cells, strict=True))
    widths = [max(map(len, column)) for column in columns]
    right = [False, *(all(map(NUMBER.fullmatch, c[1:])) for c in columns[1:])]
    return [
        "  ".join(
            cell.rjust(width) if moved else cell.ljust(width)
            for cell, width, moved in zip(line, widths, right, strict=True)
        ).rstrip()
        for line in cells
    ]


def parse_bytes(name: str, value: Any) -> int:
    """Read a number of bytes, or text with a unit: B, kB to TB, KiB to TiB."""
    if not isinstance(value, str):
        return check_int(name, value, least=0)
    found = re.fullmatch(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*([A-Za-z]+)\s*", value)
    if not found or found[2].lower() not in BY_NAME:
        rule = f"{name} must be bytes, or a number with one of the units"
        raise ArgumentError(f"{rule} {', '.join(UNITS)}, got {shown(value)}")
    return int(float(found[1]) * BY_NAME[found[2].lower()])


def format_bytes(count: float) -> str:
    """Write bytes with three digits and a unit that keeps them short."""
    size, power = abs(count), 0
    while size >= 999.5 and power < len(BYTE_UNITS) - 1:
        size, power = size / 1000, power + 1
    digits = 0 if power == 0 or size >= 99.95 else 1 if size >= 9.995 else 2
    return f"{'-' if count < 0 else ''}{size:.{digits}f} {BYTE_UNITS[power]}"
