"""Prints programs as Numba loops, by elements or by rows, at the speed of a compiler.

The text is written to a cache folder by its hash, so that Numba can keep what it
compiled (.3 to .6 s) for the next process. No fast-math: the bits are NumPy's.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import sys
import tempfile
import warnings
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gdopt.files import cache_folder, write_whole
from gdopt.kernels.cpu.flush import can_flush
from gdopt.kernels.cpu.pool import POOL
from gdopt.kernels.ops import LANES, OPERATIONS
from gdopt.kernels.packing import cast
from gdopt.kernels.symbol import Symbol
from gdopt.kernels.trace import Program, RowPlan

HEAD = '''"""A loop printed by gdopt from the rule {name}."""
from math import fabs, hypot

import numba
import numpy as np
from numpy import exp, log, log1p, sqrt, tanh
{imports}

@numba.njit(cache={cache}, error_model="numpy", nogil=True)
def serial({parameters}, scalars_):
'''
MATRIX = """
    rows_, columns_ = {first}.shape
    lanes_ = np.zeros(({lanes}, columns_), {first}.dtype)
    for r_ in range(rows_):
        lane_ = lanes_[r_ % {lanes}]
{slices}
        for i in range(columns_):
{body}
    half_ = {lanes}
    while half_ > 1:
        half_ //= 2
        for k_ in range(half_):
            one_, other_ = lanes_[k_], lanes_[k_ + half_]
            for i in range(columns_):
                one_[i] += other_[i]
    total_[:] = lanes_[0, : total_.size]
"""


def _element(program: Program, rows: Collection[str] = ()) -> tuple[list[str], str]:
    """Print what is done for element i, and name what the first array becomes.

    Args:
        program: the traced rule.
        rows: names of the arrays of which ``name_`` is the current row.
    """
    at = {
        a: f"{a.name}_[i]" if a.name in rows else f"{a.name}[i]" for a in program.inputs
    }
    names = {symbol: f"v_{symbol.name}_" for symbol in program.inputs}
    names |= {symbol: f"s{place}" for symbol, place in program.places.items()}
    body = [f"{names[a]} = {at[a]}" for a in program.inputs if program.reads(a)]
    for k, node in enumerate(program.instructions):
        arguments = [names[argument] for argument in node.arguments]
        names[node] = f"x{k}"
        body.append(
            f"x{k} = {OPERATIONS[str(node.operation)].python.format(*arguments)}"
        )
    for place, result in enumerate(program.results):
        if program.writes(place):
            body.append(f"{at[program.inputs[place]]} = {names[result]}")
    return body, names[program.results[0]]


def _head(program: Program, *, flush: bool, cache: bool, **values: str) -> str:
    """Print a module up to the loop."""
    imported = "\nfrom gdopt.kernels.cpu.numba_flush import enter, leave\n"
    head = HEAD.format(
        name=program.name, cache=cache, imports=imported if flush else "", **values
    )
    lines = [f"    s{k} = scalars_[{k}]" for k in range(len(program.hoisted))]
    lines += ["    mode = enter()"] if flush else []
    return head + "\n".join(lines)


def print_loop(program: Program, *, flush: bool, cache: bool) -> str:
    """Print a program as a module with a Numba loop."""
    body, _ = _element(program)
    parameters = [symbol.name for symbol in program.inputs]
    listed = ", ".join(parameters)
    head = _head(program, flush=flush, cache=cache, parameters=listed)
    lines = [f"\n    for i in range({parameters[0]}.size):"]
    lines += [f"        {line}" for line in body or ["pass"]]
    lines += ["    leave(mode)"] if flush else []
    return head + "\n".join(lines) + "\n"


def print_matrix(
    program: Program,
    vectors: Collection[str],
    *,
    summed: bool,
    flush: bool,
    cache: bool,
) -> str:
    """Print a program as a module with a loop over the rows of matrices.

    Args:
        program: the traced formula.
        vectors: names of the arrays that are the same in every row.
        summed: whether the first result is added up over the rows, into total_.
        flush: whether denormals are flushed.
        cache: whether Numba keeps what it compiles.
    """
    parameters = [symbol.name for symbol in program.inputs]
    rows = [name for name in parameters if name not in vectors]
    body, result = _element(program, rows)
    listed = ", ".join([*parameters, "total_"])
    head = _head(program, flush=flush, cache=cache, parameters=listed)
    body += [f"lane_[i] += {result}"] if summed else []
    loop = MATRIX.format(
        first=parameters[0],
        lanes=LANES if summed else 1,
        slices="\n".join(f"        {name}_ = {name}[r_]" for name in rows),
        body="\n".join(f"            {line}" for line in body),
    )
    return head + loop + ("    leave(mode)\n" if flush else "")


def _store(source: str, name: str, folder: Path) -> Path:
    """Write the text under its hash unless it is there, whole at every moment."""
    digest = hashlib.sha256(source.encode()).hexdigest()[:16]
    path = folder / f"gdopt_{name}_{digest}.py"
    try:
        if path.read_text(encoding="utf-8") == source:
            return path
    except OSError:
        pass
    write_whole(path, source)
    return path


def _import(path: Path) -> Any:
    specification = importlib.util.spec_from_file_location(path.stem, path)
    assert specification is not None  # noqa: S101 - a .py file has a loader
    assert specification.loader is not None  # noqa: S101
    module = importlib.util.module_from_spec(specification)
    sys.modules[path.stem] = module  # Numba finds its cached code by the module's name
    specification.loader.exec_module(module)
    return module


def compile_module(text: Callable[..., str], name: str) -> tuple[str, Any]:
    """Write a text of loops to the cache folder and import it; return both.

    Args:
        text: prints it; ``cache=True`` where Numba is to keep what it compiles.
        name: what the file is called by.
    """
    try:
        source = text(cache=True)
        path = _store(source, name, cache_folder())
    except OSError as error:
        warnings.warn(
            f"compiled loops could not be cached on disk: {error}; "
            "GDOPT_CACHE_DIR names another folder",
            RuntimeWarning,
            stacklevel=3,
        )
        source = text(cache=False)
        path = _store(source, name, Path(tempfile.mkdtemp("gdopt")))
    return source, _import(path)


class Loop:
    """A program compiled by Numba; runs on flat, contiguous arrays of one dtype."""

    size = 1 << 15  # elements of a segment, where arrays have to be packed

    def __init__(
        self, program: Program, dtype: Any, printer: Callable[..., str] = print_loop
    ) -> None:
        self.dtype = np.dtype(dtype)
        flush = self.dtype == np.float32 and can_flush()
        self.source, module = compile_module(
            functools.partial(printer, program, flush=flush), program.name
        )
        self._serial = module.serial

    def cast(self, scalars: Sequence[float]) -> Any:
        """Round the hoisted values once to the dtype of the arithmetic."""
        return cast(scalars, self.dtype)

    def run(self, arrays: Sequence[Any], values: Any) -> None:
        """Update the arrays in place; see `Blocks.run`."""
        if POOL.shares(arrays[0].size):
            POOL.map(lambda chunk: self._serial(*chunk, values), arrays)
        else:
            self._serial(*arrays, values)

    def run_rows(self, arrays: Sequence[Any], values: Any, total: Any = None) -> None:
        """Update a matrix in place, with a loop by `print_matrix`; see `Blocks`."""
        total = np.empty(0, self.dtype) if total is None else total
        self._serial(*arrays, total, values)


ROWS = '''"""A loop over rows printed by gdopt from the formula {name}."""
from math import fabs, hypot

import numba
import numpy as np
from numpy import exp, log, log1p, sqrt, tanh
{imports}

@numba.njit(cache={cache}, error_model="numpy", nogil=True)
def combine_(lanes_):
    half_ = {lanes}
    while half_ > 1:
        half_ //= 2
        for k_ in range(half_):
            lanes_[k_] += lanes_[k_ + half_]
    return lanes_[0]


@numba.njit(cache={cache}, error_model="numpy", nogil=True)
def serial({parameters}, total_, scalars_):
    rows_, columns_ = outputs.shape
    totals_ = np.zeros({lanes}, outputs.dtype)
    lanes_ = np.zeros(({sums}, {lanes}), outputs.dtype)
{head}
    for r_ in range(rows_):
{body}
    total_[0] = combine_(totals_)
{tail}
'''


def print_rows(
    program: Program, vectors: Collection[str], *, flush: bool, cache: bool
) -> str:
    """Print a loss: gradient, each row's loss and, into total_, the sum of those."""
    plan = RowPlan(program, vectors)
    gradient, loss = program.results
    parameters = [s.name for s in program.inputs if s.name != "column"]
    names = {symbol: f"v_{symbol.name}_" for symbol in program.inputs}
    names |= {symbol: f"s{place}" for symbol, place in program.places.items()}
    numbers = {node: k for k, node in enumerate(program.instructions)}
    body = [
        f"{names[symbol]} = {symbol.name}[r_]"
        for symbol in program.inputs
        if symbol.name in vectors and program.reads(symbol)
    ]

    def compute(node: Symbol) -> str:
        names[node] = f"x{numbers[node]}"
        arguments = [names[argument] for argument in node.arguments]
        text = OPERATIONS[str(node.operation)].python.format(*arguments)
        return f"{names[node]} = {text}"

    stages = plan.stages(program.instructions, {"gradient": gradient})
    for before, sums, outs in stages:
        body += [compute(node) for node in before]
        body += [f"lanes_[{numbers[n]}, :] = 0" for n in sums]
        body += [f"x{numbers[n]} = outputs[r_, 0]" for n in sums if not _adds(n)]
        if not sums and not outs:
            continue
        body.append("for k_ in range(columns_):")
        wanted = [node.arguments[0] for node in sums] + list(outs.values())
        inputs, nodes = plan.needed(wanted)
        for symbol in inputs:
            source = "k_" if symbol.name == "column" else f"{symbol.name}[r_, k_]"
            body.append(f"    {names[symbol]} = {source}")
        body += ["    " + compute(node) for node in nodes]
        for node in sums:
            body.append("    " + _step(node, names, numbers[node]))
        body += [f"    {name}[r_, k_] = {names[r]}" for name, r in outs.items()]
        for node in sums:
            names[node] = f"x{numbers[node]}"
            if _adds(node):
                body.append(f"{names[node]} = combine_(lanes_[{numbers[node]}])")
    body += [f"loss[r_] = {names[loss]}", f"totals_[r_ % {LANES}] += {names[loss]}"]
    head = [f"    s{k} = scalars_[{k}]" for k in range(len(program.hoisted))]
    imported = "\nfrom gdopt.kernels.cpu.numba_flush import enter, leave\n"
    return ROWS.format(
        name=program.name,
        imports=imported if flush else "",
        cache=cache,
        lanes=LANES,
        parameters=", ".join(parameters),
        sums=len(program.instructions),
        head="\n".join([*head, *(["    mode = enter()"] if flush else [])]),
        body="\n".join(f"        {line}" for line in body),
        tail="    leave(mode)" if flush else "",
    )


def _adds(node: Symbol) -> bool:
    return node.operation == "row_sum"


def _step(node: Symbol, names: dict[Symbol, str], number: int) -> str:
    """Print what an element adds to a sum, or does to a maximum or a choice."""
    value, mine = names[node.arguments[0]], f"x{number}"
    if _adds(node):
        return f"lanes_[{number}, k_ % {LANES}] += {value}"
    if node.operation == "row_pick":
        return f"{mine} = {value} if k_ == {names[node.arguments[1]]} else {mine}"
    return f"{mine} = {value} if {value} > {mine} or {value} != {value} else {mine}"
