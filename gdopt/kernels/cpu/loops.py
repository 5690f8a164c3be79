"""Prints a program as a Numba loop: one pass over memory at the speed of a compiler.

The text is written to a cache folder by its hash, so that Numba can keep what it
compiled (.3 to .6 s) for the next process. No fast-math: the bits are NumPy's.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import sys
import tempfile
import threading
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gdopt.files import cache_folder, write_whole
from gdopt.kernels.cpu.flush import can_flush
from gdopt.kernels.ops import OPERATIONS
from gdopt.kernels.packing import cast
from gdopt.kernels.trace import Program

SLICE = 1 << 16  # elements that a thread of the parallel loop takes at a time
WORTH_THREADS = 1_000_000  # below, OpenMP's spinning threads would slow BLAS's down

HEAD = '''"""A loop printed by gdopt from the rule {name}."""
from math import fabs

import numba
from numpy import exp, log, log1p, sqrt, tanh
{imports}

@numba.njit(cache={cache}, error_model="numpy", nogil=True)
def serial({parameters}, scalars_):
'''
TAIL = """

@numba.njit(cache={cache}, error_model="numpy", nogil=True, parallel=True)
def parallel({parameters}, scalars_):
    size = {first}.size
    for k in numba.prange((size + {slice} - 1) // {slice}):
        low, high = k * {slice}, min(size, k * {slice} + {slice})
        serial({slices}, scalars_)
"""


def print_loop(program: Program, *, flush: bool, cache: bool) -> str:
    """Print a program as a module with a serial and a parallel Numba loop."""
    names = {symbol: f"v_{symbol.name}_" for symbol in program.inputs}
    names |= {symbol: f"s{place}" for symbol, place in program.places.items()}
    body = [f"{names[a]} = {a.name}[i]" for a in program.inputs if program.reads(a)]
    for k, node in enumerate(program.instructions):
        arguments = [names[argument] for argument in node.arguments]
        names[node] = f"x{k}"
        body.append(
            f"x{k} = {OPERATIONS[str(node.operation)].python.format(*arguments)}"
        )
    for place, result in enumerate(program.results):
        if program.writes(place):
            body.append(f"{program.inputs[place].name}[i] = {names[result]}")
    parameters = [symbol.name for symbol in program.inputs]
    values = {
        "name": program.name,
        "cache": cache,
        "parameters": ", ".join(parameters),
        "first": parameters[0],
        "slice": SLICE,
        "slices": ", ".join(f"{name}[low:high]" for name in parameters),
        "imports": "\nfrom gdopt.kernels.cpu.numba_flush import enter, leave\n"
        if flush
        else "",
    }
    lines = [f"    s{k} = scalars_[{k}]" for k in range(len(program.hoisted))]
    lines += ["    mode = enter()"] if flush else []
    lines += [f"    for i in range({parameters[0]}.size):"]
    lines += [f"        {line}" for line in body or ["pass"]]
    lines += ["    leave(mode)"] if flush else []
    return HEAD.format(**values) + "\n".join(lines) + TAIL.format(**values)


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
    sys.modules[path.stem] = module  # Numba finds what it kept by the module's name
    specification.loader.exec_module(module)
    return module


_forked = threading.Event()  # set in a forked child, where OpenMP's threads are gone
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked.set)
_parallel_lock = threading.Lock()  # Numba's workqueue layer takes one caller at a time


class Loop:
    """A program compiled by Numba; runs on flat, contiguous arrays of one dtype."""

    size = 1 << 15  # elements of a segment, where arrays have to be packed

    def __init__(self, program: Program, dtype: Any) -> None:
        self.dtype = np.dtype(dtype)
        flush = self.dtype == np.float32 and can_flush()
        self.source = print_loop(program, flush=flush, cache=True)
        try:
            path = _store(self.source, program.name, cache_folder())
        except OSError as error:
            warnings.warn(
                f"compiled loops are not kept for the next process: {error}; "
                "GDOPT_CACHE_DIR names another folder",
                RuntimeWarning,
                stacklevel=2,
            )
            self.source = print_loop(program, flush=flush, cache=False)
            path = _store(self.source, program.name, Path(tempfile.mkdtemp("gdopt")))
        module = _import(path)
        self._serial, self._parallel = module.serial, module.parallel

    def cast(self, scalars: Sequence[float]) -> Any:
        """Round the hoisted values once to the dtype of the arithmetic."""
        return cast(scalars, self.dtype)

    def run(self, arrays: Sequence[Any], values: Any) -> None:
        """Update the arrays in place; see `Blocks.run`."""
        if arrays[0].size < WORTH_THREADS or _forked.is_set():
            self._serial(*arrays, values)
        else:
            with _parallel_lock:
                self._parallel(*arrays, values)
