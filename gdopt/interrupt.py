"""Puts Ctrl-C off for the length of an update, which would leave it half done.

`_signal` is what `signal` wraps: a step of 10 us cannot wait 10 us for its enums.
"""

from __future__ import annotations

import _signal
import threading
from typing import Any


class Uninterrupted:
    """A context in which Ctrl-C waits; it is answered when the context ends.

    Only the main thread is interrupted by Ctrl-C, so elsewhere this does nothing.
    """

    __slots__ = ("_before", "_noted")

    def __enter__(self) -> None:
        self._noted: Any = None
        self._before: Any = None
        if threading.current_thread() is threading.main_thread():
            self._before = _signal.getsignal(_signal.SIGINT)
            if self._before is not None:  # one set in C could not be put back
                _signal.signal(_signal.SIGINT, self._note)

    def _note(self, number: int, frame: Any) -> None:
        self._noted = number, frame

    def __exit__(self, *_: object) -> None:
        if self._before is not None:
            _signal.signal(_signal.SIGINT, self._before)
        if self._noted is not None and callable(self._before):
            self._before(*self._noted)
