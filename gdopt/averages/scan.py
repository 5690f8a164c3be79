"""Exponentially weighted average of a whole series along an axis."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

import numpy as np

from gdopt.arrays.arena import refuse_unusable_dtype
from gdopt.arrays.backend import Array, Backend, backend_of, on_their_device
from gdopt.arrays.dtypes import compute_dtype
from gdopt.averages.formula import (
    BETA,
    average_kernel,
    check_initial,
    initial_row,
    starts_from_zero,
)
from gdopt.checks import check_number
from gdopt.errors import ArgumentError
from gdopt.kernels.cpu.flush import FlushToZero


@on_their_device
def ewa(
    series: Array,
    beta: float,
    *,
    axis: int = 0,
    bias_correction: bool = True,
    initial: Any = "zero",
) -> Array:
    """Average a whole series along an axis: v_t = beta v_{t-1} + (1 - beta) x_t.

    From a NaN or an infinity on, no average along that line is a finite number.

    Args:
        series: float array; x_1, x_2, ... along `axis`; other axes hold more series.
        beta: in [0, 1).
        axis: along which time runs.
        bias_correction: divide v_t by 1 - beta**t, where the average starts from zero.
        initial: ``"zero"``, ``"first"`` (v_0 is x_1), or a value for v_0.

    Returns:
        A new array of the shape and dtype of `series`.

    Raises:
        ArgumentError: beta, axis or the shape of `initial` is wrong.
        ArgumentTypeError: the series is not a float array.

    Source: as `EWA`.

    >>> import numpy as np
    >>> ewa(np.array([40.0, 50.0]), 0.98, bias_correction=False).round(3)
    array([0.8  , 1.784])
    """
    backend = backend_of(series)
    refuse_unusable_dtype("series", series.dtype)
    beta = check_number("beta", beta, BETA)
    initial = check_initial(initial)
    if isinstance(axis, bool) or not -series.ndim <= axis < series.ndim:
        message = f"axis must be an axis of a {series.ndim}-d series, got {axis!r}"
        raise ArgumentError(message)
    with backend.on(backend.device(series)):
        out = backend.xp.empty(series.shape, series.dtype)
    rows, results = (backend.xp.moveaxis(a, axis, 0) for a in (series, out))
    if rows.shape[0] == 0:
        return out
    start = initial_row(backend, rows[0, ...], initial)
    if out.size:
        _scan(backend, rows, results, start, beta)
    if bias_correction and starts_from_zero(initial):
        _correct(backend, results, beta)
    return out


CHUNK = 1 << 17  # elements averaged together: with their scratch they stay in a cache
WIDTH = 31  # steps of a part; odd, as columns a power of two apart share cache lines
SPARE = 8  # rows of scratch
WIDE = 1024  # series side by side, which keep a kernel busy on their own


def _scan(
    backend: Backend, rows: Array, results: Array, start: Array, beta: float
) -> None:
    """Average along the first axis: wide series row by row, others cut into parts."""
    dtype, device = compute_dtype(rows.dtype), backend.device(rows)
    if start.size >= WIDE:
        running = start.astype(dtype)
        step = average_kernel().step(backend, [running.dtype, rows.dtype])
        values = step.values({"beta": beta})
        for k in range(rows.shape[0]):
            step.run([running, rows[k, ...]], values)
            results[k] = running
        return
    flush = FlushToZero() if dtype == np.float32 else nullcontext()
    with np.errstate(all="ignore"), flush, backend.on(device):
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
