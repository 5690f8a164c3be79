"""Early stopping: ends a run that no longer improves, and keeps the best parameters."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from gdopt.arrays import Array
from gdopt.checks import (
    NOT_NEGATIVE,
    Range,
    as_number,
    check_count,
    check_number,
    check_saved_array,
    check_state,
    shown,
    shows,
)
from gdopt.errors import GdoptError, StateError
from gdopt.interrupt import Uninterrupted, uninterrupted
from gdopt.optim.parameters import Parameters
from gdopt.training.monitor import Monitor
from gdopt.training.records import COUNTS, NUMBERS, Record

if TYPE_CHECKING:
    from gdopt.training.run import Run

FORMAT = 2


@shows("patience", "min_delta", "best", "best_step", "waited")
class EarlyStopping:
    """Stop when a value has not improved for a while, and keep the best parameters.

    A callback of `gdopt.fit`, `gdopt.minimize` and `gdopt.steps`. A value is better
    where it is above the best one by more than `min_delta` (below it with
    ``mode="min"``); the first is the best so far. After `patience` values in a row that
    are not better the run ends. A difference of up to `min_delta` counts as none: it
    neither ends the waiting nor replaces the copy.

    However the run ends, by a rule, by an error or by Ctrl-C, the best parameters are
    restored, and with them what the network has averaged, such as the mean and variance
    of batch normalization. The optimizer's state is not restored.

    A NaN is never the best: it counts as a value without improvement, and `nans` holds
    how many there were. Infinities are values like others. A run that diverges raises
    DivergenceError.

    Copies of the parameters are made immediately, on their own device: memory for one
    more set of them.

    Args:
        patience: values without improvement after which to stop, at least 1: epochs
            where the dev examples are watched.
        monitor: the name of a field of `Record`; by default ``dev_accuracy`` or
            ``dev_loss`` in a run with dev examples, or else ``loss``, or with data
            ``smoothed_loss``. Records without the value are passed over.
        min_delta: by how much better a value has to be, at least 0.
        mode: ``"max"`` or ``"min"``; by default the largest accuracy, the smallest
            loss.

    Attributes:
        best: the best value, None before the first.
        best_step: the step of its record; None before.
        waited: values since the best one; all of them before there is one.
        nans: how many values were NaN.
        restored: the record whose parameters were restored; None before.
        reason: why the run was stopped; None before.

    Raises:
        ArgumentError: a number or a name is out of its range; when the run begins: it
            does not measure the value, or on too few dev examples.
        ArgumentTypeError: an argument is of the wrong kind.

    Source: Ng, Improving deep neural networks, week 1, "Other regularization methods".

    Other libraries: Keras' ``EarlyStopping(restore_best_weights=True)`` counts in
    the same way, and stops with a patience of 0 as with 1 here. It restores the weights
    only where it has stopped the run.

    >>> import gdopt
    >>> stopping = EarlyStopping(patience=2)
    >>> def double_well(x):
    ...     return x**4 - x**2 + 0.2 * x, 4 * x**3 - 2 * x + 0.2
    >>> x = np.array(1.1)
    >>> result = gdopt.minimize(double_well, x, method="sgd", lr=0.6, callback=stopping)
    >>> result.reason
    'the loss has not improved for 2 records; the best is -0.387 at step 3'
    >>> round(float(result.x), 3), stopping.best_step
    (-0.813, 3)
    """

    def __init__(
        self,
        patience: int,
        *,
        monitor: str | None = None,
        min_delta: float = 0.0,
        mode: str | None = None,
    ) -> None:
        self.patience = check_count("patience", patience)
        self.min_delta = check_number("min_delta", min_delta, NOT_NEGATIVE)
        self._monitor = Monitor(monitor, mode)
        self._clear()

    def _clear(self) -> None:
        self.best: float | None = None
        self.waited = self.nans = 0
        self._best_record: Record | None = None
        self.restored: Record | None = None
        self.reason: str | None = None
        self._layers: Any = None

    @property
    def best_step(self) -> int | None:
        """The step of the best value."""
        return None if self._best_record is None else self._best_record.step

    def begin(self, run: Run) -> None:
        """Take the parameters of a run, and forget those of the last one.

        Raises:
            ArgumentError: the run does not measure what is watched.
        """
        self._clear()
        self._monitor.begin(run)
        self._parameters: Parameters = run.parameters
        self._objective = run.objective
        make, device = self._parameters.backend.zeros, self._parameters.device
        self._kept = {
            name: make(array.shape, array.dtype, device)
            for name, array in self._parameters.arrays.items()
        }

    def __call__(self, record: Record) -> bool:
        """Take in a record, with the parameters as they are now.

        Returns:
            Whether to stop now.
        """
        value = self._monitor.value(record)
        if value is None:
            return False
        with Uninterrupted():
            self.waited += 1
            self.nans += math.isnan(value)
            if self._is_better(value):
                self._layers = copy.deepcopy(self._objective.state_dict())
                self._copy(self._parameters.arrays, self._kept)
                self.best, self._best_record, self.waited = value, record, 0
        if self.waited < self.patience:
            return False
        watched, best = self._monitor.watched.replace("_", " "), ""
        if self.best is not None:
            best = f"; the best is {self.best:.3g} at step {self.best_step}"
        unit = "epochs" if watched.startswith("dev") else "records"
        waited = f"{self.patience} {unit}"
        self.reason = f"the {watched} has not improved for {waited}{best}"
        return True

    def _is_better(self, value: float) -> bool:
        if self.best is None:
            return not math.isnan(value)
        if self._monitor.mode == "max":
            return value > self.best + self.min_delta
        return value < self.best - self.min_delta

    def _copy(self, source: Mapping[str, Array], target: Mapping[str, Array]) -> None:
        with self._parameters.on_device():
            for name, array in source.items():
                target[name][...] = array

    def end(self, _run: Run) -> None:
        """Restore the best parameters, and what belongs to them."""
        if self._best_record is not None:
            with Uninterrupted():
                self._objective.load_state_dict(self._layers)
                self._parameters.write(self._kept)
            self.restored = self._best_record

    def state_dict(self) -> dict[str, Any]:
        """Copy what a resumed run needs."""
        record, kept = self._best_record, {}
        if record is not None:
            to_host = self._parameters.backend.to_host
            kept = {name: np.array(to_host(own)) for name, own in self._kept.items()}
        return {
            "format": FORMAT,
            **self._monitor.given,
            "waited": self.waited,
            "nans": self.nans,
            "best": self.best,
            "record": None if record is None else asdict(record),
            "params": None if record is None else kept,
            "layers": copy.deepcopy(self._layers),
            "reason": self.reason,
        }

    @uninterrupted
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a saved state, on any device; the parameters are not changed.

        Raises:
            StateError: it does not fit, or is damaged; nothing has changed.
        """
        keys = "best", "record", "params", "layers", "reason"
        counts = "waited", "nans"
        same = {"format": FORMAT, **self._monitor.given}
        state = check_state("state", state, keys, counts=counts, same=same)
        if not isinstance(state["reason"], str | None):
            message = f"reason must be text or None, got {shown(state['reason'])}"
            raise StateError(message)
        (best, record), moved = _best_of(state), {}
        if record is not None and not hasattr(self, "_parameters"):
            message = f"state must be loaded in a run, got the best of one, {record}"
            raise StateError(message)
        if record is not None:
            check_state("layers", state["layers"], self._objective.state_dict())
            saved = check_state("params", state["params"], self._kept)
            move, device = self._parameters.backend.from_host, self._parameters.device
            for name, own in self._kept.items():
                array = check_saved_array(f"params[{name!r}]", saved[name], own)
                moved[name] = move(array, device)
        if moved:
            self._copy(moved, self._kept)
        self.waited, self.nans = state["waited"], state["nans"]
        self.best, self._best_record = best, record
        self._layers, self.reason = copy.deepcopy(state["layers"]), state["reason"]


OPTIONAL = {f.name for f in fields(Record) if f.default is None}


def _best_of(state: Mapping[str, Any]) -> tuple[float | None, Record | None]:
    """Read the best value and its record, to which the rest of the state belongs."""
    best, record = state["best"], state["record"]
    if best is None and record is None and state["params"] is None:
        return None, None
    nan = isinstance(best, float) and math.isnan(best)
    if best is None or nan or record is None:
        message = f"state is damaged: best is {shown(best)}, record {shown(record)}"
        raise StateError(message)
    names = [f.name for f in fields(Record)]
    record = check_state("record", record, names, counts=COUNTS)
    try:
        best = check_number("best", best, Range.parse("[-inf, inf]"))
        for name in NUMBERS:
            if name not in COUNTS and not (name in OPTIONAL and record[name] is None):
                record[name] = as_number(name, record[name])
    except GdoptError as error:
        raise StateError(f"state is damaged: {error}") from error
    if not isinstance(record["warning"], str | None):
        message = f"warning must be text or None, got {shown(record['warning'])}"
        raise StateError(message)
    return best, Record(**record)
