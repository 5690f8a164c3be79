"""Exponentially weighted average of a whole series along an axis."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from gdopt.arrays.backend import Array, Backend, on_their_device
from gdopt.arrays.dtypes import compute_dtype
from gdopt.averages.formula import (
    average_kernel,
    check_beta,
    check_initial,
    initial_row,
    starts_from_zero,
)
from gdopt.averages.moments import WIDE, Lines, half_lives, mean, weighted
from gdopt.checks import check_flag, shown
from gdopt.errors import ArgumentError
from gdopt.kernels.cpu.flush import flushing


@on_their_device
def ewa(
    series: Any,
    beta: float | None = None,
    *,
    window: float | None = None,
    axis: int = 0,
    bias_correction: bool = True,
    initial: Any = "zero",
    ignore_na: bool | None = None,
    times: Any = None,
    halflife: Any = None,
) -> Any:
    """Average a whole series along an axis: v_t = beta v_{t-1} + (1 - beta) x_t.

    From a NaN or an infinity on, no average along that line is a finite number, unless
    `ignore_na` makes it a gap, during which the average does not change.

    Args:
        series: x_1, x_2, ... along `axis`; other axes hold more series. An array of
            floats or integers, a list, or a pandas Series or DataFrame.
        beta: in [0, 1).
        window: instead of beta, which is then 1 - 1 / window; at least 1.
        axis: along which time runs.
        bias_correction: divide v_t by 1 - beta**t, where the average starts from zero.
        initial: ``"zero"``, ``"first"`` (v_0 is x_1), or a value for v_0.
        ignore_na: True: a NaN or an infinity is a gap and has no effect. False: it is
            a gap, and older values fade during it. None: it is not a gap.
        times: (n,), numbers or datetime64 that do not decrease. Older values lose half
            of their weight in a `halflife`, however many values there are.
        halflife: in the unit of the times; a timedelta where they are dates. If beta
            is given too, weights are multiplied by beta, not by 1/2, in this time.

    Returns:
        A new array of the shape and dtype of `series`, float64 for integers; a Series
        or DataFrame with the same index for one of these.

    Raises:
        ArgumentError: a number, an axis, a shape or a combination of options is wrong.
        ArgumentTypeError: the series holds no real numbers, or an option is of a wrong
            kind.

    Source: as `EWA`. Gaps and times are those of pandas' ``ewm``, and need one of its
    two forms: bias correction (``adjust=True``) or ``initial="first"``
    (``adjust=False``). At alpha = 1/2 exactly, pandas 3 gives another mean after gaps
    with ``adjust=False``, a known error.

    >>> import numpy as np
    >>> ewa(np.array([40.0, 50.0]), 0.98, bias_correction=False).round(3)
    array([0.8  , 1.784])
    >>> ewa([40, np.nan, 50], window=50, ignore_na=True).round(2)
    array([40.  , 40.  , 45.05])
    >>> ewa([40, 50], times=[0, 3], halflife=3).round(2)
    array([40.  , 46.67])
    """
    check_flag("bias_correction", bias_correction)
    lines, given = Lines.of(series, axis), beta is not None or window is not None
    if times is None and halflife is not None:
        rule = "halflife needs times; without them, beta is 0.5 ** (1 / halflife)"
        raise ArgumentError(f"{rule}, got halflife={shown(halflife)}")
    decay: Any = check_beta(beta, window) if given or times is None else 0.5
    if ignore_na is None and times is None:
        return _average(lines, decay, check_initial(initial), bias_correction)
    if times is not None:
        if given and not starts_from_zero(initial):
            message = "with times and initial='first', give halflife alone, no beta"
            raise ArgumentError(message)
        decay = decay ** half_lives(times, halflife, lines)
    return weighted(
        lines,
        mean,
        decay,
        initial=initial,
        ignore_na=ignore_na,
        bias_correction=bias_correction,
    )


def _average(lines: Lines, beta: float, initial: Any, corrected: Any) -> Any:
    """Average lines whose values all have weights that fall by beta."""
    backend, rows, results = lines.backend, lines.rows, lines.results
    check_beta(beta, dtype=compute_dtype(rows.dtype))
    if rows.shape[0]:
        start = initial_row(backend, rows[0, ...], initial)
        if rows.size:
            _scan(backend, rows, results, start, beta)
        if corrected and starts_from_zero(initial):
            _correct(backend, results, beta)
    return lines.finished()


CHUNK = 1 << 17  # elements averaged together: with their scratch they stay in a cache
WIDTH = 31  # steps of a part; odd, as columns a power of two apart share cache lines
SPARE = 8  # rows of scratch


def _scan(
    backend: Backend, rows: Array, results: Array, start: Array, beta: float
) -> None:
    """Average along the first axis: wide series row by row, others cut into parts."""
    dtype, device = compute_dtype(rows.dtype), backend.device(rows)
    if start.size >= WIDE:
        running = start.astype(dtype)
        step = average_kernel.step(backend, [running.dtype, rows.dtype])
        values = step.values({"beta": beta})
        for k in range(rows.shape[0]):
            step.run([running, rows[k, ...]], values)
            results[k] = running
        return
    with flushing(dtype), backend.on(device):
        _scan_parts(backend, rows, results, start.reshape(-1).astype(dtype), beta)


def _scan_parts(
    backend: Backend, rows: Array, results: Array, before: Array, beta: float
) -> None:
    """Average chunk by chunk, the parts of a chunk side by side.

    Functions of the array library, one after the other on rows that stay in a core's
    cache, take less time here than fused passes, whose calls cost more.
    """
    xp, steps, size = backend.xp, rows.shape[0], before.size
    width = min(WIDTH, math.isqrt(steps) // 4 * 2 + 1)
    parts = min(CHUNK // (width * size), -(-steps // width))
    device = backend.device(rows)
    lines, spare = (
        backend.zeros((count, parts * size), before.dtype, device)
        for count in (width, SPARE)
    )
    powers = (beta ** np.arange(1, width)).astype(before.dtype)[:, None]
    powers = backend.from_host(powers, device)
    for begin in range(0, steps, width * parts):
        chunk = slice(begin, begin + width * parts)
        needed = -(-rows[chunk].shape[0] // width) * size
        used = lines[:, :needed]
        for ours, theirs in _places(used, rows[chunk], width):
            ours[...] = theirs
        xp.multiply(used, 1 - beta, out=used)
        used[0, :size] += beta * before
        _average_parts(xp, used, spare[:, :needed], beta, powers, size=size)
        before = used[-1, -size:].copy()
        for ours, theirs in _places(used, results[chunk], width):
            theirs[...] = ours


def _places(lines: Array, rows: Array, width: int) -> Iterator[tuple[Array, Array]]:
    """Pair views of the lines with views of the rows that belong there.

    Where the last part lacks rows its lines hold whatever they held: nothing follows.
    """
    whole, rest = divmod(rows.shape[0], width)
    beside = rows.shape[1:]
    side_by_side = lines.reshape(width, -1, *beside)
    parts = rows[: whole * width].reshape(whole, width, *beside)
    yield side_by_side[:, :whole], parts.swapaxes(0, 1)
    if rest:
        yield side_by_side[:rest, whole], rows[whole * width :]


def _average_parts(
    xp: Any, lines: Array, spare: Array, beta: float, powers: Array, *, size: int
) -> None:
    """Average lines that hold (1 - beta) x: a step a line, `size` columns a part.

    Every part is averaged from zero. Then its last line is given what the part before
    ended with, times beta**k after k steps, and what that one was given, and so on in
    strides that double; at last the other lines are given their share.
    """
    width, length = lines.shape
    for k in range(1, width):
        xp.multiply(lines[k - 1], beta, out=spare[0])
        xp.add(lines[k], spare[0], out=lines[k])
    ends, stride = lines[-1], 1
    while stride * size < length:
        later, faded = ends[stride * size :], spare[0, stride * size :]
        # A NaN times a power that has become zero is NaN still: none is lost.
        xp.multiply(ends[: -stride * size], beta ** (width * stride), out=faded)
        xp.add(later, faded, out=later)
        stride *= 2
    if length == size:
        return
    for k in range(0, width - 1, len(spare)):
        later = lines[k : min(k + len(spare), width - 1), size:]
        faded = spare[: len(later), size:]
        xp.multiply(ends[:-size], powers[k : k + len(later)], out=faded)
        xp.add(later, faded, out=later)


def _correct(backend: Backend, results: Array, beta: float) -> None:
    """Divide by 1 - beta**t, as long as that differs from 1."""
    if beta == 0:
        return
    smallest = np.finfo(results.dtype).eps / 4
    count = min(len(results), math.ceil(math.log(smallest) / math.log(beta)))
    divisors = 1 - beta ** np.arange(1, count + 1, dtype=np.float64)
    divisors = divisors.reshape(-1, *(1 for _ in results.shape[1:]))
    device = backend.device(results)
    results[:count] /= backend.from_host(divisors.astype(results.dtype), device)
