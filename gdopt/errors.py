"""The errors that gdopt raises on purpose: one family, each also the built-in kind."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING


class GdoptError(Exception):
    """Root of the family: ``except gdopt.GdoptError`` catches all of them."""


class ArgumentError(GdoptError, ValueError):
    """An argument's value breaks its rule: ``beta2 must be in [0, 1), got 1.5``."""


class PathError(ArgumentError, FileNotFoundError):
    """A path names no file, or no place where a file can be written."""


class ArgumentTypeError(GdoptError, TypeError):
    """An argument is of a kind that cannot be used."""


class BackendError(GdoptError, RuntimeError):
    """A device or array library asked for is not there, two were mixed, or CUDA failed.

    CUDA may report an error later than it happened; its own exception is the cause.
    Running out of memory is a MemoryError, on a device as on the host.
    """


class MissingExtraError(GdoptError, ImportError):
    """An optional library is missing; the message names the extra that brings it."""


class RuleError(GdoptError, TypeError):
    """A rule cannot be traced: it branches on a value, or lacks a result."""


class StateError(GdoptError, ValueError):
    """A saved state does not fit the object it is loaded into."""


class ParallelError(GdoptError, RuntimeError):
    """Ranks were started wrongly or differ, or one of them is late or has failed."""


class DivergenceError(GdoptError, ArithmeticError):
    """The loss is not a finite number, so that training cannot continue.

    Attributes:
        by_rate: whether the learning rate is the likely cause, and not the data.
    """

    by_rate = True


class DataWarning(UserWarning):
    """Data that can be used, but probably not as they are."""


class StateWarning(UserWarning):
    """A saved state fits in part, which is what was loaded.

    Attributes:
        missing: what an object has and its saved state has not, as ``state.W.m``.
        unexpected: what the saved state has in addition.
    """

    def __init__(self, missing: Sequence[str], unexpected: Sequence[str]) -> None:
        self.missing, self.unexpected = tuple(missing), tuple(unexpected)
        super().__init__(self.missing, self.unexpected)

    def __str__(self) -> str:
        rest = {"missing": self.missing, "unexpected": self.unexpected}
        parts = [f"{kind} {', '.join(names)}" for kind, names in rest.items() if names]
        return f"the saved state was loaded in part: {'; '.join(parts)}"


class PlanError(GdoptError, MemoryError):
    """No mini-batch fits the memory; the message says what would make it fit.

    Attributes:
        rows: what is known of each size, as in `gdopt.Plan`.
    """

    def __init__(self, message: str, rows: Sequence[object] = ()) -> None:
        super().__init__(message)
        self.rows = list(rows)


if not TYPE_CHECKING:  # for a type checker, what is imported with * is exported
    __all__ = [
        name
        for name, kind in globals().items()
        if getattr(kind, "__module__", "") == __name__
    ]
