"""Times two sides in turns, so that a noisy moment meets both."""

from __future__ import annotations

import gc
import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from adapters import Adapter, Contender
from cases import Case, Training

REST = 0.05  # seconds: OpenMP's and OpenBLAS's idle threads spin for tens of ms
CHUNK = 2e-4  # seconds that are timed at once: the clock costs .1 us
MISSED = 10  # exit status, which neither Python nor pytest gives to errors
Side = Callable[[], float]  # times one round, and gives seconds per step
ZERO_STEPS, LAST = 900, 100


@dataclass(frozen=True)
class Effort:
    """How long and how often to measure.

    Attributes:
        makes: how often both sides are made anew: where memory happens to lie changes
            a step by up to 60 %, as addresses that agree in their last bits collide.
        rounds: of each side, every time.
        seconds: that a round takes at least.
    """

    makes: int
    rounds: int
    seconds: float


def interleave(
    makers: tuple[Callable[[], Side], Callable[[], Side]], effort: Effort
) -> list[tuple[float, float]]:
    """Make and time both sides in turns, each first in every other one."""
    times = []
    for k in range(effort.makes):
        sides = _in_turns(makers, second_first=bool(k % 2))
        turns = range(k, k + effort.rounds)
        times += [_in_turns(sides, second_first=bool(turn % 2)) for turn in turns]
    return times


def _in_turns(
    pair: tuple[Callable[[], Any], Callable[[], Any]], *, second_first: bool
) -> tuple[Any, Any]:
    if second_first:
        second = pair[1]()
        return pair[0](), second
    return pair[0](), pair[1]()


def steady(adapter: Adapter, case: Case | Training, seconds: float) -> Side:
    """Time a contender whose steps are all alike."""
    contender = adapter.make(case)
    with contender.setting():
        contender.step()
        chunks, steps = _pace(contender, seconds)

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
    """Return the median seconds of a step, as a machine's pauses are not its own."""
    gc.disable()
    times = [_chunk(contender, steps) for _ in range(chunks)]
    gc.enable()
    return statistics.median(times) / steps


def _chunk(contender: Contender, steps: int) -> float:
    """Return the seconds that so many steps take together."""
    step, turns = contender.step, range(steps)
    start = time.perf_counter()
    for _ in turns:
        step()
    return time.perf_counter() - start


def after_zeros(adapter: Adapter, case: Case) -> Side:
    """Time steps after 900 with zero gradients.

    The moving average of Adam's gradients has then shrunk to denormal numbers, over
    which a processor takes tens of times as long unless it flushes them to zero.
    """
    zeros = [np.zeros_like(array) for array in case.gradients()]

    def side() -> float:
        contender = adapter.make(case)
        with contender.setting():
            _time(contender, 10)
            contender.feed(zeros)
            _time(contender, ZERO_STEPS)
            return _time(contender, LAST)

    return side
