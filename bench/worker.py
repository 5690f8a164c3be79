"""Times one contender in a process of its own, on demand over a pipe.

A request is a pickled (method of `Requests`, arguments), the answer (True, value) or
(False, (kind, text)) of an error. With a number as its argument it stays on that many
cores, which is decided before any library counts them.
"""

from __future__ import annotations

import gc
import importlib
import math
import os
import pickle
import signal
import statistics
import sys
import time
import traceback
from typing import Any

CHUNK = 2e-4  # seconds that are timed at once: the clock costs .1 us
WIDTH = 512  # of the product that runs before a step, in float32


def find(function: str) -> Any:
    """Return a function by its module and name: ``"adapters.make"``."""
    module, _, name = function.rpartition(".")
    return getattr(importlib.import_module(module), name)


class Timer:
    """A contender whose rounds are timed.

    Args:
        contender: it takes its first step here.
        seconds: that a round takes at least.
        calls: steps of a round, which are timed one by one, in place of seconds.
        product: whether a matrix product runs before each step, which is not timed.
    """

    def __init__(
        self, contender: Any, seconds: float, calls: int | None, *, product: bool
    ) -> None:
        self.contender = contender
        self.product = product_of_two(WIDTH) if product else None
        with contender.setting():
            contender.step()
            self.chunks, self.steps = (calls, 1) if calls else self.pace(seconds)

    def pace(self, seconds: float) -> tuple[int, int]:
        """Find how many steps make a chunk, and how many chunks take that long."""
        steps = 1
        while (taken := self.chunk(steps)) < min(CHUNK, seconds) and not self.product:
            steps *= 2
        return max(1, math.ceil(seconds / taken)), steps

    def time(self) -> dict[str, float]:
        """Time a round, after a tenth of one; return seconds of a step.

        The median counts, as a machine's pauses are not the contender's.
        """
        gc.disable()
        with self.contender.setting():
            for _ in range(-(-self.chunks // 10)):
                self.chunk(self.steps)
            times = [self.chunk(self.steps) / self.steps for _ in range(self.chunks)]
        gc.enable()
        times.sort()
        return {
            "median": statistics.median(times),
            "min": times[0],
            "p90": times[int(0.9 * len(times))],
            "mean": statistics.fmean(times),
        }

    def chunk(self, steps: int) -> float:
        """Return the seconds of `steps` steps together."""
        step, turns = self.contender.step, range(steps)
        if self.product:
            self.product()
        start = time.perf_counter()
        for _ in turns:
            step()
        return time.perf_counter() - start


def product_of_two(width: int) -> Any:
    """Return what multiplies two matrices by NumPy, on as many threads as it takes."""
    import numpy as np  # noqa: PLC0415 - counts the cores, which may be limited first

    a = np.ones((width, width), np.float32)
    out = np.empty_like(a)
    return lambda: np.matmul(a, a, out=out)


class Requests:
    """What can be asked of the process."""

    def __init__(self) -> None:
        self._timers: dict[str, Timer] = {}

    def call(self, function: str, arguments: tuple[Any, ...]) -> Any:
        """Call a function and return what it returns."""
        return find(function)(*arguments)

    def make(
        self,
        key: str,
        function: str,
        arguments: tuple[Any, ...],
        *effort: Any,
    ) -> None:
        """Have a function make a contender, in place of the one of the same key."""
        self._timers.pop(key, None)  # its memory is free for the next one
        *effort, product = effort
        contender = find(function)(*arguments)
        self._timers[key] = Timer(contender, *effort, product=product)

    def time(self, key: str) -> dict[str, float]:
        """Time a round."""
        return self._timers[key].time()


def serve(requests: Any, answers: Any) -> None:
    """Answer requests until there are none, which is so when the bench has ended."""
    methods = Requests()
    while True:
        try:
            name, arguments = pickle.load(requests)  # noqa: S301 - the bench's own
        except EOFError:
            return
        try:
            answer = True, getattr(methods, name)(*arguments)
        except Exception as error:  # noqa: BLE001 - it is raised where it was asked for
            text = str(error) or type(error).__name__
            if type(error).__name__ != "UnsupportedError":
                text = traceback.format_exc()
            answer = False, (type(error).__name__, text)
        pickle.dump(answer, answers)
        answers.flush()


def main() -> None:
    if len(sys.argv) > 1:
        few = sorted(os.sched_getaffinity(0))[-int(sys.argv[1]) :]
        os.sched_setaffinity(0, few)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C ends the bench, and it this
    with os.fdopen(os.dup(1), "wb") as answers:
        os.dup2(2, 1)  # what libraries print is not an answer
        serve(sys.stdin.buffer, answers)


if __name__ == "__main__":
    main()
