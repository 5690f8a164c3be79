"""Prints programs as Numba loops, at the speed of a compiler.

The text is written to a cache folder by its hash, so that Numba can keep what it
compiled (.3 to .6 s) for the next process. No fast-math: the bits are NumPy's.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import sys
import warnings
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from gdopt.arrays.backend import Arrays
from gdopt.files import cache_folder, write_whole
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
@numba.njit(cache={cache}, error_model="numpy", nogil=True)
def serial({parameters}, scalars_):
"""
# A step in one call: Python's handlers, as that of Ctrl-C, run before or after it.
COUNTED = """
serial_ = serial


@numba.njit(cache={cache}, error_model="numpy", nogil=True)
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


def print_head(program: Program, *, flush: bool, cache: bool, **values: str) -> str:
    """Print a module up to the loop."""
    imports = IMPORTS.format(name=program.name) + (FLUSH + "\n" if flush else "")
    head = imports + SERIAL.format(cache=cache, **values)
    lines = [f"    s{k} = scalars_[{k}]" for k in range(len(program.hoisted))]
    lines += ["    mode = enter()"] if flush else []
    return head + "\n".join(lines)


def print_loop(
    program: Program,
    *,
    flush: bool,
    cache: bool,
    norm: str | None = None,
    half: Collection[str] = (),
) -> str:
    """Print a program as a module with a Numba loop; `norm` is that of `take_norm`."""
    body, _ = print_element(program, half=half)
    listed = ", ".join(program.arguments)
    head = print_head(program, flush=flush, cache=cache, parameters=listed)
    lines = [f"\n    for i in range({program.arguments[0]}.size):"]
    lines += [f"        {line}" for line in body or ["pass"]]
    lines += ["    leave(mode)"] if flush else []
    text = head + "\n".join(lines) + "\n"
    return HALF + text if half else text + print_counted(program, norm, cache=cache)


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


def print_counted(program: Program, norm: str | None, *, cache: bool) -> str:
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
        cache=cache,
        parameters=", ".join(names),
        others="".join(f"{name}, " for name in names if name != gradient),
        gradient=gradient,
        more=", segments_, sums_, firsts_, norm_" if takes_norm else "",
        body="\n".join(body),
    )
    return (
        f"from {norm} import take_norm as take_norm_\n" if takes_norm else ""
    ) + text


def _store(source: str, name: str) -> Path:
    """Write the text under its hash unless it is there; return its path.

    Raises:
        OSError: the folder is another user's, or cannot be written.
        RuntimeError: there is no home.
    """
    folder = cache_folder()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if hasattr(os, "getuid") and folder.stat().st_uid != os.getuid():
        message = f"'{folder}' belongs to another user"
        raise PermissionError(message)
    if not os.access(folder, os.W_OK):
        message = f"'{folder}' cannot be written"
        raise PermissionError(message)
    digest = hashlib.sha256(source.encode()).hexdigest()[:16]
    path = folder / f"gdopt_{name}_{digest}.py"
    if not path.is_file() or path.read_bytes() != source.encode():
        write_whole(path, source)
    return path


def _import(source: str, path: Path) -> Any:
    """Make a module of a text, whose compiled functions Numba keeps next to a path."""
    module = ModuleType(path.stem)
    sys.modules[path.stem] = module  # Numba finds its cached code by the module's name
    exec(compile(source, path, "exec"), vars(module))  # noqa: S102 - a printed text
    return module


def _warn(error: Exception) -> None:
    if not _warned:
        _warned.append(error)
        warnings.warn(
            f"compiled loops could not be cached on disk: {error!r}; "
            "GDOPT_CACHE_DIR names another folder",
            RuntimeWarning,
            stacklevel=5,
        )


_warned: list[Exception] = []  # one warning is enough


def _tolerant(cache: Any) -> None:
    """Let a function compile where its code cannot be read from disk, or kept there."""
    load, save = cache.load_overload, cache.save_overload

    def load_overload(*given: Any) -> Any:
        try:
            return load(*given)
        except Exception as error:  # noqa: BLE001 - whatever damaged files raise
            _warn(error)
        with contextlib.suppress(OSError):
            cache.flush()  # what is damaged is not read again
        return None

    def save_overload(*given: Any) -> None:
        try:
            save(*given)
        except Exception as error:  # noqa: BLE001 - as of a full disk
            _warn(error)

    cache.load_overload, cache.save_overload = load_overload, save_overload


def compile_module(text: Callable[..., str], name: str) -> tuple[str, Any]:
    """Import a text of loops, kept in the cache folder if it can be; return both."""
    try:
        source = text(cache=True)
        module = _import(source, _store(source, name))
    except (OSError, RuntimeError) as error:  # Numba's, too, without a place
        _warn(error)
        source = text(cache=False)
        digest = hashlib.sha256(source.encode()).hexdigest()[:16]
        return source, _import(source, Path(f"gdopt_{name}_{digest}"))
    for function in vars(module).values():
        if type(cache := getattr(function, "_cache", None)).__name__ == "FunctionCache":
            _tolerant(cache)
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
