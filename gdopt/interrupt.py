"""Ctrl-C: deferred for the length of an update.

`_signal` is what `signal` wraps: a step of 10 us cannot wait 10 us for its enums.
"""

from __future__ import annotations

import _signal
import functools
from collections.abc import Callable
from types import MethodType
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class Uninterrupted:
    """A context in which Ctrl-C waits; it is answered when the context ends.

    Only the main thread is interrupted by Ctrl-C, so elsewhere this does nothing. Nor
    does it within itself: the outer context answers.
    """

    __slots__ = ("_before", "_noted")

    def __enter__(self) -> None:
        self._noted: Any = None
        before = _signal.getsignal(_signal.SIGINT)
        bound = type(before) is MethodType and before.__func__
        self._before: Any = None if bound is Uninterrupted._note else before
        if self._before is not None:  # one set in C cannot be restored
            try:
                _signal.signal(_signal.SIGINT, self._note)
            except ValueError:  # this is not the main thread
                self._before = None

    def _note(self, number: int, frame: Any) -> None:
        self._noted = number, frame

    def __exit__(self, *_: object) -> None:
        if self._before is not None:
            _signal.signal(_signal.SIGINT, self._before)
        if self._noted is not None and callable(self._before):
            self._before(*self._noted)


def uninterrupted(function: Callable[P, T]) -> Callable[P, T]:
    """Let Ctrl-C wait until a function returns, such as one that loads a state."""

    @functools.wraps(function)
    def whole(*given: P.args, **how: P.kwargs) -> T:
        with Uninterrupted():
            return function(*given, **how)

    return whole
