"""The trial steps of a plan: their memory, their speed, their gradients' noise."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from gdopt.arrays.backend import Array, Backend
from gdopt.planner.memory.host import Peak
from gdopt.planner.memory.meter import Meter, attempt
from gdopt.planner.memory.prediction import Prediction
from gdopt.planner.noise import NoiseScale, measure_noise
from gdopt.planner.plan import SMALL_DATA, Row
from gdopt.planner.snapshot import Snapshot
from gdopt.planner.steps import TrialStep
from gdopt.planner.throughput import TrialBatches, measure_throughput
from gdopt.tables import format_bytes

# Left free where no margin is given: this fraction of the memory, or these bytes.
MARGIN_FRACTION, MIN_MARGIN = 0.05, 256 << 20
# Reported when other processes take this fraction of the memory.
SHRINK_NOTICE = 0.1
GROUPS, CHUNK = 64, 256  # of examples whose gradients are measured
Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Request:
    """What is to be planned, checked; see `plan_batch_size`."""

    step: TrialStep
    state: Any
    data: tuple[Array, ...]
    backend: Backend
    meter: Meter
    axis: int
    count: int
    sizes: tuple[int, ...]
    wanted: int | None
    fixed_epochs: bool
    memory: int | None
    margin: int | None
    noise_examples: int
    noise_after: int
    repeats: int
    progress: Progress | None

    @property
    def candidates(self) -> list[int]:
        """The sizes to be tried: none above the examples, and those asked for."""
        found = {size for size in self.sizes if size <= self.count}
        if self.wanted is not None:
            found.add(self.wanted)
        if self.count <= SMALL_DATA or not found:
            found.add(self.count)
        return sorted(found)

    @property
    def small(self) -> tuple[int, ...]:
        """One or two small sizes, to warm up and to predict from."""
        first = self.candidates[0]
        return tuple(sorted({max(1, first // 2), first}))


class Trials:
    """Tries sizes on a device, and compares what they take with its memory."""

    def __init__(self, request: Request, snapshot: Snapshot) -> None:
        self.request, self.step, self.meter = request, request.step, request.meter
        self.snapshot = snapshot
        self.batches = TrialBatches(
            request.backend,
            request.data,
            request.axis,
            count=request.count,
            largest=max(request.candidates),
        )
        self.notices: list[str] = []
        self.prediction: Prediction  # made by `predict`
        device = self.meter.device
        known = self.step.stages(1) is not None
        self.resident_bytes = snapshot.resident_bytes(device, request.data)
        self.resident_bytes += self.meter.workspace if known else 0
        self.permutation_bytes = 8 * request.count  # of an epoch's permutation, int64
        # Used only by the plan, which frees them.
        pool = self.batches.pool
        self.planner_bytes = pool.nbytes if self.batches.device == device else 0
        if device == "cpu":
            copied = [*snapshot.arrays, *snapshot.apart]
            copied = [array for array in copied if isinstance(array, np.ndarray)]
            self.planner_bytes += sum(a.nbytes for a in copied)
        self._done, self._total = 0, len(request.candidates) * (1 + request.repeats) + 2
        if self.step.has_gradient_stats:
            self._total += 2 * GROUPS

    def on_progress(self, text: str) -> None:
        """Report that a trial is done."""
        self._done += 1
        if self.request.progress is not None:
            self.request.progress(min(self._done, self._total), self._total, text)

    def available(self) -> int:
        """Return the bytes that this work has or can have on this machine."""
        return self.resident_bytes + self.planner_bytes + self.meter.free()

    def budget(self) -> int:
        """Return the bytes that the plan is for."""
        memory = self.request.memory
        return self.available() if memory is None else memory

    def least_margin(self, budget: int) -> int:
        """Return the bytes to leave free."""
        if self.request.margin is not None:
            return self.request.margin
        return max(int(MARGIN_FRACTION * budget), MIN_MARGIN)

    def margin_for(self, size: int, budget: int) -> int:
        """Return the bytes to leave free above a prediction, which may be too low."""
        return max(self.least_margin(budget), self.prediction.residual(size))

    def predict(self) -> str | None:
        """Warm up and measure the step; return how that failed, or None."""
        small = self.request.small

        def work() -> None:
            for batch in self.batches.first_epoch(small[0]):
                self.step(*batch)
            self.prediction = Prediction(self.step, self.batches, self.meter, small)

        _, failure = attempt(self.meter, small[0], work)
        self.on_progress(f"first steps, {small[0]:,} examples")
        return failure

    def row(self, size: int) -> Row:
        """Predict what a size takes, try it where that fits, and judge it."""
        lasting = self.resident_bytes + self.permutation_bytes
        row = Row(size, lasting + self.prediction.bytes(size))
        budget, available = self.budget(), self.available()
        row.margin_bytes = self.margin_for(size, budget)
        row.fits = row.predicted_bytes + row.margin_bytes <= budget
        if not row.fits:
            row.note = "predicted not to fit"
        elif row.predicted_bytes + self.margin_for(size, available) > available:
            row.note = "predicted to fit there; too large to be tried here"
        else:
            self.try_out(row)
        self.on_progress(f"memory of {size:,} examples")
        return row

    def try_out(self, row: Row) -> None:
        """Do an epoch's steps of a size, and see what they take."""
        before, size = self.available(), row.batch_size
        peak, failure = attempt(self.meter, size, partial(self._epoch, size))
        after = self.available()
        fell = before - after
        others = ""
        if fell > SHRINK_NOTICE * before:
            others = (
                f"the free memory fell by {format_bytes(fell)} permanently: another "
                "process, or what libraries keep"
            )
            self.notices.append(f"while {row.batch_size:,} was tried, {others}")
        if failure is not None:
            row.fits, row.note = False, f"ran out of memory ({failure})"
            row.note += f"; {others}" if others else ""
            return
        base = self.resident_bytes + self.permutation_bytes
        row.measured_bytes = base + peak.used
        row.reserved_bytes = base + peak.reserved if peak.reserved else 0
        need = max(row.measured_bytes, row.reserved_bytes)
        self.prediction.learn(row.batch_size, need - base)
        wanted = self.request.memory
        memory = min(before, after) if wanted is None else wanted
        row.margin_bytes = self.least_margin(memory)
        row.fits = need + row.margin_bytes <= memory
        if need > before:
            row.note = "took more than there is: the driver spills to main memory"
        elif not row.fits:
            row.note = f"needs {format_bytes(need + row.margin_bytes)} with the margin"

    def _epoch(self, size: int) -> Peak:
        with self.meter.watch() as peak:
            for batch in self.batches.first_epoch(size):
                self.step(*batch)
            if self.step.evaluate is not None:
                self.step.evaluate()
        return peak

    def speeds(self, rows: list[Row]) -> None:
        """Measure the throughput of the sizes that were tried and fit."""
        by_size = {r.batch_size: r for r in rows if r.fits and r.measured_bytes}

        def make(size: int) -> Callable[[], Any]:
            batch, numbers = self.batches.of_size(size), itertools.count()
            return lambda: self.step(*batch(next(numbers)))

        found = measure_throughput(
            self.meter,
            list(by_size),
            make,
            repeats=self.request.repeats,
            done=partial(self.on_progress, "examples a second"),
        )
        self.meter.tidy()
        for size, row in by_size.items():
            if size not in found:
                row.fits, row.note = False, "ran out of memory while it was timed"
                continue
            row.examples_per_second = found[size].median
            row.examples_per_second_low = found[size].low
            row.examples_per_second_high = found[size].high

    def noise(self, rows: list[Row]) -> NoiseScale | None:
        """Measure the noise scale, after some steps of training; None if impossible."""
        fitting = [row.batch_size for row in rows if row.fits and row.measured_bytes]
        count = min(self.request.noise_examples, self.batches.drawn)
        if not (self.step.has_gradient_stats and fitting) or count < 4:
            return None
        # The noise of the gradients at the initial parameters, not after trials.
        self.snapshot.restore()
        size = max(1, min(CHUNK, fitting[0], count // 2))
        if self.step.stages(1) is None:  # the gradients of groups alone are known
            size = max(1, min(fitting[0], count // GROUPS))

        def work() -> NoiseScale:
            batch = self.batches.of_size(fitting[0])
            for number in range(self.request.noise_after):
                self.step(*batch(number))
            batches = partial(map, self.batches.of_size(size), range(count // size))
            done = partial(self.on_progress, "noise of the gradients")
            return measure_noise(self.step.gradient_stats, batches, done)

        found: NoiseScale | None
        found, failure = attempt(self.meter, size, work)
        if failure is not None:
            notice = f"the noise scale is not known: ran out of memory ({failure})"
            self.notices.append(notice)
        return found
