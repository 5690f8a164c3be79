"""Times two sides in turns, so that a noisy moment meets both."""

from __future__ import annotations

import gc
import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from adapters import Adapter, Contender, check
from cases import Case, Training

REST = 0.05  # seconds: OpenMP's and OpenBLAS's idle threads spin for tens of ms
CHUNK = 2e-4  # seconds that are timed at once: the clock costs .1 us
Side = Callable[[], float]  # times one round, and gives seconds per step
ZERO_STEPS, LAST = 900, 100


@dataclass(frozen=True)
class Effort:
    """How long and how often to measure.

    Attributes:
        rounds: of each side.
        seconds: that a round takes at least.
    """

    rounds: int
    seconds: float


def interleave(sides: tuple[Side, Side], rounds: int) -> list[tuple[float, float]]:
    """Time both sides round by round, each first in every other one."""
    times = []
    for k in range(rounds):
        if k % 2:
            second = sides[1]()
            times.append((sides[0](), second))
        else:
            times.append((sides[0](), sides[1]()))
    return times


def steady(adapter: Adapter, case: Case | Training, effort: Effort) -> Side:
    """Time a contender whose steps are all alike, after it has proven right."""
    contender = adapter.make(case)
    check(contender, case)
    with contender.setting():
        chunks, steps = _pace(contender, effort.seconds)

    def side() -> float:
        with contender.setting():
            time.sleep(REST)
            _time(contender, -(-chunks // 10), steps)
            return _time(contender, chunks, steps)

    return side


def _pace(contender: Contender, seconds: float) -> tuple[int, int]:
    """Find how many steps make a chunk, and how many chunks take that long."""
    steps = 1
    while (taken := _chunk(contender, steps)) < min(CHUNK, seconds):
        steps *= 2
    return max(1, math.ceil(seconds / taken)), steps


def _time(contender: Contender, chunks: int, steps: int = 1) -> float:
    """Give the seconds of a step: the median, as a machine's pauses are not its own."""
    gc.disable()
    times = [_chunk(contender, steps) for _ in range(chunks)]
    gc.enable()
    return statistics.median(times) / steps


def _chunk(contender: Contender, steps: int) -> float:
    """Give the seconds that so many steps take together."""
    step, turns = contender.step, range(steps)
    start = time.perf_counter()
    for _ in turns:
        step()
    return time.perf_counter() - start


def before_and_after_zeros(adapter: Adapter, case: Case) -> tuple[Side, Side]:
    """Time steps after 900 with zero gradients, and steps with ordinary ones.

    The moving average of Adam's gradients has then shrunk to denormal numbers, over
    which a processor takes tens of times as long unless it flushes them to zero.
    """
    zeros = [np.zeros_like(array) for array in case.gradients()]
    ordinary = adapter.make(case)
    check(ordinary, case)

    def after() -> float:
        contender = adapter.make(case)
        with contender.setting():
            _time(contender, 10)
            contender.feed(zeros)
            _time(contender, ZERO_STEPS)
            return _time(contender, LAST)

    def before() -> float:
        with ordinary.setting():
            _time(ordinary, LAST)
            return _time(ordinary, LAST)

    return after, before
