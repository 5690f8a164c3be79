"""One column of a CSV file as a series of numbers."""

from __future__ import annotations

import array
import csv
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import numpy as np

from gdopt.checks import listed, shown
from gdopt.data.readers.dataset import refusal
from gdopt.errors import ArgumentTypeError
from gdopt.files import existing_file


@dataclass(frozen=True, eq=False)
class Column:
    """A series from a file.

    Attributes:
        values: (n,) float64, all finite, n at least 1.
        number: of the column, from 1.
        name: in the first line; empty where that holds values.
    """

    values: np.ndarray
    number: int
    name: str

    @property
    def label(self) -> str:
        """The name, or the number where there is none."""
        return self.name or f"column {self.number}"


def read_column(
    path: str | os.PathLike[str], column: int | str | None = None
) -> Column:
    r"""Read one column of a CSV file: a finite number in every line.

    Args:
        path: the file, in UTF-8 with or without a byte-order mark. Empty lines are
            skipped; cells may be quoted; other columns may hold anything.
        column: its number from 1, also as text, else its name in the first line. None
            is the only column. By number, the first line holds names where none of its
            cells is a number.

    Raises:
        ArgumentError: there is no such file or column, or a cell of it holds text,
            nothing, NaN or infinity; the message tells the line, counted from 1.
        ArgumentTypeError: `column` is neither text nor a whole number.

    >>> import pathlib, tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> path = pathlib.Path(folder.name, "days.csv")
    >>> _ = path.write_text("day,degrees\nmonday,40\ntuesday,49\n")
    >>> read_column(path, "degrees")
    Column(values=array([40., 49.]), number=2, name='degrees')
    >>> folder.cleanup()
    """
    file = existing_file(path)
    if column is not None and (
        isinstance(column, bool) or not isinstance(column, int | str)
    ):
        message = f"column must be a column's name or number, got {shown(column)}"
        raise ArgumentTypeError(message)
    with file.open(encoding="utf-8-sig", newline="") as lines:
        rows = _rows(file, lines)
        first = next(rows, None)
        if first is None:
            raise refusal(file, "must hold a table, got an empty file")
        line, cells = first
        place = _place(file, cells, column)
        named = cells[place] == column and column != str(place + 1)
        titled = named or _holds_names(file, line, cells, place)
        label = (
            f"column {place + 1} ({cells[place]})" if titled else f"column {place + 1}"
        )
        values = array.array("d")
        if not titled:
            values.append(_number(file, line, cells[place], label))
        for line, row in rows:
            if len(row) != len(cells):
                rule = f"line {line} must have {len(cells)} cells like the first"
                raise refusal(file, f"{rule}, got {len(row)}")
            values.append(_number(file, line, row[place], label))
    if not values:
        raise refusal(file, "must hold values, got names alone")
    return Column(np.array(values), place + 1, cells[place] if titled else "")


def _rows(file: Path, lines: TextIO) -> Iterator[tuple[int, list[str]]]:
    """Return the rows that are not empty, each with the number of its last line."""
    reader = csv.reader(lines, skipinitialspace=True, strict=True)
    try:
        for cells in reader:
            if cells:
                yield reader.line_num, [cell.strip() for cell in cells]
    except csv.Error as error:
        raise refusal(file, f"line {reader.line_num} must be CSV: {error}") from error
    except UnicodeDecodeError as error:
        raise refusal(file, f"must be text in UTF-8: {error}") from error


def _place(file: Path, cells: Sequence[str], column: int | str | None) -> int:
    """Return the column's place in a row, from 0."""
    if column is None:
        if len(cells) != 1:
            rule = f"column must be given where there are several, here {len(cells)}"
            raise refusal(file, f"{rule}; the first line is {listed(cells)}")
        return 0
    try:
        number = int(column)
    except ValueError:
        number = 0
    if 1 <= number <= len(cells):
        return number - 1
    if cells.count(str(column)) != 1:
        rule = f"column must be the name of one, or a number from 1 to {len(cells)}"
        line = f"the first line is {listed(cells)}"
        raise refusal(file, f"{rule}, got {shown(column)}; {line}")
    return cells.index(str(column))


def _holds_names(file: Path, line: int, cells: Sequence[str], place: int) -> bool:
    """Return whether the first line names the columns, one of which was not named."""
    if _is_number(cells[place]):
        return False
    if any(map(_is_number, cells)) or not cells[place]:
        rule = f"line {line}, column {place + 1} must be a number or a name among names"
        raise refusal(file, f"{rule}, got {cells[place]!r} in {listed(cells)}")
    return True


def _number(file: Path, line: int, cell: str, label: str) -> float:
    number = float(cell) if _is_number(cell) else math.nan
    if not math.isfinite(number):
        rule = f"line {line}, {label} must be a finite number, got {cell!r}"
        raise refusal(file, rule)
    return number


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
