"""Symbols: the values a rule is traced with, which record what is done to them."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from gdopt.checks import shown
from gdopt.errors import RuleError
from gdopt.kernels import ops
from gdopt.kernels.ops import OPERATIONS

LARGEST_LOWERED_POWER = 16  # beyond it a library's power is shorter than the products


class Symbol:
    """A value in a rule that is not yet known: an input or a recorded operation.

    Symbols compare by identity; ``==`` is not overloaded.
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
                message = f"{operation} needs {kind} as argument {place + 1}"
                hint = "" if wanted else "; choose values with where(condition, x, y)"
                raise RuleError(message + hint)
            if wanted and element and not argument.element:
                arguments[place] = _spread(argument)
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

    def __bool__(self) -> bool:
        message = (
            "a rule cannot branch on a value, as it is traced once for all elements: "
            "write where(condition, x, y)"
        )
        raise RuleError(message)

    def __float__(self) -> float:
        message = (
            "a rule cannot turn a symbol into a number: use gdopt's sqrt, exp, log, "
            "where, ... instead of math's"
        )
        raise RuleError(message)

    __int__ = __index__ = __complex__ = __float__

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **_: Any) -> Any:
        if method != "__call__" or ufunc not in UFUNCS:
            raise RuleError(_unknown(f"numpy.{ufunc.__name__}"))
        return UFUNCS[ufunc](*map(Symbol.of, inputs))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        raise RuleError(_unknown(f".{name}"))


def _as_element(value: Symbol) -> Symbol:
    return value if value.element else Symbol("copy", (value,), element=True)


def _spread(condition: Symbol) -> Symbol:
    """Make a condition of scalars one of elements, as hoisted values are numbers."""
    number = Symbol.record("where", condition, 1.0, 0.0)
    return Symbol("not_equal", (number, Symbol.of(0.0)), element=True, boolean=True)


def _power(base: Symbol, exponent: Any) -> Any:
    """Lower integer and half powers of elements to products and roots."""
    known = exponent.value if isinstance(exponent, Symbol) else exponent
    if not base.element or not isinstance(known, int | float):
        return Symbol.record("power", base, exponent)
    whole, half = divmod(abs(known), 1)
    if half not in {0, 0.5} or whole > LARGEST_LOWERED_POWER:
        return Symbol.record("power", base, exponent)
    result: Any = ops.sqrt(base) if half else None
    for _ in range(int(whole)):
        result = base if result is None else base * result
    if result is None:
        return 1.0
    return result if known > 0 else 1.0 / result


UFUNCS: dict[Any, Callable[..., Any]] = {
    np.add: operator.add,
    np.subtract: operator.sub,
    np.multiply: operator.mul,
    np.divide: operator.truediv,
    np.power: operator.pow,
    np.negative: operator.neg,
    np.absolute: operator.abs,
    np.sqrt: ops.sqrt,
    np.exp: ops.exp,
    np.log: ops.log,
    np.log1p: ops.log1p,
    np.tanh: ops.tanh,
    np.square: ops.square,
    np.sign: ops.sign,
    np.minimum: ops.minimum,
    np.maximum: ops.maximum,
    np.less: operator.lt,
    np.less_equal: operator.le,
    np.greater: operator.gt,
    np.greater_equal: operator.ge,
    np.equal: ops.equal,
    np.not_equal: ops.not_equal,
}


def _unknown(what: str) -> str:
    return (
        f"{what} is not an operation of rules; they are + - * / **, abs, < <= > >=, "
        "& | ~, sqrt, square, exp, log, log1p, tanh, sign, minimum, maximum, equal, "
        "not_equal, where"
    )


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
    "xor": "^",
    "getitem": "indexing",
    "iter": "iteration",
    "len": "len",
    "array": "a NumPy function of whole arrays",
}.items():
    _refusal(_method, _what)
