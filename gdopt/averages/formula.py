"""The formula of an exponentially weighted average, its weights and its window."""

from __future__ import annotations

from typing import Any

import numpy as np

from gdopt.arrays.backend import Array, Backend, is_on_device
from gdopt.checks import Range, check_int, check_number, holds_numbers, shown
from gdopt.errors import ArgumentError
from gdopt.kernels.kernel import Kernel
from gdopt.kernels.ops import check_operand

BETA = Range.parse("[0, 1)")
WINDOW = Range.parse("[1, inf)")


def check_beta(beta: Any, window: Any = None, dtype: Any = None) -> float:
    """Take beta, or the window that gives it: beta = 1 - 1 / window.

    It must not round to 1 in the dtype of the arithmetic, if that is known.
    """
    if (beta is None) == (window is None):
        message = f"give either beta or window, got beta={beta!r}, window={window!r}"
        raise ArgumentError(message)
    if beta is None:
        beta = 1 - 1 / check_number("window", window, WINDOW)
    return check_number("beta", beta, BETA, dtype)


def average(v: Any, x: Any, *, beta: Any) -> Any:
    """Move an average towards a value: v <- beta v + (1 - beta) x.

    The form ``v + (1 - beta) (x - v)`` is shorter by one product, but loses x where v
    is large: at v = 1e8, x = 1.2345 and beta = 0 it gives 0 in float32.

    >>> average(0.0, 40.0, beta=0.98)  # the course's first day at 40 degrees
    0.8000000000000007
    """
    for name, value in (("v", v), ("x", x), ("beta", beta)):
        check_operand(name, value)
    return beta * v + (1 - beta) * x


def averaged(v: Any, out: Any, x: Any, *, beta: Any, divisor: Any) -> Any:  # noqa: ARG001
    """Move an average towards a value, and return the corrected average for `out`."""
    v = average(v, x, beta=beta)
    return v, v / divisor


def ewa_weights(beta: float, count: int) -> np.ndarray:
    """Return the weights of the last values in an average: (1 - beta) beta**k.

    Args:
        beta: in [0, 1).
        count: how many, at least 1; the first is the newest value's.

    Returns:
        (count,) float64; all there are sum to 1.

    >>> ewa_weights(0.98, 2).round(4)  # the course: .02 and .0196
    array([0.02  , 0.0196])
    """
    beta = check_number("beta", beta, BETA)
    powers = np.arange(check_int("count", count, least=1, most=1 << 59))
    with np.errstate(under="ignore"):
        return (1 - beta) * beta**powers


def ewa_window(beta: float) -> float:
    """Return how many values an average is about: 1 / (1 - beta).

    Older values weigh less than 1/e of the newest, as beta**(1 / (1 - beta)) is near
    1/e: .9**10 is .349, .98**50 is .364.

    >>> round(ewa_window(0.9)), round(ewa_window(0.98)), round(ewa_window(0.5))
    (10, 50, 2)
    """
    return 1 / (1 - check_number("beta", beta, BETA))


average_kernel, averaged_kernel = Kernel(average), Kernel(averaged)


def check_initial(initial: Any) -> Any:
    """Refuse what is neither a word that says where to start, nor numbers."""
    if isinstance(initial, str):
        fits = initial in {"zero", "first"}
    else:
        fits = is_on_device(initial) or holds_numbers(initial)
    if not fits:
        message = f"initial must be 'zero', 'first' or a value, got {shown(initial)}"
        raise ArgumentError(message)
    return initial


def starts_from_zero(initial: Any) -> bool:
    """Return whether an average starts from zero, which its correction undoes."""
    return isinstance(initial, str) and initial == "zero"


def initial_row(backend: Backend, x: Array, initial: Any) -> Array:
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
