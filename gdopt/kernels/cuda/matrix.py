"""Prints formulas over matrices as CUDA kernels: by elements, by rows, by columns.

By rows, 32 threads ("lanes") walk along each row and add up or compare; by columns, 32
walk down each column. Lanes are combined by halves, so that the order of a sum is that
of `gdopt.kernels.ops.lane_sums`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from gdopt.arrays.backend import Array
from gdopt.arrays.dtypes import compute_name
from gdopt.kernels.cuda.engine import Launch
from gdopt.kernels.cuda.text import ELEMENT_TYPES, SIGNS, KernelText
from gdopt.kernels.ops import LANES
from gdopt.kernels.packing import cast
from gdopt.kernels.rows import RowPrinter
from gdopt.kernels.symbol import ELEMENT, Symbol
from gdopt.kernels.trace import Program, compile_host

COMBINE = """
// Combine the values of 32 threads that lie `step` apart; all of the block take part.
template <bool largest, class T>
__device__ inline T gdopt_combine(T x, int lane, int step) {
  __shared__ T values[512];
  T* const own = values + threadIdx.x;
  own[0] = x;
  for (int half = 16; half; half /= 2) {
    __syncthreads();
    if (lane < half) {
      const T a = own[0], b = own[half * step];
      own[0] = !largest ? a + b : a > b || a != a ? a : b;
    }
  }
  __syncthreads();
  const T all = own[-lane * step];
  __syncthreads();
  return all;
}
"""


@dataclass(frozen=True)
class Walk:
    """How the threads of a kernel share a matrix; text is C."""

    length: str  # of a unit, a row or a column
    count: str  # of the units
    units: int  # that a block takes
    unit: str  # the number of a thread's unit
    lane: str  # the thread's number in it
    at: str  # the place of element k_ of a unit
    step: int  # how far apart the threads of a unit are

    def threads(self, units: int) -> int:
        """Return the threads for that many units, in whole blocks."""
        return -(-units // self.units) * self.units * LANES


ROW, COLUMN = "unit_ * columns_ + k_", "k_ * columns_ + unit_"
BY_ROWS = Walk("columns_", "rows_", 4, "i / 32", "threadIdx.x % 32", ROW, 1)
IN_BLOCK = "i / 512 * 16 + threadIdx.x % 16"
BY_COLUMNS = Walk("rows_", "columns_", 16, IN_BLOCK, "threadIdx.x / 16", COLUMN, 16)


class CudaRows(RowPrinter):
    """Prints one program; vectors hold one number for each row (by rows) or column."""

    language, place = "cuda", "at_"

    def __init__(
        self,
        program: Program,
        compute: str,
        stored: Mapping[str, str],
        vectors: Collection[str],
    ) -> None:
        super().__init__(program, vectors)
        self._stored, self._compute = stored, compute
        self._kind, self._walk = ELEMENT_TYPES[compute], BY_ROWS
        self._written = {
            program.inputs[k].name: result
            for k, result in enumerate(program.results)
            if program.writes(k)
        }

    def _declare(self, name: str, text: str, *, boolean: bool = False) -> str:
        return f"const {'bool' if boolean else self._kind} {name} = {text};"

    def _text(
        self, body: list[str], total: str = "", walk: Walk | None = None
    ) -> KernelText:
        inputs = [
            f"raw {self._stored[symbol.name]} {symbol.name}"
            for symbol in self.program.inputs
            if symbol.name not in self._written
            and symbol.name != "column"
            and self.program.reads(symbol)
        ]
        inputs += [f"{self._compute} s{k}" for k in range(len(self.program.hoisted))]
        inputs += ["int64 rows_", "int64 columns_"]
        outputs = [f"raw {self._stored[name]} {name}" for name in self._written]
        outputs += [f"raw {self._compute} {total}"] if total else []
        name = walk.count.rstrip("_") if walk else "elements"
        return KernelText(
            ", ".join(inputs),
            ", ".join(outputs),
            "\n".join(body),
            f"gdopt_{self.program.name}_{name}",
            preamble=SIGNS + COMBINE if walk else SIGNS,
            block=walk.threads(1) if walk else 128,
        )

    def by_elements(self, *, large: bool) -> KernelText:
        """Print a pass over all elements; a vector has a number for each column."""
        index = "unsigned long long" if large else "unsigned"
        body = self.read_vectors("column_")
        if body:
            body = [f"const {index} column_ = ({index})i % ({index})columns_;", *body]
        body += self.elements(self._written.values(), "i")
        body += [f"{name}[i] = {self.names[r]};" for name, r in self._written.items()]
        return self._text(body)

    def by_units(self, walk: Walk, *, total: bool = False) -> KernelText:
        """Print a pass by rows or columns; `total` adds up the first result of each."""
        self._walk, program, body = walk, self.program, self._head(walk)
        added = Symbol("row_sum", (program.results[0],), kind=ELEMENT)
        nodes = (*program.instructions, added) if total else program.instructions
        self.numbers[added] = len(program.instructions)
        results = {n: r for n, r in self._written.items() if not self.is_unit(r)}
        body += self.loops(nodes, results)
        ends = {n: r for n, r in self._written.items() if n not in results}
        ends |= {"total_": added} if total else {}
        if ends:
            writes = [f"{name}[unit_] = {self.names[r]};" for name, r in ends.items()]
            condition = f"lane_ == 0 && unit_ < {walk.count}"
            body.append(f"if ({condition}) {{ {' '.join(writes)} }}")
        return self._text(body, "total_" if total else "", walk)

    def _head(self, walk: Walk) -> list[str]:
        """Print where a thread is; those behind the last unit only take part."""
        lines = [
            f"const int lane_ = {walk.lane};",
            f"const ptrdiff_t unit_ = {walk.unit};",
            f"const ptrdiff_t end_ = unit_ < {walk.count} ? {walk.length} : 0;",
        ]
        last = f"unit_ < {walk.count} ? unit_ : {walk.count} - 1"
        return lines + self.read_vectors(last)

    def _loop(
        self, sums: list[Symbol], outs: Mapping[str, Symbol], elements: list[str]
    ) -> list[str]:
        kind, walk = self._kind, self._walk
        lines, inner, ends = [], list(elements), []
        for node in sums:
            value, name = self.names[node.arguments[0]], f"a{self.numbers[node]}_"
            start, largest, step = "0", "false", f"{name} += {value};"
            if node.operation == "row_max":
                start, largest = f"-({kind})1 / ({kind})0", "true"
                step = f"if ({value} > {name} || {value} != {value}) {name} = {value};"
            elif node.operation == "row_pick":
                step = f"if (k_ == {self.names[node.arguments[1]]}) {name} = {value};"
            lines.append(f"{kind} {name} = {start};")
            inner.append(step)
            combined = f"gdopt_combine<{largest}>({name}, lane_, {walk.step})"
            ends.append(self.define(node, combined))
        inner += [f"{name}[at_] = {self.names[r]};" for name, r in outs.items()]
        return [
            *lines,
            f"#pragma unroll {1 if walk is BY_ROWS else 4}",
            f"for (ptrdiff_t k_ = lane_; k_ < end_; k_ += {LANES}) {{",
            f"  const ptrdiff_t at_ = {walk.at};",
            *("  " + line for line in inner),
            "}",
            *ends,
        ]


def matrix_launch(
    program: Program, matrix: Array, vectors: Collection[str], *, summed: bool
) -> Callable[..., None]:
    """Return what launches a `MatrixKernel` on matrices of a shape and dtype."""
    compute, name = compute_name(matrix.dtype.name), matrix.dtype.name
    stored = {symbol.name: name for symbol in program.inputs}
    printer = CudaRows(program, compute, stored, vectors)
    if summed:
        text = printer.by_units(BY_COLUMNS, total=True)
        size = BY_COLUMNS.threads(matrix.shape[1])
    else:
        text = printer.by_elements(large=matrix.size >= 1 << 32)
        size = matrix.size
    return _bound(text, program, compute, matrix.shape, size)


def row_launch(program: Program, outputs: Array, label: Array) -> Callable[..., None]:
    """Return what launches a `RowKernel` on outputs and labels of these kinds."""
    name = outputs.dtype.name
    stored = {symbol.name: name for symbol in program.inputs}
    stored["label"] = label.dtype.name
    vectors = ("loss", "label") if label.ndim == 1 else ("loss",)
    text = CudaRows(program, name, stored, vectors).by_units(BY_ROWS)
    size = BY_ROWS.threads(outputs.shape[0])
    return _bound(text, program, name, outputs.shape, size)


def _bound(
    text: KernelText, program: Program, compute: str, shape: tuple[int, ...], size: int
) -> Callable[..., None]:
    """Return a function of the arrays in the program's order, and a total."""
    rows = shape[0] if shape else 1
    scalars = {"examples": rows}
    host = compile_host(program)(*(scalars[name] for name in program.scalars))
    fixed: dict[str, Any] = {"rows_": rows, "columns_": math.prod(shape[1:])}
    fixed |= {f"s{k}": v for k, v in enumerate(cast(host, np.dtype(compute)))}
    names = [*(symbol.name for symbol in program.inputs), "total_"]
    launch = Launch(text, size, fixed)
    return lambda *arrays: launch(dict(zip(names, arrays, strict=False)))
