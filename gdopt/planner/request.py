"""The call that plans a batch size, and restores everything."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable, Sequence
from typing import Any

from gdopt.arrays import Array, get_backend
from gdopt.checks import (
    MOST_LISTED,
    check_count,
    check_flag,
    check_function,
    check_increasing,
    check_int,
    check_optional,
    check_sequence,
    check_text,
    shown,
)
from gdopt.data.gather import check_arrays, check_axis
from gdopt.errors import ArgumentError, ArgumentTypeError, PlanError, StateError
from gdopt.planner.decision import Decision, add_goodput, decide
from gdopt.planner.memory.meter import meter_of
from gdopt.planner.noise import NoiseScale
from gdopt.planner.plan import Plan, Row, table
from gdopt.planner.snapshot import Snapshot
from gdopt.planner.steps import FunctionStep, NetworkStep, TrialStep
from gdopt.planner.trials import Progress, Request, Trials
from gdopt.tables import format_bytes, parse_bytes

SIZES = (32, 64, 128, 256, 512, 1024)


def plan_batch_size(
    step: Callable[..., Any],
    data: Array | Sequence[Array],
    state: Any,
    *,
    sizes: Sequence[int] = SIZES,
    batch_size: int | None = None,
    fixed_epochs: bool = False,
    axis: int = 0,
    device: str | None = None,
    memory: int | str | None = None,
    margin: int | str | None = None,
    evaluate: Callable[[], Any] | None = None,
    gradient: Callable[..., Any] | None = None,
    noise_examples: int = 2048,
    noise_after: int = 0,
    repeats: int = 20,
    progress: Progress | None = None,
) -> Plan:
    """Say which mini-batch size to use here: by memory, speed and gradient noise.

    Each size that is predicted to fit is tried: two steps, the last and smaller batch
    of an epoch, and `evaluate`, with the peak of memory measured exactly. The sizes
    that fit, with a margin, are timed in rounds, one after the other. The one that
    learns the most per second wins: goodput is the examples per second, divided by
    1 + size / noise scale. If the noise of the gradients is not known, the throughput
    decides. A smaller size that may be within 3 % of the best is preferred. The plan
    says how many updates an epoch has with each size, and what the course's rule would
    be: up to 2,000 examples in one batch. The winner is tried once more before it is
    returned.

    Trial steps are real: whatever happens, everything in `state` is restored. A change
    of anything else is refused, and undone, if it can be noticed: of writeable arrays
    (copied meanwhile), random generators and gdopt's objects that `step`, `evaluate`
    and `gradient` reach through their variables (global ones too), defaults, attributes
    and entries of dictionaries, lists, tuples and sets, and through functions of the
    same package. Not noticed are numbers, what containers gain or lose, arrays of other
    libraries, and files.

    Args:
        step: called with the arrays of a batch, does one update; or a
            `gdopt.planner.NetworkStep`, whose buffers and gradients the planner knows.
        data: an array of examples or a sequence of them, as for `gdopt.minibatches`.
        state: everything that a step changes: arrays, optimizers, networks, generators,
            samplers, whatever has ``state_dict`` and ``load_state_dict``, and
            containers of these; None for nothing. A `NetworkStep` is its own state.
            NumPy's and Python's global generators need not be named.
        sizes: examples, rising; powers of two by default. Those above the number of
            examples are left out. Up to 2,000 examples in one batch are tried too.
        batch_size: examples that an update must have: if they do not fit together,
            the plan says in how many micro-batches they do.
        fixed_epochs: whether you train for a fixed number of epochs. Then only sizes
            are allowed with which at most 1.05 times as many epochs learn as much as
            with the smallest one, even at the lower end of the noise scale's interval;
            if the noise is not known, the smallest size is chosen.
        axis: of the examples: 0 for rows, 1 for the course's columns.
        device: whose memory and clock count, ``"cpu"`` or ``"cuda:0"``; by default the
            data's. A step that sends its batches to a GPU names it here.
        memory: plan for a device with that many bytes (``"8GB"``) instead of this one.
        margin: bytes to leave free; by default the greater of 5 % and 256 MiB. It is
            never less than the error of the predictions.
        evaluate: called without arguments: what is done between epochs.
        gradient: called with the arrays of a batch, returns the mean gradient over it,
            for the noise scale. A `NetworkStep` needs none.
        noise_examples: examples whose gradients are measured, at least 4.
        noise_after: steps of training, with the smallest batches, before that: the
            noise scale of an untrained model is the smallest.
        repeats: rounds of timing, at least 2.
        progress: called with what is done, what is to do in all, and what it was.

    Returns:
        A `Plan`.

    Raises:
        PlanError: no size fits; with the table, and what would make one fit.
        ArgumentError: a number is out of its range; the data do not fit each other; the
            step changes what `state` does not name.
        ArgumentTypeError: an argument is of the wrong kind.
        Exception: whatever `step` raises that does not mean "out of memory".

    Source: Ng, Improving deep neural networks, week 2, "Understanding mini-batch
    gradient descent", for the rules; McCandlish et al. 2018, arXiv 1812.06162, for the
    noise scale.

    Other libraries: Lightning's BatchSizeFinder and accelerate's
    find_executable_batch_size double or halve until something runs out of memory, which
    leaves the state moved, and know neither margin nor speed.

    >>> import gdopt
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> X, w = rng.standard_normal((5000, 20)), np.zeros(20)
    >>> y = X @ np.ones(20)
    >>> opt = gdopt.SGD(w, lr=0.1)
    >>> def step(x, target):
    ...     opt.step(x.T @ (x @ w - target) / len(x))
    >>> plan = gdopt.plan_batch_size(step, (X, y), state=opt, repeats=2)
    >>> [row.batch_size for row in plan.rows if row.fits]
    [32, 64, 128, 256, 512, 1024]
    >>> opt.t, bool(w.any())
    (0, False)
    """
    arrays = tuple(data) if isinstance(data, list | tuple) else (data,)
    axis = check_axis(axis)
    backend, count = check_arrays(arrays, axis, "data[{}]")
    check_optional(check_function, "progress", progress)
    check_optional(check_text, "device", device)
    planned = _as_step(step, arrays, evaluate, gradient, axis)
    wanted = check_optional(check_count, "batch_size", batch_size)
    if wanted is not None and wanted > count:
        message = f"batch_size must be at most {count}, the examples, got {wanted}"
        raise ArgumentError(message)
    if not len(check_sequence("sizes", sizes)):
        raise ArgumentError("sizes must name at least one size, got none")
    request = Request(
        step=planned,
        state=state,
        data=arrays,
        backend=backend,
        axis=axis,
        count=count,
        sizes=check_increasing("sizes", sizes),
        wanted=wanted,
        fixed_epochs=check_flag("fixed_epochs", fixed_epochs),
        memory=check_optional(parse_bytes, "memory", memory),
        margin=check_optional(parse_bytes, "margin", margin),
        noise_examples=check_int("noise_examples", noise_examples, least=4),
        noise_after=check_int("noise_after", noise_after, least=0),
        repeats=check_int("repeats", repeats, least=2),
        progress=progress,
        meter=meter_of(backend.device(arrays[0]) if device is None else device),
    )
    return _carry_out(request)


def _as_step(
    step: Any, arrays: tuple[Array, ...], evaluate: Any, gradient: Any, axis: int
) -> TrialStep:
    """Return the step as the planner knows it, checked on the data."""
    if not isinstance(step, NetworkStep):
        return FunctionStep(step, evaluate, gradient, axis)
    if evaluate is not None or gradient is not None:
        got = f"got {shown(evaluate)} and {shown(gradient)}"
        message = f"evaluate and gradient must be left out with a NetworkStep, {got}"
        raise ArgumentTypeError(message)
    step.check(arrays)
    return step


def _carry_out(request: Request) -> Plan:
    """Measure and decide, and restore everything in the state."""
    home = get_backend("numpy" if request.meter.device == "cpu" else "cupy")
    with home.on(request.meter.device):
        begin = time.perf_counter()
        step = request.step
        snapshot = Snapshot(
            request.state,
            step.planned_state,
            functions=step.functions,
            data=request.data,
        )
        try:
            plan = _measured(request, snapshot)
        except BaseException as error:
            try:
                snapshot.restore()
            except StateError as failure:
                error.add_note(str(failure))
            raise
        snapshot.restore()
        request.meter.tidy()
        plan.seconds = time.perf_counter() - begin
        return plan


def _measured(request: Request, snapshot: Snapshot) -> Plan:
    """Try, time and decide; the caller restores everything."""
    trials = Trials(request, snapshot)
    failure = trials.predict()
    snapshot.check()
    if failure is not None:
        raise _out_of_memory_error(trials, failure)
    rows = [trials.row(size) for size in request.candidates]
    trials.speeds(rows)
    snapshot.check()
    noise = trials.noise(rows)
    add_goodput(rows, noise)
    decision = _verified(trials, rows, noise)
    if request.memory is not None:
        memory = format_bytes(request.memory)
        trials.notices.append(f"planned for {memory}; speeds are this device's")
    lasting = {
        "state and data": trials.resident_bytes,
        "order of the examples": trials.permutation_bytes,
    }
    return Plan(
        **vars(decision),
        micro_batches=decision.micro_batches,
        rows=rows,
        noise_scale=noise,
        buffers=lasting | trials.prediction.buffers(decision.micro_batch_size),
        examples=request.count,
        device=request.meter.device,
        device_name=request.meter.describe(),
        memory_bytes=trials.budget(),
        resident_bytes=trials.resident_bytes,
        notices=list(dict.fromkeys(request.meter.notices + trials.notices)),
        date=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
    )


def _verified(trials: Trials, rows: list[Row], noise: NoiseScale | None) -> Decision:
    """Decide, and try the winner again, until one passes."""
    request = trials.request
    while True:
        decision = decide(
            rows,
            noise,
            examples=request.count,
            wanted=request.wanted,
            fixed_epochs=request.fixed_epochs,
        )
        if decision is None:
            raise _no_size_fits_error(trials, rows)
        row = next((r for r in rows if r.batch_size == decision.micro_batch_size), None)
        if row is None:  # micro-batches of a size that was not tried on its own
            row = trials.row(decision.micro_batch_size)
            rows.append(row)
            rows.sort(key=lambda one: one.batch_size)
        elif row.measured_bytes is not None:
            trials.try_out(row)
        trials.on_progress(f"{decision.micro_batch_size:,} examples once more")
        if row.fits:
            return decision


def _out_of_memory_error(trials: Trials, failure: str) -> PlanError:
    size = trials.request.small[0]
    return PlanError(
        f"no mini-batch fits the memory: a step with {size:,} examples ran out of it "
        f"({failure}); {format_bytes(trials.available())} are free or in use by state "
        f"and data, of which these hold {format_bytes(trials.resident_bytes)}. Fewer "
        f"examples (sizes=({max(1, size // 4)},)), a smaller model, state in half "
        "precision, or a larger device would fit"
    )


def _no_size_fits_error(trials: Trials, rows: list[Row]) -> PlanError:
    """Say what every size takes, and what would make one fit."""
    budget, smallest = trials.budget(), rows[0].batch_size
    margin = min(row.margin_bytes for row in rows)
    lasting = trials.resident_bytes + trials.permutation_bytes + margin
    size = trials.prediction.largest(budget - lasting, smallest - 1)
    if size:
        micro_batches = -(-smallest // size)
        advice = (
            f"batches of {size:,} would fit: sizes=({size},), and {micro_batches} of "
            f"them accumulated make {smallest:,}"
        )
    else:
        least = format_bytes(lasting + trials.prediction.bytes(1))
        advice = (
            f"even 1 example takes {least} with the margin: a smaller model, state in "
            f"half precision, or a device with {least} would fit"
        )
    lines = "\n".join(table(rows[:MOST_LISTED], None, trials.request.count))
    return PlanError(
        f"no mini-batch fits the memory: {format_bytes(budget)}, of which "
        f"{format_bytes(margin)} must stay free\n{lines}\n{advice}",
        rows,
    )
