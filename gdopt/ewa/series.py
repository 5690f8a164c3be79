"""Exponentially weighted average of a whole series along an axis."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gdopt.arrays.arena import refuse_unusable_dtype
from gdopt.arrays.backend import Array, Backend, backend_of
from gdopt.checks import check_number
from gdopt.errors import ArgumentError
from gdopt.ewa.formula import BETA, average_kernel, check_initial, initial_row


def ewa(
    series: Array,
    beta: float,
    *,
    axis: int = 0,
    bias_correction: bool = True,
    initial: Any = "zero",
) -> Array:
    """Average a whole series along an axis: v_t = beta v_{t-1} + (1 - beta) x_t.

    Args:
        series: float array; x_1, x_2, ... along `axis`, any number of series beside.
        beta: in [0, 1).
        axis: along which time runs.
        bias_correction: divide v_t by 1 - beta**t, where the average starts from zero.
        initial: ``"zero"``, ``"first"`` (v_0 is x_1), or a value for v_0.

    Returns:
        A new array of the shape and dtype of `series`.

    Raises:
        ArgumentError: beta, axis or the shape of `initial` is wrong.
        ArgumentTypeError: the series is no float array.

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
    out = backend.zeros(series.shape, series.dtype, backend.device(series))
    rows, results = (backend.xp.moveaxis(a, axis, 0) for a in (series, out))
    if rows.shape[0] == 0:
        return out
    start = initial_row(backend, rows[0, ...], initial)
    _scan(backend, rows, results, start, beta)
    if bias_correction and isinstance(initial, str) and initial == "zero":
        _correct(backend, results, beta)
    return out


LONG = 1024  # steps, from which a narrow series is worth cutting into parts
WIDE = 1024  # series side by side, which keep a kernel busy by themselves


def _scan(
    backend: Backend, rows: Array, results: Array, start: Array, beta: float
) -> None:
    """Average along the first axis; long narrow series as many parts side by side.

    The parts are averaged from zero at once, then each is given what its forerunner
    ended with, times beta**k after k steps: the sum is the same average.
    """
    steps = rows.shape[0]
    width = math.isqrt(steps)
    if steps < LONG or start.size >= WIDE:
        _scan_rows(rows, results, start, beta)
        return
    whole = steps // width * width
    inner = rows[:whole].reshape(-1, width, *rows.shape[1:]).swapaxes(0, 1)
    parts = results[:whole].reshape(-1, width, *rows.shape[1:]).swapaxes(0, 1)
    zero = backend.zeros(inner.shape[1:], rows.dtype, backend.device(rows))
    _scan_rows(inner, parts, zero, beta)
    fading = backend.from_host(
        (beta ** np.arange(1, width + 1)).astype(rows.dtype), backend.device(rows)
    ).reshape(-1, *(1 for _ in rows.shape[1:]))
    carry = start
    for part in range(parts.shape[1]):
        parts[:, part] += fading * carry
        carry = parts[-1, part, ...]
    _scan_rows(rows[whole:], results[whole:], carry.copy(), beta)


def _scan_rows(rows: Array, results: Array, start: Array, beta: float) -> None:
    """Average row by row: one fused pass for each step."""
    kernel, running = average_kernel(), start.copy()
    step = kernel.step(backend_of(running), [running.dtype, rows.dtype])
    values = step.values({"beta": beta})
    for k in range(rows.shape[0]):
        step.run([running, rows[k, ...]], values)
        results[k] = running


def _correct(backend: Backend, results: Array, beta: float) -> None:
    """Divide by 1 - beta**t, as long as that differs from 1."""
    smallest = np.finfo(results.dtype).eps / 4
    count = results.shape[0] if beta else 0
    if 0 < beta < 1:
        count = min(count, math.ceil(math.log(smallest) / math.log(beta)))
    divisors = 1 - beta ** np.arange(1, count + 1, dtype=np.float64)
    divisors = divisors.reshape(-1, *(1 for _ in results.shape[1:]))
    device = backend.device(results)
    results[:count] /= backend.from_host(divisors.astype(results.dtype), device)
