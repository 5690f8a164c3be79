"""The schema by which a model turns the columns of a table into numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

import numpy as np

from gdopt.checks import check_choice, check_state, listed, name_differences
from gdopt.data.table import Cells, Table
from gdopt.errors import ArgumentError

TASKS = ("classification", "regression")
MOST_BYTES = 2**30  # of one-hot columns


@dataclass(frozen=True)
class Schema:
    """What a model keeps of the file it was trained on.

    Attributes:
        columns: of each feature the categories; None where it is a number.
        target: name of its column.
        task: ``"classification"`` or ``"regression"``.
        classes: names of the classes 0, 1, ...; None for regression.
        ignored: columns that are not features.
        header: whether the first line holds the names.
        delimiter: between cells.
        decimal: the decimal mark.
    """

    columns: dict[str, tuple[str, ...] | None]
    target: str
    task: str
    classes: tuple[str, ...] | None
    ignored: tuple[str, ...]
    header: bool
    delimiter: str
    decimal: str

    @classmethod
    def of(
        cls, table: Table, features: Sequence[Cells], goal: Cells, task: str | None
    ) -> Self:
        """Make the schema of a table's columns."""
        for cells in (goal, *features):
            cells.check()
        columns = {
            cells.name: None if cells.kind == "number" else cells.categories()
            for cells in features
        }
        if not columns:
            rule = "must have a feature in addition to the target"
            raise ArgumentError(f"{table.source}: {rule}, got none")
        size = 8 * len(goal.codes) * sum(len(c) for c in columns.values() if c)
        if size > MOST_BYTES:
            most = max(columns, key=lambda name: len(columns[name] or ()))
            rule = f"one-hot columns must fit 1 GiB, got {size:,} bytes"
            raise ArgumentError(f"{table.source}: {rule}; exclude {most!r}")
        task = choose_task(goal, task)
        classes = goal.categories() if task == "classification" else None
        ignored = tuple(n for n in table.columns if n not in {*columns, goal.name})
        form = table.header, table.delimiter, table.decimal
        return cls(columns, goal.name, task, classes, ignored, *form)

    @property
    def feature_names(self) -> tuple[str, ...]:
        """A name for each number of an example: of a category ``name=category``."""
        return tuple(
            name if category is None else f"{name}={category}"
            for name, categories in self.columns.items()
            for category in ([None] if categories is None else categories)
        )

    @property
    def form(self) -> dict[str, Any]:
        """How the file was written, as `gdopt.data.read_csv` takes it."""
        return {n: getattr(self, n) for n in ("header", "delimiter", "decimal")}

    def state_dict(self) -> dict[str, Any]:
        """Return everything in JSON's types, for `gdopt.save`."""
        # A list, as the names of columns may be no keys of a file: $price
        return {**asdict(self), "columns": list(self.columns.items())}

    @classmethod
    def from_state_dict(cls, state: Mapping[str, Any]) -> Self:
        """Make a schema of what `state_dict` returned, from a file, too."""
        state = check_state("schema", state, [f.name for f in fields(cls)])
        columns = state["columns"]
        state["columns"] = {name: kinds and tuple(kinds) for name, kinds in columns}
        state["classes"] = state["classes"] and tuple(state["classes"])
        return cls(**{**state, "ignored": tuple(state["ignored"])})

    def encode(self, table: Table) -> np.ndarray:
        """Return the features (m, n) float64: numbers, and 0 or 1 for categories."""
        found = table.columns
        if not self.header and len(found) == len(self.columns):  # without a target
            found = dict(zip(self.columns, found.values(), strict=True))
        here = [name for name in found if name not in {self.target, *self.ignored}]
        if wrong := name_differences(self.columns, here):
            message = f"{table.source}: columns must be those of the model: {wrong}"
            raise ArgumentError(message)
        parts = []
        for name, categories in self.columns.items():
            if categories is None:
                parts.append(found[name].numbers()[:, None])
            else:
                places = found[name].places(categories)
                parts.append(np.eye(len(categories))[places])
        return np.hstack(parts)

    def encode_target(self, table: Table) -> np.ndarray:
        """Return the targets (m,): class numbers int64, or float64."""
        cells = table.columns[table.find("target", self.target)]
        return cells.numbers() if self.classes is None else cells.places(self.classes)


def choose_target(table: Table, target: int | str | None) -> Cells:
    """Return the target's column: the last one by default, if no other can be it."""
    if target is not None:
        return table.columns[table.find("target", target)]
    likely = [name for name, cells in table.columns.items() if _holds_classes(cells)]
    *_, last = table.columns
    if likely != [last]:
        rule = "target must be named (--target NAME in the shell)"
        found = f"{listed(likely) or 'none'} of {listed(table.columns)}"
        message = f"{table.source}: {rule}; columns that may hold classes: {found}"
        raise ArgumentError(message)
    return table.columns[last]


def _holds_classes(cells: Cells) -> bool:
    """Return whether a column may be the target: few values, which repeat."""
    rows, distinct = len(cells.codes), len(cells.texts)
    if cells.kind == "category":
        return 2 <= distinct < rows
    if cells.kind != "number" or not 2 <= distinct <= min(max(20, rows / 20), rows / 2):
        return False
    return all(cells.value(text) % 1 == 0 for text in cells.texts)


def choose_task(cells: Cells, task: str | None) -> str:
    """Return the task that a target is for."""
    if task is not None:
        return check_choice("task", task, TASKS)
    if cells.kind == "category":
        return "classification"
    values = {cells.value(text) for text in cells.texts}
    if any(value % 1 for value in values):
        return "regression"
    rows = len(cells.codes)
    if 2 * len(values) > rows:
        rule = "task must be classification or regression (--task in the shell)"
        got = f"{len(values)} different whole numbers in {rows} rows"
        message = f"{cells.source}: {rule}, got the target {cells.name!r} with {got}"
        raise ArgumentError(message)
    return "classification"
