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
from itertools import repeat
from queue import SimpleQueue
from threading import Thread, main_thread
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")
VALID = sorted(_signal.valid_signals())


class _Deferral:
    """The handlers of the process while they wait; the main thread alone uses it."""

    def __init__(self) -> None:
        self.running, self.thread = False, main_thread().ident
        self._held: dict[int, Any] = {}  # by the numbers of signals
        self._noted: SimpleQueue[int] = SimpleQueue()
        self._note: Any = self._noted.put  # takes a number and a frame, in one C call
        self._notes = repeat(self._note)
        self._swapped: list[int] = []  # when all handlers were last found swapped,
        self._found: list[Any] = []  # and what was found then

    def begin(self) -> bool:
        """Swap all handlers, in the main thread; return whether that is to be ended.

        Where one of them raises meanwhile, they are restored.
        """
        if self.running or get_ident() != self.thread:
            return False
        if self._held:  # left by several that have interrupted `end`
            self._restore()
        numbers = self._swapped
        try:
            if not all(map(callable, map(_signal.getsignal, numbers))):
                numbers = []
            while True:  # as a handler that runs meanwhile may set others
                swaps = map(_signal.signal, numbers, self._notes)
                self._held.update(zip(numbers, swaps, strict=True))  # in one C call
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
                return False  # of the main interpreter: a thread that embeds Python
            raise
        return True

    def end(self) -> None:
        """Restore the handlers, and call those whose signals came, in their order."""
        noted = self._drain()
        self.running = False
        try:
            self._restore_once()
        finally:
            try:
                if self._held:
                    self._restore()
            finally:
                if self._held:
                    self._restore()
                if noted:
                    self._call(iter(noted), sys._getframe(2))  # noqa: SLF001
                if self._noted.qsize():  # came while handlers were restored
                    with Uninterrupted():
                        pass

    def _drain(self) -> list[int]:
        count = self._noted.qsize()
        return [*map(self._noted.get, repeat(False, count))] if count else []

    def _restore(self) -> None:
        """Restore the handlers, though some that are restored raise."""
        try:
            self._restore_once()
        finally:
            self._restore_once()

    def _restore_once(self) -> None:
        for number, handler in [*self._held.items()]:
            if _signal.getsignal(number) is self._note:
                _signal.signal(number, handler)
        self._held.clear()

    def _call(self, numbers: Iterator[int], frame: Any) -> None:
        """Do what the signals do now; an error is the context of the next one."""
        try:
            for number in numbers:
                handler = _signal.getsignal(number)
                if callable(handler) and handler is not self._note:
                    handler(number, frame)
                elif handler is not self._note:  # which a schedule has kept
                    _signal.raise_signal(number)
        except BaseException:
            self._call(numbers, frame)
            raise

    def forget(self) -> None:
        """Restore the handlers in a forked child, which may have another thread."""
        self.running, self.thread = False, get_ident()
        self._restore()
        self._drain()  # what came is the parent's


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
        self._outer = DEFERRAL.begin()

    def __exit__(self, *_: object) -> None:
        if self._outer:
            DEFERRAL.end()


def start_thread(work: Callable[..., object], *given: Any) -> None:
    """Start a thread of gdopt's own, which ends with the process; no signal goes to it.

    Raises:
        RuntimeError, MemoryError: the system has no more threads; nothing has started.
    """
    thread = Thread(target=work, args=given, name="gdopt", daemon=True)
    mask = getattr(_signal, "pthread_sigmask", lambda *_: ())
    with Uninterrupted():  # threads inherit the mask
        before = mask(getattr(_signal, "SIG_BLOCK", 0), VALID)
        try:
            thread.start()
        finally:
            mask(getattr(_signal, "SIG_SETMASK", 0), before)


def uninterrupted(function: Callable[P, T]) -> Callable[P, T]:
    """Let signals wait until a function returns, such as one that loads a state."""

    @functools.wraps(function)
    def whole(*given: P.args, **how: P.kwargs) -> T:
        with Uninterrupted():
            return function(*given, **how)

    return whole
