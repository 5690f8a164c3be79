"""The trial steps of a plan: their memory, their speed, their gradients' noise."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from gdopt.arrays import Array
from gdopt.planner.evidence.noise import NoiseScale, measure_noise
from gdopt.planner.evidence.source import Source
from gdopt.planner.evidence.throughput import measure_throughput
from gdopt.planner.keep import Kept
from gdopt.planner.memory import Meter, Peak, attempt, format_bytes
from gdopt.planner.memory.prediction import Prediction
from gdopt.planner.plan import Row
from gdopt.planner.steps import Step

SHARE, LEAST = 0.05, 256 << 20  # of the memory, left free where no margin is given
SHRUNK = 0.1  # of the memory, taken by somebody else meanwhile, is worth a note
GROUPS, CHUNK = 64, 256  # of examples whose gradients are looked at


@dataclass
class Trials:
    """Tries sizes on a device, and judges what they take against its memory.

    Attributes:
        step: what is tried.
        source: of its batches.
        meter: of the device.
        kept: what the step changes.
        data: arrays of the examples.
        memory: to plan for, or None for what there is.
        margin: to leave free, or None for the greater of 5 % and 256 MiB.
        tell: called after each trial, with what was done.
    """

    step: Step
    source: Source
    meter: Meter
    kept: Kept
    data: tuple[Array, ...]
    memory: int | None
    margin: int | None
    tell: Callable[[str], None]
    notices: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        device = self.meter.device
        known = self.step.stages(1) is not None
        self.held = self.kept.held_bytes(device, self.data)
        self.held += self.meter.workspace if known else 0
        self.order = 8 * self.source.count  # of an epoch's permutation, int64
        self.lent = self.source.held_bytes(device)  # to the plan, which gives it back
        if device == "cpu":
            copied = [a for a in self.kept.arrays if isinstance(a, np.ndarray)]
            self.lent += sum(a.nbytes for a in copied)
        self.prediction: Prediction | None = None

    def available(self) -> int:
        """Give the bytes that this work has or can have on this machine."""
        return self.held + self.lent + self.meter.free()

    def budget(self) -> int:
        """Give the bytes that the plan is for."""
        return self.available() if self.memory is None else self.memory

    def least_margin(self, budget: int) -> int:
        """Give the bytes to leave free."""
        return max(int(SHARE * budget), LEAST) if self.margin is None else self.margin

    def margin_for(self, size: int, budget: int) -> int:
        """Give the bytes to leave free above a prediction: as much as it may be low."""
        residual = self.prediction.residual(size) if self.prediction else 0
        return max(self.least_margin(budget), residual)

    def predict(self, small: tuple[int, ...]) -> str | None:
        """Warm the step up, and learn what it takes; give how that failed, or None."""

        def work() -> None:
            for batch in self.source.first_epoch(small[0]):
                self.step(*batch)
            made = Prediction(self.step, self.source, self.meter, small)
            self.prediction = made

        _, failure = attempt(self.meter, small[0], work)
        self.tell(f"first steps, {small[0]:,} examples")
        return failure

    def row(self, size: int) -> Row:
        """Predict what a size takes, try it where that fits, and judge it."""
        prediction: Any = self.prediction
        row = Row(size, self.held + self.order + prediction.bytes(size))
        budget, available = self.budget(), self.available()
        row.margin_bytes = self.margin_for(size, budget)
        row.fits = row.predicted_bytes + row.margin_bytes <= budget
        if not row.fits:
            row.note = "predicted not to fit"
        elif row.predicted_bytes + self.margin_for(size, available) > available:
            row.note = "predicted to fit there; too large to be tried here"
        else:
            self.try_out(row)
        self.tell(f"memory of {size:,} examples")
        return row

    def try_out(self, row: Row) -> None:
        """Do an epoch's steps of a size, and see what they take."""
        before = self.available()
        size = row.batch_size
        peak, failure = attempt(self.meter, size, partial(self._epoch, size))
        after = self.available()
        fell = before - after
        others = ""
        if fell > SHRUNK * before:
            others = (
                f"the free memory fell by {format_bytes(fell)} for good: another "
                "process, or what libraries keep"
            )
            self.notices.append(f"while {row.batch_size:,} was tried, {others}")
        if failure is not None:
            row.fits, row.note = False, f"ran out of memory ({failure})"
            row.note += f"; {others}" if others else ""
            return
        base = self.held + self.order
        row.measured_bytes = base + peak.used
        row.reserved_bytes = base + peak.reserved if peak.reserved else 0
        need = max(row.measured_bytes, row.reserved_bytes)
        prediction: Any = self.prediction
        prediction.learn(row.batch_size, need - base)
        memory = min(before, after) if self.memory is None else self.memory
        row.margin_bytes = self.least_margin(memory)
        row.fits = need + row.margin_bytes <= memory
        if need > before:
            row.note = "took more than there is: the driver spills to main memory"
        elif not row.fits:
            row.note = f"needs {format_bytes(need + row.margin_bytes)} with the margin"

    def _epoch(self, size: int) -> Peak:
        with self.meter.watch() as peak:
            for batch in self.source.first_epoch(size):
                self.step(*batch)
            if self.step.evaluate is not None:
                self.step.evaluate()
        return peak

    def speeds(self, rows: list[Row], repeats: int) -> None:
        """Measure the throughput of the sizes that were tried and fit."""
        by_size = {r.batch_size: r for r in rows if r.fits and r.measured_bytes}

        def make(size: int) -> Callable[[], Any]:
            batch, numbers = self.source.batches(size), itertools.count()
            return lambda: self.step(*batch(next(numbers)))

        found = measure_throughput(
            self.meter,
            list(by_size),
            make,
            repeats=repeats,
            done=partial(self.tell, "examples a second"),
        )
        self.meter.tidy()
        for size, row in by_size.items():
            if size not in found:
                row.fits, row.note = False, "ran out of memory while it was timed"
                continue
            row.examples_per_second = found[size].median
            row.examples_per_second_low = found[size].low
            row.examples_per_second_high = found[size].high

    def noise(self, fitting: int, examples: int, after: int) -> NoiseScale | None:
        """Measure the noise scale, after some steps of training; None if impossible.

        Args:
            fitting: a size that fits.
            examples: to look at.
            after: steps of training that come first.
        """
        count = min(examples, self.source.drawn)
        size = max(1, min(CHUNK, fitting, count // 2))
        if self.step.stages(1) is None:  # the gradients of groups alone are known
            size = max(1, min(fitting, count // GROUPS))
        if count < 4:
            return None

        def work() -> NoiseScale:
            batch = self.source.batches(fitting)
            for number in range(after):
                self.step(*batch(number))

            def batches() -> Iterator[tuple[Array, ...]]:
                return map(self.source.batches(size), range(count // size))

            done = partial(self.tell, "noise of the gradients")
            return measure_noise(self.step.look, batches, done)

        found: NoiseScale | None
        found, failure = attempt(self.meter, size, work)
        if failure is not None:
            notice = f"the noise scale is not known: ran out of memory ({failure})"
            self.notices.append(notice)
        return found
