"""Prints programs as Numba loops, at the speed of a compiler.

What Numba compiled (.3 to .6 s) is kept for the next process; see `LoopCache`. No
fast-math: the bits are NumPy's.
"""

from __future__ import annotations

import functools
import hashlib
import sys
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from types import ModuleType
from typing import Any

import numpy as np

from gdopt.arrays.backend import Arrays
from gdopt.kernels.cpu.flush import can_flush
from gdopt.kernels.cpu.pool import POOL
from gdopt.kernels.packing import cast, flat_view
from gdopt.kernels.symbol import Symbol
from gdopt.kernels.trace import VALUE, Program, expression, print_host

IMPORTS = '''"""A loop printed by gdopt from the rule {name}."""
from math import fabs, hypot

import numba
import numpy as np
from numpy import exp, expm1, inf, log, log1p, nan, sqrt, tanh
'''
FLUSH = "from gdopt.kernels.cpu.numba_calls import enter, leave"
HALF = "from gdopt.kernels.cpu.numba_calls import narrow as narrow_, widen as widen_\n"
SERIAL = """
@numba.njit(error_model="numpy", nogil=True)
def serial({parameters}, scalars_):
"""
# A step in one call: Python's handlers, as that of Ctrl-C, run before or after it.
COUNTED = """
serial_ = serial


@numba.njit(error_model="numpy", nogil=True)
def counted({others}scalars_, settings_, count_{more}, {gradient}):
{body}
    serial_({parameters}, scalars_)
    count_[0] += 1
"""
LIBRARY = ("exp", "log", "log1p", "tanh", "hypot")  # may round otherwise than Python's


def print_element(
    program: Program,
    element: str = "a_{}[i]",
    known: Mapping[Symbol, str] | None = None,
    half: Collection[str] = (),
) -> tuple[list[str], dict[Symbol, str]]:
    """Print what is done for an element, and name all values.

    It is read from the array of a name by `element`; `known` are texts of hoisted
    values that differ between elements, `half` arrays that are the bits of bfloat16.
    """
    at = {a: element.format(a.name) for a in program.inputs}
    names = program.names() | dict(known or {})
    body = [
        f"{names[a]} = {f'widen_({at[a]})' if a.name in half else at[a]}"
        for a in program.inputs
        if program.reads(a)
    ]
    for k, node in enumerate(program.instructions):
        body.append(f"x{k} = {expression(node, names)}")
        names[node] = f"x{k}"
    for place, result in enumerate(program.results):
        if program.writes(place):
            target, value = program.inputs[place], names[result]
            value = f"narrow_({value})" if target.name in half else value
            body.append(f"{at[target]} = {value}")
    return body, names


def print_head(program: Program, *, flush: bool, **values: str) -> str:
    """Print a module up to the loop."""
    imports = IMPORTS.format(name=program.name) + (FLUSH + "\n" if flush else "")
    head = imports + SERIAL.format(**values)
    lines = [f"    s{k} = scalars_[{k}]" for k in range(len(program.hoisted))]
    lines += ["    mode = enter()"] if flush else []
    return head + "\n".join(lines)


def print_loop(
    program: Program,
    *,
    flush: bool,
    norm: str | None = None,
    half: Collection[str] = (),
) -> str:
    """Print a program as a module with a Numba loop; `norm` is that of `take_norm`."""
    body, _ = print_element(program, half=half)
    listed = ", ".join(program.arguments)
    head = print_head(program, flush=flush, parameters=listed)
    lines = [f"\n    for i in range({program.arguments[0]}.size):"]
    lines += [f"        {line}" for line in body or ["pass"]]
    lines += ["    leave(mode)"] if flush else []
    text = head + "\n".join(lines) + "\n"
    return HALF + text if half else text + print_counted(program, norm)


def _is_countable(nodes: Iterable[Symbol]) -> bool:
    """Return whether a loop may compute the hoisted values itself.

    LLVM replaces a power of a constant by other functions, which round otherwise.
    """
    return all(
        node.operation not in LIBRARY
        and _is_countable(node.arguments)
        and not (
            node.operation in {"power", "one_minus_power"}
            and any(argument.value is not None for argument in node.arguments)
        )
        for node in nodes
    )


def print_counted(program: Program, norm: str | None) -> str:
    """Print the loop that computes its own values and counts its steps."""
    takes_norm = "norm" in program.scalars
    names, place = program.arguments, len(program.results)
    countable = _is_countable(program.hoisted) and place < len(names)
    if not countable or (takes_norm and norm is None):
        return ""
    gradient = names[place]
    lines, values = print_host(program.hoisted, expression)
    sources = {name: f"settings_[{k}]" for k, name in enumerate(program.settings)}
    sources["t"] = "count_[0] + 1.0"
    if takes_norm:
        sources["norm"] = f"take_norm_({gradient}, segments_, sums_, firsts_)"
    body = [f"    {VALUE.format(s)} = {sources[s]}" for s in program.scalars]
    body += [*lines, *(f"    scalars_[{k}] = {v}" for k, v in enumerate(values))]
    body += [f"    norm_[0] = {VALUE.format('norm')}"] if takes_norm else []
    text = COUNTED.format(
        parameters=", ".join(names),
        others="".join(f"{name}, " for name in names if name != gradient),
        gradient=gradient,
        more=", segments_, sums_, firsts_, norm_" if takes_norm else "",
        body="\n".join(body),
    )
    return (
        f"from {norm} import take_norm as take_norm_\n" if takes_norm else ""
    ) + text


def compile_module(text: Callable[..., str], name: str) -> tuple[str, Any]:
    """Import a text of loops, whose compiled functions are kept; return both."""
    from gdopt.kernels.cpu.loop_cache import LoopCache  # noqa: PLC0415 - Numba

    source = text()
    digest = hashlib.sha256(source.encode()).hexdigest()[:16]
    module = ModuleType(f"gdopt_{name}_{digest}")
    sys.modules[module.__name__] = module  # Numba finds code by the module's name
    exec(compile(source, module.__name__, "exec"), vars(module))  # noqa: S102 - printed
    for function in vars(module).values():
        own = getattr(function, "__module__", None) == module.__name__
        options = getattr(function, "targetoptions", {"forceinline": True})
        if own and not options.get("forceinline"):
            named = f"{module.__name__}.{function.__name__}"
            function._cache = LoopCache(named, source)  # noqa: SLF001 - Numba has no other
    return source, module


class Loop:
    """A program compiled by Numba; runs on flat, contiguous arrays of one dtype."""

    size = 1 << 15  # elements of a segment, where arrays have to be packed
    small = 1 << 10  # elements up to which separate arrays are worth copying together

    def __init__(
        self, program: Program, dtype: Any, printer: Callable[..., str] = print_loop
    ) -> None:
        self.dtype, self._values = np.dtype(dtype), len(program.hoisted)
        self._program, self._halves = program, dict[tuple[str, ...], Loop]()
        self._operations = len(program.instructions)
        flush = self.dtype == np.float32 and can_flush()
        text = functools.partial(printer, program, flush=flush)
        if "norm" in program.scalars and len(program.results) < len(program.inputs):
            from gdopt.kernels.cpu.squares import square_loops  # noqa: PLC0415

            text = functools.partial(text, norm=square_loops(self.dtype.name).__name__)
        self.source, module = compile_module(text, program.name)
        self._serial = module.serial
        self._counted = getattr(module, "counted", None)

    @staticmethod
    def mover(*given: Any) -> Any:
        """Return what copies small arrays together; see `moves.mover`."""
        from gdopt.kernels.cpu.moves import mover  # noqa: PLC0415 - few need it

        return mover(*given)

    def cast(self, scalars: Sequence[float]) -> Any:
        """Round the hoisted values once to the dtype of the arithmetic."""
        return cast(scalars, self.dtype)

    def bind_counted(
        self,
        before: Arrays,
        after: Arrays,
        settings: Any,
        count: Any,
        norm: Arrays = (),
    ) -> Callable[[Any], None] | None:
        """Bind a step that is one compiled call and counts itself; None without one.

        The input between `before` and `after` is left open: it is what the step takes,
        flat. The settings, float64, are read at every call, which adds one to the
        count, an int64. A program that takes the norm has the tables of `CpuNorm`, and
        an array of one element, to which each call writes it.
        """
        views = [flat_view(array, self.dtype) for array in (*before, *after)]
        flat = all(view is not None for view in views)
        if self._counted is None or not flat or self._shares(before[0]):
            return None
        call = functools.partial(self._counted, *views[: len(before)])
        scalars = np.empty(self._values, self.dtype)
        rest = (*views[len(before) :], scalars, settings, count, *norm)
        return functools.partial(call, *rest)

    def _shares(self, array: Any) -> bool:
        return POOL.shares(array.size, self._operations)

    def run(self, arrays: Arrays, values: Any) -> None:
        """Update the arrays in place; see `Blocks.run`."""
        if self._shares(arrays[0]):
            POOL.map(lambda chunk: self._serial(*chunk, values), arrays)
        else:
            self._serial(*arrays, values)

    def run_half(self, arrays: Arrays, values: Any) -> bool:
        """Update arrays, some of bfloat16; return whether all were contiguous."""
        half, views = list[str](), list[Any]()
        for symbol, array in zip(self._program.inputs, arrays, strict=True):
            is_half = array.dtype.name == "bfloat16"
            half += [symbol.name] if is_half else []
            bits = array.view(np.uint16) if is_half else array
            views.append(flat_view(bits, np.uint16 if is_half else self.dtype))
        if any(view is None for view in views):
            return False
        key = tuple(half)
        if key not in self._halves:
            printer = functools.partial(print_loop, half=key)
            self._halves[key] = Loop(self._program, self.dtype, printer)
        self._halves[key].run(views, values)
        return True

    def run_rows(
        self, arrays: Arrays, values: Any, total: Any = None, *columns: int
    ) -> None:
        """Run a loop by `print_matrix`, or without columns by `print_rows`."""
        total = np.empty(0, self.dtype) if total is None else total
        self._serial(*arrays, total, *columns, values)
