"""Prints programs with reductions as Numba loops, all passes in one function.

The loop over arrays is outermost, and the passes of an array follow each other, so that
what fits the cache is read from memory once; where all reductions are of rows, those
of some rows do. In the text a_ is before the names of a rule's arguments, which cannot
meet the printer's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from gdopt.arrays.backend import Arrays
from gdopt.kernels.cpu.flush import can_flush
from gdopt.kernels.cpu.lanes import (
    LEVELS,
    NARROW,
    TILE,
    Sum,
    fold_segments,
    gather,
    inside,
    lane_count,
    print_helpers,
    print_segments,
    set_width,
)
from gdopt.kernels.cpu.loops import FLUSH, IMPORTS, compile_module, print_element
from gdopt.kernels.passes import REDUCTIONS, ArrayPass, ReducingProgram
from gdopt.kernels.sums import ROWS, SEGMENT
from gdopt.kernels.symbol import ARRAY, COLUMN, ELEMENT, ROW, Symbol
from gdopt.kernels.trace import expression

MANY = {ROW: "count", COLUMN: "columns"}  # kinds of several values in a unit

HEAD = """from numba import float32, float64, uint64
{flush}

options = dict(error_model="numpy", nogil=True)
jit, inlined = numba.njit(**options), numba.njit(forceinline=True, **options)
"""
LONGEST = f"""
    longest, most, depth = 1, 1, 2
    for a in range(table.shape[0]):
        most = max(most, table[a, 0])
        longest = max(longest, table[a, 0], table[a, 1])
    while {ROWS} << (depth - 2) < most:
        depth += 1
"""
RUN = """
@jit
def run(table, values, {buffers}):
{longest}
    lanes = np.empty({lanes})
    tree = np.empty({tree})
    sums = np.empty({sums} * depth * longest)
    vectors = np.empty({vectors} * longest)
    near = np.empty({near} * longest, {dtype})
    for a in range(table.shape[0]):
        rows, columns = table[a, 0], table[a, 1]
        if rows * columns == 0:
            continue
        rows_, columns_ = float64(rows), float64(columns)
        size_ = float64(rows * columns)
{body}
"""


def print_jit_head(name: str, *, flush: bool) -> str:
    """Print a module up to its own functions: imports, and what joins terms."""
    head = HEAD.format(flush=FLUSH if flush else "")
    return IMPORTS.format(name=name) + head + print_helpers()


def each(kind: str, lines: list[str]) -> list[str]:
    """Print what is done for each row or column c; once, for other kinds."""
    if kind not in MANY:
        return lines
    return inside(f"for c in range(uint64({MANY[kind]})):", lines)


def near(place: int, symbol: Symbol, index: str = "c") -> str:
    """Name a value that a pass hoists, rounded to the dtype of its arithmetic."""
    if symbol.kind not in MANY:
        return f"near[{place} * longest]"
    return f"near[uint64({place} * longest) + {index}]"


class Printer:
    """Prints a program; in a text of several values, c is the row or column."""

    def __init__(self, program: ReducingProgram, dtype: Any, *, flush: bool) -> None:
        self.program, self.dtype, self.flush = program, np.dtype(dtype), flush
        self.names = {symbol: f"h{place}" for symbol, place in program.places.items()}
        self.vectors, self.terms, self.of_columns = 0, 1, False
        self.body = self.print_units()

    def print(self) -> str:
        """Print the module."""
        program, lines = self.program, self.body
        text = print_jit_head(program.name, flush=self.flush)
        bounded = program.by_rows or not self.vectors
        constant = f"    longest, depth = {SEGMENT if program.by_rows else 1}, 2"
        return text + RUN.format(
            buffers=", ".join(program.arguments),
            longest=constant if bounded else LONGEST,
            lanes=self.terms * lane_count(TILE if self.vectors else 1),
            tree=self.terms * LEVELS,
            sums=self.terms * self.of_columns,
            vectors=self.vectors,
            near=max(1, *(len(one.program.hoisted) for one in program.passes)),
            dtype=self.dtype.name,
            body="\n".join(f"        {line}" for line in lines),
        )

    def print_units(self) -> list[str]:
        """Print what is done for an array: as a whole, or for some rows at a time."""
        program, first = self.program, "first" if self.program.by_rows else "0"
        lines = []
        for k, symbol in enumerate(program.inputs):
            more = {ELEMENT: f" + {first} * columns", ROW: f" + {first}"}
            name, place = symbol.name, f"table[a, {2 + k}]"
            lines.append(f"o_{name} = uint64({place}{more.get(symbol.kind, '')})")
            if not symbol.element:
                c = " + c" if symbol.kind in MANY else ""
                self.names[symbol] = f"a_{name}[o_{name}{c}]"
        for k in range(max(len(program.between), len(program.passes))):
            if k < len(program.between):
                lines += self.print_between(program.between[k])
            if k < len(program.passes):
                lines += self.print_pass(program.passes[k])
        for k, result in enumerate(program.results):
            symbol = program.inputs[k]
            if program.writes(k) and not symbol.element:
                line = f"{self.names[symbol]} = {self.names[result]}"
                lines += each(symbol.kind, [line])
        hoisted = [f"h{k} = values[a, {k}]" for k in range(len(program.hoisted))]
        if not program.by_rows:
            return [*hoisted, "count = rows", *lines]
        count = ["count = min(step, rows - first)"]
        loop = inside("for first in range(0, rows, step):", count, lines)
        return [*hoisted, f"step = max(1, {SEGMENT} // columns)", *loop]

    def text(self, symbol: Symbol) -> str:
        """Name a value that is not of elements; those by shape have names."""
        return self.names.get(symbol, symbol.name)

    def define(self, value: Symbol) -> str:
        """Return what a value is assigned to, and keep its name."""
        target = f"y{len(self.names)}"
        if value.kind in MANY:
            target = f"vectors[uint64({self.vectors} * longest) + c]"
            self.vectors += 1
        numbers = value.kind in MANY and value.boolean
        self.names[value] = f"({target} != 0.0)" if numbers else target
        return target

    def place(self, values: Iterable[Symbol], *, scaled: bool) -> list[Sum]:
        """Find room for the terms of reductions."""
        found, used = [], 0
        for value in values:
            terms = 3 if scaled and value.operation == "norm" else 1
            found.append(Sum(value, range(used, used + terms)))
            used += terms
            self.of_columns |= value.kind == COLUMN
        self.terms = max(self.terms, used)
        return found

    def print_between(self, nodes: Iterable[Symbol]) -> list[str]:
        """Print what is computed in float64 between passes."""
        lines: list[str] = []
        for node in nodes:
            if node.operation in REDUCTIONS:
                (vector,) = node.arguments
                sums, total = self.place([node], scaled=True), MANY[vector.kind]
                add = sums[0].add(self.text(vector), sums[0].lanes())
                lines += set_width(total)
                lines += print_segments(sums, total, ["c = i + l", *add])
                lines += fold_segments(sums, total)
                lines.append(f"{self.define(node)} = {sums[0].finish(sums[0].tops())}")
            else:
                names = {argument: self.text(argument) for argument in node.arguments}
                text = expression(node, names)
                lines += each(node.kind, [f"{self.define(node)} = {text}"])
        return lines

    def print_pass(self, one: ArrayPass) -> list[str]:
        """Print a pass over a unit."""
        hoisted = list(enumerate(one.program.hoisted))
        lines = gather(
            each(s.kind, [f"{near(k, s)} = {self.dtype}({self.text(s)})"])
            for k, s in hoisted
        )
        lines += ["mode = enter()"] if self.flush else []
        lines += [f"s{k} = {near(k, s)}" for k, s in hoisted if s.kind not in MANY]
        sums = self.place(one.reductions, scaled=self.dtype == np.float64)
        whole = [own for own in sums if own.value.kind == ARRAY]
        others = [own for own in sums if own.value.kind != ARRAY]
        long = any(s.kind in MANY for _, s in hoisted)
        if whole or not (long or others):
            lines += self.print_whole(one, whole, by_row=long, writes=not others)
        if others or (long and not whole):
            lines += self.print_rows(one, others)
        lines += ["leave(mode)"] if self.flush else []
        lines += fold_segments(whole, "count * columns")
        for own in sums:
            if own.value.kind == ARRAY:
                lines.append(f"{self.define(own.value)} = {own.finish(own.tops())}")
            elif own.value.kind == COLUMN:
                lines += own.fold(f"(count + {ROWS - 1}) // {ROWS}")
                text = own.finish(own.columns("c"))
                lines += each(COLUMN, [f"{self.define(own.value)} = {text}"])
        return lines

    def print_element(
        self,
        one: ArrayPass,
        sums: Mapping[Sum, Sequence[str]],
        vectors: Mapping[str, str],
        *,
        step: str = "",
        writes: bool = True,
    ) -> list[str]:
        """Print what is done for element l of some, and add its terms to targets."""
        program = one.program if writes else replace(one.program, results=())
        known = {
            symbol: near(k, symbol, vectors[symbol.kind])
            for k, symbol in enumerate(program.hoisted)
            if symbol.kind in vectors
        }
        lines, names = print_element(program, f"a_{{0}}[o_{{0}} + j + l{step}]", known)
        operands = dict(zip(one.reductions, program.kept, strict=True))
        for own, targets in sums.items():
            lines += own.add(names[operands[own.value]], targets)
        return lines or ["pass"]

    def print_whole(
        self, one: ArrayPass, sums: Sequence[Sum], *, by_row: bool, writes: bool
    ) -> list[str]:
        """Print a loop over all elements of a unit, with sums of them all."""
        lanes = {own: own.lanes("b + l" if by_row else "l") for own in sums}
        body = self.print_element(one, lanes, {COLUMN: "i + l"}, writes=writes)
        if not sums:
            loop = inside("for l in range(uint64(count * columns)):", body)
            return ["j = uint64(0)", *loop]
        total = "count * columns"
        rows = self.read_row(one) if by_row else None
        return [*set_width(total), *print_segments(sums, total, body, by_row=rows)]

    def read_row(self, one: ArrayPass) -> list[str]:
        """Print how the values for row c are read."""
        hoisted = enumerate(one.program.hoisted)
        return [f"s{k} = {near(k, s)}" for k, s in hoisted if s.kind == ROW]

    def print_rows(self, one: ArrayPass, sums: Sequence[Sum]) -> list[str]:
        """Print a loop over rows, with sums of rows and of columns."""
        of_rows = [own for own in sums if own.value.kind == ROW]
        of_columns = [own for own in sums if own.value.kind == COLUMN]
        targets = {own: own.lanes() for own in of_rows}
        targets |= {own: own.columns("i + l") for own in of_columns}
        body = self.print_element(one, targets, {COLUMN: "i + l"})
        if of_rows:
            walk = print_segments(of_rows, "columns", body, "row * columns")
            walk += fold_segments(of_rows, "columns")
        else:
            walk = ["j, i = uint64(row * columns), uint64(0)"]
            walk += inside("for l in range(uint64(columns)):", body)
        defined = {own: self.define(own.value) for own in of_rows}
        walk += [f"{t} = {own.finish(own.tops())}" for own, t in defined.items()]
        first = gather(own.start(own.columns("l")) for own in of_columns)
        if first:
            push = gather(own.push(f"row // {ROWS}") for own in of_columns)
            last = f"if row % {ROWS} == {ROWS - 1} or row == count - 1:"
            first = inside("for l in range(uint64(columns)):", first)
            first = inside(f"if row % {ROWS} == 0:", first)
            walk += inside(last, push)
        head = "for row in range(count):"
        rows = inside(head, ["c = uint64(row)"], self.read_row(one), first, walk)
        rows = [*set_width("columns"), *rows]
        if of_columns:
            return rows
        narrow = self.print_narrow(one, defined)
        return [*inside(f"if columns <= {NARROW}:", narrow), *inside("else:", rows)]

    def print_narrow(self, one: ArrayPass, sums: Mapping[Sum, str]) -> list[str]:
        """Print a loop over short rows, with TILE of them side by side."""
        lanes = {own: own.lanes("b + l", TILE) for own in sums}
        vectors = {ROW: "c + l", COLUMN: "i"}
        body = self.print_element(one, lanes, vectors, step=" * stride")
        starts = (own.start(own.lanes("l", TILE)) for own in sums)
        ends = [f"{t} = {own.finish(own.lanes('l', TILE))}" for own, t in sums.items()]
        tile = inside(
            f"for low in range(0, count, {TILE}):",
            [f"m, c = min({TILE}, count - low), uint64(low)"],
            inside(f"for l in range(uint64(width * {TILE})):", *starts) if sums else [],
            inside(
                "for column in range(columns):",
                ["j, i = uint64(low * columns + column), uint64(column)"],
                [f"b = uint64(column * {TILE})"],
                inside("for l in range(uint64(m)):", body),
            ),
            gather(own.halve(TILE) for own in sums),
            inside("for l in range(uint64(m)):", ["c = uint64(low) + l"], ends)
            if ends
            else [],
        )
        return ["stride = uint64(columns)", *set_width("columns"), *tile]


class LoopPasses:
    """The passes of a program compiled by Numba; runs on flat, contiguous arrays."""

    cast = tuple  # of the hoisted values, which are rounded where they meet elements

    def __init__(self, program: ReducingProgram, dtype: Any) -> None:
        self.dtype = np.dtype(dtype)
        flush = self.dtype == np.float32 and can_flush()
        printer = Printer(program, self.dtype, flush=flush)
        self.source, module = compile_module(printer.print, program.name)
        self._run = module.run

    def run(self, table: np.ndarray, buffers: Arrays, values: np.ndarray) -> None:
        """Update arrays in place; see `BlockPasses.run`."""
        self._run(table, values, *buffers)
