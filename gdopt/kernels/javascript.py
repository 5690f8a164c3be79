"""Prints traced formulas as JavaScript, which needs nothing but the language.

A number of JavaScript is a float64. In float32 every operation is rounded by the
function ``f`` that the printed ones take: the sum, difference, product, quotient and
root of float32 values, rounded twice, are what one rounding gives, as float64 has more
than twice their digits. So these, and all that moves or compares values, give NumPy's
bits in both dtypes, and 0 where it flushes denormals. Functions such as exp and pow are
the browser's: they agree but for the last places.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from gdopt.kernels.ops import OPERATIONS
from gdopt.kernels.symbol import Symbol
from gdopt.kernels.trace import Program, expression

# What is below half a step under the least normal number is flushed, as on x86-64.
FLOAT32 = "x => Math.abs(x) < 2 ** -126 - 2 ** -151 ? 0 * x : Math.fround(x)"
FLOAT64 = "x => x"


def print_rule(program: Program) -> str:
    """Print a rule as two functions, as in an object.

    ``host(setting)`` returns the hoisted values in float64, from an object with the
    scalars by name. ``step(f, s, ...inputs)`` takes these values and those of one
    element, all rounded by ``f``; it returns what the first inputs become.
    """
    scalars = {name: f"setting.{name}" for name in program.scalars}
    host = print_function("host", ["setting"], program.hoisted, named=scalars)
    names = program.names() | {node: f"s[{k}]" for node, k in program.places.items()}
    inputs = [names[symbol] for symbol in program.inputs]
    step = print_function("step", ["f", "s", *inputs], program.results, known=names)
    return f"{host},\n{step}"


def print_function(
    name: str,
    parameters: Iterable[str],
    results: Iterable[Symbol],
    *,
    known: Mapping[Symbol, str] | None = None,
    named: Mapping[str, str] | None = None,
) -> str:
    """Print a function, as in an object, that returns an array of the results.

    `known` are texts of values, `named` those of inputs by name. What is computed is
    rounded where ``f`` is a parameter. An operation that rules do not have is a
    function of ``Math``.
    """
    names, by_name, lines = dict(known or {}), named or {}, list[str]()
    parameters = list(parameters)

    def rounded(text: str) -> str:
        return f"f({text})" if "f" in parameters else text

    def visit(node: Symbol) -> str:
        if node in names:
            return names[node]
        for argument in node.arguments:
            visit(argument)
        if node.value is not None:
            names[node] = rounded(print_number(node.value))
        elif node.operation is None:
            names[node] = by_name[node.name]
        else:
            text = print_operation(node, names)
            names[node] = f"x{len(lines)}"
            text = text if node.boolean else rounded(text)
            lines.append(f"  const {names[node]} = {text};\n")
        return names[node]

    values = ", ".join([visit(node) for node in results])
    body = f"{''.join(lines)}  return [{values}];\n"
    return f"{name}({', '.join(parameters)}) {{\n{body}}}"


def print_number(value: float) -> str:
    """Print a constant.

    >>> print_number(1e-08), print_number(float("-inf"))
    ('1e-08', '-Infinity')
    """
    return repr(value).replace("inf", "Infinity").replace("nan", "NaN")


def print_operation(node: Symbol, names: Mapping[Symbol, str]) -> str:
    """Print an operation on named values."""
    if node.operation in OPERATIONS:
        return expression(node, names, "javascript")
    return f"Math.{node.operation}({', '.join(names[a] for a in node.arguments)})"
