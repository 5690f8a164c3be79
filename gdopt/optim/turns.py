"""One thread at a time works on an optimizer, and what it does there is whole."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import RLock

from gdopt.errors import GdoptError
from gdopt.interrupt import DEFERRAL, Uninterrupted

PATIENCE = 10.0  # seconds that a thread waits for another: one may wait for the other
BUSY = "{} must not be called within a step, nor while another thread's step is running"


class Turns:
    """Who works on an optimizer; a context for a step: one thread's alone, and whole.

    What changes the optimizer is refused within such a block, as in a schedule that a
    step calls. A handler of a signal runs outside of blocks, and may do everything.
    """

    def __init__(self) -> None:
        self.lock, self._outer = RLock(), False
        self.count = 0  # of blocks, each of which may have changed anything
        self.inside = False  # whether one of them is running

    def _acquire(self, name: str, *, inside: bool = False) -> None:
        lock = self.lock
        taken = lock.acquire(False) or lock.acquire(True, PATIENCE)
        if taken and (inside or not self.inside):
            return
        if taken:
            lock.release()
        raise GdoptError(BUSY.format(name))

    def __enter__(self, name: str = "step") -> None:
        outer = DEFERRAL.begin()
        try:
            self._acquire(name)
        except GdoptError:
            if outer:
                DEFERRAL.end()
            raise
        self._outer, self.inside, self.count = outer, True, self.count + 1

    def __exit__(self, *_: object) -> None:
        outer, self.inside = self._outer, False
        self.lock.release()
        if outer:
            DEFERRAL.end()

    @contextmanager
    def change(self, name: str) -> Iterator[None]:
        """Enter a block for another method that changes the optimizer."""
        self.__enter__(name)
        try:
            yield
        finally:
            self.__exit__()

    @contextmanager
    def read(self, name: str) -> Iterator[None]:
        """Enter a block that changes nothing, also within one that does."""
        with Uninterrupted():
            self._acquire(name, inside=True)
            try:
                yield
            finally:
                self.lock.release()
