"""Text files of rows and columns, read as a table of text."""

from __future__ import annotations

import codecs
import contextlib
import csv
import gzip
import io
import itertools
import os
import re
from array import array
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gdopt.checks import check_flag, listed, shown
from gdopt.data.dataset import refusal
from gdopt.data.npz import refusing
from gdopt.data.table import MISSING, Cells, Table, is_number
from gdopt.errors import ArgumentError
from gdopt.files import existing_file
from gdopt.imports import load_extra

DELIMITERS = "\t;,|"
YEAR = re.compile("(18|19|20|21)[0-9]{2}")
Column = tuple[np.ndarray, tuple[str, ...]]  # codes, and the texts that they number


def read_table(
    path: str | os.PathLike[str],
    *,
    header: bool | None = None,
    delimiter: str | None = None,
    decimal: str | None = None,
) -> Table:
    """Read a CSV file as text; see `gdopt.data.read_csv`."""
    file = existing_file(path)
    _check_form(delimiter, decimal)
    pandas = load_extra("pandas", "train", "reading CSV")
    content = _content(file)
    commented = content.startswith(b"# ") and header is not False  # by NumPy's savetxt
    content = content[2:] if commented else content
    delimiter = delimiter or _delimiter(content)
    lines = _check_rows(file, content, delimiter)
    text = {"dtype": str, "na_filter": False, "header": None, "index_col": False}
    with refusing(lambda why: refusal(file, f"must be CSV: {why}")):
        frame = pandas.read_csv(
            io.BytesIO(content), sep=delimiter, skipinitialspace=True, **text
        )
    if len(frame) != len(lines):
        raise refusal(file, f"must be CSV, got {len(lines)} or {len(frame)} rows")
    columns = [frame.pop(k).str.strip() for k in list(frame)]
    firsts = [column.iloc[0] for column in columns]
    found = [_distinct(pandas, column.iloc[1:]) for column in columns]
    if decimal is None:
        decimal = "." if delimiter == "," else _decimal(found)
    if header is None:
        header = commented or _has_header(
            firsts, [texts for _, texts in found], decimal
        )
    names = [f"column {k}" for k in range(1, len(firsts) + 1)]
    if check_flag("header", header):
        names = [first or name for first, name in zip(firsts, names, strict=True)]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise refusal(file, f"column names must differ, got twice {listed(twice)}")
        lines = lines[1:]
    else:
        found = [_distinct(pandas, column) for column in columns]
    if not len(lines):
        raise refusal(file, "must hold rows of data, got a header alone")
    cells = {
        name: Cells(str(file), name, k, codes, texts, lines, decimal)
        for k, (name, (codes, texts)) in enumerate(zip(names, found, strict=True), 1)
    }
    return Table(cells, header, delimiter, decimal)


def _check_form(delimiter: Any, decimal: Any) -> None:
    if delimiter is not None and (
        not isinstance(delimiter, str) or len(delimiter) != 1
    ):
        raise ArgumentError(f"delimiter must be one character, got {shown(delimiter)}")
    if decimal is not None and not (isinstance(decimal, str) and decimal in {".", ","}):
        raise ArgumentError(f"decimal must be '.' or ',', got {shown(decimal)}")


def _content(file: Path) -> bytes:
    """Return what a file holds, without the byte-order mark: text in UTF-8."""
    with (
        refusing(lambda why: refusal(file, f"must be a whole gzip file: {why}")),
        gzip.open(file) if file.suffix.lower() == ".gz" else file.open("rb") as stream,
    ):
        content = stream.read().removeprefix(codecs.BOM_UTF8)
    try:
        content.decode()
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise refusal(file, f"line {line} must be text in UTF-8: {error}") from error
    return content


def _rows(content: bytes, delimiter: str) -> Any:
    text = io.TextIOWrapper(io.BytesIO(content), "utf-8", newline="")
    return csv.reader(text, delimiter=delimiter, skipinitialspace=True, strict=True)


def _delimiter(content: bytes) -> str:
    """Return the first delimiter with as many cells in each of the first rows."""
    splits = {}
    for delimiter in DELIMITERS:
        with contextlib.suppress(csv.Error):
            rows = itertools.islice(filter(None, _rows(content, delimiter)), 10)
            splits[delimiter] = [len(row) for row in rows]
    splits = {d: widths for d, widths in splits.items() if max(widths, default=0) > 1}
    even = (d for d, widths in splits.items() if len(set(widths)) == 1)
    return next(even, next(iter(splits), ","))


def _check_rows(file: Path, content: bytes, delimiter: str) -> np.ndarray:
    """Return the line of each row that is not empty: all are as long as the first.

    pandas drops cells that are too many, fills short rows, and reads ``"2"3`` as 23.
    """
    lines, width, reader = array("q"), 0, _rows(content, delimiter)
    try:
        for cells in reader:
            if len(cells) < 2 and not "".join(cells).strip():
                continue
            width = width or len(cells)
            if len(cells) != width:
                rule = f"line {reader.line_num} must have {width} cells like the first"
                raise refusal(file, f"{rule}, got {len(cells)}")
            lines.append(reader.line_num)
    except csv.Error as error:
        raise refusal(file, f"line {reader.line_num} must be CSV: {error}") from error
    if not width:
        raise refusal(file, "must hold a table, got an empty file")
    return np.array(lines)


def _distinct(pandas: Any, column: Any) -> Column:
    codes, texts = pandas.factorize(column)
    return codes, tuple(texts.tolist())


def _decimal(found: Sequence[Column]) -> str:
    """Return the mark of the numbers: a comma, if none has a point."""
    marked = [t for _, texts in found for t in texts if "," in t or "." in t]
    comma, point = (any(is_number(text, mark) for text in marked) for mark in ",.")
    return "," if comma and not point else "."


def _has_header(
    firsts: Sequence[str], rest: Sequence[Sequence[str]], decimal: str
) -> bool:
    """Return whether the first row holds words over numbers, only words, or years."""
    gaps = [first.lower() in MISSING for first in firsts]
    words = [not is_number(first, decimal) for first in firsts]
    words = [word and not gap for word, gap in zip(words, gaps, strict=True)]
    for word, texts in zip(words, rest, strict=True):
        if word and any(is_number(text, decimal) for text in texts):
            return True
    years = [first for first in firsts if YEAR.fullmatch(first)]
    if len(years) > 1 and len(set(years)) + sum(words) == len(firsts):
        return not all(YEAR.fullmatch(text) for texts in rest for text in texts)
    return any(words) and sum(words) + sum(gaps) == len(firsts)
