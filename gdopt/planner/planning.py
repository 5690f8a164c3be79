"""Plans a batch size: tries, measures, decides, and leaves everything as it was."""

from __future__ import annotations

import datetime as dt
import time

from gdopt.errors import PlanError, StateError
from gdopt.planner.decision import Decision, add_goodput, decide
from gdopt.planner.evidence.noise import NoiseScale
from gdopt.planner.keep import Kept
from gdopt.planner.memory.sizes import format_bytes
from gdopt.planner.plan import Plan, Row, table
from gdopt.planner.trials import Request, Trials


def carry_out(request: Request) -> Plan:
    """Measure and decide, and put everything in the state back as it was."""
    begin = time.perf_counter()
    kept = Kept(request.state, request.step.planned_state)
    try:
        plan = _measured(request, kept)
    except BaseException as error:
        try:
            kept.restore()
        except StateError as failure:
            error.add_note(str(failure))
        raise
    kept.restore()
    request.meter.tidy()
    plan.seconds = time.perf_counter() - begin
    return plan


def _measured(request: Request, kept: Kept) -> Plan:
    """Try, time and decide; the caller puts everything back."""
    trials = Trials(request, kept)
    failure = trials.predict()
    if failure is not None:
        raise _hopeless(trials, failure)
    rows = [trials.row(size) for size in request.candidates]
    trials.speeds(rows)
    noise = trials.noise(rows)
    add_goodput(rows, noise)
    decision = _verified(trials, rows, noise)
    if request.memory is not None:
        trials.notices.append(
            f"planned for {format_bytes(request.memory)}; speeds are this device's"
        )
    lasting = {"state and data": trials.held, "order of the examples": trials.order}
    return Plan(
        **vars(decision),
        micro_batches=decision.micro_batches,
        rows=rows,
        noise_scale=noise,
        buffers=lasting | trials.prediction.buffers(decision.size),
        examples=request.count,
        device=request.meter.device,
        device_name=request.meter.describe(),
        memory_bytes=trials.budget(),
        held_bytes=trials.held,
        notices=list(dict.fromkeys(request.meter.notices + trials.notices)),
        date=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
    )


def _verified(trials: Trials, rows: list[Row], noise: NoiseScale | None) -> Decision:
    """Decide, and try the winner afresh, until one passes.

    Raises:
        PlanError: none is left.
    """
    request = trials.request
    while True:
        decision = decide(
            rows,
            noise,
            examples=request.count,
            wanted=request.wanted,
            small_data_rule=request.small_data_rule,
        )
        if decision is None:
            raise _nothing_fits(trials, rows)
        row = next((r for r in rows if r.batch_size == decision.size), None)
        if row is None:  # pieces of a size that was not tried by itself
            row = trials.row(decision.size)
            rows.append(row)
            rows.sort(key=lambda one: one.batch_size)
        elif row.measured_bytes is not None:
            trials.try_out(row)
        trials.tell(f"{decision.size:,} examples once more")
        if row.fits:
            return decision


def _hopeless(trials: Trials, failure: str) -> PlanError:
    """Say that even the smallest trial ran out of memory."""
    size = trials.request.small[0]
    return PlanError(
        f"no mini-batch fits the memory: a step with {size:,} examples ran out of it "
        f"({failure}); {format_bytes(trials.available())} are free or in use by state "
        f"and data, of which these hold {format_bytes(trials.held)}. Fewer examples "
        f"(sizes=({max(1, size // 4)},)), a smaller model, state in half precision, or "
        "a larger device would fit"
    )


def _nothing_fits(trials: Trials, rows: list[Row]) -> PlanError:
    """Say what every size takes, and what would make one fit."""
    budget, smallest = trials.budget(), rows[0].batch_size
    margin = min(row.margin_bytes for row in rows)
    lasting = trials.held + trials.order + margin
    size = trials.prediction.largest(budget - lasting, smallest - 1)
    if size:
        pieces = -(-smallest // size)
        advice = (
            f"batches of {size:,} would fit: sizes=({size},), and {pieces} of them "
            f"accumulated make {smallest:,}"
        )
    else:
        least = format_bytes(lasting + trials.prediction.bytes(1))
        advice = (
            f"even 1 example takes {least} with the margin: a smaller model, state in "
            f"half precision, or a device with {least} would fit"
        )
    lines = "\n".join(table(rows, None))
    return PlanError(
        f"no mini-batch fits the memory: {format_bytes(budget)}, of which "
        f"{format_bytes(margin)} are to be left free\n{lines}\n{advice}",
        rows,
    )
