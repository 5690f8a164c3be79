"""Launches programs with reductions: every pass is one launch for many arrays."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np

from gdopt.arrays.backend import Array, get_backend
from gdopt.arrays.dtypes import Storage
from gdopt.kernels.cuda.engine import (
    Call,
    Launch,
    fill_table,
    launch_all,
    strided_slot,
)
from gdopt.kernels.cuda.fused import KernelVariant
from gdopt.kernels.cuda.pass_ends import BLOCK, WARP, WARPS
from gdopt.kernels.cuda.pass_text import SPAN, PassPrinter
from gdopt.kernels.cuda.pass_values import KINDS, kinds_of
from gdopt.kernels.packing import rows_and_columns
from gdopt.kernels.passes import ArrayPass, ReducingProgram
from gdopt.kernels.sums import LANES, ROWS, SEGMENT
from gdopt.kernels.symbol import ARRAY, COLUMN, ROW

PREPARED = 64  # shapes whose tables an engine keeps


def _chunks(length: int, segment: int) -> int:
    """Count the blocks that segments of a length take."""
    return -(-length // (WARPS * segment))


def blocks_of(one: ArrayPass | None, rows: int, columns: int) -> np.ndarray:
    """List kind and number of the blocks of an array in a launch, (blocks, 2).

    Those of different kinds that read the same elements are near each other.
    """
    parts, positions = [], []
    if not rows * columns:
        return np.zeros((0, 2), np.int64)
    for kind in kinds_of(one) if one else [ARRAY]:
        if kind == ARRAY:
            span = SEGMENT if one is not None and one.reductions else SPAN
            first = np.arange(_chunks(rows * columns, span) if one else 1)
        elif kind == COLUMN:
            first = np.arange(-(-columns // LANES) * _chunks(rows, ROWS))
        elif columns <= SEGMENT:
            width = WARP
            while width > 1 and width * 2 >= columns:
                width //= 2
            first = np.arange(0, rows, WARPS * WARP // width)
        else:
            first = np.arange(rows * _chunks(columns, SEGMENT))
        parts.append(np.stack([np.full_like(first, KINDS[kind]), first], axis=1))
        positions.append(np.arange(first.size) / first.size)
    order = np.argsort(np.concatenate(positions), kind="stable")
    return np.concatenate(parts)[order]


def scratch_size(printer: PassPrinter, rows: int, columns: int) -> int:
    """Count the values of an array: those kept, and the most parts of a launch."""
    slots, most = printer.plan.slots, 0
    kinds = ARRAY, ROW, COLUMN
    for launch in printer.launches:
        flat, of_rows, of_columns = (len(printer.sums(launch.one, k)) for k in kinds)
        parts = flat * _chunks(rows * columns, SEGMENT)
        parts += of_rows * rows * _chunks(columns, SEGMENT)
        parts += of_columns * columns * _chunks(rows, ROWS)
        between = 3 * -(-max(rows, columns) // SEGMENT)
        most = max(most, parts, between)
    kept = len(slots[ROW]) * rows + len(slots[COLUMN]) * columns
    return len(slots[ARRAY]) + kept + most


class PassLaunches:
    """The launches of a program over arrays of shapes that stay, by their numbers."""

    def __init__(
        self,
        program: ReducingProgram,
        variant: KernelVariant,
        *,
        shapes: Mapping[int, Sequence[int]],
        places: Collection[int],
        send: Callable[[np.ndarray], Array],
        fixed: Mapping[str, Any],
    ) -> None:
        printer = PassPrinter(program, variant)
        table = np.zeros((max(shapes) + 1, 4), np.int64)
        self._size = 0
        for (number, shape), place in zip(shapes.items(), places, strict=True):
            table[number] = (*shape, place, self._size)
            self._size += scratch_size(printer, *shape)
        self._count = len(table)
        fixed = {**fixed, "shapes_": send(table.reshape(-1))}
        self._launches: list[Launch] = []
        for number, launch in enumerate(printer.launches):
            work = [
                np.insert(own, [0, 2], [array, len(own)], axis=1)
                for array, shape in shapes.items()
                if len(own := blocks_of(launch.one, *shape))
            ]
            if work:
                rows = np.concatenate(work)
                given = {**fixed, "work_": send(rows.reshape(-1))}
                text = printer.print(number)
                self._launches.append(Launch(text, BLOCK * len(rows), given))

    def memory(self) -> dict[str, Array]:
        """Make the scratch and the counters of the launches."""
        xp = get_backend("cupy").xp
        return {
            "scratch_": xp.empty(max(1, self._size), np.float64),
            "counters_": xp.zeros(self._count, np.uint32),
        }

    def calls(self, changing: dict[str, Any], memory: dict[str, Array]) -> list[Call]:
        """Return the launches of the passes; one run at a time has the memory."""
        return [(launch, {**changing, **memory}) for launch in self._launches]


class CudaPasses:
    """A program with reductions, compiled for the GPU; takes arrays of any strides."""

    cast = tuple  # of the hoisted values, which are rounded where they meet elements

    def __init__(
        self, program: ReducingProgram, dtypes: Sequence[Any], compute: Any
    ) -> None:
        self._home = get_backend("cupy")
        self.dtype = np.dtype(compute)
        self._program = program
        self._stored = tuple(np.dtype(dtype).name for dtype in dtypes)
        self._prepared = functools.lru_cache(PREPARED)(self._prepare)

    def fill(self, scalars: dict[str, Any]) -> Any:
        """Compute the hoisted values on the device; see `fill_table`."""
        return fill_table(self._program, scalars, np.float64)

    def run(self, arrays: Sequence[Any], values: Any) -> None:
        """Update the arrays in place with values by `cast` or a table from `fill`."""
        first, home = arrays[0], self._home
        table, device = home.is_array(values), home.device(first)
        strided = not all(array.flags.c_contiguous for array in arrays)
        with home.on(device):
            key = first.shape, device, home.xp.cuda.get_current_stream().ptr
            launches, slots = self._prepared(*key, table=table, strided=strided)
            pointers = np.array([array.data.ptr for array in arrays], np.uint64)
            changing: dict[str, Any] = {"slots_": slots}
            changing["pointers_"] = home.from_host(pointers, device)
            if strided:
                row = np.array(strided_slot(0, arrays, first.ndim), np.int64)
                changing |= {"slots_": home.from_host(row, device)}
                changing |= {"axes_": np.int32(first.ndim)}
            if table:
                changing |= {"scalars_": values}
            else:
                changing |= {f"s{k}": value for k, value in enumerate(values)}
            launch_all(launches.calls(changing, launches.memory()))

    def _prepare(
        self,
        shape: tuple[int, ...],
        device: str,
        stream: int,  # noqa: ARG002 - what one stream is sent, others do not wait for
        *,
        table: bool,
        strided: bool,
    ) -> tuple[PassLaunches, Array]:
        """Make the launches for arrays of a shape, and the contiguous ones' slot."""
        stored = tuple(Storage(name, separate=True) for name in self._stored)
        variant = KernelVariant(stored, self.dtype.name, table=table, strided=strided)
        rows, columns = rows_and_columns(shape)
        send = functools.partial(self._home.from_host, device=device)
        program, shapes = self._program, {0: (rows, columns)}
        made = PassLaunches(
            program, variant, shapes=shapes, places=[0], send=send, fixed={}
        )
        return made, send(np.array([0, rows * columns], np.int64))
