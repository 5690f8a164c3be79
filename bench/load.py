"""Keeps every core busy, and tells how busy others have kept them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from machine import cores

# Ends by itself when its parent has ended, however that was.
SPIN = """import os, sys
while os.getppid() == int(sys.argv[1]):
    for _ in range(10**6):
        pass
"""


class Spinners:
    """A process on each core that does nothing but take its time."""

    def __enter__(self) -> Self:
        command = [sys.executable, "-c", SPIN, str(os.getpid())]
        self._running = [
            subprocess.Popen(command, stdout=subprocess.DEVNULL)  # noqa: S603 - as above
            for _ in range(cores())
        ]
        self.pids = [process.pid for process in self._running]
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._running:
            process.kill()
        for process in self._running:
            process.wait()


def exit_on_sigterm() -> None:
    """Have SIGTERM run what ``finally`` and ``with`` promise, as Ctrl-C does."""
    code = 128 + signal.SIGTERM
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(code))


class Foreign:
    """Measures the processor time of all processes but these and their own.

    Attributes:
        share: of all cores' time; 0.0 where the system does not say, which Linux does.
    """

    def __init__(self, pids: Sequence[int]) -> None:
        self._pids = [os.getpid(), *pids]
        self.share = 0.0

    def __enter__(self) -> Self:
        self._start = time.perf_counter(), self._seconds()
        return self

    def __exit__(self, *_: object) -> None:
        start, before = self._start
        if before is not None:
            taken = self._seconds() - before
            total = (time.perf_counter() - start) * (os.cpu_count() or 1)
            self.share = max(0.0, taken / total)

    def _seconds(self) -> Any:
        """Return the seconds that others have taken so far; None where unknown."""
        try:
            machine = Path("/proc/stat").read_text(encoding="ascii").split("\n", 1)[0]
            own = [self._ticks(pid) for pid in self._pids]
        except OSError:
            return None
        user, nice, system, _, _, irq, soft, steal, *_ = map(int, machine.split()[1:])
        ticks = user + nice + system + irq + soft + steal - sum(own)
        return ticks / os.sysconf("SC_CLK_TCK")

    @staticmethod
    def _ticks(pid: int) -> int:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
        return sum(map(int, text.rpartition(")")[2].split()[11:15]))  # children's, too
