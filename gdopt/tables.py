"""Tables as text."""

from __future__ import annotations

from collections.abc import Sequence


def aligned(lines: Sequence[Sequence[str]]) -> list[str]:
    """Lay cells out in columns, two spaces apart: the first to the left, others right.

    Args:
        lines: of equally many cells each, at least one line.

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
