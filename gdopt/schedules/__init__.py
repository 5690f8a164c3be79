"""Schedules: the value of a hyper-parameter as a pure function of the step.

Any ``function(step) -> float`` is a schedule; these are the usual ones, and what joins
them. Step 0 is the first update. A schedule that has an end keeps its last value.
"""

from typing import TYPE_CHECKING

from gdopt.imports import lazy_getattr, public_dir
from gdopt.schedules.compose import join, per_epoch, warmup
from gdopt.schedules.cycles import cosine_restarts, cyclic, interpolate, one_cycle
from gdopt.schedules.decay import (
    constant,
    cosine,
    exponential,
    halving,
    inv_sqrt,
    inverse_time,
    piecewise,
    polynomial,
)
from gdopt.schedules.schedule import Schedule

__all__ = [
    "Schedule",
    "constant",
    "cosine",
    "cosine_restarts",
    "cyclic",
    "exponential",
    "halving",
    "interpolate",
    "inv_sqrt",
    "inverse_time",
    "join",
    "one_cycle",
    "per_epoch",
    "piecewise",
    "polynomial",
    "warmup",
]
__dir__ = public_dir(__name__)
if not TYPE_CHECKING:  # a type checker refuses names that are not there
    __getattr__ = lazy_getattr(__name__, {}, foreign="gdopt.schedules.names")
