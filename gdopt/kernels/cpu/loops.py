"""Prints programs as Numba loops, at the speed of a compiler.

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
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gdopt.files import cache_folder, write_whole
from gdopt.kernels.cpu.flush import can_flush
from gdopt.kernels.cpu.pool import POOL
from gdopt.kernels.packing import cast
from gdopt.kernels.trace import Program, expression

HEAD = '''"""A loop printed by gdopt from the rule {name}."""
from math import fabs, hypot

import numba
import numpy as np
from numpy import exp, log, log1p, sqrt, tanh
{imports}

@numba.njit(cache={cache}, error_model="numpy", nogil=True)
def serial({parameters}, scalars_):
'''


def print_element(program: Program, part: str = "") -> tuple[list[str], str]:
    """Print what is done for element i, and name what the first array becomes.

    Args:
        program: the traced rule.
        part: follows the names of arrays, of which only a part is updated.
    """
    at = {a: f"{a.name}{part}[i]" for a in program.inputs}
    names = program.names()
    body = [f"{names[a]} = {at[a]}" for a in program.inputs if program.reads(a)]
    for k, node in enumerate(program.instructions):
        body.append(f"x{k} = {expression(node, names, 'python')}")
        names[node] = f"x{k}"
    for place, result in enumerate(program.results):
        if program.writes(place):
            body.append(f"{at[program.inputs[place]]} = {names[result]}")
    return body, names[program.results[0]]


def print_head(program: Program, *, flush: bool, cache: bool, **values: str) -> str:
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
    body, _ = print_element(program)
    parameters = [symbol.name for symbol in program.inputs]
    listed = ", ".join(parameters)
    head = print_head(program, flush=flush, cache=cache, parameters=listed)
    lines = [f"\n    for i in range({parameters[0]}.size):"]
    lines += [f"        {line}" for line in body or ["pass"]]
    lines += ["    leave(mode)"] if flush else []
    return head + "\n".join(lines) + "\n"


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

    def run_rows(
        self,
        arrays: Sequence[Any],
        values: Any,
        total: Any = None,
        columns: Sequence[int] = (),
    ) -> None:
        """Run a loop by `print_matrix`, or without columns by `print_rows`."""
        total = np.empty(0, self.dtype) if total is None else total
        self._serial(*arrays, total, *columns, values)
