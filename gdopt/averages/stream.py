"""Exponentially weighted average of a stream of values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from gdopt.arrays.arena import refuse_unusable_dtype
from gdopt.arrays.backend import Array, backend_of, common_backend, on_their_device
from gdopt.arrays.dtypes import compute_dtype
from gdopt.averages.formula import (
    average,
    averaged_kernel,
    check_beta,
    check_initial,
    initial_row,
    starts_from_zero,
)
from gdopt.checks import (
    as_number,
    check_flag,
    check_like,
    check_state,
    has_axes,
    shown,
    shows,
)
from gdopt.errors import ArgumentError, ArgumentTypeError, GdoptError, StateError
from gdopt.interrupt import Uninterrupted, uninterrupted


@shows("beta", "bias_correction", "_initial", "t", "value")
class EWA:
    """Exponentially weighted average of a stream: v <- beta v + (1 - beta) x.

    With bias correction, `value` is v / (1 - beta**t) after t values, the weighted mean
    of what has been seen; it applies where the average starts from zero.

    Args:
        beta: in [0, 1); an average over about 1 / (1 - beta) values.
        window: instead of beta: about how many values; beta is 1 - 1 / window.
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
        self,
        beta: float | None = None,
        *,
        window: float | None = None,
        bias_correction: bool = True,
        initial: Any = "zero",
    ) -> None:
        self.beta = check_beta(beta, window)
        self.bias_correction = check_flag("bias_correction", bias_correction)
        self.t = 0
        self._initial = check_initial(initial)
        self._raw: Any = None

    @property
    def value(self) -> Any:
        """The average so far: a float, or a new array; None before the first value."""
        return None if self.t == 0 else self._raw / self._divisor(self.t)

    @on_their_device
    def update(self, x: Any, out: Any = None) -> Any:
        """Take in a value and return the average.

        Args:
            x: a number, or an array of one shape and dtype throughout, which is copied.
            out: an array like `x` for the average, which is written and returned; a new
                one without it. It may be `x` itself, and overlap with it in no other
                way.

        Raises:
            ArgumentError: the shape of `x` or `out` differs from the values before, or
                `out` overlaps with `x`.
            ArgumentTypeError: the kind or the dtype does, it is not a float array, or
                `out` is read-only, or given with a number.
            BackendError: `x`, `out` and the average are on several devices.
        """
        if hasattr(x, "dtype") and has_axes(x):
            return self._update_array(x, out)
        number = as_number("x", x)
        raw = self._first(number) if self._raw is None else self._raw
        if not isinstance(raw, float):
            message = f"x must be an array, as in earlier updates, got the number {x!r}"
            raise ArgumentTypeError(message)
        if out is not None:
            message = f"out must be None where x is a number, got {shown(out)}"
            raise ArgumentTypeError(message)
        raw = average(raw, number, beta=self.beta)
        self._raw, self.t = raw, self.t + 1  # no signal comes between two stores
        return self.value

    def state_dict(self) -> dict[str, Any]:
        """Copy how many values were seen, and the average before its correction."""
        raw = self._raw
        if raw is not None and not isinstance(raw, float):
            raw = np.array(backend_of(raw).to_host(raw))
        return {"t": self.t, "value": raw}

    @uninterrupted
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a saved state.

        Args:
            state: of an average of the same kind; an array stays on its device.

        Raises:
            StateError: it is not such a state; nothing has changed.
        """
        checked = check_state("state", state, ["value"], counts=["t"])
        t, raw = checked["t"], checked["value"]
        if (raw is None) != (t == 0):
            rule = "must have a value where t is above 0"
            raise StateError(f"state {rule}, got {shown(checked)}")
        own = self._raw
        try:
            raw = None if raw is None else _copied(raw)
            both = own is not None and raw is not None
            if both and isinstance(own, float) != isinstance(raw, float):
                rule = "must be a number or an array as the values here are"
                raise ArgumentTypeError(f"value {rule}, got {shown(raw)}")
            if own is not None and hasattr(raw, "shape"):
                check_like("value", raw, own)
        except GdoptError as error:
            raise StateError(f"state is damaged: {error}") from error
        self.t, self._raw = t, raw

    def _first(self, number: float) -> float:
        if isinstance(self._initial, str):
            return number if self._initial == "first" else 0.0
        return as_number("initial", self._initial)

    def _divisor(self, t: int) -> float:
        corrects = self.bias_correction and starts_from_zero(self._initial)
        return 1 - self.beta**t if corrects else 1.0

    def _update_array(self, x: Array, out: Array | None) -> Array:
        named = {"x": x} if out is None else {"x": x, "out": out}
        backend = common_backend(named.items())
        refuse_unusable_dtype("x", x.dtype)
        if self.t == 0:
            check_beta(self.beta, dtype=compute_dtype(x.dtype))
        raw = self._raw
        if raw is None:
            raw = initial_row(backend, x, self._initial)
        elif not backend.is_array(raw):
            message = "x must be a number, as in earlier updates, got an array"
            raise ArgumentTypeError(message)
        if out is None:
            out = backend.xp.empty(x.shape, x.dtype)
        elif out is not x and backend.xp.shares_memory(out, x):
            raise ArgumentError("out must be x itself or share no memory with it")
        divisor = self._divisor(self.t + 1)
        with Uninterrupted():
            averaged_kernel(raw, out, x, beta=self.beta, divisor=divisor)
            self._raw = raw
            self.t += 1
            if raw.dtype.itemsize < np.dtype(np.float32).itemsize:
                out[...] = self.value  # of the average as it is stored
        return out


def _copied(raw: Any) -> Any:
    """Copy a saved average: a float, or an array that an update can move."""
    if getattr(raw, "ndim", 0) == 0:
        return as_number("value", raw)
    backend_of(raw)
    refuse_unusable_dtype("value", raw.dtype)
    return raw.copy()
