"""Cuts a formula with reductions into passes over memory.

A value's stage is the number of passes that must have ended before it can be computed:
that of a reduction of elements is one more than its operand's. Values that are not
elements are computed between the passes, in float64. A pass computes element values
again from the arrays, unless a result that it needs has been written by then: it is
read. Which results are written early is decided by counting the loads and stores of
all choices.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from gdopt.kernels.symbol import ELEMENT, ROW, SCALAR, Symbol, is_among
from gdopt.kernels.trace import BaseProgram, Formula, Program, hoist

REDUCTIONS = ("sum", "max", "norm")
MOST_CHOICES = 8  # results that may be written early: 2**8 sets of them are tried


def reduces_elements(node: Symbol) -> bool:
    """Return whether an operation is a reduction that a pass accumulates."""
    return node.operation in REDUCTIONS and node.arguments[0].element


@dataclass(frozen=True, eq=False)
class ArrayPass:
    """One loop over the elements of an array.

    The program's hoisted values are scalars, and values for an array, a row or a column
    that are known by then; what it keeps are the operands of the reductions.
    """

    program: Program
    places: tuple[int, ...]  # of the program's inputs among the formula's
    reductions: tuple[Symbol, ...]  # the formula's values that the pass accumulates


@dataclass(frozen=True, eq=False, kw_only=True)
class ReducingProgram(BaseProgram):
    """A traced formula whose elements depend on values of whole arrays or rows."""

    between: tuple[tuple[Symbol, ...], ...]  # computed before each pass, and at the end
    passes: tuple[ArrayPass, ...]
    early: tuple[int, ...]  # places of inputs that are written before the last pass

    @property
    def loads(self) -> int:
        """Elements read for each element of an array, over all passes."""
        return sum(one.program.loads for one in self.passes)

    @property
    def stores(self) -> int:
        """Elements written for each element of an array, over all passes."""
        return sum(one.program.stores for one in self.passes)

    @property
    def by_rows(self) -> bool:
        """Whether all reductions are of rows, which do not depend on each other."""
        values = [symbol for symbol in self.inputs if symbol.kind != ELEMENT]
        values += [value for one in self.passes for value in one.reductions]
        nodes = itertools.chain(*self.between)
        return (
            bool(values)
            and all(value.kind == ROW for value in values)
            and not any(node.operation in REDUCTIONS for node in nodes)
        )


def plan_passes(formula: Formula, *, early: bool = True) -> ReducingProgram:
    """Cut a traced formula into passes.

    Results may be written early, before the last pass; not where storage rounds them,
    as a later pass would read another value.
    """
    nodes = formula.nodes()
    stages: dict[Symbol, int] = {}
    for node in nodes:
        before = max((stages[argument] for argument in node.arguments), default=0)
        stages[node] = before + reduces_elements(node)
    last = max((stages[node] for node in nodes), default=0)
    cutter = _Cutter(formula, nodes, stages, last)
    own = [n for n in nodes if n.kind not in {SCALAR, ELEMENT} and n.operation]
    between = [
        tuple(n for n in own if stages[n] == k and not reduces_elements(n))
        for k in range(last + 1)
    ]
    chosen, passes = cutter.best(early=early)
    operations = [node for node in nodes if node.kind != SCALAR]
    hoisted, places = hoist(operations, lambda node: node.kind == SCALAR)
    return ReducingProgram(
        name=formula.name,
        inputs=formula.inputs,
        results=formula.results,
        hoisted=hoisted,
        places=places,
        scalars=formula.scalars,
        between=tuple(between),
        passes=passes,
        early=chosen,
    )


@dataclass(frozen=True, eq=False)
class _Cutter:
    """A formula, its operations in order, and the stage of each."""

    formula: Formula
    nodes: list[Symbol]
    stages: Mapping[Symbol, int]
    last: int

    def best(self, *, early: bool) -> tuple[tuple[int, ...], tuple[ArrayPass, ...]]:
        """Choose what is written early, with the fewest loads and stores."""
        inputs, results = self.formula.inputs, self.formula.results
        written = [
            k
            for k, (symbol, result) in enumerate(zip(inputs, results, strict=False))
            if symbol.element and result is not symbol
        ]
        found = [k for k in written if self.stages[results[k]] < self.last]
        found = found[:MOST_CHOICES] if early else []
        best: tuple[int, tuple[int, ...], tuple[ArrayPass, ...]] | None = None
        for count in range(len(found) + 1):
            for chosen in itertools.combinations(found, count):
                passes = self._cut(written, chosen)
                if passes is None:
                    continue
                words = sum(p.program.loads + p.program.stores for p in passes)
                if best is None or words < best[0]:
                    best = words, chosen, passes
        assert best is not None  # noqa: S101 - nothing early is always possible
        return best[1:]

    def _cut(
        self, written: list[int], early: Collection[int]
    ) -> tuple[ArrayPass, ...] | None:
        """Return the passes; None where one needs a value that is overwritten."""
        results = self.formula.results
        count = self.last + bool(written)
        passes = []
        for stage in range(count):
            now = [
                k
                for k in written
                if (self.stages[results[k]] if k in early else count - 1) == stage
            ]
            gone = [k for k in early if self.stages[results[k]] < stage]
            one = self._pass(stage, now, gone)
            if one is None:
                return None
            if now and len({value.kind for value in one.reductions}) > 1:
                return None  # each kind has its loop, and reads what another writes
            passes.append(one)
        if passes and not passes[-1].places:  # all has been written before
            passes.pop()
        return tuple(passes)

    def _pass(self, stage: int, now: list[int], gone: list[int]) -> ArrayPass | None:
        """Return a pass that writes some inputs, and finds others written before."""
        inputs, results = self.formula.inputs, self.formula.results
        reductions = [
            n for n in self.nodes if reduces_elements(n) and self.stages[n] == stage + 1
        ]
        old = [inputs[k] for k in gone]
        copier = _Copier({results[k]: inputs[k] for k in gone}, old)
        try:
            kept = [copier.copy(node.arguments[0]) for node in reductions]
            written = [copier.copy(results[k]) for k in now]
        except LookupError:
            return None
        instructions, used = copier.instructions, copier.used
        for k, operand in enumerate(kept):  # of an array that the pass changes
            if is_among(operand, [inputs[place] for place in now]):
                kept[k] = Symbol("copy", (operand,), kind=ELEMENT)
                instructions[kept[k]] = None
        order = [*now, *(k for k, s in enumerate(inputs) if s in used and k not in now)]
        hoisted, places = hoist(instructions, lambda node: not node.element)
        program = Program(
            name=f"{self.formula.name}_{stage + 1}",
            inputs=tuple(inputs[k] for k in order),
            results=tuple(written),
            hoisted=hoisted,
            places=places,
            scalars=(),
            instructions=tuple(instructions),
            kept=tuple(kept),
        )
        return ArrayPass(program, tuple(order), tuple(reductions))


class _Copier:
    """Copies operations into a pass: the old values of some inputs are gone."""

    def __init__(self, written: Mapping[Symbol, Symbol], old: list[Symbol]) -> None:
        self._copies, self._written, self._old = dict(written), written, old
        self.instructions: dict[Symbol, None] = {}  # of the pass, in order
        self.used: dict[Symbol, None] = {}  # inputs that it reads

    def copy(self, node: Symbol) -> Symbol:
        """Return what computes a value in the pass; LookupError where it is gone."""
        if not node.element:
            return node
        if node in self._written:
            self.used[self._written[node]] = None
        elif node.operation is None:
            if is_among(node, self._old):
                raise LookupError
            self.used[node] = None
            return node
        elif node not in self._copies:
            new = Symbol(
                node.operation,
                tuple(map(self.copy, node.arguments)),
                kind=node.kind,
                boolean=node.boolean,
            )
            self._copies[node] = new
            self.instructions[new] = None
        return self._copies[node]
