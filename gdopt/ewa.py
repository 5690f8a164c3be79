"""Exponentially weighted averages: of a stream, of a series, and inside the rules."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from gdopt.arrays.arena import refuse_unusable_dtype
from gdopt.arrays.backend import Array, Backend, backend_of
from gdopt.errors import ArgumentError, ArgumentTypeError
from gdopt.kernels.kernel import Kernel
from gdopt.ranges import Range, as_number, check_number

BETA = Range.parse("[0, 1)")


def average(v: Any, x: Any, *, beta: Any) -> Any:
    """Move an average towards a value: v <- beta v + (1 - beta) x.

    The form ``v + (1 - beta) (x - v)`` is shorter by one product, but loses x where v
    is large: at v = 1e8, x = 1.2345 and beta = 0 it gives 0 in float32.

    >>> average(0.0, 40.0, beta=0.98)  # the course's first day at 40 degrees
    0.8000000000000007
    """
    return beta * v + (1 - beta) * x


def corrected(v: Any, *, beta: Any, t: Any) -> Any:
    """Undo the start from zero: v / (1 - beta**t), where t counts from 1."""
    return v / (1 - beta**t)


def ewa_weights(beta: float, count: int) -> np.ndarray:
    """Give the weights of the last values in an average: (1 - beta) beta**k.

    Args:
        beta: in [0, 1).
        count: how many, at least 1; the first is the newest value's.

    Returns:
        (count,) float64; all there are sum to 1.

    >>> ewa_weights(0.98, 2).round(4)  # the course: .02 and .0196
    array([0.02  , 0.0196])
    """
    beta = check_number("beta", beta, BETA)
    if isinstance(count, bool) or not isinstance(count, int) or count < 1:
        message = f"count must be a whole number of at least 1, got {count!r}"
        raise ArgumentError(message)
    return (1 - beta) * beta ** np.arange(count)


def ewa_window(beta: float) -> float:
    """Give how many values an average is about: 1 / (1 - beta).

    Older values weigh less than 1/e of the newest, as beta**(1 / (1 - beta)) is near
    1/e: .9**10 is .349, .98**50 is .364.

    >>> round(ewa_window(0.9)), round(ewa_window(0.98)), round(ewa_window(0.5))
    (10, 50, 2)
    """
    return 1 / (1 - check_number("beta", beta, BETA))


@functools.cache
def _kernel() -> Kernel:
    return Kernel(average)


def _start(initial: Any) -> Any:
    if isinstance(initial, str) and initial not in {"zero", "first"}:
        message = f"initial must be 'zero', 'first' or a value, got {initial!r}"
        raise ArgumentError(message)
    return initial


class EWA:
    """Exponentially weighted average of a stream: v <- beta v + (1 - beta) x.

    With bias correction, `value` is v / (1 - beta**t) after t values, the weighted mean
    of what has been seen; it applies where the average starts from zero.

    Args:
        beta: in [0, 1); an average over about 1 / (1 - beta) values.
        bias_correction: undo the start from zero.
        initial: ``"zero"``, ``"first"`` (start from the first value), or a value.

    Source: Ng, Deep Learning Specialization, course 2, week 2. pandas' ``ewm`` with
    ``alpha = 1 - beta`` is the corrected form with ``adjust=True``, and
    ``initial="first"`` with ``adjust=False``.

    >>> mean = EWA(0.98)
    >>> mean.update(40.0), round(mean.update(50.0), 4)
    (40.0, 45.0505)
    >>> plain = EWA(0.98, bias_correction=False)
    >>> round(plain.update(40.0), 4), round(plain.update(50.0), 4)
    (0.8, 1.784)
    """

    def __init__(
        self, beta: float, *, bias_correction: bool = True, initial: Any = "zero"
    ) -> None:
        self.beta = check_number("beta", beta, BETA)
        self.bias_correction = bias_correction
        self.t = 0
        self._initial = _start(initial)
        self._raw: Any = None

    @property
    def value(self) -> Any:
        """The average so far: a float, or a new array; None before the first value."""
        if self.t == 0:
            return None
        if self._corrects and self.beta**self.t > 0:
            return corrected(self._raw, beta=self.beta, t=self.t)
        return self._raw if isinstance(self._raw, float) else self._raw.copy()

    @property
    def _corrects(self) -> bool:
        return (
            self.bias_correction
            and isinstance(self._initial, str)
            and (self._initial == "zero")
        )

    def update(self, x: Any) -> Any:
        """Take in a value and return the average.

        Args:
            x: a number, or an array of one shape and dtype throughout, which is copied.

        Raises:
            ArgumentError: the shape differs from the values before.
            ArgumentTypeError: the kind or the dtype does, or it is no float array.
        """
        if hasattr(x, "dtype") and getattr(x, "ndim", 0) > 0:
            self._update_array(x)
        else:
            number = as_number("x", x)
            if self._raw is None:
                self._raw = self._first(number)
            if not isinstance(self._raw, float):
                message = f"x must be an array as before, got the number {x!r}"
                raise ArgumentTypeError(message)
            self._raw = average(self._raw, number, beta=self.beta)
        self.t += 1
        return self.value

    def _first(self, number: float) -> float:
        if isinstance(self._initial, str):
            return number if self._initial == "first" else 0.0
        return as_number("initial", self._initial)

    def _update_array(self, x: Array) -> None:
        backend = backend_of(x)
        refuse_unusable_dtype("x", x.dtype)
        raw = self._raw
        if raw is None:
            raw = _initial_row(backend, x, self._initial)
        elif not backend.is_array(raw):
            message = "x must be a number as before, got an array"
            raise ArgumentTypeError(message)
        _kernel()(raw, x, beta=self.beta)
        self._raw = raw


def _initial_row(backend: Backend, x: Array, initial: Any) -> Array:
    """Make the array that an average of arrays like `x` starts from."""
    row = backend.zeros(x.shape, x.dtype, backend.device(x))
    if isinstance(initial, str):
        if initial == "first":
            row[...] = x
    elif np.shape(initial) in {(), x.shape}:
        row[...] = initial
    else:
        message = f"initial must have shape {x.shape}, got {np.shape(initial)}"
        raise ArgumentError(message)
    return row


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
    initial = _start(initial)
    if isinstance(axis, bool) or not -series.ndim <= axis < series.ndim:
        message = f"axis must be an axis of a {series.ndim}-d series, got {axis!r}"
        raise ArgumentError(message)
    out = backend.zeros(series.shape, series.dtype, backend.device(series))
    rows, results = (backend.xp.moveaxis(a, axis, 0) for a in (series, out))
    if rows.shape[0] == 0:
        return out
    start = _initial_row(backend, rows[0], initial)
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
        carry = parts[-1, part]
    _scan_rows(rows[whole:], results[whole:], carry.copy(), beta)


def _scan_rows(rows: Array, results: Array, start: Array, beta: float) -> None:
    """Average row by row: one fused pass for each step."""
    kernel, running = _kernel(), start.copy()
    step = kernel.step(backend_of(running), [running.dtype, rows.dtype])
    values = step.values({"beta": beta})
    for k in range(rows.shape[0]):
        step.run([running, rows[k]], values)
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
