"""Plans a batch size: tries, measures, decides, and leaves everything as it was."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gdopt.arrays import Array
from gdopt.arrays.backend import Backend
from gdopt.errors import StateError
from gdopt.planner.decision import SMALL_DATA, Decision, add_goodput, decide
from gdopt.planner.evidence.noise import NoiseScale
from gdopt.planner.evidence.source import Source
from gdopt.planner.keep import Kept
from gdopt.planner.memory import Meter, format_bytes
from gdopt.planner.plan import Plan, Row
from gdopt.planner.refusal import hopeless, nothing_fits
from gdopt.planner.steps import Step
from gdopt.planner.trials import GROUPS, Trials

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Request:
    """What is to be planned, checked; see `plan_batch_size`."""

    step: Step
    state: Any
    data: tuple[Array, ...]
    axis: int
    count: int
    sizes: tuple[int, ...]
    wanted: int | None
    small_data_rule: bool
    memory: int | None
    margin: int | None
    noise_examples: int
    noise_after: int
    repeats: int

    @property
    def candidates(self) -> list[int]:
        """The sizes to be tried: none above the examples, and those asked for."""
        found = {size for size in self.sizes if size <= self.count}
        if self.wanted is not None:
            found.add(self.wanted)
        if (self.small_data_rule and self.count <= SMALL_DATA) or not found:
            found.add(self.count)
        return sorted(found)

    @property
    def small(self) -> tuple[int, ...]:
        """One or two small sizes, to warm up and to predict from."""
        first = self.candidates[0]
        return tuple(sorted({max(1, first // 2), first}))


class Planning:
    """One call of `plan_batch_size`.

    Args:
        request: what is to be planned.
        backend: of the data.
        meter: of the device whose memory counts.
        progress: see `plan_batch_size`.
    """

    def __init__(
        self,
        request: Request,
        backend: Backend,
        meter: Meter,
        progress: Progress | None,
    ) -> None:
        self._request, self._meter = request, meter
        self._backend = backend
        self._progress = progress
        self._done = 0
        self._total = len(request.candidates) * (1 + request.repeats) + 2
        if request.step.looks:
            self._total += 2 * GROUPS

    def _tell(self, text: str) -> None:
        self._done += 1
        if self._progress is not None:
            self._progress(min(self._done, self._total), self._total, text)

    def run(self) -> Plan:
        """Measure and decide, and put everything in the state back as it was."""
        begin = time.perf_counter()
        kept = Kept(self._request.state, self._request.step.planned_state)
        try:
            plan = self._measured(kept)
        except BaseException as error:
            try:
                kept.restore()
            except StateError as failure:
                error.add_note(str(failure))
            raise
        kept.restore()
        self._meter.tidy()
        plan.seconds = time.perf_counter() - begin
        return plan

    def _measured(self, kept: Kept) -> Plan:
        """Try, time and decide; the caller puts everything back."""
        request = self._request
        largest = max(request.candidates)
        source = Source(
            self._backend,
            request.data,
            request.axis,
            count=request.count,
            largest=largest,
        )
        trials = Trials(
            request.step,
            source,
            self._meter,
            kept,
            request.data,
            request.memory,
            request.margin,
            self._tell,
        )
        failure = trials.predict(request.small)
        if failure is not None:
            raise hopeless(trials, request.small[0], failure)
        rows = [trials.row(size) for size in request.candidates]
        trials.speeds(rows, request.repeats)
        noise = self._noise(trials, rows, kept)
        add_goodput(rows, noise)
        decision = self._verified(trials, rows, noise)
        return self._plan(trials, rows, noise, decision)

    def _noise(self, trials: Trials, rows: list[Row], kept: Kept) -> NoiseScale | None:
        fitting = [row.batch_size for row in rows if row.fits and row.measured_bytes]
        if not (self._request.step.looks and fitting):
            return None
        kept.restore()  # the noise of the gradients where they were, not after trials
        examples, after = self._request.noise_examples, self._request.noise_after
        return trials.noise(fitting[0], examples, after)

    def _verified(
        self, trials: Trials, rows: list[Row], noise: NoiseScale | None
    ) -> Decision:
        """Decide, and try the winner afresh, until one passes.

        Raises:
            PlanError: none is left.
        """
        request = self._request
        while True:
            decision = decide(
                rows,
                noise,
                examples=request.count,
                wanted=request.wanted,
                small_data_rule=request.small_data_rule,
            )
            if decision is None:
                raise nothing_fits(trials, rows)
            row = next((r for r in rows if r.batch_size == decision.size), None)
            if row is None:  # pieces of a size that was not tried by itself
                row = trials.row(decision.size)
                rows.append(row)
                rows.sort(key=lambda one: one.batch_size)
            elif row.measured_bytes is not None:
                trials.try_out(row)
            self._tell(f"{decision.size:,} examples once more")
            if row.fits:
                return decision

    def _plan(
        self,
        trials: Trials,
        rows: list[Row],
        noise: NoiseScale | None,
        decision: Decision,
    ) -> Plan:
        request, meter = self._request, self._meter
        prediction: Any = trials.prediction
        if request.memory is not None:
            trials.notices.append(
                f"planned for {format_bytes(request.memory)}; speeds are this device's"
            )
        lasting = {"state and data": trials.held, "order of the examples": trials.order}
        return Plan(
            size=decision.size,
            batch_size=decision.batch_size,
            micro_batches=decision.micro_batches,
            decided_by=decision.decided_by,
            reason=decision.reason,
            rows=rows,
            noise_scale=noise,
            buffers=lasting | prediction.buffers(decision.size),
            examples=request.count,
            device=meter.device,
            device_name=meter.describe(),
            memory_bytes=trials.budget(),
            held_bytes=trials.held,
            notices=list(dict.fromkeys(meter.notices + trials.notices)),
            date=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        )
