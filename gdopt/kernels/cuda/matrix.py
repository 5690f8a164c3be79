"""Prints formulas over matrices as CUDA kernels: by elements, by rows, by columns.

By rows, 32 threads ("lanes") walk along each row and add up or compare; by columns, 32
walk down each column. Lanes are combined by halves, so that the order of a sum is that
of `gdopt.kernels.ops.lane_sums`. An element is computed again in every loop that needs
it: a row is in the cache by then.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from gdopt.arrays.backend import Array
from gdopt.arrays.dtypes import compute_name
from gdopt.kernels.cuda.engine import build, launch
from gdopt.kernels.cuda.text import C_TYPES, SIGNS, KernelText, value_name
from gdopt.kernels.ops import LANES, OPERATIONS
from gdopt.kernels.packing import cast
from gdopt.kernels.symbol import Symbol
from gdopt.kernels.trace import Program, RowPlan, compile_host

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
    """How the threads of a kernel share a matrix.

    Attributes:
        name: of the kernels, behind the formula's.
        units: how many rows, or columns, a block takes.
        at: the place of element k_ of a unit, as C.
        step: how far apart the threads of a unit are.
        unit: the number of a thread's row or column, as C.
        lane: the thread's number in it, as C.
        length: elements of a unit, as C.
        count: of the units, as C.
    """

    name: str
    units: int
    at: str
    step: int
    unit: str
    lane: str
    length: str
    count: str

    @property
    def block(self) -> int:
        """Threads of a block."""
        return self.units * LANES

    def threads(self, units: int) -> int:
        """Return the threads for that many units, in whole blocks."""
        return -(-units // self.units) * self.block


BY_ROWS = Walk(
    "rows",
    4,
    "unit_ * columns_ + k_",
    1,
    "i / 32",
    "threadIdx.x % 32",
    "columns_",
    "rows_",
)
BY_COLUMNS = Walk(
    "columns",
    16,
    "k_ * columns_ + unit_",
    16,
    "i / 512 * 16 + threadIdx.x % 16",
    "threadIdx.x / 16",
    "rows_",
    "columns_",
)


class Printer:
    """Prints one program.

    Args:
        program: the traced formula.
        compute: the dtype of the arithmetic.
        stored: the dtype of each input, by name.
        vectors: inputs that hold one number for each row (by rows) or column.
    """

    def __init__(
        self,
        program: Program,
        compute: str,
        stored: Mapping[str, str],
        vectors: Collection[str],
    ) -> None:
        self._program, self._kind = program, C_TYPES[compute]
        self._stored, self._vectors, self._compute = stored, vectors, compute
        self._names = {symbol: value_name(symbol.name) for symbol in program.inputs}
        self._names |= {symbol: f"s{place}" for symbol, place in program.places.items()}
        self._written = {
            program.inputs[k].name: result
            for k, result in enumerate(program.results)
            if program.writes(k)
        }
        self._plan = RowPlan(program, vectors)
        self._numbers = {node: k for k, node in enumerate(program.instructions)}

    def _read(self, symbol: Symbol, place: str) -> str:
        source = "k_" if symbol.name == "column" else f"{symbol.name}[{place}]"
        return f"const {self._kind} {value_name(symbol.name)} = {source};"

    def _compute_node(self, node: Symbol) -> str:
        arguments = [self._names[argument] for argument in node.arguments]
        self._names[node] = f"x{self._numbers[node]}"
        text = OPERATIONS[str(node.operation)].cuda.format(*arguments)
        kind = "bool" if node.boolean else self._kind
        return f"const {kind} {self._names[node]} = {text};"

    def _elements(self, wanted: Iterable[Symbol], place: str) -> list[str]:
        """Print how the values of an element are computed."""
        inputs, nodes = self._plan.needed(wanted)
        lines = [self._read(symbol, place) for symbol in inputs]
        return lines + [self._compute_node(node) for node in nodes]

    def _text(
        self, body: list[str], total: str = "", walk: Walk | None = None
    ) -> KernelText:
        inputs = [
            f"raw {self._stored[symbol.name]} {symbol.name}"
            for symbol in self._program.inputs
            if symbol.name not in self._written
            and symbol.name != "column"
            and self._program.reads(symbol)
        ]
        inputs += [f"{self._compute} s{k}" for k in range(len(self._program.hoisted))]
        inputs += ["int64 rows_", "int64 columns_"]
        outputs = [f"raw {self._stored[name]} {name}" for name in self._written]
        outputs += [f"raw {self._compute} {total}"] if total else []
        return KernelText(
            ", ".join(inputs),
            ", ".join(outputs),
            "\n".join(body),
            f"gdopt_{self._program.name}_{walk.name if walk else 'elements'}",
            preamble=SIGNS + COMBINE if walk else SIGNS,
            block=walk.block if walk else 128,
        )

    def by_elements(self, *, large: bool) -> KernelText:
        """Print a pass over all elements; a vector has a number for each column."""
        index = "unsigned long long" if large else "unsigned"
        vectors = [s for s in self._program.inputs if s.name in self._vectors]
        body = [f"const {index} column_ = ({index})i % ({index})columns_;"]
        body += [self._read(symbol, "column_") for symbol in vectors]
        body += self._elements(self._written.values(), "i")
        body += [f"{name}[i] = {self._names[r]};" for name, r in self._written.items()]
        return self._text(body if vectors else body[1:])

    def by_units(self, walk: Walk, *, total: bool = False) -> KernelText:
        """Print a pass by rows or columns.

        Args:
            walk: `BY_ROWS` or `BY_COLUMNS`.
            total: whether the first result is added up over each unit, into total_.
        """
        program, body = self._program, self._head(walk)
        added = Symbol("row_sum", (program.results[0],), element=True)
        nodes = (*program.instructions, added) if total else program.instructions
        self._numbers[added] = len(program.instructions)
        results = {n: r for n, r in self._written.items() if not self._plan.is_unit(r)}
        for before, sums, outs in self._plan.stages(nodes, results):
            body += [self._compute_node(node) for node in before]
            if sums or outs:
                body += self._loop(walk, sums, outs)
        ends = {n: r for n, r in self._written.items() if n not in results}
        ends |= {"total_": added} if total else {}
        if ends:
            writes = [f"{name}[unit_] = {self._names[r]};" for name, r in ends.items()]
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
        for symbol in self._program.inputs:
            if symbol.name in self._vectors and self._program.reads(symbol):
                last = f"unit_ < {walk.count} ? unit_ : {walk.count} - 1"
                lines.append(self._read(symbol, last))
        return lines

    def _loop(
        self, walk: Walk, sums: list[Symbol], outs: Mapping[str, Symbol]
    ) -> list[str]:
        """Print one loop of the lanes over their elements, and what it adds up."""
        kind, names = self._kind, {node: f"a{self._numbers[node]}_" for node in sums}
        lines = []
        for node in sums:
            start = f"-({kind})1 / ({kind})0" if node.operation == "row_max" else "0"
            lines.append(f"{kind} {names[node]} = {start};")
        lines += [
            f"#pragma unroll {1 if walk is BY_ROWS else 4}",
            f"for (ptrdiff_t k_ = lane_; k_ < end_; k_ += {LANES}) {{",
            f"  const ptrdiff_t at_ = {walk.at};",
        ]
        wanted = [node.arguments[0] for node in sums] + list(outs.values())
        lines += ["  " + line for line in self._elements(wanted, "at_")]
        for node in sums:
            value, name = self._names[node.arguments[0]], names[node]
            if node.operation == "row_max":
                step = f"if ({value} > {name} || {value} != {value}) {name} = {value};"
            elif node.operation == "row_pick":
                step = f"if (k_ == {self._names[node.arguments[1]]}) {name} = {value};"
            else:
                step = f"{name} += {value};"
            lines.append("  " + step)
        lines += [f"  {name}[at_] = {self._names[r]};" for name, r in outs.items()]
        lines.append("}")
        for node in sums:
            self._names[node] = f"x{self._numbers[node]}"
            largest = "true" if node.operation == "row_max" else "false"
            combined = f"gdopt_combine<{largest}>({names[node]}, lane_, {walk.step})"
            lines.append(f"const {kind} {self._names[node]} = {combined};")
        return lines


def matrix_launch(
    program: Program, matrix: Array, vectors: Collection[str], *, summed: bool
) -> Callable[..., None]:
    """Return what launches a `MatrixKernel` on matrices of a shape and dtype."""
    name = matrix.dtype.name
    stored = {symbol.name: name for symbol in program.inputs}
    compute = compute_name(name)
    if summed:
        walk = BY_COLUMNS
        text = Printer(program, compute, stored, vectors).by_units(walk, total=True)
        size = walk.threads(matrix.shape[1])
    else:
        large = matrix.size >= 1 << 32
        text = Printer(program, compute, stored, vectors).by_elements(large=large)
        size = matrix.size
    return bound(text, program, compute, matrix.shape, size)


def row_launch(program: Program, outputs: Array, label: Array) -> Callable[..., None]:
    """Return what launches a `RowKernel` on outputs and labels of these kinds."""
    name = outputs.dtype.name
    stored = {symbol.name: name for symbol in program.inputs}
    stored["label"] = label.dtype.name
    vectors = ("loss", "label") if label.ndim == 1 else ("loss",)
    text = Printer(program, name, stored, vectors).by_units(BY_ROWS)
    size = BY_ROWS.threads(outputs.shape[0])
    return bound(text, program, name, outputs.shape, size)


def bound(
    text: KernelText,
    program: Program,
    compute: str,
    shape: tuple[int, ...],
    size: int,
) -> Callable[..., None]:
    """Return a function of the arrays in the program's order, and a total."""
    kernel = build(text)
    rows = shape[0] if shape else 1
    sizes = rows, math.prod(shape[1:])
    scalars = {"examples": rows}
    host = compile_host(program)(*(scalars[name] for name in program.scalars))
    fixed = dict(zip(("rows_", "columns_"), sizes, strict=True))
    fixed |= {f"s{k}": v for k, v in enumerate(cast(host, np.dtype(compute)))}
    names = [*(symbol.name for symbol in program.inputs), "total_"]
    arguments = [fixed.get(name) for name in text.arguments]
    places = [
        (k, names.index(name))
        for k, name in enumerate(text.arguments)
        if name not in fixed
    ]

    def run(*arrays: Array) -> None:
        given = list(arguments)
        for k, place in places:
            given[k] = arrays[place]
        launch(kernel, text, given, size=size)

    return run
