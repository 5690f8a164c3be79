"""Times training to a target loss: each batch size with the rate that suits it."""

from __future__ import annotations

import gc
import importlib.util
import itertools
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from claims import finite, quartiles
from interleave import REST

import gdopt
from gdopt.nn import Network
from gdopt.planner import NetworkStep

LOOKS = 20  # at the loss, in an epoch of small batches
Run = tuple[int | None, float]  # steps and seconds; None and infinity: not reached


@dataclass(frozen=True)
class Race:
    """Training to a target loss, by several batch sizes in turns.

    Attributes:
        examples: as rows.
        labels: their classes.
        sizes: of the network's input and layers.
        loss: of all examples, which is to be reached.
        rates: to choose from. The middle ones come first: they lead there with most
            sizes, which settles how many steps the others may take.
        choosing: seeds of the runs by which a rate is chosen.
        seeds: one for each round, none of them among `choosing`, or the rates would be
            judged by the runs that they were chosen by.
        allowed: seconds of training in which a run has to reach the loss.
    """

    examples: np.ndarray
    labels: np.ndarray
    sizes: tuple[int, ...] = (64, 64, 10)
    loss: float = 0.1
    rates: tuple[float, ...] = (0.2, 0.1, 0.5, 1.0, 2.0, 0.05, 0.02)
    choosing: Sequence[int] = range(5)
    seeds: Sequence[int] = range(100, 125)
    allowed: float = 5.0

    @property
    def batches(self) -> tuple[int, ...]:
        """The batch sizes: 1, in between, and all examples."""
        return (1, 64, 256, len(self.examples))


def digits() -> Race | None:
    """Return the race on real digits; None where scikit-learn is not installed."""
    if importlib.util.find_spec("sklearn") is None:
        return None
    from sklearn.datasets import load_digits  # noqa: PLC0415 - an extra

    X, y = load_digits(return_X_y=True)
    return Race((X / 16).astype(np.float32), y)


def shrink(race: Race) -> Race:
    """Make a race short enough to try whether it works."""
    rates, seeds = (0.1, 0.05), range(100, 102)
    return replace(race, loss=2.0, rates=rates, choosing=range(1), seeds=seeds)


def _start(
    race: Race, size: int, rate: float, seed: int
) -> tuple[Network, Callable[[], object]]:
    """Make a network, and the function that takes its next step."""
    network = Network(race.sizes, seed=seed, backend="numpy")
    step = NetworkStep(network, gdopt.SGD(network.params, lr=rate), validate=False)
    batches = _endless(race, size, seed)
    return network, lambda: step(*next(batches))


def _endless(race: Race, size: int, seed: int) -> Iterator[tuple[np.ndarray, ...]]:
    data = race.examples, race.labels
    if size == len(race.examples):  # nobody would shuffle what is taken as a whole
        return itertools.repeat(data)
    epochs = itertools.repeat(gdopt.minibatches(*data, batch_size=size, seed=seed))
    return itertools.chain.from_iterable(epochs)


def steps_to_loss(
    race: Race, size: int, rate: float, seed: int, most: float = math.inf
) -> int | None:
    """Count the steps until the loss is reached; None where it is not."""
    network, step = _start(race, size, rate, seed)
    at_once = max(1, len(race.examples) // (LOOKS * size))
    steps, seconds = 0, 0.0
    with np.errstate(over="ignore", invalid="ignore"):  # a rate may be too large
        while steps + at_once <= most and seconds < race.allowed:
            seconds += _time(step, at_once)
            steps += at_once
            loss = network.loss(race.examples, race.labels)
            if loss <= race.loss:
                return steps
            if not math.isfinite(loss):
                break
    return None


def _time(step: Callable[[], object], count: int) -> float:
    start = time.perf_counter()
    for _ in range(count):
        step()
    return time.perf_counter() - start


def choose_rate(race: Race, size: int) -> float | None:
    """Return the rate that takes the fewest steps; None where no rate gets there.

    Steps of one size take equally long, and no clock is needed to count them.
    """
    best, fewest = None, math.inf
    for rate in race.rates:
        total = 0
        for seed in race.choosing:
            steps = steps_to_loss(race, size, rate, seed, most=fewest - total)
            if steps is None:
                break
            total += steps
        else:
            if total < fewest:
                best, fewest = rate, total
    return best


def run_once(race: Race, size: int, rate: float | None, seed: int) -> Run:
    """Count the steps, then time them again with no look at the loss in between."""
    steps = None if rate is None else steps_to_loss(race, size, rate, seed)
    if steps is None:
        return None, math.inf
    _, step = _start(race, size, rate, seed)
    time.sleep(REST)
    gc.disable()
    seconds = _time(step, steps)
    gc.enable()
    return steps, seconds


def best_between(race: Race, rates: dict[int, float | None]) -> int:
    """Return the fastest size in between, by the runs that the rates were chosen by."""

    def seconds(size: int) -> float:
        return sum(run_once(race, size, rates[size], seed)[1] for seed in race.choosing)

    return min(race.batches[1:-1], key=seconds)


def run_rounds(race: Race, rates: dict[int, float | None]) -> dict[int, list[Run]]:
    """Run all sizes in every round, from the same weights, in turns."""
    runs: dict[int, list[Run]] = {size: [] for size in race.batches}
    for number, seed in enumerate(race.seeds):
        for size in race.batches[:: -1 if number % 2 else 1]:
            runs[size].append(run_once(race, size, rates[size], seed))
    return runs


def ratios(ones: list[Run], others: list[Run]) -> list[float]:
    """Return one side's seconds over the other's; a round that none ends is a draw."""
    pairs = zip(ones, others, strict=True)
    return [
        1.0 if math.isinf(one) and math.isinf(other) else one / other
        for (_, one), (_, other) in pairs
    ]


def summarize(race: Race, size: int, rate: float | None, runs: list[Run]) -> dict:
    """Return the medians of a size's runs; runs that did not arrive count as last."""
    low, seconds, high = quartiles([seconds for _, seconds in runs])
    _, steps, _ = quartiles([math.inf if n is None else n for n, _ in runs])
    reached = sum(steps is not None for steps, _ in runs)
    row: dict[str, Any] = {"size": size, "rate": rate, "reached": reached}
    row |= {"seconds": finite(seconds), "quartiles": [finite(low), finite(high)]}
    if math.isinf(steps):
        return row | {"steps": None, "epochs": None}
    epoch = math.ceil(len(race.examples) / size)
    return row | {"steps": int(steps), "epochs": steps / epoch}
