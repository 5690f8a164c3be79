"""Prints formulas over matrices as Numba loops, row by row."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from gdopt.kernels.cpu.loops import print_element, print_head
from gdopt.kernels.ops import LANES
from gdopt.kernels.rows import RowPrinter
from gdopt.kernels.symbol import Symbol
from gdopt.kernels.trace import Program

MATRIX = """
    columns_, sums_ = high_ - low_, total_[low_:high_]
    lanes_ = np.zeros(({lanes}, columns_), {first}.dtype)
{vectors}
    for r_ in range({first}.shape[0]):
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
    sums_[:] = lanes_[0, : sums_.size]
"""


def print_matrix(
    program: Program, vectors: Sequence[str], *, summed: bool, flush: bool
) -> str:
    """Print a program as a module with a loop over some columns of matrices' rows.

    Numba vectorizes over parts of the rows, but not over strided views of columns.
    """
    parameters = [symbol.name for symbol in program.inputs]
    rows = [name for name in parameters if name not in vectors]
    body, names = print_element(program, "{}_[i]")
    listed = ", ".join([*parameters, "total_", "low_", "high_"])
    head = print_head(program, flush=flush, parameters=listed)
    body += [f"lane_[i] += {names[program.results[0]]}"] if summed else []
    loop = MATRIX.format(
        first=parameters[0],
        lanes=LANES if summed else 1,
        vectors="\n".join(f"    {name}_ = {name}[low_:high_]" for name in vectors),
        slices="\n".join(f"        {name}_ = {name}[r_, low_:high_]" for name in rows),
        body="\n".join(f"            {line}" for line in body),
    )
    return head + loop + ("    leave(mode)\n" if flush else "")


ROWS = """
    rows_, columns_ = outputs.shape
    totals_ = np.zeros({lanes}, outputs.dtype)
    lanes_ = np.zeros(({sums}, {lanes}), outputs.dtype)
    for r_ in range(rows_):
{body}
    total_[0] = combine_(totals_)
{tail}

@numba.njit(error_model="numpy", nogil=True)
def combine_(lanes_):
    half_ = {lanes}
    while half_ > 1:
        half_ //= 2
        for k_ in range(half_):
            lanes_[k_] += lanes_[k_ + half_]
    return lanes_[0]
"""


class NumbaRows(RowPrinter):
    """Prints what is done for row r_."""

    language, place = "python", "r_, k_"

    def _declare(self, name: str, text: str, *, boolean: bool = False) -> str:  # noqa: ARG002
        return f"{name} = {text}"

    def _loop(
        self, sums: list[Symbol], outs: Mapping[str, Symbol], elements: list[str]
    ) -> list[str]:
        lines, ends = [], []
        for node in sums:
            number = self.numbers[node]
            if node.operation == "row_sum":
                lines.append(f"lanes_[{number}, :] = 0")
                ends.append(self.define(node, f"combine_(lanes_[{number}])"))
            else:
                lines.append(self.define(node, "outputs[r_, 0]"))
        inner = elements + [self._step(node) for node in sums]
        inner += [f"{name}[r_, k_] = {self.names[r]}" for name, r in outs.items()]
        lines.append("for k_ in range(columns_):")
        return lines + ["    " + line for line in inner] + ends

    def _step(self, node: Symbol) -> str:
        """Print what an element adds to a sum, or does to a maximum or a choice."""
        value, mine = self.names[node.arguments[0]], self.names[node]
        if node.operation == "row_sum":
            return f"lanes_[{self.numbers[node]}, k_ % {LANES}] += {value}"
        if node.operation == "row_pick":
            label = self.names[node.arguments[1]]
            return f"{mine} = {value} if k_ == {label} else {mine}"
        return f"{mine} = {value} if {value} > {mine} or {value} != {value} else {mine}"


def print_rows(program: Program, vectors: Collection[str], *, flush: bool) -> str:
    """Print a loss: gradient, each row's loss and, into total_, the sum of those."""
    printer = NumbaRows(program, vectors)
    gradient, loss = program.results
    parameters = [s.name for s in program.inputs if s.name != "column"]
    listed = ", ".join([*parameters, "total_"])
    head = print_head(program, flush=flush, parameters=listed)
    body = printer.read_vectors("r_")
    body += printer.loops(program.instructions, {"gradient": gradient})
    result = printer.names[loss]
    body += [f"loss[r_] = {result}", f"totals_[r_ % {LANES}] += {result}"]
    return head + ROWS.format(
        lanes=LANES,
        sums=len(program.instructions),
        body="\n".join(f"        {line}" for line in body),
        tail="    leave(mode)" if flush else "",
    )
