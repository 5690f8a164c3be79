"""A table of text: its cells, of what kind they are, and the numbers in them."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from gdopt.checks import as_scalar, listed
from gdopt.errors import ArgumentError, ArgumentTypeError

CODE = re.compile(r"0\d+", re.ASCII)  # 007, which is not 7
DATE = re.compile(
    r"\d{4}[-/]\d\d?[-/]\d\d?([T ][\d:.,+Z-]*)?|\d\d?([-/.])\d\d?\2(\d{4}|\d\d)",
    re.ASCII,
)
NUMBERS = {
    mark: re.compile(rf"[-+]?(\d+[{mark}]?\d*|[{mark}]\d+)([eE][-+]?\d+)?", re.ASCII)
    for mark in ".,"
}
MISSING = {"", "na", "n/a", "nan", "null", "none", "?", "-"}
FIXES = {  # what is wrong with a column, and a line of pandas
    "missing": ("a cell must not be missing", "df = df.dropna(subset=[{0!r}])"),
    "date": (
        "a date must be written as a number",
        "df[{0!r}] = (pd.to_datetime(df[{0!r}]) - pd.Timestamp(0)).dt.days",
    ),
    "mixed": (
        "a column must hold numbers in every line or in none",
        "df[{0!r}] = pd.to_numeric(df[{0!r}], errors='coerce')",
    ),
}
EXACT = 2**53  # beyond it, float64 leaves whole numbers out
MANY = 20  # rows, in which different values everywhere are an id


# Many numbers at once, a line each; without leading zeros, as codes have.
LINES = {
    mark: re.compile(
        rf"(?:[-+]?(?:(?:0|[1-9]\d*)(?:[{mark}]\d*)?|[{mark}]\d+)(?:[eE][-+]?\d+)?\n)*+",
        re.ASCII,
    )
    for mark in ".,"
}


def is_number(text: str, decimal: str) -> bool:
    """Return whether a cell is a number, in ASCII digits."""
    return NUMBERS[decimal].fullmatch(text) is not None


def kind_of(texts: Collection[str], decimal: str) -> str:
    """Return the kind of a column: ``number category missing date mixed``."""
    lines = "\n".join([*texts, ""])
    if LINES[decimal].fullmatch(lines) and lines.count("\n") == len(texts) > 0:
        return "number"
    present = [text for text in texts if text.lower() not in MISSING]
    numbers = sum(is_number(text, decimal) for text in present)
    if numbers and not any(map(CODE.fullmatch, present)):
        if numbers < len(present):
            return "mixed"
        return "number" if len(present) == len(texts) else "missing"
    if present and all(map(DATE.fullmatch, present)):
        return "date"
    return "missing" if "" in texts else "category"


@dataclass(frozen=True, eq=False)
class Cells:
    """A column of a table as text: cell k is ``texts[codes[k]]``."""

    source: str  # the file
    name: str  # in the header, or else "column K"
    number: int  # from 1
    codes: np.ndarray  # (m,) int, into `texts`
    texts: tuple[str, ...]  # the different cells, without spaces around them
    lines: np.ndarray  # (m,) int, of the file, from 1
    decimal: str  # the decimal mark

    @cached_property
    def kind(self) -> str:
        """See `kind_of`."""
        return kind_of(self.texts, self.decimal)

    def value(self, text: str) -> float:
        """Return a number, an int where it is written as one; text as it is."""
        number = text.replace(self.decimal, ".")
        return float(number) if set(number) & set(".eE") else int(number)

    def error(self, text: str, rule: str) -> ArgumentError:
        """Make the error of a cell, which names its line and column."""
        line = self.lines[np.argmax(self.codes == self.texts.index(text))]
        named = f" ({self.name})" if self.name != f"column {self.number}" else ""
        place = f"{self.source}: line {line}, column {self.number}{named}"
        return ArgumentError(f"{place}: {rule}, got {text!r}")

    def check(self) -> None:
        """Refuse missing cells, dates, and numbers mixed with text."""
        if self.kind not in FIXES:
            return
        rule, fix = FIXES[self.kind]
        text = self.texts[0]
        if self.kind == "missing":
            text = next((t for t in self.texts if t.lower() in MISSING - {""}), "")
            text = "" if "" in self.texts else text
        elif self.kind == "mixed":
            words = (t for t in self.texts if not is_number(t, self.decimal))
            text = next(t for t in words if t.lower() not in MISSING)
        raise self.error(text, f"{rule} (in pandas: {fix.format(self.name)})")

    def numbers(self, *, gaps: bool = False) -> np.ndarray:
        """Return the cells as finite float64; NaN where one is missing, with `gaps`."""
        texts = list(self.texts)
        if self.decimal == ",":
            texts = [text.replace(",", ".") for text in texts]
        for k, text in enumerate(() if self.kind == "number" else self.texts):
            if gaps and text.lower() in MISSING:
                texts[k] = "nan"
            elif not is_number(text, self.decimal):
                self.check()
                raise self.error(text, "a cell must be a finite number")
        values = np.array([*map(float, texts)])
        for k in np.flatnonzero(abs(values) >= EXACT).tolist():
            text = self.texts[k]
            if np.isinf(values[k]):
                raise self.error(text, "a cell must be finite in float64")
            if self.value(text) != int(values[k]):
                rule = "a cell must be a number that float64 holds, not a long id"
                raise self.error(text, rule)
        found: np.ndarray = values[self.codes]
        return found

    def places(self, names: Sequence[str]) -> np.ndarray:
        """Return the numbers of the cells among these names of categories."""
        numeric = kind_of(names, self.decimal) == "number"

        def key(text: str) -> Any:
            number = numeric and is_number(text, self.decimal)
            return self.value(text) if number else text

        known = {key(name): k for k, name in enumerate(names)}
        for text in self.texts:
            if key(text) not in known:
                raise self.error(text, f"a cell must be one of {listed(names)}")
        places = np.array([known[key(text)] for text in self.texts], np.int64)
        found: np.ndarray = places[self.codes]
        return found

    def categories(self) -> tuple[str, ...]:
        """Return the different values, in order; of a number its shortest text."""
        if self.kind != "number":
            return tuple(sorted(self.texts))
        shortest: dict[float, str] = {}
        for text in sorted(self.texts, key=lambda text: (len(text), text)):
            shortest.setdefault(self.value(text), text)
        return tuple(shortest[value] for value in sorted(shortest))

    def doubt(self) -> str | None:
        """Say why a column is probably not a feature."""
        if len(self.codes) != len(self.texts) or len(self.texts) < MANY:
            return None
        whole = self.kind == "number" and all(
            isinstance(self.value(text), int) for text in self.texts
        )
        if whole and self.number == 1 and self.name == "column 1":
            steps = np.diff(self.numbers())
            if (steps == steps[0]).all():
                return "the first column has no name and counts the rows: exclude it"
        if whole or self.kind == "category":
            return f"column {self.name!r} differs in every row, as an id: exclude it"
        return None


@dataclass(frozen=True)
class Table:
    """A file of rows and columns, as text."""

    columns: dict[str, Cells]  # by name
    header: bool  # whether the first line holds the names
    delimiter: str  # between cells
    decimal: str  # the decimal mark

    @property
    def source(self) -> str:
        """The file."""
        return next(iter(self.columns.values())).source

    def find(self, what: str, given: Any) -> str:
        """Return a column's name, by name or number."""
        names, given = list(self.columns), as_scalar(given)
        if isinstance(given, bool) or not isinstance(given, str | int):
            message = f"{what} must be a column's name or number, got {given!r}"
            raise ArgumentTypeError(message)
        if isinstance(given, str):
            if given in names:
                return given
            if given.isascii() and given.isdigit() and 1 <= int(given) <= len(names):
                return names[int(given) - 1]
        elif -len(names) <= given < len(names):
            return names[given]
        rule = f"{what} must be the name or number of one of {len(names)} columns"
        message = f"{self.source}: {rule}, got {given!r}; they are {listed(names)}"
        raise ArgumentError(message)
