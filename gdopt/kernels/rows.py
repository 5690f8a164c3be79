"""In which loops over a row, or column, a formula with sums over it is computed."""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

from gdopt.kernels.symbol import Symbol
from gdopt.kernels.trace import Program

REDUCTIONS = ("row_sum", "row_max", "row_pick")
Stage = tuple[list[Symbol], list[Symbol], dict[str, Symbol]]


@dataclass(frozen=True, eq=False)
class RowPlan:
    """Sorts a program's values by the loop that they are computed in.

    Attributes:
        program: the traced formula.
        vectors: names of inputs that hold one number for a whole row (or column).
    """

    program: Program
    vectors: Collection[str]

    def is_unit(self, node: Symbol) -> bool:
        """Return whether a value belongs to the row, not to an element."""
        if node.operation is None:
            return not node.element or node.name in self.vectors
        return node.operation in REDUCTIONS or all(map(self.is_unit, node.arguments))

    @functools.cache  # noqa: B019 - plans are dropped with their printers
    def stage(self, node: Symbol) -> int:
        """Return how many loops a value has to wait for."""
        waits = [self.stage(a) + (a.operation in REDUCTIONS) for a in node.arguments]
        return max(waits, default=0)

    def stages(
        self, nodes: Iterable[Symbol], results: Mapping[str, Symbol]
    ) -> Iterator[Stage]:
        """Yield, for each loop: values of the row before it, sums and results in it."""
        by_stage: dict[int, list[Symbol]] = {}
        for node in nodes:
            by_stage.setdefault(self.stage(node), []).append(node)
        for _, now in sorted(by_stage.items()):
            sums = [node for node in now if node.operation in REDUCTIONS]
            before = [n for n in now if n not in sums and self.is_unit(n)]
            yield before, sums, {n: r for n, r in results.items() if r in now}

    def needed(self, wanted: Iterable[Symbol]) -> tuple[list[Symbol], list[Symbol]]:
        """Return the inputs and operations of an element that some values need."""
        found: set[Symbol] = set()

        def visit(node: Symbol) -> None:
            if not self.is_unit(node) and node not in found:
                found.add(node)
                for argument in node.arguments:
                    visit(argument)

        for node in wanted:
            visit(node)
        inputs = [symbol for symbol in self.program.inputs if symbol in found]
        return inputs, [n for n in self.program.instructions if n in found]
