"""Traces a rule once with symbols into a program: instructions on arrays.

Expressions of scalars alone are hoisted: the host computes them in float64, once a
step, and casts once. What is left of the instructions is done for every element.
"""

from __future__ import annotations

import inspect
import keyword
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from gdopt.checks import listed, shown
from gdopt.errors import RuleError
from gdopt.kernels import functions  # noqa: F401 - what NumPy does with symbols
from gdopt.kernels.ops import OPERATIONS
from gdopt.kernels.symbol import (
    ARRAY,
    ELEMENT,
    TRACE,
    Symbol,
    Trace,
    is_among,
    join_kinds,
    own_kind,
)

ENGINES_OWN = ("t", "norm")  # the step count, and the norm of all gradients
NAME = re.compile(r"(?<![:\w])[a-z]\w+")  # but ::floor, which no argument hides
VALUE = "v_{}_"  # the value of a name in a text, where only printers' names end so
WORDS = frozenset(  # of Python, C++ and CuPy, and functions that CUDA's texts call
    [
        *keyword.kwlist,
        *(w for row in OPERATIONS.values() for w in NAME.findall(row.cuda)),
        *"""alignas alignof and_eq asm auto bitand bitor bool case catch char char8_t
        char16_t char32_t compl concept const const_cast consteval constexpr constinit
        co_await co_return co_yield decltype default delete do double dynamic_cast enum
        explicit export extern false float friend goto inline int long match mutable
        namespace new noexcept not_eq nullptr operator or_eq private protected public
        register reinterpret_cast requires short signed sizeof static static_assert
        static_cast struct switch template this thread_local throw true typedef typeid
        typename union unsigned using virtual void volatile wchar_t xor xor_eq
        half float16 float32 float64 ptrdiff_t CArray CIndexer
        blockDim blockIdx gridDim threadIdx""".split(),  # noqa: SIM905 - 90 words
    ]
)


def is_reserved(name: str) -> bool:
    """Return whether a name is not one for an argument of a rule.

    CuPy gives i and n to the kernel and keeps names that begin with an underscore;
    names that end with one or begin with gdopt_, and x or s with a number, are the
    printers' own. Numba's texts have a prefix before the names of a rule.
    """
    own = name in {"i", "n"} or (name[0] in "xs" and name[1:].isdigit())
    return own or name in WORDS or name.startswith(("_", "gdopt_")) or name[-1] == "_"


@dataclass(frozen=True)
class Signature:
    """What a rule takes: arrays by position, scalars by keyword, and defaults."""

    arrays: tuple[str, ...]
    scalars: tuple[str, ...]
    defaults: Mapping[str, float]

    @classmethod
    def of(cls, function: Callable[..., Any]) -> Signature:
        """Read a function's signature, and refuse what a rule cannot have."""
        arrays, scalars, defaults = [], [], {}
        name = getattr(function, "__name__", repr(function))
        if isinstance(function, type):
            raise RuleError(f"a rule must be a function, got the class {name}")
        try:
            parameters = inspect.signature(function).parameters.values()
        except (TypeError, ValueError):
            message = f"a rule must be a function, got {shown(function)}"
            raise RuleError(message) from None
        for parameter in parameters:
            if parameter.kind in {parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD}:
                message = f"{name}: a rule names its arguments, got *{parameter.name}"
                raise RuleError(message)
            if is_reserved(parameter.name):
                raise RuleError(
                    f"{name}: {parameter.name!r} is a reserved name (i, n, x0, s0, "
                    "words of C++, an underscore at either end): choose another"
                )
            if parameter.kind is parameter.KEYWORD_ONLY:
                scalars.append(parameter.name)
                if parameter.default is not parameter.empty:
                    defaults[parameter.name] = parameter.default
            elif parameter.default is not parameter.empty:
                raise RuleError(
                    f"{name}: {parameter.name!r} has a default, but positional "
                    "arguments are arrays; put hyper-parameters after a *"
                )
            else:
                arrays.append(parameter.name)
        if not arrays:
            raise RuleError(f"{name}: a rule takes at least one array by position")
        return cls(tuple(arrays), tuple(scalars), defaults)

    def put_on(self, function: Any) -> None:
        """Make it the signature of a function that takes any arguments."""
        kind = inspect.Parameter
        arrays = [kind(name, kind.POSITIONAL_OR_KEYWORD) for name in self.arrays]
        scalars = [
            kind(name, kind.KEYWORD_ONLY, default=self.defaults.get(name, kind.empty))
            for name in self.scalars
        ]
        function.__signature__ = inspect.Signature([*arrays, *scalars])

    def starred(self, count: int) -> str:
        """Write the signature with `count` arrays, and the others after a ``*``."""
        others = (*self.arrays[count:], *self.scalars)
        star = ("*", *others) if others else ()
        return f"({', '.join((*self.arrays[:count], *star))})"

    def __str__(self) -> str:
        return self.starred(len(self.arrays))


@dataclass(frozen=True, eq=False, kw_only=True)
class BaseProgram:
    """What element-wise programs and those with reductions have in common."""

    name: str  # of the rule, as a word of C
    # In the order of the arrays of a run: by position, then hyper-parameters as arrays.
    inputs: tuple[Symbol, ...]
    results: tuple[Symbol, ...]  # what the first inputs become; others are only read
    hoisted: tuple[Symbol, ...]  # expressions of scalars, computed once a step
    places: Mapping[Symbol, int]  # of these expressions among the hoisted values
    scalars: tuple[str, ...]  # names of the scalar arguments

    @property
    def arguments(self) -> list[str]:
        """What texts call the arrays: a_p, as no printer's own name begins."""
        return [f"a_{symbol.name}" for symbol in self.inputs]

    @property
    def settings(self) -> list[str]:
        """Names of the scalars that a step does not compute itself."""
        return [name for name in self.scalars if name not in ENGINES_OWN]

    def writes(self, place: int) -> bool:
        """Return whether the input at that place changes."""
        results = self.results
        return place < len(results) and results[place] is not self.inputs[place]


@dataclass(frozen=True, eq=False, kw_only=True)
class Program(BaseProgram):
    """A traced rule: what is read, computed for every element, and written."""

    instructions: tuple[Symbol, ...]  # of every element, each behind those it needs
    kept: tuple[Symbol, ...] = ()  # values that are reduced

    def reads(self, symbol: Symbol) -> bool:
        """Return whether an input's value is needed: computed with, or kept."""
        return self._computes_with(symbol) or is_among(symbol, self.results)

    def _computes_with(self, symbol: Symbol) -> bool:
        used = [node.arguments for node in self.instructions]
        return any(is_among(symbol, some) for some in (self.kept, *used))

    @property
    def loads(self) -> int:
        """Elements read for each element of an array."""
        return sum(map(self._computes_with, self.inputs))

    @property
    def stores(self) -> int:
        """Elements written for each element of an array."""
        return sum(map(self.writes, range(len(self.inputs))))

    def names(self) -> dict[Symbol, str]:
        """Name the values of inputs and the hoisted ones in a text: v_p_ and s0."""
        names = {symbol: VALUE.format(symbol.name) for symbol in self.inputs}
        return names | {symbol: f"s{place}" for symbol, place in self.places.items()}


def expression(
    node: Symbol, names: Mapping[Symbol, str], language: str = "python"
) -> str:
    """Print an operation on named values; the language is a column of OPERATIONS."""
    row = OPERATIONS[str(node.operation)]
    text: str = getattr(row, language) or row.cuda
    return text.format(*(names[argument] for argument in node.arguments))


@dataclass(frozen=True, eq=False)
class Formula:
    """What a rule did with symbols; see `BaseProgram`."""

    name: str
    inputs: tuple[Symbol, ...]
    results: tuple[Symbol, ...]
    scalars: tuple[str, ...]
    by_shape: bool  # whether it depends on the arrays' shapes, or reduces

    def nodes(self) -> list[Symbol]:
        """Return inputs, constants and operations, each behind those it needs."""
        found: dict[Symbol, None] = {}

        def visit(node: Symbol) -> None:
            if node not in found:
                for argument in node.arguments:
                    visit(argument)
                found[node] = None

        for result in self.results:
            visit(result)
        return list(found)

    def element_wise(self) -> Program:
        """Return the formula as one pass."""
        operations = tuple(n for n in self.nodes() if n.element and n.operation)
        hoisted, places = hoist(operations, lambda node: not node.element)
        return Program(
            name=self.name,
            inputs=self.inputs,
            results=self.results,
            hoisted=hoisted,
            places=places,
            scalars=self.scalars,
            instructions=operations,
        )


def trace(
    function: Callable[..., Any],
    signature: Signature,
    elements: Collection[str] = (),
    *,
    kinds: Mapping[str, str],
    axes: int,
) -> Formula:
    """Call a rule once with symbols, and record what it does with them."""
    name = getattr(function, "__name__", "rule")
    given = {
        array: own_kind(kinds.get(array, ELEMENT), axes) for array in signature.arrays
    }
    arrays = [
        Symbol(name=array, kind=kind, axes=0 if kind == ARRAY else axes)
        for array, kind in given.items()
    ]
    scalars = {
        scalar: Symbol(name=scalar, kind=ELEMENT, axes=axes)
        if scalar in elements
        else Symbol(name=scalar)
        for scalar in signature.scalars
    }
    traced = Trace(axes, by_shape=bool(kinds))
    token = TRACE.set(traced)
    try:
        returned = function(*arrays, **scalars)
        values = returned if isinstance(returned, tuple) else (returned,)
        if not 1 <= len(values) <= len(arrays):
            raise RuleError(
                f"{name} must return one value for each of its first arrays, at most "
                f"{len(arrays)} ({listed(signature.arrays)}), got {len(values)}"
            )
        results = tuple(
            _own_result(name, array, value)
            for array, value in zip(arrays, values, strict=False)
        )
    finally:
        TRACE.reset(token)
    return Formula(
        name=re.sub(r"\W", "_", name),
        inputs=(*arrays, *(scalars[s] for s in signature.scalars if s in elements)),
        results=results,
        scalars=tuple(s for s in signature.scalars if s not in elements),
        by_shape=traced.by_shape,
    )


def _own_result(name: str, array: Symbol, value: Any) -> Symbol:
    """Make every result an operation's, or the array itself where it is unchanged."""
    result = Symbol.of(value)
    if result.boolean:
        message = f"{name} must return numbers, got a comparison for {array.name!r}"
        raise RuleError(message)
    if join_kinds((array.kind, result.kind)) != array.kind:
        raise RuleError(
            f"{name}: {array.name!r} holds one value for each {array.kind}, got one "
            f"for each {result.kind}: reduce it, or declare per={{{array.name!r}: ...}}"
        )
    own = result.kind == array.kind and result.operation in OPERATIONS
    return (
        result if own or result is array else Symbol("copy", (result,), kind=array.kind)
    )


def hoist(
    operations: Collection[Symbol], is_hoisted: Callable[[Symbol], bool]
) -> tuple[tuple[Symbol, ...], dict[Symbol, int]]:
    """Number the arguments that are computed elsewhere; equal constants share one."""
    numbers: dict[Any, int] = {}
    hoisted: list[Symbol] = []
    places: dict[Symbol, int] = {}
    for node in operations:
        for argument in node.arguments:
            if is_hoisted(argument) and argument not in places:
                key = argument if argument.value is None else repr(argument.value)
                if key not in numbers:
                    numbers[key] = len(hoisted)
                    hoisted.append(argument)
                places[argument] = numbers[key]
    return tuple(hoisted), places


def print_host(
    nodes: Iterable[Symbol],
    write: Callable[[Symbol, Mapping[Symbol, str]], str],
    scalar: str = VALUE,
) -> tuple[list[str], list[str]]:
    """Print the lines that compute expressions of scalars; return their names, too."""
    names: dict[Symbol, str] = {}
    lines: list[str] = []

    def visit(node: Symbol) -> str:
        if node not in names:
            for argument in node.arguments:
                visit(argument)
            named = scalar.format(node.name)
            names[node] = named if node.name else repr(node.value)
            if node.operation is not None:
                names[node] = f"x{len(lines)}"
                lines.append(f"    {names[node]} = {write(node, names)}")
        return names[node]

    values = [visit(node) for node in nodes]
    return lines, values


def compile_host(
    program: BaseProgram, wanted: Collection[Symbol] | None = None
) -> Callable[..., tuple[float, ...]]:
    """Print and compile the function that computes the hoisted values in float64.

    It takes the scalars in order and gives infinities and NaN where Python would raise.
    """
    nodes = program.hoisted if wanted is None else wanted
    scope: dict[str, Any] = {"inf": float("inf"), "nan": float("nan")}
    texts = []
    for kind in ("fast", "exact"):  # the second where Python raises

        def write(node: Symbol, names: Mapping[Symbol, str], kind: str = kind) -> str:
            arguments = ", ".join(names[argument] for argument in node.arguments)
            return f"{kind}_{node.operation}({arguments})"

        lines, values = print_host(nodes, write)
        result = f"    return ({''.join(value + ', ' for value in values)})"
        texts.append("\n    ".join([*lines, result]))
        scope |= {f"{kind}_{name}": row.host for name, row in OPERATIONS.items()}
    for name, row in OPERATIONS.items():
        scope[f"fast_{name}"] = getattr(row.host, "__wrapped__", row.host)
    parameters = ", ".join(map(VALUE.format, program.scalars))
    source = (
        f"def host({parameters}):\n    try:\n    {texts[0]}\n"
        f"    except (ArithmeticError, ValueError):\n    {texts[1]}\n"
    )
    exec(source, scope)  # noqa: S102 - the text is printed from a traced program
    host: Callable[..., tuple[float, ...]] = scope["host"]
    return host
