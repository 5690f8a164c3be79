"""The checkpoints of a run: a folder that holds the last two, and the signals."""

from __future__ import annotations

import os
import signal
import threading
import time
import warnings
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from types import FrameType
from typing import Any, Self

from gdopt.errors import ArgumentError, DataWarning, StateError
from gdopt.files import check_path, made_folder
from gdopt.training.checkpoint import save
from gdopt.training.shards import head_name, load_whole

KEPT = 2
SOON = 1.0  # seconds after which the first checkpoint is written
NAME = "checkpoint-{:012d}.npz"
NAMES = NAME.replace("{:012d}", "[0-9]" * 12)  # other files are left alone
SHARDS = NAMES.replace(".npz", ".*-of-*.npz")  # of ranks
IN_USE: set[Path] = set()  # folders of this process: its own locks do not exclude it


class CheckpointFolder:
    """Writes the state of a run at intervals, and finds the last one that is whole.

    The folder is locked against other processes while it is open, on systems that can.
    What a killed process left half-written is removed.

    Args:
        path: of the folder, which is made if it does not exist.
        seconds: between two checkpoints; the first one is written sooner.
    """

    def __init__(self, path: str | os.PathLike[str], seconds: float) -> None:
        self.path, self._seconds = check_path("checkpoint", path), seconds
        self._written_at = time.monotonic()
        self._soon = True
        self.loaded = -1  # the step of what `load` has returned
        with ExitStack() as stack:
            try:
                stack.enter_context(made_folder(self.path))
                self._lock(stack)
                for name in (NAMES, SHARDS):
                    for left in self.path.glob(f".{name}.*.tmp"):
                        left.unlink()
            except OSError as error:
                message = f"checkpoint must name a folder that can be written: {error}"
                raise ArgumentError(message) from error
            self._stack = stack.pop_all()

    def _lock(self, stack: ExitStack) -> None:
        used = f"checkpoint must be a folder of one run, but another uses {self.path}"
        key = self.path.resolve()
        if key in IN_USE:
            raise ArgumentError(used)
        file = stack.enter_context((self.path / ".lock").open("w"))
        if os.name == "posix":
            import fcntl  # noqa: PLC0415 - on POSIX systems alone

            try:  # unlike that of flock, it ends with this process, not its children
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise ArgumentError(f"{used}, or cannot be locked: {error}") from error
        if os.name == "posix" and not os.fstat(file.fileno()).st_nlink:
            raise ArgumentError(used)  # a run that has just ended removed it
        IN_USE.add(key)
        stack.callback(IN_USE.remove, key)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: Any) -> None:  # noqa: PYI036 - they are passed on
        if isinstance(raised[1], OSError) and not self._files():
            # Nothing can be kept: while it is locked, the lock may vanish.
            with suppress(OSError):
                (self.path / ".lock").unlink()
            self._stack.__exit__(*raised)
        self._stack.close()

    def load(self) -> dict[str, Any] | None:
        """Return the newest state that is whole; None where there is none.

        A damaged one is passed over with a warning.

        Raises:
            StateError: all are damaged.
        """
        damaged: list[StateError] = []
        for file in reversed(self._files()):
            try:
                found = load_whole(file)
            except StateError as error:
                damaged.append(error)
                continue
            for one in damaged:
                message = f"{one}; the run continues from {file.name}"
                warnings.warn(message, DataWarning, stacklevel=2)
            if not damaged:
                self._prune(file)
            self._soon, self.loaded = False, int(file.stem[-12:])
            return found
        if damaged:
            raise damaged[0]
        return None

    def _files(self) -> list[Path]:
        return sorted(self.path.glob(NAMES))

    def due(self, *, ended_epoch: bool) -> bool:
        """Return whether it is time for a checkpoint."""
        waited = time.monotonic() - self._written_at
        if self._soon:
            return ended_epoch or waited >= min(SOON, self._seconds)
        return waited >= self._seconds

    def write(self, step: int, state: dict[str, Any]) -> None:
        """Write a state, and remove all but it and the last one before it.

        Raises:
            OSError: it cannot be written; those before are still there.
        """
        file = self.path / NAME.format(step)
        save(file, state)
        self._prune(file)
        self._soon, self._written_at = False, time.monotonic()

    def _prune(self, newest: Path) -> None:
        """Remove all but a checkpoint and the last one before it, with their shards."""
        files = self._files()
        kept = files[: files.index(newest) + 1][-KEPT:]  # later ones are damaged
        for other in set(files).difference(kept):
            other.unlink(missing_ok=True)
        for file in self.path.glob(SHARDS):  # whose head may not have been written
            if not file.with_name(head_name(file.name)).exists():
                file.unlink(missing_ok=True)


SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")


class SignalsSave:
    """Lets Ctrl-C, SIGTERM and SIGHUP wait until the state of a run has been saved.

    A signal during an update is noted, and answered between two updates, when the run
    calls `answer`; one that arrives between them is answered at once. To answer is to
    save, and to do what the signal did before. A second signal does not wait. One that
    is noted when the run ends is passed on then. Ignored signals are left alone, and
    outside the main thread nothing is changed.

    Args:
        save: saves the state between two updates.
        alone: whether this is the one process of the run. Others must have heard of a
            signal before it is answered.

    Attributes:
        between: whether the run is between two updates, in the caller's own code.
    """

    def __init__(self, save: Callable[[], None], *, alone: bool = True) -> None:
        self._save, self._alone = save, alone
        self.between = False
        self._noted: tuple[int, FrameType | None] | None = None
        self._before: dict[int, Any] = {}
        self._waits = False

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._waits = True
            for number in (getattr(signal, n) for n in SIGNALS if hasattr(signal, n)):
                before = signal.getsignal(number)
                if before not in (None, signal.SIG_IGN, self._note):
                    self._before[number] = before
                    signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._restore()
        finally:  # a signal in the middle may have raised an error
            self._restore()
            self._pass_on()

    def _restore(self) -> None:
        self._waits = False
        for number, before in self._before.items():
            if signal.getsignal(number) == self._note:
                signal.signal(number, before)

    def _note(self, number: int, frame: FrameType | None) -> None:
        first, self._noted = self._noted, (number, frame)
        if first is not None:
            self._pass_on()
            self._noted = first
        elif self.between and self._alone:
            self.answer()

    @property
    def noted(self) -> int:
        """The number of the signal that waits, or 0."""
        return 0 if self._noted is None else self._noted[0]

    def answer(self, heard: int = 0) -> None:
        """Save the state and pass on the signal that was noted, if one was.

        Of a run on several ranks, the signal that all have heard of is passed on.
        """
        if heard and self._noted is None:
            self._noted = heard, None
        if self._noted is None or not (heard or self._alone):
            return
        try:
            self._save()
        except OSError as error:
            warnings.warn(f"the run was not saved: {error}", stacklevel=2)
        self._restore()
        self._pass_on()
        self.__enter__()  # the caller's handler lets the run continue

    def go_on(self) -> None:
        """Begin the next update, maybe after the caller has caught an interrupt."""
        self.between = False
        if not self._waits:
            self.__enter__()

    def _pass_on(self) -> None:
        """Do what the noted signal did before; the caller's handler may return."""
        if self._noted is None:
            return
        (number, frame), self._noted = self._noted, None
        before = self._before.get(number, signal.getsignal(number))
        if callable(before):
            before(number, frame)
        else:
            signal.signal(number, before)
            signal.raise_signal(number)
