"""What a run reports: records, their history, and the result."""

from __future__ import annotations

import csv
import io
import json
import os
from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from math import isnan, nan
from typing import Any

import numpy as np

from gdopt.arrays.containers import named_arrays
from gdopt.checks import (
    MOST_LISTED,
    check_kind,
    check_saved_array,
    check_state,
    listed,
    shown,
)
from gdopt.errors import StateError
from gdopt.files import write_whole
from gdopt.imports import load_extra
from gdopt.interrupt import Uninterrupted, uninterrupted


@dataclass(frozen=True)
class Record:
    """What is known at a step; None is what was not measured.

    Attributes:
        step: number of the update, from 1, those that were skipped and those that only
            accumulated included; 0 at the start of a run without data.
        epoch: its number, from 1.
        loss: in a stochastic run that of the step's mini-batch, before the update; in a
            deterministic run the value of the function, after the update.
        smoothed_loss: exponentially weighted average of the recorded losses.
        lr: learning rate of the step, where it is one number.
        grad_norm: largest magnitude of an element of the gradient, projected where the
            parameters have bounds.
        seconds: since the start of the run; those before it was resumed count.
        examples_per_second: since the record before, evaluations left out.
        dev_loss: mean loss of the dev examples, without the L2 and L1 terms, after the
            update that ends an epoch; of any other model than a `gdopt.nn.Network`,
            where it has no ``accuracy``.
        dev_accuracy: share of the dev examples whose class is predicted, where the
            model has classes.
        warning: a problem, and its likely cause.
    """

    step: int
    epoch: int
    loss: float
    smoothed_loss: float
    lr: float | None = None
    grad_norm: float | None = None
    seconds: float = 0.0
    examples_per_second: float | None = None
    dev_loss: float | None = None
    dev_accuracy: float | None = None
    warning: str | None = None


NUMBERS = tuple(field.name for field in fields(Record) if field.name != "warning")
COUNTS = ("step", "epoch")  # whole numbers


class History(Mapping[str, np.ndarray]):
    """The records of a run, as one array for each number of a `Record`.

    Every array is a float64 copy, in the order of the records, with NaN where a record
    has no value.

    Attributes:
        warnings: ``(step, text)`` of the records that have one.

    >>> history = History()
    >>> history.append(Record(1, 1, loss=0.5, smoothed_loss=0.5))
    >>> history.append(Record(2, 1, loss=0.3, smoothed_loss=0.4, dev_accuracy=0.75))
    >>> history["loss"], history["dev_accuracy"]
    (array([0.5, 0.3]), array([ nan, 0.75]))
    >>> history
    History(2 records)
    """

    def __init__(self) -> None:
        self.warnings: list[tuple[int, str]] = []
        self._numbers = array("d")  # record after record

    def append(self, record: Record) -> None:
        """Add a record at the end."""
        check_kind("record", record, Record)
        values = [getattr(record, name) for name in NUMBERS]
        row = [nan if value is None else value for value in values]
        with Uninterrupted():
            self._numbers.fromlist(row)
            if record.warning is not None:
                self.warnings.append((int(record.step), record.warning))

    def _table(self) -> np.ndarray:
        """Return (records, numbers); while the array lives, nothing can be appended."""
        return np.frombuffer(self._numbers).reshape(-1, len(NUMBERS))

    def __getitem__(self, name: str) -> np.ndarray:
        if not isinstance(name, str) or name not in NUMBERS:
            raise KeyError(name)
        return self._table()[:, NUMBERS.index(name)].copy()

    def __iter__(self) -> Iterator[str]:
        return iter(NUMBERS)

    def __len__(self) -> int:
        return len(NUMBERS)

    def __repr__(self) -> str:
        return f"History({len(self._table())} records)"

    def _rows(self) -> Iterator[dict[str, Any]]:
        """Yield what each record holds, missing numbers left out."""
        for values in self._table().tolist():
            row = dict(zip(NUMBERS, values, strict=True))
            known = {name: value for name, value in row.items() if not isnan(value)}
            yield known | {name: int(row[name]) for name in COUNTS}

    def to_csv(self, path: str | os.PathLike[str]) -> None:
        """Write a table with a line for each record; a missing number is an empty cell.

        Raises:
            OSError: the file, or its folder, cannot be written.
        """
        text = io.StringIO()
        table = csv.DictWriter(text, NUMBERS, lineterminator="\n")
        table.writeheader()
        table.writerows(self._rows())
        write_whole(path, text.getvalue())

    def to_jsonl(self, path: str | os.PathLike[str]) -> None:
        """Write an object of JSON for each record, a line each, with the warnings.

        Raises:
            OSError: the file, or its folder, cannot be written.
        """
        warnings = dict(self.warnings)
        rows = list(self._rows())
        for row in rows:
            if row["step"] in warnings:
                row["warning"] = warnings[row["step"]]
        write_whole(path, "".join(json.dumps(row) + "\n" for row in rows))

    def to_pandas(self) -> Any:
        """Return a ``pandas.DataFrame`` with a row for each record.

        Raises:
            MissingExtraError: pandas is not installed.
        """
        pandas = load_extra("pandas", "pandas", "History.to_pandas")
        return pandas.DataFrame(dict(self)).astype(dict.fromkeys(COUNTS, int))

    def state_dict(self) -> dict[str, Any]:
        """Copy the arrays and the warnings."""
        return {**self, "warnings": list(self.warnings)}

    @uninterrupted
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Replace the records by saved ones.

        Raises:
            StateError: the state does not fit, or is damaged; nothing has changed.
        """
        state = check_state("history", state, [*NUMBERS, "warnings"])
        size = getattr(state["step"], "size", 0)
        saved = [
            check_saved_array(f"{name} of history", state[name], np.empty(size))
            for name in NUMBERS
        ]
        for name, values in zip(NUMBERS, saved, strict=True):
            if name in COUNTS and not all(map(float.is_integer, values.tolist())):
                rule = f"{name} of history must be whole numbers"
                raise StateError(f"{rule}, got {shown(values)}")
        warnings = state["warnings"]
        try:
            kinds = {(type(step), type(text)) for step, text in warnings}
        except (TypeError, ValueError):
            kinds = None
        if kinds is None or not kinds <= {(int, str)}:
            message = "warnings of history must be pairs of a step and a text, got "
            raise StateError(message + shown(warnings))
        self._numbers = array("d", np.stack(saved, axis=1).tobytes())
        self.warnings = [(step, text) for step, text in warnings]

    def plot(
        self,
        path: str | os.PathLike[str],
        title: str = "",
        *,
        best: Record | None = None,
    ) -> None:
        """Draw the run with `gdopt.plots.curves`.

        Args:
            path: of the picture; its suffix is the format, ``.png``, ``.svg`` or
                ``.pdf``.
            title: the heading.
            best: the record whose parameters were kept, by `EarlyStopping`; it is
                marked.

        Raises:
            ArgumentError: there is no record with a finite loss, or not that one.
            MissingExtraError: matplotlib is not installed.
        """
        from gdopt.plots import curves  # noqa: PLC0415 - brings the planner

        if best is not None:
            check_kind("best", best, Record)
        step = None if best is None else best.step
        curves(self, path, title=title, best=step)


@dataclass(frozen=True, repr=False, eq=False)
class Result:
    """Where a run has ended; ``print(result)`` shows it.

    Attributes:
        x: the parameters: the container that was given.
        fun: the last loss, or value of the function.
        grad_norm: largest magnitude of an element of its gradient, where it is known.
        nit: number of updates.
        nfev: number of evaluations of the loss with its gradient.
        reason: why the run ended, a sentence.
        success: whether a convergence rule ended it.
        history: the run's records.

    >>> reason = "The gradient is below gtol=1e-05."
    >>> Result(np.array([1.0, 2.0]), 0.25, 3e-6, 12, 15, reason, True, History())
       reason: The gradient is below gtol=1e-05.
      success: True
          fun: 0.25
    grad_norm: 3e-06
          nit: 12
         nfev: 15
            x: array([1., 2.])
    """

    x: Any
    fun: float
    grad_norm: float | None
    nit: int
    nfev: int
    reason: str
    success: bool
    history: History

    def __repr__(self) -> str:
        names = ("reason", "success", "fun", "grad_norm", "nit", "nfev", "x")
        texts = {**vars(self), "x": _described(self.x)}
        known = [name for name in names if texts[name] is not None]
        width = max(map(len, known))
        return "\n".join(f"{name:>{width}}: {texts[name]}" for name in known)


def _described(x: Any) -> str:
    """Return a short array as it is, and the shapes of others."""
    if isinstance(x, np.ndarray) and x.size <= MOST_LISTED:
        return shown(x)
    if hasattr(x, "shape"):
        return f"{x.dtype} of shape {x.shape}"
    return listed(f"{name}{a.shape}" for name, a in named_arrays(x, "x").items())
