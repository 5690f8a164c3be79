"""Signals: what their Python handlers do waits until an update is whole.

The kernel gives a signal to any thread, and CPython calls its handler in the main one:
a signal mask does not help. `_signal` is what `signal` wraps, without its enums.
"""

from __future__ import annotations

import _signal
import functools
import os
import sys
from _thread import get_ident
from collections.abc import Callable, Iterator
from itertools import compress, repeat
from queue import SimpleQueue
from threading import main_thread
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")
VALID = sorted(_signal.valid_signals())


class _Deferral:
    """The handlers of the process while they wait; the main thread alone uses it."""

    def __init__(self) -> None:
        self.running = False
        self._held: dict[int, Any] = {}  # by the numbers of signals
        self._noted: SimpleQueue[int] = SimpleQueue()
        self._note: Any = self._noted.put  # takes a number and a frame, in one C call
        self._swapped: list[int] = []  # when all handlers were last found swapped,
        self._found: list[Any] = []  # and what was found then

    def begin(self) -> None:
        """Swap all handlers; where one of them raises meanwhile, restore them."""
        if self._held:  # left by two that have interrupted `_restore`
            self._restore()
        known = self._swapped
        numbers = [*compress(known, map(callable, map(_signal.getsignal, known)))]
        try:
            while True:  # as a handler that runs meanwhile may set others
                pairs = zip(numbers, map(_signal.signal, numbers, repeat(self._note)))
                self._held.update(
                    pairs
                )  # what has been swapped is known, whatever comes
                found = list(map(_signal.getsignal, VALID))
                if found == self._found:
                    break
                both = zip(VALID, found, strict=True)
                numbers = [n for n, h in both if callable(h) and h is not self._note]
                if not numbers:
                    self._found, self._swapped = found, list(self._held)
                    break
            self.running = True
        except BaseException as error:
            try:
                self.end()
            finally:
                self._restore()
            if str(error).startswith("signal only works in main thread"):
                return  # of the main interpreter: a thread that embeds Python
            raise

    def end(self) -> None:
        """Restore the handlers, and call those whose signals came, in their order."""
        count = self._noted.qsize()
        noted = [*map(self._noted.get, repeat(False, count))] if count else []
        self.running = False
        try:
            self._restore()
        finally:
            try:
                if noted:
                    self._call(iter(noted), sys._getframe(2))  # noqa: SLF001
            finally:
                if self._noted.qsize():  # came while handlers were restored
                    with Uninterrupted():
                        pass

    def _restore(self) -> None:
        """Restore the handlers, though up to three that are restored raise."""
        try:
            self._restore_once()
        finally:
            try:
                self._restore_once()
            finally:
                try:
                    self._restore_once()
                finally:
                    self._restore_once()

    def _restore_once(self) -> None:
        if self._held:
            for number, handler in [*self._held.items()]:
                if _signal.getsignal(number) is self._note:
                    _signal.signal(number, handler)
            self._held.clear()

    def _call(self, numbers: Iterator[int], frame: Any) -> None:
        """Do what the signals do now; an error is the context of the next one."""
        try:
            for number in numbers:
                handler = _signal.getsignal(number)
                if callable(handler):
                    handler(number, frame)
                else:
                    _signal.raise_signal(number)
        except BaseException:
            self._call(numbers, frame)
            raise

    def forget(self) -> None:
        """Restore the handlers in a forked child, which may have another thread."""
        self.running = False
        self._restore()


DEFERRAL = _Deferral()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=DEFERRAL.forget)


class Uninterrupted:
    """A context in which no Python handler of a signal runs; when it ends, they do.

    Handlers set by ``signal.signal`` run in the main thread alone, so elsewhere this
    does nothing. Nor does it within itself: the outer context calls them. ``SIG_DFL``
    and ``SIG_IGN`` keep their effect.
    """

    __slots__ = ("_outer",)

    def __enter__(self) -> None:
        self._outer = not DEFERRAL.running and get_ident() == main_thread().ident
        if self._outer:
            DEFERRAL.begin()

    def __exit__(self, *_: object) -> None:
        if self._outer:
            DEFERRAL.end()


def uninterrupted(function: Callable[P, T]) -> Callable[P, T]:
    """Let signals wait until a function returns, such as one that loads a state."""

    @functools.wraps(function)
    def whole(*given: P.args, **how: P.kwargs) -> T:
        with Uninterrupted():
            return function(*given, **how)

    return whole
