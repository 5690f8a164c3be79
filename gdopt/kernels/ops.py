"""The operations a rule may use: one row each, with its text on every engine.

NumPy's other functions are built from them in `gdopt.kernels.symbol`, so that every
engine gives the same bits.
"""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Callable
from numbers import Complex
from typing import Any, NamedTuple

import numpy as np

from gdopt.arrays.dtypes import is_float
from gdopt.checks import shown
from gdopt.errors import ArgumentTypeError


def select(condition: Any, chosen: Any, other: Any, out: Any) -> None:
    """Write `chosen` where `condition` holds and `other` elsewhere."""
    np.copyto(out, other)
    np.copyto(out, chosen, where=condition)


LANES = 32


def lane_sums(x: Any, out: Any = None) -> Any:
    """Add up the rows of a matrix (m, n) in the order that every engine keeps.

    Row k is added to lane k modulo 32, starting from 0.0, one row after the other; the
    lanes are added by halves: lane 0 and lane 16, 1 and 17, ..., then 0 and 8, ...
    """
    rows, columns = x.shape
    whole = rows - rows % LANES
    # What is added to lanes that no row reaches is 0.0: a few rows need no more lanes.
    half = min(LANES, 1 << max(0, rows - 1).bit_length())
    lanes = np.zeros((half, columns), x.dtype)
    if whole:
        blocks = x[:whole].reshape(-1, LANES, columns)
        np.add.reduce(blocks, axis=0, out=lanes, initial=0)
    lanes[: rows - whole] += x[whole:]
    while half > 1:
        half //= 2
        lanes[:half] += lanes[half : 2 * half]
    return np.positive(lanes[0], out=out)


def _ieee(fast: Callable[..., Any], exact: Callable[..., Any]) -> Callable[..., Any]:
    """Where Python raises, return the infinity or NaN that IEEE 754 prescribes."""

    def function(*arguments: float) -> Any:
        try:
            return fast(*arguments)
        except (ArithmeticError, ValueError):
            with np.errstate(all="ignore"):
                return float(exact(*map(np.float64, arguments)))

    function.__wrapped__ = fast  # type: ignore[attr-defined]
    return function


def _second_of_equals(ufunc: Any) -> Callable[..., Any]:
    """Make np.minimum or np.maximum take the second of two zeros, as on x86-64."""
    if np.signbit(ufunc([-0.0, 0.0], [0.0, -0.0])).tolist() == [False, True]:
        return lambda x, y, _, out=None: ufunc(x, y, out=out)
    return lambda x, y, _, out=None: np.positive(
        np.where(x == y, y, ufunc(x, y)), out=out
    )


NEAR_ONE = 1 - 2.0**-10  # below, 1 - x**t keeps 1e-13 of itself, and its plain bits


def _one_minus_power(x: float, t: float) -> float:
    """Return 1 - x**t, near one as -expm1(t log x), which loses no digits."""
    return -math.expm1(t * math.log(x)) if x > NEAR_ONE else 1 - math.pow(x, t)


class Operation(NamedTuple):
    """One operation: CUDA C text, Python text, NumPy function, function of floats.

    The text in JavaScript is that in C where it is not given.
    """

    cuda: str
    python: str
    numpy: Callable[..., Any]
    host: Callable[..., Any]
    gives_boolean: bool = False
    takes_boolean: bool = False
    javascript: str = ""


def _function(numpy: Any, host: Any) -> Operation:
    """Make an operation of a function that all languages call by NumPy's name."""
    text = f"{numpy.__name__}({', '.join(['{}'] * numpy.nin)})"
    return Operation(text, text, numpy, host, javascript=f"Math.{text}")


def _infix(
    sign: str, numpy: Any, host: Any, *, gives_boolean: bool = False
) -> Operation:
    text = f"{{}} {sign} {{}}"
    return Operation(text, text, numpy, host, gives_boolean)


OPERATIONS = {
    "add": _infix("+", np.add, operator.add),
    "subtract": _infix("-", np.subtract, operator.sub),
    "multiply": _infix("*", np.multiply, operator.mul),
    "divide": _infix("/", np.divide, _ieee(operator.truediv, np.divide)),
    "power": Operation(
        "pow({}, {})",
        "{} ** {}",
        np.power,
        _ieee(math.pow, np.power),
        javascript="Math.pow({}, {})",
    ),
    # Of scalars alone: `Symbol.record` makes it of a formula's 1 - x**t.
    "one_minus_power": Operation(
        f"{{0}} > {NEAR_ONE} ? -expm1({{1}} * log({{0}})) : 1.0 - pow({{0}}, {{1}})",
        f"-expm1({{1}} * log({{0}})) if {{0}} > {NEAR_ONE} else 1.0 - {{0}} ** {{1}}",
        lambda x, t: 1 - x**t,
        _ieee(_one_minus_power, lambda x, t: 1 - np.power(x, t)),
        javascript=f"{{0}} > {NEAR_ONE} ? -Math.expm1({{1}} * Math.log({{0}})) "
        ": 1 - Math.pow({0}, {1})",
    ),
    "sqrt": _function(np.sqrt, _ieee(math.sqrt, np.sqrt)),
    "exp": _function(np.exp, _ieee(math.exp, np.exp)),
    "log": _function(np.log, _ieee(math.log, np.log)),
    "log1p": _function(np.log1p, _ieee(math.log1p, np.log1p)),
    "tanh": _function(np.tanh, math.tanh),
    "hypot": _function(np.hypot, math.hypot),
    "floor": Operation(  # by a name that an argument of a rule does not hide
        "::floor({})",
        "np.floor({})",
        np.floor,
        _ieee(lambda x: math.copysign(math.floor(x), x), np.floor),
        javascript="Math.floor({})",
    ),
    # Signs are bits: CUDA's own abs and negation would flush denormals, NumPy's do not.
    "negative": Operation(
        "gdopt_negative({})", "-{}", np.negative, operator.neg, javascript="-({})"
    ),
    "absolute": Operation(
        "gdopt_absolute({})",
        "fabs({})",
        np.absolute,
        operator.abs,
        javascript="Math.abs({})",
    ),
    "copy": Operation("{}", "{}", lambda x, out: np.copyto(out, x), operator.pos),
    "less": _infix("<", np.less, operator.lt, gives_boolean=True),
    "less_equal": _infix("<=", np.less_equal, operator.le, gives_boolean=True),
    "equal": _infix("==", np.equal, operator.eq, gives_boolean=True),
    "not_equal": _infix("!=", np.not_equal, operator.ne, gives_boolean=True),
    "both": Operation(
        "{} && {}", "{} and {}", np.logical_and, operator.and_, True, True
    ),
    "either": Operation(
        "{} || {}", "{} or {}", np.logical_or, operator.or_, True, True
    ),
    "invert": Operation("!{}", "not {}", np.logical_not, operator.not_, True, True),
    "where": Operation(
        "{} ? {} : {}", "{1} if {0} else {2}", select, lambda c, a, b: a if c else b
    ),
    # With their 0 and 1 as arguments: a literal would widen Numba's float32. NumPy's
    # minimum and maximum flush denormals, and so does a product.
    "minimum": Operation(
        "({0} < {1} || {0} != {0} ? {0} : {1}) * {2}",
        "({0} if {0} < {1} or {0} != {0} else {1}) * {2}",
        _second_of_equals(np.minimum),
        lambda x, y, _: x if x < y or math.isnan(x) else y,
    ),
    "maximum": Operation(
        "({0} > {1} || {0} != {0} ? {0} : {1}) * {2}",
        "({0} if {0} > {1} or {0} != {0} else {1}) * {2}",
        _second_of_equals(np.maximum),
        lambda x, y, _: x if x > y or math.isnan(x) else y,
    ),
    "relu": Operation(
        "{0} <= {1} ? {1} : {0}",
        "{1} if {0} <= {1} else {0}",
        lambda x, zero, out=None: np.maximum(x, zero, out=out),
        max,
    ),
    "relu_back": Operation(
        "{0} * ({1} > {2} ? {3} : {2})",
        "{0} * ({3} if {1} > {2} else {2})",
        lambda d, a, zero, _, out: np.multiply(d, a > zero, out=out),
        lambda d, a, zero, one: d * (one if a > zero else zero),
    ),
    "one_hot": Operation(
        "{0} == {1} ? {2} : {3}",
        "{2} if {0} == {1} else {3}",
        lambda column, label, *_: column == label,
        lambda column, label, one, zero: one if column == label else zero,
    ),
    # Of each row of a matrix; `RowKernel` prints them for CUDA.
    "row_sum": Operation("", "", lambda x: lane_sums(x.T)[:, None], operator.pos),
    "row_max": Operation("", "", lambda x: x.max(axis=1, keepdims=True), operator.pos),
    "row_pick": Operation(
        "", "", lambda x, k: np.take_along_axis(x, k, axis=1), lambda x, _: x
    ),
}


def check_operand(name: str, value: Any) -> None:
    """Refuse what a formula does not compute with: it takes numbers and arrays."""
    if hasattr(type(value), "record"):  # a symbol, or what stands for several
        return
    dtype = getattr(value, "dtype", None)
    if isinstance(dtype, np.dtype):
        fits = dtype.kind in "iufc" or is_float(dtype)
    else:
        fits = isinstance(value, Complex)
    if not fits or isinstance(value, bool | np.ma.MaskedArray | np.matrix):
        message = f"{name} must be a number or an array, got {shown(value)}"
        raise ArgumentTypeError(message)


def apply(operation: str, *arguments: Any) -> Any:
    """Apply an operation to symbols (which records it), to arrays or to numbers."""
    for argument in arguments:
        record = getattr(type(argument), "record", None)
        if record is not None:
            return record(operation, *arguments)
        if isinstance(argument, np.ndarray):
            return OPERATIONS[operation].numpy(*arguments)
    return OPERATIONS[operation].host(*arguments)


def relu(x: Any) -> Any:
    """Return x above zero, and 0.0 elsewhere; NaN stays NaN."""
    return apply("relu", x, 0.0)


def relu_back(d: Any, a: Any) -> Any:
    """Return d times 1 where a is above zero, and times 0 elsewhere."""
    return apply("relu_back", d, a, 0.0, 1.0)


def one_hot(column: Any, label: Any) -> Any:
    """Return 1 in the column that the label of a row names, and 0 elsewhere."""
    return apply("one_hot", column, label, 1.0, 0.0)


row_sum = functools.partial(apply, "row_sum")  # in the order of `lane_sums`
row_max = functools.partial(apply, "row_max")  # NaN wins
row_pick = functools.partial(apply, "row_pick")  # what is in the column of a label
