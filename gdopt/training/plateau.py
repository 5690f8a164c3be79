"""A learning rate that is reduced when a value no longer improves."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf
from typing import TYPE_CHECKING, Any

import numpy as np

from gdopt.checks import (
    NOT_NEGATIVE,
    Range,
    as_number,
    check_choice,
    check_int,
    check_number,
    check_optional,
    check_state,
    shown,
    shows,
)
from gdopt.errors import ArgumentError, GdoptError, StateError
from gdopt.interrupt import Uninterrupted, uninterrupted
from gdopt.training.monitor import Monitor
from gdopt.training.records import Record

if TYPE_CHECKING:
    from gdopt.training.run import Run

SHARE = Range.parse("[0, 1)")
FACTOR = Range.parse("(0, 1)")


@shows("factor", "patience", "best", "waited", "cooldown_left")
class ReduceOnPlateau:
    """Multiply the learning rate by a factor when a value no longer improves.

    A callback of `gdopt.fit`, `gdopt.minimize` and `gdopt.steps`, which never stops the
    run. With ``mode="min"`` a value is better where it is below
    ``best * (1 - threshold)``, or with ``threshold_mode="abs"`` below
    ``best - threshold``; with ``mode="max"`` where it is above
    ``best * (1 + threshold)`` or ``best + threshold``. When more than `patience` values
    in a row are not better, the rate becomes ``max(lr * factor, min_lr)``, and the next
    `cooldown` values are not counted. A NaN is never better.

    A relative threshold is for positive values: of a negative best value it takes one
    that is slightly worse for better.

    Args:
        factor: of the rate, in (0, 1).
        patience: values without improvement that are tolerated, at least 0: epochs
            where the dev examples are watched.
        monitor: the name of a field of `Record`; by default ``dev_accuracy`` or
            ``dev_loss`` in a run with dev examples, or else ``loss``, or with data
            ``smoothed_loss``. Records without the value are passed over.
        mode: ``"max"`` or ``"min"``; by default the largest accuracy, the smallest
            loss.
        threshold: by how much better a value has to be, at least 0; below 1 as a share.
        threshold_mode: ``"rel"``, a share of the best value, or ``"abs"``.
        cooldown: values after a reduction that are not counted, at least 0.
        min_lr: least rate, at least 0.
        eps: a reduction by no more than this is not made, at least 0.

    Attributes:
        best: the best value, None before the first.
        waited: values counted since the best one or since a reduction.
        cooldown_left: values that are still not counted.

    Raises:
        ArgumentError: a number or a name is out of its range; when the run begins: it
            does not measure the value, or its method has no learning rate that is one
            number.
        ArgumentTypeError: an argument is of the wrong kind.

    Source: the rates are those of torch's ``ReduceLROnPlateau``, whose defaults these
    are.

    Other libraries: Keras' ``ReduceLROnPlateau(patience=p, cooldown=c, min_delta=d)``
    is ``patience=max(p - 1, 0)``, ``cooldown=max(c - 1, 0)``, ``threshold=d``,
    ``threshold_mode="abs"`` and ``eps=0`` here; a NaN that comes first is its best.

    >>> import gdopt
    >>> def magnitude(x):
    ...     return abs(x), np.sign(x)
    >>> options = {"max_iter": 5, "callback": ReduceOnPlateau(0.5, patience=0)}
    >>> run = gdopt.minimize(magnitude, np.array(0.7), method="sgd", lr=1.0, **options)
    >>> run.history["loss"].round(2)
    array([0.7 , 0.3 , 0.7 , 0.2 , 0.3 , 0.05])
    >>> run.history["lr"]
    array([1.  , 1.  , 1.  , 0.5 , 0.5 , 0.25])
    """

    def __init__(
        self,
        factor: float = 0.1,
        patience: int = 10,
        *,
        monitor: str | None = None,
        mode: str | None = None,
        threshold: float = 1e-4,
        threshold_mode: str = "rel",
        cooldown: int = 0,
        min_lr: float = 0.0,
        eps: float = 1e-8,
    ) -> None:
        self.factor = check_number("factor", factor, FACTOR)
        self.patience = check_int("patience", patience, least=0)
        check_choice("threshold_mode", threshold_mode, ("rel", "abs"))
        bounds = SHARE if threshold_mode == "rel" else NOT_NEGATIVE
        self.threshold = check_number("threshold", threshold, bounds)
        self.threshold_mode = threshold_mode
        self.cooldown = check_int("cooldown", cooldown, least=0)
        self.min_lr = check_number("min_lr", min_lr, NOT_NEGATIVE)
        self.eps = check_number("eps", eps, NOT_NEGATIVE)
        self._monitor = Monitor(monitor, mode)
        self._clear()

    def _clear(self) -> None:
        self.best: float | None = None
        self.waited = self.cooldown_left = 0

    def begin(self, run: Run) -> None:
        """Take the optimizer of a run, and forget the values of the last one.

        Raises:
            ArgumentError: the run does not measure what is watched, or has no learning
                rate that is one number.
        """
        self._monitor.begin(run)
        _rate(run.optimizer)
        self._optimizer = run.optimizer
        self._clear()

    def __call__(self, record: Record) -> None:
        """Take in a record; reduce the rate where its value ends the patience."""
        value = self._monitor.value(record)
        if value is None:
            return
        with Uninterrupted():
            self._take(value)

    def _take(self, value: float) -> None:
        if self._is_better(value):
            self.best, self.waited = value, 0
        else:
            self.waited += 1
        if self.cooldown_left:
            self.cooldown_left -= 1
            self.waited = 0
        if self.waited > self.patience:
            self.cooldown_left, self.waited = self.cooldown, 0
            old = _rate(self._optimizer)
            new = max(old * self.factor, self.min_lr)
            if old - new > self.eps:
                self._optimizer.hyper["lr"] = new

    def _is_better(self, value: float) -> bool:
        """Compare with the best value, to the last bit as torch does."""
        largest, step = self._monitor.mode == "max", self.threshold
        best = self.best
        if best is None:
            best = -inf if largest else inf
        if self.threshold_mode == "rel":
            limit = best * (1 + step if largest else 1 - step)
        else:
            limit = best + step if largest else best - step
        return value > limit if largest else value < limit

    def state_dict(self) -> dict[str, Any]:
        """Copy what a resumed run needs; the rate is the optimizer's."""
        names = ("best", "waited", "cooldown_left")
        return {name: getattr(self, name) for name in names}

    @uninterrupted
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a saved state.

        Raises:
            StateError: it is not such a state; nothing has changed.
        """
        counts = ("waited", "cooldown_left")
        state = check_state("state", state, ["best"], counts=counts)
        try:
            best = check_optional(as_number, "best", state["best"])
        except GdoptError as error:
            raise StateError(f"state is damaged: {error}") from error
        self.best = best
        self.waited, self.cooldown_left = (state[name] for name in counts)


def _rate(optimizer: Any) -> float:
    """Return the learning rate, which must be one number."""
    lr = getattr(getattr(optimizer, "hyper", None), "settings", {}).get("lr")
    if not isinstance(lr, int | float | np.floating):
        kind = type(optimizer).__name__
        message = f"lr of {kind} must be one number to be reduced, got {shown(lr)}"
        raise ArgumentError(message)
    return float(lr)
