"""Symbols: the values a rule is traced with, which record what is done to them."""

from __future__ import annotations

import inspect
import operator
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from gdopt.checks import shown
from gdopt.errors import RuleError
from gdopt.kernels.ops import OPERATIONS

LARGEST_LOWERED_POWER = 16  # beyond it a library's power is shorter than the products


class Symbol:
    """A value in a rule that is not yet known: an input or a recorded operation.

    ``==`` is recorded as well: compare symbols themselves with ``is``, or `is_among`.
    """

    __slots__ = ("arguments", "boolean", "element", "name", "operation", "value")

    def __init__(
        self,
        operation: str | None = None,
        arguments: tuple[Symbol, ...] = (),
        *,
        name: str = "",
        value: float | None = None,
        element: bool = False,
        boolean: bool = False,
    ) -> None:
        self.operation = operation
        self.arguments = arguments
        self.name = name
        self.value = value
        self.element = element
        self.boolean = boolean

    @staticmethod
    def of(value: Any) -> Symbol:
        """Make a number a constant; refuse what is not a number."""
        if isinstance(value, Symbol):
            return value
        number = isinstance(value, int | float | np.integer | np.floating)
        if number and not isinstance(value, bool):
            return Symbol(value=float(value))
        message = f"a rule works on its arguments and on numbers, got {shown(value)}"
        raise RuleError(message)

    @staticmethod
    def record(operation: str, *values: Any) -> Symbol:
        """Record an operation; refuse truth values where numbers belong."""
        row = OPERATIONS[operation]
        arguments = [Symbol.of(value) for value in values]
        element = any(argument.element for argument in arguments)
        for place, argument in enumerate(arguments):
            wanted = row.takes_boolean or (operation == "where" and place == 0)
            if argument.boolean != wanted:
                kind = "a comparison" if wanted else "a number, not a comparison"
                line = "x != 0" if wanted else "np.where(condition, x, y)"
                message = f"{operation} needs {kind} as argument {place + 1}"
                message += f": write {line}"
                raise RuleError(message)
            if wanted and element and not argument.element:
                arguments[place] = _spread(argument)
        first, last = arguments[0], arguments[-1]
        one_minus = operation == "subtract" and first.value == 1 and not element
        if one_minus and last.operation == "power":
            return Symbol("one_minus_power", last.arguments)
        if operation in {"minimum", "maximum"} and element:
            # NumPy takes half the time where both are arrays.
            arguments[:2] = map(_as_element, arguments[:2])
        return Symbol(
            operation, tuple(arguments), element=element, boolean=row.gives_boolean
        )

    def __pow__(self, exponent: Any) -> Any:
        return _power(self, exponent)

    def __rpow__(self, base: Any) -> Symbol:
        return Symbol.record("power", base, self)

    def __pos__(self) -> Symbol:
        return self

    def __xor__(self, other: Any) -> Any:
        both, either = (Symbol.record(o, self, other) for o in ("both", "either"))
        return Symbol.record("both", either, Symbol.record("invert", both))

    __rxor__ = __xor__

    def __bool__(self) -> bool:
        message = (
            "a rule cannot branch on a value, as it is traced once for all elements: "
            "write np.where(condition, x, y) for if, & | ~ for and, or, not, "
            "(x == a) | (x == b) for x in (a, b), (a < x) & (x < b) for a < x < b, "
            "np.minimum(x, y) for min(x, y), np.maximum(x, y) for max(x, y)"
        )
        raise RuleError(message)

    def __float__(self) -> float:
        message = (
            "a rule cannot turn a value into a Python number: write np.sqrt(x), "
            "np.exp(x), ... for math.sqrt(x), math.exp(x), ..."
        )
        raise RuleError(message)

    __int__ = __index__ = __complex__ = __float__
    __hash__ = object.__hash__  # by identity: dictionaries and sets do not call ==

    def __array_ufunc__(
        self, ufunc: Any, method: str, *inputs: Any, **keywords: Any
    ) -> Any:
        name = f"np.{ufunc.__name__}"
        if method != "__call__":
            raise RuleError(_unknown(f"{name}.{method}"))
        if ufunc not in UFUNCS:
            raise RuleError(_unknown(name))
        _refuse_keywords(name, keywords)
        return UFUNCS[ufunc](*map(Symbol.of, inputs))

    def __array_function__(
        self, function: Any, _: Any, arguments: Any, keywords: Any
    ) -> Any:
        name = f"{function.__module__}.{function.__name__}".replace("numpy", "np")
        if function not in FUNCTIONS:
            raise RuleError(_unknown(name))
        known = inspect.signature(FUNCTIONS[function])
        _refuse_keywords(name, [k for k in keywords if k not in known.parameters])
        try:
            known.bind(*arguments, **keywords)
        except TypeError:
            form = ", ".join(known.parameters)
            message = f"{name} takes ({form}) in a rule, got {len(arguments)} values"
            raise RuleError(message) from None
        return FUNCTIONS[function](*arguments, **keywords)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        raise RuleError(_unknown(f".{name}"))


def is_among(symbol: Symbol, symbols: Iterable[Symbol]) -> bool:
    """Return whether a symbol itself is one of others."""
    return any(symbol is other for other in symbols)


def _as_element(value: Symbol) -> Symbol:
    return value if value.element else Symbol("copy", (value,), element=True)


def _spread(condition: Symbol) -> Symbol:
    """Make a condition of scalars one of elements, as hoisted values are numbers."""
    number = Symbol.record("where", condition, 1.0, 0.0)
    return Symbol("not_equal", (number, Symbol.of(0.0)), element=True, boolean=True)


def _power(base: Symbol, exponent: Any) -> Any:
    """Lower integer and half powers of elements to products and roots.

    Of scalars only the square root, which is exact on every engine: the host's power
    is Python's own.
    """
    known = exponent.value if isinstance(exponent, Symbol) else exponent
    if not isinstance(known, int | float) or not (base.element or known == 0.5):
        return Symbol.record("power", base, exponent)
    whole, half = divmod(abs(known), 1)
    if half not in {0, 0.5} or whole > LARGEST_LOWERED_POWER:
        return Symbol.record("power", base, exponent)
    result: Any = Symbol.record("sqrt", base) if half else None
    for _ in range(int(whole)):
        result = base if result is None else base * result
    if result is None:
        return 1.0
    return result if known > 0 else 1.0 / result


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


# NumPy's own semantics: np.sign(-0.0) is 0.0; NaN wins in np.minimum and np.maximum.
UFUNCS: dict[Any, Callable[..., Any]] = {
    getattr(np, name): _recorded(name)
    for name in OPERATIONS
    if isinstance(getattr(np, name, None), np.ufunc)
} | {
    np.power: operator.pow,
    np.positive: operator.pos,
    np.square: lambda x: x * x,
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
FUNCTIONS: dict[Any, Callable[..., Any]] = {np.where: _where, np.clip: _clip}
INSTEAD = {  # what to write for what is not an operation of rules
    "np.cbrt": "np.sign(x) * abs(x) ** (1 / 3)",
    "np.copysign": "np.where(y < 0, -abs(x), abs(x))",
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
    "np.sinh": "(np.exp(x) - np.exp(-x)) / 2",
    "np.cosh": "(np.exp(x) + np.exp(-x)) / 2",
}


def _unknown(what: str) -> str:
    if what in INSTEAD:
        return f"{what} is not an operation of rules: write {INSTEAD[what]}"
    names = sorted(f.__name__ for f in [*UFUNCS, *FUNCTIONS])
    return (
        f"{what} is not an operation of rules, which compute every element on its own; "
        "they are + - * / ** == != < <= > >= & | ^ ~ and, of NumPy, "
        f"{', '.join(names)}"
    )


def _refuse_keywords(name: str, keywords: Iterable[str]) -> None:
    if given := ", ".join(f"{keyword}=" for keyword in keywords):
        message = (
            f"{name} takes no {given} in a rule: write y = {name}(...), as values are "
            "new ones, for all elements, in the dtype of the arithmetic"
        )
        raise RuleError(message)


def _operator(method: str, operation: str) -> None:
    def forward(self: Symbol, *others: Any) -> Symbol:
        return Symbol.record(operation, self, *others)

    def swapped(self: Symbol, other: Any) -> Symbol:
        return Symbol.record(operation, other, self)

    reverse = {"lt": "gt", "le": "ge"}.get(method, f"r{method}")
    setattr(Symbol, f"__{method}__", forward)
    setattr(Symbol, f"__{reverse}__", swapped)


def _refusal(method: str, what: str) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise RuleError(_unknown(what))

    setattr(Symbol, f"__{method}__", refuse)
    setattr(Symbol, f"__r{method}__", refuse)


for _method, _operation in {
    "add": "add",
    "sub": "subtract",
    "mul": "multiply",
    "truediv": "divide",
    "and": "both",
    "or": "either",
    "eq": "equal",
    "ne": "not_equal",
    "lt": "less",
    "le": "less_equal",
    "neg": "negative",
    "abs": "absolute",
    "invert": "invert",
}.items():
    _operator(_method, _operation)
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
