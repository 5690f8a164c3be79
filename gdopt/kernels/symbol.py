"""Symbols: the values a rule is traced with, which record what is done to them."""

from __future__ import annotations

from collections.abc import Iterable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import numpy as np

from gdopt.checks import shown
from gdopt.errors import RuleError
from gdopt.kernels.ops import OPERATIONS

LARGEST_LOWERED_POWER = 16  # beyond it a library's power is shorter than the products
# Kinds: for how much of an array there is one value. Scalars are the same for all
# arrays. Rows are the first axis, columns are all others.
SCALAR, ARRAY, ROW, COLUMN, ELEMENT = "scalar", "array", "row", "column", "element"
BY_SHAPE = ("rows_", "columns_", "size_")  # names of the numbers that a shape gives


@dataclass
class Trace:
    """The formula that is being traced."""

    axes: int  # of its arrays
    by_shape: bool = False  # whether it has asked for these, or for a shape, or reduces


TRACE: ContextVar[Trace] = ContextVar("TRACE")


def join_kinds(kinds: Iterable[str]) -> str:
    """Return the kind of an operation: rows with columns are elements."""
    found = set(kinds)
    if found >= {ROW, COLUMN}:
        return ELEMENT
    order = (ELEMENT, COLUMN, ROW, ARRAY, SCALAR)
    return next(kind for kind in order if kind in found)


def own_kind(kind: str, axes: int) -> str:
    """Return the kind for arrays of so few axes: a vector has one column.

    >>> own_kind("row", 2), own_kind("row", 1), own_kind("column", 1)
    ('row', 'element', 'array')
    """
    return kind if axes > 1 else {ROW: ELEMENT, COLUMN: ARRAY}.get(kind, kind)


def reduced_shape(kind: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape of an array with one value of a kind, for arrays of a shape."""
    if kind == ARRAY:
        return ()
    if kind == ROW:
        return (*shape[:1], *[1] * len(shape[1:]))
    return (1, *shape[1:]) if kind == COLUMN else shape


class Symbol:
    """A value in a rule that is not yet known: an input or a recorded operation.

    The operation is a row of OPERATIONS, or ``sum``, ``max`` or ``norm``; None for
    inputs, which have a name, and for constants, which have a value. ``==`` is recorded
    as well: compare symbols themselves with ``is``, or `is_among`.
    """

    __slots__ = ("arguments", "axes", "boolean", "kind", "name", "operation", "value")

    def __init__(
        self,
        operation: str | None = None,
        arguments: tuple[Symbol, ...] = (),
        *,
        name: str = "",
        value: float | None = None,
        kind: str = SCALAR,
        boolean: bool = False,
        axes: int | None = None,
    ) -> None:
        self.operation = operation
        self.arguments = arguments
        self.name = name
        self.value = value
        self.kind = kind
        self.boolean = boolean
        inherited: int = max((argument.axes for argument in arguments), default=0)
        self.axes: int = inherited if axes is None else axes

    @property
    def element(self) -> bool:
        """Whether there is one value for each element."""
        return self.kind == ELEMENT

    @staticmethod
    def of(value: Any) -> Symbol:
        """Make a number a constant; refuse what is not a number."""
        if isinstance(value, Symbol):
            return value.as_real()
        if isinstance(value, np.ndarray) and not value.ndim:
            value = value[()]
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
        joined = join_kinds(argument.kind for argument in arguments)
        for place, argument in enumerate(arguments):
            wanted = row.takes_boolean or (operation == "where" and place == 0)
            if argument.boolean != wanted:
                kind = "a comparison" if wanted else "a number, not a comparison"
                line = "x != 0" if wanted else "np.where(condition, x, y)"
                message = f"{operation} needs {kind} as argument {place + 1}"
                message += f": write {line}"
                raise RuleError(message)
            if wanted and argument.kind != joined:
                arguments[place] = _spread(argument, joined)
        first, last = arguments[0], arguments[-1]
        one_minus = operation == "subtract" and first.value == 1 and joined == SCALAR
        if one_minus and last.operation == "power":
            return Symbol("one_minus_power", last.arguments)
        if operation in {"minimum", "maximum"} and joined == ELEMENT:
            # NumPy takes half the time where both are arrays.
            arguments[:2] = map(_as_element, arguments[:2])
        return Symbol(
            operation, tuple(arguments), kind=joined, boolean=row.gives_boolean
        )

    @property
    def ndim(self) -> int:
        """Number of axes, which is known while a formula is traced."""
        TRACE.get().by_shape = True
        return self.axes

    @property
    def size(self) -> Symbol:
        """Number of elements, a value."""
        TRACE.get().by_shape = True
        return Symbol(name="size_", kind=ARRAY)

    @property
    def shape(self) -> tuple[Symbol, ...]:
        """Lengths of the axes, values; of more than two axes they are not known."""
        TRACE.get().by_shape = True
        if self.axes > 2:
            message = "a rule knows the shape of arrays of at most two axes: use p.size"
            raise RuleError(message)
        names = ((), ("size_",), ("rows_", "columns_"))[self.axes]
        return tuple(Symbol(name=name, kind=ARRAY) for name in names)

    def __pow__(self, exponent: Any) -> Any:
        return _power(self, exponent)

    def __rpow__(self, base: Any) -> Symbol:
        return Symbol.record("power", base, self)

    def __pos__(self) -> Symbol:
        return self

    def as_real(self) -> Symbol:
        """Return the value itself, as it is real."""
        return self

    @property
    def real(self) -> Symbol:
        """The real part: of a real value itself."""
        return self

    @property
    def imag(self) -> Symbol:
        """The imaginary part: of a real value 0."""
        return Symbol.of(0.0)

    def conjugate(self) -> Symbol:
        """Return the complex conjugate: of a real value itself."""
        return self

    conj = conjugate

    def __xor__(self, other: Any) -> Any:
        both, either = (Symbol.record(o, self, other) for o in ("both", "either"))
        return Symbol.record("both", either, Symbol.record("invert", both))

    __rxor__ = __xor__

    def __bool__(self) -> bool:
        raise RuleError(
            "a rule cannot branch on a value, as it is traced once for all elements: "
            "write np.where(condition, x, y) for if, & | ~ for and, or, not, "
            "(x == a) | (x == b) for x in (a, b), (a < x) & (x < b) for a < x < b, "
            "np.minimum(x, y) for min(x, y), np.maximum(x, y) for max(x, y)"
        )

    def __float__(self) -> float:
        raise RuleError(
            "a rule cannot turn a value into a Python number: write np.sqrt(x), "
            "np.exp(x), ... for math.sqrt(x), math.exp(x), ..."
        )

    __int__ = __index__ = __complex__ = __float__
    __hash__ = object.__hash__  # by identity: dictionaries and sets do not call ==


def is_among(symbol: Symbol, symbols: Iterable[Symbol]) -> bool:
    """Return whether a symbol itself is one of others."""
    return any(symbol is other for other in symbols)


def _as_element(value: Symbol) -> Symbol:
    return value if value.element else Symbol("copy", (value,), kind=ELEMENT)


def _spread(condition: Symbol, kind: str) -> Symbol:
    """Make a condition one of a finer kind, as only numbers are carried into loops."""
    number = Symbol.record("where", condition, 1.0, 0.0)
    return Symbol("not_equal", (number, Symbol.of(0.0)), kind=kind, boolean=True)


def _power(base: Symbol, exponent: Any) -> Any:
    """Lower integer and half powers to products and roots, which are exact.

    Of scalars only the square root: the host's power is Python's own.
    """
    known = exponent.value if isinstance(exponent, Symbol) else exponent
    if not isinstance(known, int | float) or (base.kind == SCALAR and known != 0.5):
        return Symbol.record("power", base, exponent)
    whole, half = divmod(abs(known), 1)
    if half not in {0, 0.5} or whole > LARGEST_LOWERED_POWER:
        return Symbol.record("power", base, exponent)
    if base.operation == "absolute" and not half and not whole % 2:
        (base,) = base.arguments  # np.abs(x)**2 is x * x
    result: Any = Symbol.record("sqrt", base) if half else None
    for _ in range(int(whole)):
        result = base if result is None else base * result
    if result is None:
        return 1.0
    return result if known > 0 else 1.0 / result


def _operator(method: str, operation: str) -> None:
    def forward(self: Symbol, *others: Any) -> Symbol:
        return Symbol.record(operation, self, *others)

    def swapped(self: Symbol, other: Any) -> Symbol:
        return Symbol.record(operation, other, self)

    reverse = {"lt": "gt", "le": "ge"}.get(method, f"r{method}")
    setattr(Symbol, f"__{method}__", forward)
    setattr(Symbol, f"__{reverse}__", swapped)


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
