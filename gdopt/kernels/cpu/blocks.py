"""Runs a program with NumPy: block by block, so that what is computed stays in cache.

The engine that is always available. Twelve ufuncs over 32 Ki elements at a time beat
one ufunc after the other over everything sixfold.
"""

from __future__ import annotations

import functools
import math
import struct
import threading
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from types import FunctionType
from typing import Any

import numpy as np

from gdopt.arrays.backend import Arrays, get_backend
from gdopt.kernels.cpu.chain import Chain
from gdopt.kernels.cpu.clips import clip, find_clips, order
from gdopt.kernels.cpu.flush import FlushToZero
from gdopt.kernels.cpu.pool import POOL
from gdopt.kernels.ops import OPERATIONS, lane_sums
from gdopt.kernels.packing import cast
from gdopt.kernels.symbol import Symbol, is_among
from gdopt.kernels.trace import Program

SMALLEST_BLOCK, LARGEST_BLOCK = 1 << 12, 1 << 17
MOST_BLOCKS = 2  # of a step that is one call


@functools.cache
def cache_bytes() -> int:
    """Size of a core's second-level cache; 1 MiB where the system does not say."""
    path = Path("/sys/devices/system/cpu/cpu0/cache/index2/size")
    try:
        return int(path.read_text(encoding="ascii").strip().removesuffix("K")) << 10
    except (OSError, ValueError):
        return 1 << 20


class ScratchPool:
    """Hands out scratch arrays to intermediate values and takes them back."""

    def __init__(self) -> None:
        self.free: dict[bool, list[str]] = {False: [], True: []}
        self.booleans: dict[str, bool] = {}  # by name, whether it holds truth values

    def take(self, *, boolean: bool) -> str:
        """Return a free scratch array's name, or a new one's."""
        if self.free[boolean]:
            return self.free[boolean].pop()
        name = f"x{len(self.booleans)}"
        self.booleans[name] = boolean
        return name

    def give_back(self, name: str) -> None:
        """Take back a scratch array whose value is not needed any more."""
        self.free[self.booleans[name]].append(name)


def print_block(program: Program) -> tuple[str, list[bool]]:
    """Print a program as calls of NumPy functions on one block of each array.

    A result goes straight into its array where no later operation needs the old value.
    ``block(*arrays, *scalars, *scratch)`` returns what the program keeps; returned with
    it is, for each scratch array, whether it holds truth values.
    """
    names = {symbol: symbol.name for symbol in program.inputs}
    names |= {symbol: f"s{place}" for symbol, place in program.places.items()}
    ordered = order(program)
    last = {a: k for k, node in enumerate(ordered) for a in node.arguments}
    last |= dict.fromkeys((*program.results, *program.kept), len(ordered))
    registers, lines = ScratchPool(), []
    for k, node in enumerate(ordered):
        dying = [
            names[a]
            for a in dict.fromkeys(node.arguments)
            if last[a] == k and names[a] in registers.booleans
        ]
        keeps = node.operation == "where"  # it writes before it has read everything
        for name in () if keeps else dying:
            registers.give_back(name)
        out = _own_array(program, node, k, last)
        out = out or registers.take(boolean=node.boolean)
        for name in dying if keeps else ():
            registers.give_back(name)
        arguments = ", ".join(names[a] for a in node.arguments)
        lines.append(f"    _{node.operation}({arguments}, {out})")
        names[node] = out
    # A clip is one ufunc where that gives the bits of two.
    for k, given in find_clips(program, ordered).items():
        head = f"    if not _clip({', '.join(names[one] for one in given)}):\n"
        lines[k : k + 4] = [f"    {line}" for line in lines[k : k + 4]]
        lines[k] = head + lines[k]
    for array, result in zip(program.inputs, program.results, strict=False):
        if names[result] != array.name:
            lines.append(f"    _copy({names[result]}, {array.name})")
    parameters = [symbol.name for symbol in program.inputs]
    parameters += [f"s{place}" for place in range(len(program.hoisted))]
    parameters += registers.booleans
    head = f"def block({', '.join(parameters)}):"
    kept = "".join(f"{names[value]}, " for value in program.kept)
    lines.append(f"    return ({kept})")
    return "\n".join([head, *lines]), [*registers.booleans.values()]


def _own_array(
    program: Program, node: Symbol, k: int, last: dict[Symbol, int]
) -> str | None:
    """Name the array that a result may be written into directly, if there is one."""
    for array, result in zip(program.inputs, program.results, strict=False):
        if result is node:
            read_later = last.get(array, -1) > k
            read_now = node.operation == "where" and is_among(array, node.arguments)
            return None if read_later or read_now else array.name
    return None


class Blocks:
    """A program compiled for NumPy; runs on flat, contiguous arrays of one dtype."""

    small = 1 << 12  # elements up to which separate arrays are worth copying together
    cast = tuple  # of the hoisted values, which each thread rounds in `_round`

    def __init__(self, program: Program, dtype: Any) -> None:
        self.dtype = np.dtype(dtype)
        self.source, self._booleans = print_block(program)
        scope: dict[str, Any] = {f"_{n}": row.numpy for n, row in OPERATIONS.items()}
        scope["_clip"] = clip
        exec(self.source, scope)  # noqa: S102 - the text is printed from a program
        self._block: FunctionType = scope["block"]
        self._local = threading.local()
        self._spares: dict[int, list[Any]] = {}  # scratch that no thread has, by length
        self._lock = threading.Lock()
        self._mode = FlushToZero if self.dtype == np.float32 else nullcontext
        self._is_simple = "_copy(" not in self.source and all(
            isinstance(OPERATIONS[str(node.operation)].numpy, np.ufunc)
            for node in program.instructions
        )
        self._hoisted = len(program.hoisted)
        self._packed = struct.Struct(f"{self._hoisted}{self.dtype.char}")
        self._operations = sum(n.operation != "copy" for n in program.instructions)
        live = (len(program.inputs) + len(self._booleans)) * self.dtype.itemsize
        fitting = 2 * cache_bytes() // live  # twice: fewer calls outweigh some misses
        size = max(1 << fitting.bit_length() - 1, SMALLEST_BLOCK)
        self.size = min(size, LARGEST_BLOCK)

    def run(self, arrays: Sequence[Any], values: Sequence[Any]) -> None:
        """Update flat arrays in place; the values are as `cast` gave them."""
        size = arrays[0].size
        if not POOL.shares(size, self._operations):
            lone = self._operations == 1 and not self._booleans
            block = max(size, self.size) if lone else self.size
            self._run_segment(arrays, values, block)
            return
        # Smaller blocks of several threads wait for the interpreter's lock.
        block, threads = min(4 * self.size, LARGEST_BLOCK), POOL.size
        POOL.map(lambda chunk: self._run_segment(chunk, values, block, threads), arrays)

    def _run_segment(
        self, arrays: Arrays, scalars: Sequence[Any], block: int, threads: int = 1
    ) -> None:
        """Run block by block in the calling thread, in its floating-point mode."""
        count, values = arrays[0].size, self._round(scalars)
        if count <= block:
            operands = *arrays, *values, *self._scratch(count, block, threads)
            with np.errstate(all="ignore"), self._mode():
                self._block(*operands)
            return
        with np.errstate(all="ignore"), self._mode():
            for start in range(0, count, block):
                parts = [array[start : start + block] for array in arrays]
                scratch = self._scratch(parts[0].size, block, threads)
                self._block(*parts, *values, *scratch)

    def chain(self, size: int) -> Chain | None:
        """Start a step of `size` elements that is one call; None where it cannot be."""
        if not self._is_simple or size > MOST_BLOCKS * self.size:
            return None
        values, rounded = self._make_values()
        fixed = *rounded, *self._make_scratch(min(size, self.size))
        take = functools.partial(self._round_into, values)
        return Chain(self._block, fixed, take, self.size, self.dtype)

    def reserve(self, shape: Sequence[int]) -> None:
        """Make the scratch of a run on arrays of a shape."""
        size = math.prod(shape)
        self._round([1.0] * self._hoisted)
        if POOL.shares(size, self._operations):
            block, threads = min(4 * self.size, LARGEST_BLOCK), POOL.size
            self._scratch(min(size, block), block, threads)
        else:
            self._scratch(min(size, self.size), self.size)

    def run_rows(
        self, arrays: Arrays, values: Sequence[Any], total: Any, low: int, high: int
    ) -> None:
        """Update columns of matrices (m, n); sum the first one's rows to a total."""
        inside = slice(low, high)
        arrays = [array[..., inside] for array in arrays]
        first = arrays[0]
        rows = max(1, self.size // max(1, first.shape[1]))
        values = self._round(values)
        with self._mode():
            for start in range(0, len(first), rows):
                part = slice(start, start + rows)
                parts = [array[part] if array.ndim > 1 else array for array in arrays]
                shape = parts[0].shape
                block = max(self.size, shape[1])
                cut = self._scratch(parts[0].size, block, POOL.size)
                scratch = [array.reshape(shape) for array in cut]
                self._block(*parts, *values, *scratch)
            if total is not None:
                lane_sums(first, total[inside])

    def compute(self, parts: Sequence[Any], values: Sequence[Any]) -> tuple[Any, ...]:
        """Run one block in the caller's floating-point mode; return what is kept."""
        shape = parts[0].shape
        scratch = [own.reshape(shape) for own in self.scratch_of(parts[0].size)]
        kept: tuple[Any, ...] = self._block(*parts, *values, *scratch)
        return kept

    def scratch_of(self, size: int) -> list[Any]:
        """Return the scratch of a block of `size` elements in `compute`."""
        return self._scratch(size, max(self.size, size))

    def _round(self, scalars: Sequence[float]) -> list[Any]:
        """Round the hoisted values once, to this thread's own 0-d arrays."""
        local = self._local.__dict__
        if "values" not in local:
            local["values"] = self._make_values()
        rounded: list[Any]
        values, rounded = local["values"]
        self._round_into(values, scalars)
        return rounded

    def _make_values(self) -> tuple[np.ndarray, list[Any]]:
        values = np.zeros(self._hoisted, self.dtype)
        return values, [values[k, ...] for k in range(self._hoisted)]

    def _round_into(self, values: Any, scalars: Sequence[float]) -> None:
        try:
            self._packed.pack_into(values, 0, *scalars)
        except OverflowError:  # beyond the dtype's range they become infinite
            values[:] = cast(scalars, self.dtype)

    def _scratch(self, count: int, block: int, threads: int = 1) -> list[Any]:
        """Return this thread's scratch arrays, cut to the length of the block.

        The first of several threads makes those of all: what a step allocates must not
        depend on which threads take part.
        """
        local = self._local.__dict__
        if local.get("count") == count and local["block"] >= block:
            cut: list[Any] = local["cut"]
            return cut
        if local.get("block", 0) < block:
            with self._lock:
                spares = self._spares.setdefault(block, [])
                if not spares:
                    spares += [self._make_scratch(block) for _ in range(threads)]
                local["whole"] = spares.pop()
            local["block"] = block
        cut = local["cut"] = [array[:count] for array in local["whole"]]
        local["count"] = count
        return cut

    def _make_scratch(self, block: int) -> list[Any]:
        zeros = get_backend("numpy").zeros
        return [zeros(block, np.bool_ if b else self.dtype) for b in self._booleans]
