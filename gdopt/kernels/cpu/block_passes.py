"""Runs a program with reductions by NumPy, an array after the other, block by block."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import zip_longest
from typing import Any

import numpy as np

from gdopt.arrays.backend import Arrays
from gdopt.kernels.cpu.blocks import Blocks
from gdopt.kernels.cpu.flush import flushing
from gdopt.kernels.ops import OPERATIONS
from gdopt.kernels.packing import rows_and_columns
from gdopt.kernels.passes import REDUCTIONS, ArrayPass, ReducingProgram
from gdopt.kernels.sums import (
    ROWS,
    SEGMENT,
    block_results,
    finish,
    reduce,
    segment_results,
)
from gdopt.kernels.symbol import ARRAY, COLUMN, ROW, Symbol

Values = dict[Symbol, Any]  # that are not of elements, in float64
Counts = dict[str, int]  # of rows, columns and elements


class BlockPasses:
    """The passes of a program; runs on flat, contiguous arrays."""

    cast = tuple  # of the hoisted values, which are rounded where they meet elements

    def __init__(self, program: ReducingProgram, dtype: Any) -> None:
        self.dtype = np.dtype(dtype)
        self._program = program
        self._engines = [Blocks(one.program, self.dtype) for one in program.passes]

    def reserve(self, shape: Sequence[int]) -> None:
        """Make the scratch of a run on an array of a shape."""
        rows, columns = rows_and_columns(shape)
        for one, engine in zip(self._program.passes, self._engines, strict=True):
            if rows * columns:
                step, by_rows = _cut(one, engine, columns)
                size = min(step, rows) * columns if by_rows else step
                engine.scratch_of(min(size, rows * columns))

    def run(self, table: np.ndarray, buffers: Arrays, values: np.ndarray) -> None:
        """Update arrays in place.

        The table, (arrays, 2 + inputs) int64, holds the rows and columns of each array,
        and where it begins in the flat buffer of each input. Values, (arrays, hoisted),
        and the buffers of what is not of elements are float64.
        """
        for row, own in zip(table.tolist(), values.tolist(), strict=True):
            rows, columns, *starts = row
            if rows * columns:
                with np.errstate(all="ignore"):
                    self._run_array(rows, columns, starts, buffers, own)

    def _run_array(
        self,
        rows: int,
        columns: int,
        starts: Sequence[int],
        buffers: Arrays,
        scalars: Sequence[float],
    ) -> None:
        program, shapes = self._program, {ARRAY: (), ROW: (rows, 1), COLUMN: (columns,)}
        known: Values = {
            symbol: np.float64(scalars[place])
            for symbol, place in program.places.items()
        }
        counts = {"rows_": rows, "columns_": columns, "size_": rows * columns}
        views = []
        for symbol, buffer, start in zip(program.inputs, buffers, starts, strict=True):
            shape = shapes.get(symbol.kind, (rows, columns))
            views.append(buffer[start : start + math.prod(shape)].reshape(shape))
            if not symbol.element:
                known[symbol] = views[-1].copy()
        stages = zip_longest(program.between, program.passes, self._engines)
        for nodes, one, engine in stages:
            for node in nodes or ():
                known[node] = _compute(node, known, counts)
            if one is not None:
                self._run_pass(one, engine, views, known, counts)
        for place, result in enumerate(program.results):
            if program.writes(place) and not program.inputs[place].element:
                views[place][...] = known[result]

    def _run_pass(
        self,
        one: ArrayPass,
        engine: Blocks,
        views: Arrays,
        known: Values,
        counts: Counts,
    ) -> None:
        """Do a pass over an array: by rows where these, or columns, have own values."""
        arrays = [views[place] for place in one.places]
        hoisted = [
            np.asarray(_value(symbol, known, counts)).astype(self.dtype)
            for symbol in one.program.hoisted
        ]
        step, by_rows = _cut(one, engine, counts["columns_"])
        if not by_rows:
            arrays = [array.reshape(-1) for array in arrays]
        parts: list[list[Any]] = [[] for _ in one.reductions]
        with flushing(self.dtype):
            for low in range(0, len(arrays[0]), step):
                inside = slice(low, low + step)
                blocks = [array[inside] for array in arrays]
                own = [v[inside] if v.ndim == 2 else v for v in hoisted]
                kept = engine.compute(blocks, own)
                for found, value, operand in zip(
                    parts, one.reductions, kept, strict=True
                ):
                    found.append(_partial(value, operand))
        for found, value in zip(parts, one.reductions, strict=True):
            of_rows = value.kind == ROW
            whole = np.concatenate(found, axis=0 if of_rows else 1)
            known[value] = whole if of_rows else finish(str(value.operation), whole)


def _cut(one: ArrayPass, engine: Blocks, columns: int) -> tuple[int, bool]:
    """Return the length of a pass's blocks, and whether it counts rows."""
    kinds = {symbol.kind for symbol in (*one.program.hoisted, *one.reductions)}
    step = max(SEGMENT, engine.size // SEGMENT * SEGMENT)
    if not kinds & {ROW, COLUMN}:
        return step, False
    unit = math.lcm(ROWS, SEGMENT // math.gcd(SEGMENT, columns))
    unit = unit if ARRAY in {value.kind for value in one.reductions} else ROWS
    return max(unit, step // columns // unit * unit), True


def _partial(value: Symbol, operand: Any) -> Any:
    """Reduce a block: whole rows of it, or to what `finish` joins."""
    operation = str(value.operation)
    if value.kind == ROW:
        return reduce(operation, operand)[:, None]
    if value.kind == COLUMN:
        return block_results(operation, operand)
    return segment_results(operation, operand.reshape(-1))


def _value(symbol: Symbol, known: Values, counts: Counts) -> Any:
    if symbol in known:
        return known[symbol]
    return np.float64(symbol.value if symbol.value is not None else counts[symbol.name])


def _compute(node: Symbol, known: Values, counts: Counts) -> Any:
    """Compute a value of an array, its rows or columns, in float64."""
    arguments = [_value(argument, known, counts) for argument in node.arguments]
    if node.operation in REDUCTIONS:
        return reduce(str(node.operation), np.ravel(arguments[0]))
    if node.operation == "where":
        return np.where(*arguments)
    if node.operation == "copy":
        return arguments[0]
    function: Callable[..., Any] = OPERATIONS[str(node.operation)].numpy
    return function(*arguments)
