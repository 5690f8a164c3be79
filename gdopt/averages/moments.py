"""Averages and variances whose weights differ from step to step: gaps, unequal times.

Such an average moves by ``m <- kept m + taken x``, with shares that sum to 1; in a gap
it keeps all. It starts from the first value, or is the weighted mean of those so far.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Self

import numpy as np

from gdopt.arrays.arena import refuse_unusable_dtype
from gdopt.arrays.backend import Array, Backend, common_backend, on_their_device
from gdopt.averages.formula import check_beta, check_initial, starts_from_zero
from gdopt.checks import (
    check_flag,
    check_int,
    check_optional,
    check_positive,
    refuse_masked,
    shown,
)
from gdopt.errors import ArgumentError, ArgumentTypeError

WIDE = 1024  # series side by side, which keep a kernel busy on their own


@dataclass(frozen=True)
class Lines:
    """A series whose first axis is time, and a new array like it for results."""

    backend: Backend
    rows: Array
    results: Array
    finished: Callable[[], Any]  # the results in the axes and the form of the series

    @classmethod
    def of(cls, series: Any, axis: int) -> Self:
        """Take an array, a list or tuple, or a pandas object, without importing it."""
        labelled = hasattr(series, "to_numpy") and hasattr(series, "index")
        x = series.to_numpy() if labelled else series
        if isinstance(series, list | tuple):
            try:
                x = np.asarray(series)
            except ValueError as error:
                raise ArgumentTypeError(
                    f"series must be a list of numbers, got {shown(series)}: {error}"
                ) from error
        backend = common_backend([("series", x)])
        if x.dtype.kind in "iu":
            x = x.astype(np.float64)
        refuse_unusable_dtype("series", x.dtype)
        axis = check_int("axis", axis, -x.ndim)
        if axis >= x.ndim:
            message = f"axis must be an axis of a {x.ndim}-d series, got {axis!r}"
            raise ArgumentError(message)
        with backend.on(backend.device(x)):
            out = backend.xp.empty(x.shape, x.dtype)
        rows, results = (backend.xp.moveaxis(a, axis, 0) for a in (x, out))

        def finished() -> Any:
            if not labelled:
                return out
            labels = ("index", "name") if x.ndim == 1 else ("index", "columns")
            return type(series)(out, **{name: getattr(series, name) for name in labels})

        return cls(backend, rows, results, finished)


@on_their_device
def ewa_var(
    series: Any,
    beta: float | None = None,
    *,
    window: float | None = None,
    axis: int = 0,
    bias: bool = False,
    initial: str = "zero",
    ignore_na: bool | None = None,
) -> Any:
    """Return the variance of a whole series about its average, with the same weights.

    With `bias` it is the weighted mean of (x - mean)**2; without, an unbiased estimate,
    which is that divided by 1 minus the sum of the squared weights: NaN for one value.
    The other arguments and the result are those of `ewa`; the average is corrected, or
    starts from the ``"first"`` value.

    Raises:
        ArgumentError: a number, an axis or `initial` is wrong.
        ArgumentTypeError: the series does not hold real numbers, or an option is of a
            wrong kind.

    Source: pandas' ``ewm(...).var(bias=...)``.

    >>> ewa_var([1, 2, 3, 4], 0.8).round(4)
    array([   nan, 0.5   , 0.9918, 1.6315])
    """
    moment = partial(_variance, bias=check_flag("bias", bias))
    lines, decay = Lines.of(series, axis), check_beta(beta, window)
    return weighted(lines, moment, decay, initial=initial, ignore_na=ignore_na)


@on_their_device
def ewa_std(series: Any, beta: float | None = None, **options: Any) -> Any:
    """Return the standard deviation: the square root of `ewa_var`, with its options.

    >>> ewa_std([1, 2, 3, 4], 0.8, bias=True).round(4)
    array([0.    , 0.4969, 0.8065, 1.0949])
    """
    return np.sqrt(ewa_var(series, beta, **options))


def weighted(
    lines: Lines,
    moment: Callable[[Any, Array, Array, Array], Array],
    decay: Any,
    *,
    initial: Any,
    ignore_na: bool | None,
    bias_correction: bool = True,
) -> Any:
    """Return a moment of every line, in the form of its series, computed in float64.

    A step multiplies the weights of older values by `decay`: a number, or one a row.
    What an average that is not corrected would be after a gap is not defined.
    """
    zero = starts_from_zero(check_initial(initial))
    if not isinstance(initial, str) or (zero and not bias_correction):
        raise ArgumentError(
            "gaps, times and variances need bias_correction=True or initial='first', "
            f"got bias_correction={bias_correction}, initial={shown(initial)}"
        )
    in_gaps = not check_optional(check_flag, "ignore_na", ignore_na)
    backend, device = lines.backend, lines.backend.device(lines.rows)
    xp, steps = backend.xp, len(lines.rows)
    if steps == 0:
        return lines.finished()
    with backend.on(device):
        rows = lines.rows.astype(np.float64)
        column = steps, *(1 for _ in rows.shape[1:])
        observed = xp.isfinite(rows) | (ignore_na is None)
        rows = xp.where(observed, rows, 0.0)
        if np.ndim(decay):
            decay = backend.from_host(decay.reshape(column), device)
        old = xp.where(observed | in_gaps, decay, xp.ones_like(rows))
        kept, taken = _shares(xp, observed, old, decay, from_zero=zero)
        found = moment(xp, rows, kept, taken)
        begun = xp.arange(steps).reshape(column) >= xp.argmax(observed, axis=0)
        begun &= xp.any(observed, axis=0)
        lines.results[...] = xp.where(begun, found, np.nan)
    return lines.finished()


def _shares(
    xp: Any, observed: Array, old: Array, decay: Any, *, from_zero: bool
) -> tuple[Array, Array]:
    """Return which shares of the average before and of x are in each average.

    A step multiplies the weights of older values by `old`, which is overwritten. The
    weight of x is 1; where the average starts from the first value, it is 1 - decay,
    and at unequal times 1 less the decay since the value before.
    """
    weights = observed.astype(np.float64)
    _solve(old.copy() if from_zero else xp.where(observed, 0.0, old), weights)
    old[0] = 0
    old[1:] *= weights[:-1]
    new = 1.0 if from_zero else 1 - (old if np.ndim(decay) else decay)
    total = old + new
    return xp.where(observed, old / total, 1.0), xp.where(observed, new / total, 0.0)


def mean(_: Any, rows: Array, kept: Array, taken: Array) -> Array:
    """Return m <- kept m + taken x."""
    return _solve(kept, taken * rows)


def _variance(xp: Any, rows: Array, kept: Array, taken: Array, *, bias: bool) -> Array:
    """Return s <- kept s + kept taken (x - m)**2, with m from before x.

    How far x is above m follows from differences of x, and is 0 where x is constant.
    """
    observed = taken > 0
    last = _solve(xp.where(observed, 0.0, 1.0), rows.copy())
    above = xp.zeros_like(rows)
    above[1:] = xp.where(observed[1:], rows[1:] - last[:-1], 0.0)
    above[1:] += _solve(kept.copy(), kept * above)[:-1]
    mixed = kept * taken
    found = _solve(kept.copy(), mixed * above**2)
    return found if bias else found / _solve(kept**2, 2 * mixed)


def half_lives(times: Any, halflife: Any, lines: Lines) -> np.ndarray:
    """Return how many half-lives have passed since the time before, for each row."""
    backend, unit = lines.backend, np.timedelta64(1, "us")
    refuse_masked("times", times)
    try:
        at = backend.to_host(times) if backend.is_array(times) else np.asarray(times)
        if at.dtype == object:  # datetime.datetime, or pandas' with a time zone
            at = np.asarray(times, "M8[us]")
        if at.dtype.kind == "M":
            since = at - np.datetime64(0, "s")  # months and years in seconds
            at, halflife = (since - since.ravel()[:1]) / unit, halflife / unit
        at = at.astype(np.float64, casting="same_kind")
    except (TypeError, ValueError, OverflowError) as error:
        rule = "times must be numbers, or datetime64 with a timedelta as halflife"
        message = f"{rule}, got times={shown(times)}, halflife={shown(halflife)}"
        raise ArgumentTypeError(message) from error
    if at.shape != lines.rows.shape[:1]:
        message = f"times must have shape {lines.rows.shape[:1]}, got {at.shape}"
        raise ArgumentError(message)
    passed = np.diff(at, prepend=at[:1]) / check_positive("halflife", halflife)
    if not (np.isfinite(at).all() and (passed >= 0).all()):
        message = f"times must be finite and not decrease, got {shown(times)}"
        raise ArgumentError(message)
    return passed


def _solve(factors: Array, terms: Array) -> Array:
    """Solve y_t = factors_t y_{t-1} + terms_t along the first axis, overwriting both.

    Parts of about the square root of all steps are solved side by side, from zero;
    what each is given by the part before is a recurrence of their last lines.
    """
    steps = len(terms)
    if steps < 16 or terms[0].size >= WIDE:
        for t in range(1, steps):
            terms[t] += factors[t] * terms[t - 1]
        return terms
    width = math.isqrt(steps)
    parts, whole = steps // width, steps // width * width
    f, y = (a[:whole].reshape(parts, width, *a.shape[1:]) for a in (factors, terms))
    for k in range(1, width):
        y[:, k] += f[:, k] * y[:, k - 1]
        f[:, k] *= f[:, k - 1]
    ends = _solve(f[:, -1].copy(), y[:, -1].copy())
    y[1:] += f[1:] * ends[:-1, np.newaxis]
    if whole < steps:
        terms[whole] += factors[whole] * terms[whole - 1]
        _solve(factors[whole:], terms[whole:])
    return terms
