"""The call that plans a batch size: what may be asked, and what is refused."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from gdopt.arrays import Array
from gdopt.checks import check_flag, rising, whole
from gdopt.data.checks import check_arrays, check_axis
from gdopt.errors import ArgumentError, ArgumentTypeError
from gdopt.planner.memory.meter import meter_of
from gdopt.planner.memory.sizes import parse_bytes
from gdopt.planner.plan import Plan
from gdopt.planner.planning import carry_out
from gdopt.planner.steps import FunctionStep, NetworkStep, Step
from gdopt.planner.trials import Progress, Request

SIZES = (64, 128, 256, 512, 1024)


def plan_batch_size(
    step: Callable[..., Any],
    data: Array | Sequence[Array],
    state: Any = None,
    *,
    sizes: Sequence[int] = SIZES,
    batch_size: int | None = None,
    small_data_rule: bool = True,
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
    that fit, with a margin, are timed in turns. The smallest within 3 % of the best
    throughput wins, unless the whole 95 % interval of the noise scale says that a
    smaller one learns more a second; up to 2,000 examples are taken whole, as the
    course has it. The winner is tried once more before it is given.

    Whatever happens, everything in `state` is put back as it was: trial steps are real.

    Args:
        step: called with the arrays of a batch, does one update; or a
            `gdopt.planner.NetworkStep`, whose buffers and gradients the planner knows.
        data: an array of examples or a sequence of them, as for `gdopt.minibatches`.
        state: what a step changes, beside what a `NetworkStep` holds: arrays,
            optimizers, networks, generators, samplers, whatever has ``state_dict`` and
            ``load_state_dict``, and containers of these. What is not named is not put
            back. NumPy's and Python's global generators are, in any case.
        sizes: examples, rising; powers of two by default. Those above the number of
            examples are left out.
        batch_size: examples that an update must have: where they do not fit at once,
            the plan says in how many micro-batches they do.
        small_data_rule: whether up to 2,000 examples go whole; the other sizes are
            measured all the same.
        axis: of the examples: 0 for rows, 1 for the course's columns.
        device: whose memory and clock count, ``"cpu"`` or ``"cuda:0"``; by default the
            data's. A step that sends its batches to a GPU names it here.
        memory: plan for a device with so many bytes (``"8GB"``) instead of this one.
        margin: bytes to leave free; by default the greater of 5 % and 256 MiB. In any
            case no less than predictions were seen to be too low by.
        evaluate: called without arguments: what is done between epochs.
        gradient: called with the arrays of a batch, gives the mean gradient over it,
            for the noise scale. A `NetworkStep` needs none.
        noise_examples: whose gradients are looked at, at least 4.
        noise_after: steps of training, with the smallest batches, before that: the
            noise scale of an untrained model is the smallest.
        repeats: rounds of timing, at least 2.
        progress: called with what is done, what is to do in all, and what it was.

    Returns:
        A `Plan`.

    Raises:
        PlanError: no size fits; with the table, and what would make one fit.
        ArgumentError: a number is out of its range; the data do not fit each other.
        ArgumentTypeError: an argument is of the wrong kind.
        Exception: whatever `step` raises that does not mean "out of memory".

    Source:
        Ng, Improving deep neural networks, week 2, "Understanding mini-batch gradient
        descent", for the rules; McCandlish et al. 2018, arXiv 1812.06162, for the noise
        scale.

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
    >>> plan.size in (64, 128, 256, 512, 1024), [row.fits for row in plan.rows]
    (True, [True, True, True, True, True])
    >>> opt.t, bool(w.any())
    (0, False)
    """
    arrays = tuple(data) if isinstance(data, list | tuple) else (data,)
    axis = check_axis(axis)
    backend, count = check_arrays(arrays, axis, "data[{}]")
    planned: Step
    if isinstance(step, NetworkStep):
        if evaluate is not None or gradient is not None:
            message = "evaluate and gradient must be left out with a NetworkStep"
            raise ArgumentTypeError(message)
        planned = step
        step.check(arrays)
    else:
        planned = FunctionStep(step, evaluate, gradient, axis)
    wanted = None if batch_size is None else whole("batch_size", batch_size, least=1)
    if wanted is not None and wanted > count:
        message = f"batch_size must be at most {count}, the examples, got {wanted}"
        raise ArgumentError(message)
    if not (sizes := tuple(sizes)):
        message = "sizes must name at least one size, got none"
        raise ArgumentError(message)
    request = Request(
        step=planned,
        state=state,
        data=arrays,
        backend=backend,
        axis=axis,
        count=count,
        sizes=rising("sizes", sizes),
        wanted=wanted,
        small_data_rule=check_flag("small_data_rule", small_data_rule),
        memory=None if memory is None else parse_bytes("memory", memory),
        margin=None if margin is None else parse_bytes("margin", margin),
        noise_examples=whole("noise_examples", noise_examples, least=4),
        noise_after=whole("noise_after", noise_after, least=0),
        repeats=whole("repeats", repeats, least=2),
        progress=progress,
        meter=meter_of(backend.device(arrays[0]) if device is None else device),
    )
    return carry_out(request)
