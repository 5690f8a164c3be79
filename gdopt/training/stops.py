"""The rules that end a run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gdopt.checks import (
    check_count,
    check_finite,
    check_not_negative,
    check_optional,
    check_positive,
)
from gdopt.errors import ArgumentError
from gdopt.training.point import Point

GTOL = 1e-5  # SciPy's, for its methods with gradients
MAX_ITER = 10_000


@dataclass
class Stops:
    """When a run ends; what is None does not end it."""

    epochs: int | None = None  # passes over the data
    max_iter: int | None = None  # updates
    max_seconds: float | None = None  # of the run, its earlier parts included
    gtol: float | None = None  # largest magnitude of an element of the gradient
    ftol: float | None = None  # decrease, in units of max(|before|, |after|, 1)
    xtol: float | None = None  # largest change of a parameter in an update
    target: float | None = None  # value, or smoothed loss of a run with data

    def __post_init__(self) -> None:
        """Check what was given."""
        for name, check in CHECKS.items():
            setattr(self, name, check_optional(check, name, getattr(self, name)))

    @classmethod
    def of(cls, *, with_data: bool, **given: Any) -> Stops:
        """Check the rules of a run, and add those it has by default."""
        stops = cls(**given)
        if with_data:
            for name in ("gtol", "ftol", "xtol"):
                if given.get(name) is not None:
                    message = f"{name} must be None with data, whose gradients differ "
                    message += "from batch to batch: give epochs, target or an "
                    message += "EarlyStopping"
                    raise ArgumentError(message)
            if stops == cls():
                message = "epochs, max_iter, max_seconds or target must be given: with "
                raise ArgumentError(message + "data a run does not end otherwise")
            return stops
        if stops.epochs is not None:
            message = f"epochs must be None without data: write max_iter={stops.epochs}"
            raise ArgumentError(message)
        if {stops.gtol, stops.ftol, stops.xtol, stops.target} == {None}:
            stops.gtol = GTOL
        if stops.max_iter is None and stops.max_seconds is None:
            stops.max_iter = MAX_ITER
        return stops

    def converged(
        self, value: float, point: Point | None = None, before: float | None = None
    ) -> str | None:
        """Return the sentence of a convergence rule that holds, if one does."""
        if self.target is not None and value <= self.target:
            return f"the value {value:.6g} is at most target={self.target:g}"
        if point is None:
            return None
        if self.gtol is not None and point.grad_norm <= self.gtol:
            norm = f"the gradient's norm {point.grad_norm:.3g}"
            return f"{norm} is at most gtol={self.gtol:g}"
        return None if before is None else self._is_still(value, point, before)

    def _is_still(self, value: float, point: Point, before: float) -> str | None:
        scale = max(abs(before), abs(value), 1.0)
        if self.ftol is not None and abs(before - value) <= self.ftol * scale:
            return f"the value changed by {before - value:.3g}, within ftol={self.ftol}"
        if self.xtol is not None and point.change <= self.xtol:
            return f"no parameter changed by more than xtol={self.xtol:g}"
        return None

    def exhausted(self, step: int, epoch: int, seconds: float) -> str | None:
        """Return the sentence of a limit that is reached."""
        if self.max_iter is not None and step >= self.max_iter:
            return f"max_iter={self.max_iter} updates were made"
        if self.epochs is not None and epoch >= self.epochs:
            return f"epochs={self.epochs} were run"
        if self.max_seconds is not None and seconds >= self.max_seconds:
            return f"max_seconds={self.max_seconds:g} have passed"
        return None


CHECKS: dict[str, Callable[[str, Any], Any]] = {
    "epochs": check_count,
    "max_iter": check_count,
    "max_seconds": check_positive,
    "gtol": check_not_negative,
    "ftol": check_not_negative,
    "xtol": check_not_negative,
    "target": check_finite,
}
