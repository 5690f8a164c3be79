"""Batches to try, and how many examples a second they take."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from gdopt.arrays.backend import Array, Arrays, Backend
from gdopt.arrays.numpy_ import PAGE
from gdopt.data.gather import example_axis, gathered
from gdopt.planner.memory.meter import Meter, attempt

POOL = 8192  # examples that trial batches are drawn from, at least


class TrialBatches:
    """Draws batches of any size from the data; leaves the user's sampler alone."""

    def __init__(
        self, backend: Backend, arrays: Arrays, axis: int, *, count: int, largest: int
    ) -> None:
        self._arrays, self._axis, self.count = arrays, axis, count
        self._gathered = partial(gathered, backend, arrays, axis)
        self.device = backend.device(arrays[0])
        self.drawn = min(count, max(POOL, 4 * largest))
        # Spread over all of the data, as training's are: it is memory that is slow.
        drawn = np.random.default_rng(0).choice(count, self.drawn, replace=False)
        self.pool = backend.from_host(drawn, self.device)

    def of_size(self, size: int) -> Callable[[int], tuple[Array, ...]]:
        """Return a function that gathers a whole batch of this size by its number."""
        draw, whole = self._gathered(size, self.pool), self.drawn // size
        return lambda number: draw(number % whole)

    def first_epoch(self, size: int) -> Iterator[tuple[Array, ...]]:
        """Return two whole batches, and then the smaller one that ends an epoch."""
        batch = self.of_size(size)
        for number in range(2):
            yield batch(number)
        if ragged := self.ragged(size):
            yield self._gathered(size, self.pool[:ragged])(0)

    def ragged(self, size: int) -> int:
        """Return the examples in the last, smaller batch of an epoch; 0 without one."""
        return self.count % size

    def bytes(self, rows: int, unit: int) -> float:
        """Return the bytes of a batch in memory."""
        total = 0.0
        for array in self._arrays:
            width = array.size // array.shape[example_axis(array, self._axis)]
            size = rows * width * array.dtype.itemsize
            # On the CPU a batch begins in a quarter of a page of its own.
            padding = 1.5 * PAGE if unit == 1 and size >= PAGE else 0
            total += -(-size // unit) * unit + padding
        return total


SECONDS = 0.02  # that a turn takes at least
MOST_STEPS = 1000  # in a turn
NOISY = 1.25  # times its lower end, above which an interval is too wide to trust
ATTEMPTS = 3  # at timings that are not noisy


@dataclass(frozen=True)
class Throughput:
    """Examples per second: the median over the turns, and its 95 % interval."""

    median: float
    low: float
    high: float


def measure_throughput(
    meter: Meter,
    sizes: Sequence[int],
    make: Callable[[int], Callable[[], Any]],
    *,
    repeats: int,
    done: Callable[[], None],
) -> dict[int, Throughput]:
    """Time every size in every round, in another order each time.

    A machine that slows down for a while then slows all sizes down equally. Each turn
    begins with a step that is not counted, and takes as many more as last 20 ms. `make`
    gives, for a size, the function that gathers a batch and does a step. Sizes that run
    out of memory are left out. While an interval is too wide to trust, as many rounds
    are added, up to three times as many in all; `done` is called in the first ones.
    """
    rates: dict[int, list[float]] = {size: [] for size in sizes}
    steps = dict.fromkeys(sizes, 0)
    found: dict[int, Throughput] = {}
    for number in range(ATTEMPTS * repeats):
        for size in _turns(list(rates), number):
            turn = partial(_turn, meter, make, size, steps[size])
            measured, failure = attempt(meter, size, turn)
            if failure is None:
                seconds, steps[size] = measured
                rates[size].append(size / seconds)
            else:
                del rates[size]
            if number < repeats:
                done()
        if (number + 1) % repeats == 0:
            found = {size: summarize(values) for size, values in rates.items()}
            if not any(is_noisy(one.low, one.high) for one in found.values()):
                break
    return found


def is_noisy(low: float, high: float) -> bool:
    """Return whether the ends of an interval are too far apart to trust."""
    return high > NOISY * low


def _turns(sizes: list[int], number: int) -> list[int]:
    """Begin with another size in each round, in reverse order in every second one."""
    first = number % max(1, len(sizes))
    turned = sizes[first:] + sizes[:first]
    return turned[::-1] if number % 2 else turned


def _turn(
    meter: Meter, make: Callable[[int], Callable[[], Any]], size: int, steps: int
) -> tuple[float, int]:
    """Return the seconds of a step, and how many steps the next turn takes at least.

    If another process has slowed down the steps so far, the next turn has more of them.
    """
    step = make(size)
    step()
    if not steps:
        steps = _steps(meter.time(step))

    def work() -> None:
        for _ in range(steps):
            step()

    seconds = max(meter.time(work), 1e-9) / steps
    return seconds, max(steps, _steps(seconds))


def _steps(seconds: float) -> int:
    """Return how many steps that take as long make a turn."""
    return min(MOST_STEPS, max(1, math.ceil(SECONDS / max(seconds, 1e-7))))


def summarize(rates: Sequence[float], confidence: float = 0.95) -> Throughput:
    """Return the median, and the interval that order statistics give it.

    Of n values the k-th from either end enclose the median with the probability that
    fewer than k of n fair coins do not show heads.
    """
    ordered, n = sorted(rates), len(rates)
    tails = itertools.accumulate(math.comb(n, k) / 2**n for k in range(n))
    beyond = sum(1 for tail in tails if 2 * tail <= 1 - confidence)
    place = max(0, min(beyond - 1, (n - 1) // 2))
    return Throughput(float(np.median(ordered)), ordered[place], ordered[n - 1 - place])
