"""Prints values of arrays, rows and columns, and where they are kept."""

from __future__ import annotations

from gdopt.kernels.cuda.fused import KernelVariant
from gdopt.kernels.cuda.pass_plan import Group, PassPlan
from gdopt.kernels.passes import ArrayPass, ReducingProgram, reduces_elements
from gdopt.kernels.symbol import ARRAY, BY_SHAPE, COLUMN, ROW, SCALAR, Symbol
from gdopt.kernels.trace import expression

KINDS = {ARRAY: 0, ROW: 1, COLUMN: 2}  # of loops: over an array, its rows, its columns
COUNTS = dict(zip(BY_SHAPE, ("row_count_", "column_count_", "size_"), strict=True))
Names = dict[Symbol, str]


def kinds_of(one: ArrayPass) -> list[str]:
    """Return the kinds of a pass's loops: those of its reductions."""
    found = {value.kind for value in one.reductions}
    return [kind for kind in KINDS if kind in found] or [ARRAY]


def is_largest(value: Symbol) -> str:
    """Return in C whether a reduction is a maximum."""
    return str(value.operation == "max").lower()


class ValuePrinter:
    """Prints the values of a program that are not its elements'."""

    def __init__(self, program: ReducingProgram, variant: KernelVariant) -> None:
        self.program, self.plan, self.variant = program, PassPlan(program), variant
        self.launches = self.plan.launches  # each of which is a kernel
        self._inputs = {symbol: k for k, symbol in enumerate(program.inputs)}
        self._numbers: dict[Symbol, int] = {}

    def terms(self, value: Symbol) -> int:
        """Count the sums that a reduction consists of."""
        double = not value.arguments[0].element or self.variant.compute == "float64"
        return 3 if value.operation == "norm" and double else 1

    def sums(self, one: ArrayPass | None, kind: str) -> list[tuple[str, str]]:
        """List the sums of a pass to a kind: how their names end, and `is_largest`."""
        return [
            (f"{j}_{term}_", is_largest(value))
            for j, value in enumerate(one.reductions if one else ())
            if value.kind == kind
            for term in range(self.terms(value))
        ]

    def number(self, value: Symbol) -> int:
        """Number a value, for its name."""
        return self._numbers.setdefault(value, len(self._numbers))

    def read(self, value: Symbol, names: Names, lines: list[str], y: str) -> str:
        """Name a value; add lines that read it, or compute it, at row_ and column_."""
        if value in names:
            return names[value]
        if value in self.program.places:
            return f"h{self.program.places[value]}_"
        if value.kind == SCALAR:
            return f"({value.value!r})"
        if value.name in COUNTS:
            return f"(double){COUNTS[value.name]}"
        if value in self.plan.inline:
            for argument in value.arguments:
                names[argument] = self.read(argument, names, lines, y)
            text = expression(value, names, "cuda")
        elif value in self._inputs:
            text = self.state(self._inputs[value])
        else:
            text = f"{self._slot(value, y)}{' != 0.0' if value.boolean else ''}"
        return self.name(value, text, names, lines)

    def name(self, value: Symbol, text: str, names: Names, lines: list[str]) -> str:
        """Print a value's definition."""
        names[value] = f"w{self.number(value)}_"
        kind = "bool" if value.boolean else "double"
        lines.append(f"const {kind} {names[value]} = {text};")
        return names[value]

    def _slot(self, value: Symbol, y: str) -> str:
        """Print where a value is kept."""
        slots = self.plan.slots
        place, before = slots[value.kind][value], len(slots[ARRAY])
        if value.kind == ARRAY:
            return f"{y}[{place}]"
        if value.kind == ROW:
            return f"{y}[{before} + {place} * row_count_ + row_]"
        before_columns = f"{before} + {len(slots[ROW])} * row_count_"
        return f"{y}[{before_columns} + {place} * column_count_ + column_]"

    def state(self, number: int) -> str:
        """Print an input with one value for an array, a row or a column."""
        kind, stored = self.program.inputs[number].kind, self.variant.stored[number]
        index = {ARRAY: "0", ROW: "row_", COLUMN: "column_"}[kind]
        if self.variant.strided and stored.separate and kind != ARRAY:
            index = "row_ * column_count_" if kind == ROW else index
            index = f"gdopt_place({index}, {self.steps(number)})"
        return f"at{number}_[{index}]"

    @staticmethod
    def steps(number: int) -> str:
        """Print the lengths and steps of an array's axes, and how many there are."""
        return f"slot_ + 2, slot_ + 2 + {number + 1} * axes_, axes_"

    def compute(
        self, group: Group, names: Names, one: ArrayPass | None, y: str
    ) -> list[str]:
        """Print a group's values, at a row or column where they are of such."""
        lines = list[str]()
        numbers = {node: j for j, node in enumerate(one.reductions if one else ())}
        for node in group.nodes:
            if reduces_elements(node):
                j, terms = numbers[node], self.terms(node)
                text = self.joined(node, [f"t{j}_{term}_" for term in range(terms)])
            else:
                for argument in node.arguments:
                    names[argument] = self.read(argument, names, lines, y)
                text = expression(node, names, "cuda")
            self.name(node, text, names, lines)
        kept = self.store(group, names, lines, y)
        return lines + kept

    @staticmethod
    def joined(value: Symbol, sums: list[str]) -> str:
        """Print a reduction of its sums."""
        if value.operation != "norm":
            return sums[0]
        return f"gdopt_root({', '.join([*sums, '0.0', '0.0'][:3])})"

    def store(self, group: Group, names: Names, lines: list[str], y: str) -> list[str]:
        """Print what keeps a group's values, and writes state."""
        kept = [
            f"{self._slot(node, y)} = {names[node]};"
            for node in group.nodes
            if node in self.plan.slots[group.kind]
        ]
        kept += [
            f"{self.state(place)} = {self.read(value, names, lines, y)};"
            for place, value in group.writes.items()
        ]
        if group.kind != ARRAY or not kept:
            return kept
        wait = ["__syncthreads();"] if group.writes else []  # until all have read
        return [*wait, f"if (!thread_) {{ {' '.join(kept)} }}"]

    def accumulate(self, value: Symbol, operand: str, end: str) -> str:
        """Print how an operand joins lane k_ of a reduction."""
        terms = range(self.terms(value))
        lanes = [f"lanes{end}{term}_[k_]" for term in terms]
        if value.operation == "norm":
            return f"gdopt_add_square({operand}, {', '.join(lanes)});"
        call = f"gdopt_join<{is_largest(value)}>({lanes[0]}, (double){operand})"
        return f"{lanes[0]} = {call};"

    def lanes(self, value: Symbol, end: str) -> list[str]:
        """Print a thread's four lanes of each sum of a reduction."""
        start = f"gdopt_start<{is_largest(value)}>()"
        four = ", ".join([start] * 4)
        terms = range(self.terms(value))
        return [f"double lanes{end}{term}_[4] = {{{four}}};" for term in terms]
