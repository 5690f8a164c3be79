"""CSV files: a data set, or one column as a series of numbers."""

from __future__ import annotations

import array
import csv
import itertools
import math
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import numpy as np

from gdopt.checks import check_flag, listed, shown
from gdopt.data.dataset import Dataset, refusal
from gdopt.errors import ArgumentError, ArgumentTypeError
from gdopt.files import existing_file

Row = tuple[int, list[str]]  # the number of the row's last line, and its cells


def read_csv(
    path: str | os.PathLike[str],
    *,
    target: int | str = -1,
    header: bool | None = None,
    delimiter: str = ",",
) -> Dataset:
    r"""Read a data set from a CSV file: one example a line, one column the target.

    Args:
        path: the file, in UTF-8 with or without a byte-order mark. Empty lines are
            skipped; cells may be quoted.
        target: the target's column, by its name in the header or its number from 0,
            counted from the end where negative. Whole numbers become int64, other
            numbers float64; text becomes class numbers, in sorted order of the classes.
            All other columns are features: finite numbers, float64.
        header: whether the first line names the columns. By default it does where
            `target` is a name or none of its feature cells is a number.
        delimiter: the character between cells.

    Raises:
        ArgumentError: there is no such file, it is not a table of numbers, or there is
            no such target; the message names line and column, counted from 1.
        ArgumentTypeError: an argument is of the wrong kind.

    >>> import pathlib, tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> path = pathlib.Path(folder.name, "iris.csv")
    >>> path.write_text("width,length,kind\n3.5,5.1,setosa\n3.2,7.0,versicolor\n")
    52
    >>> data = read_csv(path)
    >>> data.feature_names, data.y, data.classes
    (('width', 'length'), array([0, 1]), ('setosa', 'versicolor'))
    >>> folder.cleanup()
    """
    file = existing_file(path)
    if not isinstance(target, int | str) or isinstance(target, bool):
        message = f"target must be a column's name or number, got {shown(target)}"
        raise ArgumentTypeError(message)
    if not isinstance(delimiter, str) or len(delimiter) != 1:
        message = f"delimiter must be one character, got {shown(delimiter)}"
        raise ArgumentError(message)
    with file.open(encoding="utf-8-sig", newline="") as lines:
        rows = _rows(file, lines, delimiter)
        first = next(rows)
        cells = first[1]
        if len(cells) < 2:
            rule = f"must have at least 2 columns, separated by {delimiter!r}"
            raise refusal(file, f"{rule}, got {cells[0]!r}")
        titled = _has_header(file, first, target, header=header)
        columns = _Columns(
            file,
            names=[cell.strip() for cell in cells] if titled else None,
            width=len(cells),
            target=_target_column(file, cells, target),
        )
        return _read(columns, rows if titled else itertools.chain([first], rows))


@dataclass(frozen=True)
class _Columns:
    """What the first row says about the file."""

    file: Path
    names: list[str] | None
    width: int
    target: int

    def feature_names(self) -> tuple[str, ...] | None:
        if self.names is None:
            return None
        return tuple(name for k, name in enumerate(self.names) if k != self.target)

    def refuse_cell(self, line: int, feature: int, cell: str) -> ArgumentError:
        """Make the error of a feature's cell that holds no finite number."""
        at = feature + (feature >= self.target)
        name = f" ({self.names[at]})" if self.names else ""
        rule = "a feature must be a finite number"
        place = f"line {line}, column {at + 1}{name}"
        return refusal(self.file, f"{place}: {rule}, got {cell!r}")


def _rows(file: Path, lines: TextIO, delimiter: str = ",") -> Iterator[Row]:
    """Return the rows that are not empty: at least one, and all as long as it."""
    reader = csv.reader(lines, delimiter=delimiter, skipinitialspace=True, strict=True)
    width = 0
    try:
        for cells in filter(None, reader):
            width = width or len(cells)
            if len(cells) != width:
                rule = f"line {reader.line_num} must have {width} cells like the first"
                raise refusal(file, f"{rule}, got {len(cells)}")
            yield reader.line_num, cells
    except csv.Error as error:
        raise refusal(file, f"line {reader.line_num} must be CSV: {error}") from error
    except UnicodeDecodeError as error:
        raise refusal(file, f"must be text in UTF-8: {error}") from error
    if not width:
        raise refusal(file, "must hold a table, got an empty file")


def _has_header(
    file: Path, first: Row, target: int | str, *, header: bool | None
) -> bool:
    """Return whether the first row names the columns."""
    if header is False and isinstance(target, str):
        message = f"target must be a column's number without a header, got {target!r}"
        raise ArgumentError(message)
    if header is not None:
        return check_flag("header", header)
    if isinstance(target, str):
        return True
    line, cells = first
    at = range(len(cells))[target] if -len(cells) <= target < len(cells) else None
    numeric = [_is_number(cell) for k, cell in enumerate(cells) if k != at]
    if any(numeric) and not all(numeric):
        rule = f"line {line} must be names or numbers, got both"
        raise refusal(file, f"{rule}: {cells!r}; header=True or False decides")
    return not any(numeric)


def _target_column(file: Path, cells: list[str], target: int | str) -> int:
    """Return the number of the target's column, from 0."""
    if isinstance(target, str):
        names = [cell.strip() for cell in cells]
        if names.count(target) != 1:
            rule = f"target must be the name of one column, got {shown(target)}"
            raise refusal(file, f"{rule}; the names are {listed(names)}")
        return names.index(target)
    if not -len(cells) <= target < len(cells):
        rule = f"target must be the number of one of {len(cells)} columns, from 0"
        raise refusal(file, f"{rule}, got {target}")
    return range(len(cells))[target]


def _read(columns: _Columns, rows: Iterable[Row]) -> Dataset:
    """Turn rows into numbers as they come: all their text would fill the memory."""
    values, targets, places = array.array("d"), list[str](), array.array("q")
    for line, cells in rows:
        targets.append(cells.pop(columns.target).strip())
        places.append(line)
        try:
            values.extend(map(float, cells))
        except ValueError:
            k = next(k for k, cell in enumerate(cells) if not _is_number(cell))
            raise columns.refuse_cell(line, k, cells[k]) from None
    if not targets:
        raise refusal(columns.file, "must hold rows of data, got a header alone")
    X = np.frombuffer(values).reshape(len(targets), columns.width - 1)
    finite = np.isfinite(X)
    if not finite.all():
        row, k = divmod(int(finite.argmin()), columns.width - 1)
        raise columns.refuse_cell(places[row], k, str(X[row, k]))
    y = _targets(columns, targets, places)
    return Dataset.of(columns.file, X, y, columns.feature_names())


def _targets(columns: _Columns, texts: list[str], places: Sequence[int]) -> np.ndarray:
    """Turn the target's cells into whole numbers, else numbers, else text."""
    if "" in texts:
        rule = "the target must not be missing"
        raise refusal(columns.file, f"line {places[texts.index('')]}: {rule}, got ''")
    numeric = [_is_number(text) for text in texts]
    if not any(numeric):
        return np.array(texts)
    if not all(numeric):
        number, text = texts[numeric.index(True)], texts[numeric.index(False)]
        at = f"line {places[texts.index(text)]}"
        rule = "the target must be a number in every line or in none"
        raise refusal(columns.file, f"{at}: {rule}, got {text!r} and {number!r}")
    numbers = np.array([float(text) for text in texts])
    finite = np.isfinite(numbers)
    if not finite.all():
        k = int(finite.argmin())
        rule = "the target must be finite"
        raise refusal(columns.file, f"line {places[k]}: {rule}, got {texts[k]!r}")
    try:
        return np.array([int(text) for text in texts], np.int64)
    except (ValueError, OverflowError):  # written with a point, or beyond int64
        return numbers


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


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
            nothing, NaN or infinity; the message names the line, counted from 1.
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
        rows = (
            (line, [cell.strip() for cell in row]) for line, row in _rows(file, lines)
        )
        line, cells = next(rows)
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
            values.append(_number(file, line, row[place], label))
    if not values:
        raise refusal(file, "must hold values, got names alone")
    return Column(np.array(values), place + 1, cells[place] if titled else "")


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
