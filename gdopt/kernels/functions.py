"""What NumPy's functions, and Python's, do with the symbols of a rule.

What is not an operation of rules is refused, with the line to write instead.
"""

from __future__ import annotations

import inspect
import operator
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from gdopt.errors import RuleError
from gdopt.kernels.ops import OPERATIONS
from gdopt.kernels.symbol import ARRAY, COLUMN, ELEMENT, ROW, SCALAR, TRACE, Symbol


def _recorded(operation: str) -> Callable[..., Any]:
    return lambda *values: Symbol.record(operation, *values)


def _where(condition: Any, x: Any, y: Any) -> Symbol:
    return Symbol.record("where", condition, x, y)


def _clip(  # the arguments are NumPy's
    x: Any,
    a_min: Any = None,
    a_max: Any = None,
    *,
    min: Any = None,  # noqa: A002
    max: Any = None,  # noqa: A002
) -> Any:
    """Clip as NumPy does: of equal values x is taken, unless a bound is an array."""
    low, high = a_min if min is None else min, a_max if max is None else max
    known = [Symbol.of(bound) for bound in (low, high) if bound is not None]
    by_array = any(bound.element for bound in known)
    for limit, bound in ((np.maximum, low), (np.minimum, high)):
        if bound is not None:
            x = limit(x, bound) if by_array or len(known) < 2 else limit(bound, x)
    return x


def _reduce(
    operation: str, x: Any, axis: Any, keepdims: Any, name: str
) -> tuple[Symbol, list[str]]:
    """Record a reduction; return it and the names of the numbers that it counts."""
    x, trace = Symbol.of(x), TRACE.get()
    trace.by_shape = True
    if x.boolean:
        message = f"{name} needs numbers, not a comparison: write "
        raise RuleError(message + f"{name}(np.where(condition, 1.0, 0.0))")
    one = abs(x) if operation == "norm" else x  # over axes of length one
    if x.kind in {SCALAR, ARRAY}:
        return one, []
    axes = _axes_of(name, x, axis)
    if operation == "norm" and axis is not None and not 1 <= len(axes) <= 2:
        squares = f"np.sqrt(np.sum(x * x, axis={axis}, keepdims=True))"
        message = f"{name} takes one or two axes, got axis={axis}: write {squares}"
        raise RuleError(message)
    left = x.axes if keepdims else x.axes - len(axes)
    if len(axes) == x.axes:
        names = {ELEMENT: "size_", ROW: "rows_", COLUMN: "columns_"}
        return Symbol(operation, (x,), kind=ARRAY, axes=left), [names[x.kind]]
    if not axes:
        return one, []
    if x.axes < trace.axes or axes not in {(0,), tuple(range(1, x.axes))}:
        raise RuleError(
            f"{name} in a rule is over all axes, over the first (axis=0) or over all "
            f"but the first (axis={tuple(range(1, trace.axes))}, keepdims=True), got "
            f"axis={axis}"
        )
    if axes == (0,):
        kind = {ELEMENT: COLUMN, ROW: ARRAY, COLUMN: COLUMN}[x.kind]
        count = [] if x.kind == COLUMN else ["rows_"]
    else:
        if not keepdims:
            raise RuleError(
                f"{name} over rows needs keepdims=True: without it, one value for each "
                f"row is not taken as such by the operations on rows, got axis={axis}"
            )
        kind = {ELEMENT: ROW, COLUMN: ARRAY, ROW: ROW}[x.kind]
        count = [] if x.kind == ROW else ["columns_"]
    if not count:
        return one, []
    return Symbol(operation, (x,), kind=kind, axes=left), count


def _axes_of(name: str, x: Symbol, axis: Any) -> tuple[int, ...]:
    """Return the axes that a reduction is over, in order."""
    if axis is None:
        return tuple(range(x.axes))
    axes = axis if isinstance(axis, tuple) else (axis,)
    for one in axes:
        if not isinstance(one, int) or not -x.axes <= one < x.axes:
            rule = f"{name} takes axes from {-x.axes} to {x.axes - 1}"
            raise RuleError(f"{rule} of an array of {x.axes} axes, got axis={axis!r}")
    return tuple(sorted({one % x.axes for one in axes}))


def _sum(x: Any, axis: Any = None, *, keepdims: Any = False) -> Symbol:
    return _reduce("sum", x, axis, keepdims, "np.sum")[0]


def _mean(x: Any, axis: Any = None, *, keepdims: Any = False) -> Symbol:
    total, counted = _reduce("sum", x, axis, keepdims, "np.mean")
    for name in counted:
        total = Symbol.record("divide", total, Symbol(name=name, kind=ARRAY))
    return total


def _max(x: Any, axis: Any = None, *, keepdims: Any = False) -> Symbol:
    return _reduce("max", x, axis, keepdims, "np.max")[0]


def _norm(x: Any, *, axis: Any = None, keepdims: Any = False) -> Symbol:
    return _reduce("norm", x, axis, keepdims, "np.linalg.norm")[0]


# NumPy's own semantics: np.sign(-0.0) is 0.0; NaN wins in np.minimum and np.maximum.
UFUNCS: dict[Any, Callable[..., Any]] = {
    getattr(np, name): _recorded(name)
    for name in OPERATIONS
    if isinstance(getattr(np, name, None), np.ufunc)
} | {
    np.power: operator.pow,
    np.positive: operator.pos,
    np.square: lambda x: x**2,
    np.conjugate: lambda x: x.conjugate(),
    np.reciprocal: lambda x: 1.0 / x,
    np.greater: lambda x, y: y < x,
    np.greater_equal: lambda x, y: y <= x,
    np.isnan: lambda x: x != x,  # noqa: PLR0124 - NaN alone differs from itself
    np.logical_and: operator.and_,
    np.logical_or: operator.or_,
    np.logical_not: operator.invert,
    np.logical_xor: operator.xor,
    np.bitwise_and: operator.and_,
    np.bitwise_or: operator.or_,
    np.bitwise_xor: operator.xor,
    np.invert: operator.invert,
    np.sign: lambda x: _where(x > 0, 1.0, _where(x < 0, -1.0, x + 0.0)),
    np.minimum: lambda x, y: Symbol.record("minimum", x, y, 1.0),
    np.maximum: lambda x, y: Symbol.record("maximum", x, y, 1.0),
}
FUNCTIONS: dict[Any, Callable[..., Any]] = {
    np.where: _where,
    np.clip: _clip,
    np.sum: _sum,
    np.mean: _mean,
    np.max: _max,
    np.linalg.norm: _norm,
    np.real: lambda val: val.real,
    np.imag: lambda val: val.imag,
}
INSTEAD = {  # what to write for what is not an operation of rules
    "np.cbrt": "np.sign(x) * abs(x) ** (1 / 3)",
    "np.copysign": "np.where(y < 0, -abs(x), abs(x))",
    "np.all": "np.max(np.where(condition, 0.0, 1.0)) == 0",
    "np.any": "np.max(np.where(condition, 1.0, 0.0)) > 0",
    "np.average": "np.mean(x)",
    "np.dot": "np.sum(x * y)",
    "np.exp2": "2.0 ** x",
    "np.expm1": "np.exp(x) - 1",
    "np.fabs": "np.abs(x)",
    "np.float_power": "x ** y",
    "np.fmax": "np.maximum(x, y)",
    "np.fmin": "np.minimum(x, y)",
    "np.heaviside": "np.where(x > 0, 1.0, np.where(x < 0, 0.0, y))",
    "np.isfinite": "abs(x) < np.inf",
    "np.isinf": "abs(x) == np.inf",
    "np.log2": "np.log(x) / np.log(2)",
    "np.log10": "np.log(x) / np.log(10)",
    "np.nan_to_num": "np.where(np.isnan(x), 0.0, x)",
    "np.min": "-np.max(-x)",
    "np.std": "np.sqrt(np.mean((x - np.mean(x)) ** 2))",
    "np.var": "np.mean((x - np.mean(x)) ** 2)",
    "np.vdot": "np.sum(x * y)",
    "np.add.reduce": "np.sum(x)",
    "np.maximum.reduce": "np.max(x)",
    "iteration, as in sum(x),": "np.sum(x), or np.max(x) for max(x)",
    "math.floor": "np.floor(x)",
    "//": "np.floor(x / y)",
    "%": "x - y * np.floor(x / y)",
    "np.sinh": "(np.exp(x) - np.exp(-x)) / 2",
    "np.cosh": "(np.exp(x) + np.exp(-x)) / 2",
}
INSTEAD |= {f".{n}": f"np.{n}(x)" for n in ("sum", "mean", "max")}
INSTEAD |= {f".{n}": INSTEAD[f"np.{n}"] for n in ("min", "std", "var")}


def _unknown(what: str) -> str:
    if what in INSTEAD:
        return f"{what} is not an operation of rules: write {INSTEAD[what]}"
    names = sorted(f.__name__ for f in [*UFUNCS, *FUNCTIONS])
    return (
        f"{what} is not an operation of rules, which are + - * / ** == != < <= > >= "
        f"& | ^ ~ and, of NumPy, {', '.join(names)}"
    )


def _refuse_keywords(name: str, keywords: Iterable[str]) -> None:
    if given := ", ".join(f"{keyword}=" for keyword in keywords):
        raise RuleError(
            f"{name} takes no {given} in a rule: write y = {name}(...), as values are "
            "new ones, for all elements, in the dtype of the arithmetic"
        )


def _array_ufunc(
    _: Symbol, ufunc: Any, method: str, *inputs: Any, **keywords: Any
) -> Any:
    name = f"np.{ufunc.__name__}"
    if method != "__call__":
        raise RuleError(_unknown(f"{name}.{method}"))
    if ufunc not in UFUNCS:
        raise RuleError(_unknown(name))
    _refuse_keywords(name, keywords)
    return UFUNCS[ufunc](*map(Symbol.of, inputs))


def _array_function(
    _: Symbol, function: Any, __: Any, arguments: Any, keywords: Any
) -> Any:
    name = f"{function.__module__}.{function.__name__}".replace("numpy", "np")
    if function not in FUNCTIONS:
        raise RuleError(_unknown(name))
    known = inspect.signature(FUNCTIONS[function])
    try:
        known.bind(*arguments, **keywords)
    except TypeError:
        form = ", ".join(known.parameters)
        other = [
            f"{keyword}=" for keyword in keywords if keyword not in known.parameters
        ]
        got = ", ".join(other) or f"{len(arguments)} values"
        raise RuleError(f"{name} takes ({form}) in a rule, got {got}") from None
    return FUNCTIONS[function](*arguments, **keywords)


def _getattr(_: Symbol, name: str) -> Any:
    if name.startswith("_"):
        raise AttributeError(name)
    raise RuleError(_unknown(f".{name}"))


def _refusal(method: str, what: str) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise RuleError(_unknown(what))

    setattr(Symbol, f"__{method}__", refuse)
    setattr(Symbol, f"__r{method}__", refuse)


for _method, _function in {
    "array_ufunc": _array_ufunc,
    "array_function": _array_function,
    "getattr": _getattr,
}.items():
    setattr(Symbol, f"__{_method}__", _function)
for _method, _what in {
    "matmul": "@",
    "mod": "%",
    "floordiv": "//",
    "divmod": "divmod",
    "round": "round",
    "trunc": "math.trunc",
    "floor": "math.floor",
    "ceil": "math.ceil",
    "getitem": "indexing",
    "setitem": "assignment to an element",
    "iter": "iteration, as in sum(x),",
    "len": "len",
    "array": "a NumPy function of whole arrays",
}.items():
    _refusal(_method, _what)
