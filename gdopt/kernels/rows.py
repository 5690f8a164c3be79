"""Sorts a formula over the rows of a matrix into loops, for printers of any language.

An element is computed again in every loop that needs it: a row is in the cache by then.
"""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Mapping

from gdopt.kernels.symbol import Symbol, is_among
from gdopt.kernels.trace import Program, expression

REDUCTIONS = ("row_sum", "row_max", "row_pick")


class RowPrinter(ABC):
    """Prints loops over the elements of a row (or column); vectors have one for all."""

    language: str  # a column of OPERATIONS
    place: str  # of an element in its matrix

    def __init__(self, program: Program, vectors: Collection[str]) -> None:
        self.program, self.vectors = program, vectors
        self.names = program.names()
        self.numbers = {node: k for k, node in enumerate(program.instructions)}

    @abstractmethod
    def _declare(self, name: str, text: str, *, boolean: bool = False) -> str:
        """Print a statement that gives a value its name."""

    @abstractmethod
    def _loop(
        self, sums: list[Symbol], outs: Mapping[str, Symbol], elements: list[str]
    ) -> list[str]:
        """Print a loop over elements, which computes reductions and writes results."""

    def define(self, node: Symbol, text: str) -> str:
        """Print how an operation's value is computed, and name it."""
        self.names[node] = f"x{self.numbers[node]}"
        return self._declare(self.names[node], text, boolean=node.boolean)

    def compute(self, node: Symbol) -> str:
        """Print an operation."""
        return self.define(node, expression(node, self.names, self.language))

    def read(self, symbol: Symbol, place: str) -> str:
        """Print how an input is read at a place."""
        source = "k_" if symbol.name == "column" else f"{symbol.name}[{place}]"
        return self._declare(self.names[symbol], source)

    def read_vectors(self, place: str) -> list[str]:
        """Print how the numbers of a whole row are read."""
        return [
            self.read(symbol, place)
            for symbol in self.program.inputs
            if symbol.name in self.vectors and self.program.reads(symbol)
        ]

    def elements(self, wanted: Iterable[Symbol], place: str) -> list[str]:
        """Print how the values of an element are computed from the inputs."""
        found: set[Symbol] = set()

        def visit(node: Symbol) -> None:
            if not self.is_unit(node) and node not in found:
                found.add(node)
                for argument in node.arguments:
                    visit(argument)

        for node in wanted:
            visit(node)
        lines = [self.read(s, place) for s in self.program.inputs if s in found]
        return lines + [
            self.compute(n) for n in self.program.instructions if n in found
        ]

    def loops(
        self, nodes: Iterable[Symbol], results: Mapping[str, Symbol]
    ) -> list[str]:
        """Print all, in as many loops as reductions wait for each other."""
        by_stage: dict[int, list[Symbol]] = {}
        for node in nodes:
            by_stage.setdefault(self.stage(node), []).append(node)
        lines: list[str] = []
        for _, now in sorted(by_stage.items()):
            sums = [node for node in now if node.operation in REDUCTIONS]
            others = [node for node in now if node.operation not in REDUCTIONS]
            lines += [self.compute(node) for node in others if self.is_unit(node)]
            outs = {n: r for n, r in results.items() if is_among(r, now)}
            if sums or outs:
                wanted = [node.arguments[0] for node in sums] + list(outs.values())
                lines += self._loop(sums, outs, self.elements(wanted, self.place))
        return lines

    def is_unit(self, node: Symbol) -> bool:
        """Return whether a value belongs to the row, not to an element."""
        if node.operation is None:
            return not node.element or node.name in self.vectors
        return node.operation in REDUCTIONS or all(map(self.is_unit, node.arguments))

    @functools.cache  # noqa: B019 - printers are dropped with their texts
    def stage(self, node: Symbol) -> int:
        """Return how many loops a value has to wait for."""
        waits = [self.stage(a) + (a.operation in REDUCTIONS) for a in node.arguments]
        return max(waits, default=0)
