"""What a step sends to the device: hoisted values, steps, tables of separate arrays."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from operator import attrgetter
from typing import Any

import numpy as np

from gdopt.arrays.arena import PADDING, Slot
from gdopt.arrays.backend import Array, Backend, is_on_device
from gdopt.errors import ArgumentTypeError
from gdopt.kernels.cuda.engine import Call, Launch, strided_slot
from gdopt.kernels.cuda.prologue import PrologueOptions, print_prologue, split_hoisted
from gdopt.kernels.packing import cast
from gdopt.kernels.trace import BaseProgram, compile_host
from gdopt.optim.gradients import SeenArrays
from gdopt.optim.hyper import Hyper, Values
from gdopt.optim.parameters import Parameters

ADDRESS = attrgetter("data.ptr")
IS_FLAT = attrgetter("flags.c_contiguous")


def block_owners(slots: Collection[Slot], size: int) -> np.ndarray:
    """Return the number of each block's array; a block of no slot has the next one."""
    owners = np.full(size // PADDING, len(slots), np.int32)
    for k, slot in enumerate(slots):
        owners[slot.start // PADDING : slot.end // PADDING] = k
    return owners


def block_counts(slots: Collection[Slot]) -> np.ndarray:
    """Count the blocks of 64 elements that each slot takes in its layout."""
    sizes = np.array([slot.stop - slot.start for slot in slots], np.int64)
    return -(-sizes // PADDING)


class PointerTable:
    """The tables of the arrays of one dtype, made again only when one has moved."""

    def __init__(
        self,
        backend: Backend,
        device: str,
        slots: Collection[Slot],
        columns: Sequence[Sequence[Array] | None],  # None for those that change
        size: int,
    ) -> None:
        self._backend = backend
        self._device = device
        self._columns = columns
        self._seen = SeenArrays()
        places = [(s.start, s.stop - s.start) for s in slots]
        self._places = np.array([*places, (0, 0)], np.int64)  # the last for no array
        self._layout: np.ndarray = np.zeros(0)
        self._pointers = np.zeros((len(slots), len(columns)), np.uint64)
        staying = [own for own in columns if own is not None]
        for k, own in enumerate(columns):
            if own is not None:
                self._pointers[:, k] = list(map(ADDRESS, own))
        self._flat = all(all(map(IS_FLAT, own)) for own in staying)
        self._arguments: dict[str, Any] = {}
        self._blocks = self._send(block_owners(slots, size))

    def locate(self, *changing: Sequence[Array]) -> dict[str, Any]:
        """Return the tables as a kernel's arguments, by columns that may have moved."""
        arrays = [array for column in changing for array in column]
        if self._arguments and (not changing or self._seen.are(arrays)):
            return self._arguments
        pointers, moved = self._pointers.copy(), iter(changing)
        columns = [next(moved) if own is None else own for own in self._columns]
        for k, own in enumerate(self._columns):
            if own is None:
                pointers[:, k] = list(map(ADDRESS, columns[k]))
        layout = self._describe(columns, flat=self._flat and all(map(IS_FLAT, arrays)))
        arguments = dict(self._arguments)
        if not np.array_equal(layout, self._layout):
            arguments = {"blocks_": self._blocks, "slots_": self._send(layout)}
            axes = (layout.shape[1] - 2) // (1 + len(columns))
            if axes:
                arguments["axes_"] = np.int32(axes)
        if "pointers_" not in arguments or not np.array_equal(pointers, self._pointers):
            arguments["pointers_"] = self._send(pointers)
        self._layout, self._pointers, self._arguments = layout, pointers, arguments
        self._seen = SeenArrays(arrays)
        return arguments

    def _describe(
        self, columns: Sequence[Sequence[Array]], *, flat: bool
    ) -> np.ndarray:
        """Return (arrays + 1, 2 or more): start, size; with strides, their numbers."""
        if flat:
            return self._places
        axes = max(array.ndim for array in columns[0])
        starts, arrays = self._places[:-1, 0], zip(*columns, strict=True)
        rows = [
            strided_slot(start, own, axes)
            for start, own in zip(starts, arrays, strict=True)
        ]
        return np.array([*rows, [0] * len(rows[0])], np.int64)

    def _send(self, table: np.ndarray) -> Array:
        return self._backend.from_host(table.reshape(-1), self._device)


AHEAD = 256  # steps whose values are sent together; then the host asks for the count


class DeviceStepCounter:
    """Steps done, on the device, and the step of the first row of values sent.

    The host reads it, and so waits, only when asked for it or when the rows run out.
    """

    def __init__(self, backend: Backend, device: str) -> None:
        self._backend = backend
        self._device = device
        self.array: Array = backend.zeros(2, np.int64, device)
        self.running = False
        self._rows, self._rows_left = AHEAD, 0
        self._revision: object = None

    def read(self) -> int:
        """Return the steps done; waits for the device."""
        return int(self._backend.to_host(self.array)[0])

    def stop(self) -> None:
        """Discard the count: the host's is valid from now on."""
        self.running = False

    def lacks_rows(self, revision: object) -> bool:
        """Return whether values must be sent before the next step."""
        return not self.running or self._rows_left <= 0 or revision != self._revision

    def rows(self, revision: object) -> int:
        """Return for how many steps to send values: one, where some were assigned."""
        assigned = self.running and revision != self._revision
        self._rows = 1 if assigned else min(4 * self._rows, AHEAD)
        return self._rows

    def start(self, step: int, ahead: int, revision: object) -> None:
        """Begin with rows for `ahead` steps from `step` on."""
        counts = np.array([step, step], np.int64)
        self.array[...] = self._backend.from_host(counts, self._device)
        self.running, self._rows_left, self._revision = True, ahead, revision

    def launched(self) -> None:
        """Note that a step has been asked for, whether it will be done or not."""
        self._rows_left -= 1


class HoistedScalars:
    """The hoisted values for the parameters of one dtype."""

    def __init__(
        self,
        program: BaseProgram,
        slots: Mapping[str, Slot],
        options: PrologueOptions,
        hyper: Hyper,
        parameters: Parameters,
        *,
        owners: np.ndarray,  # the number of the parameter of each block
        compute: str,
    ) -> None:
        self._program, self._compute = program, np.dtype(compute)
        self._backend, self._device = parameters.backend, parameters.device
        self._options, self._hyper = options, hyper
        first: dict[int | None, str] = {}  # of those with equal settings
        classes = hyper.classes
        first_with = {n: first.setdefault(classes.get(n), n) for n in slots}
        names = self._names = list(dict.fromkeys(first_with.values()))
        self.prologue: Launch | None = None
        self._sent: np.ndarray = np.zeros(0)
        self._known_rows: Array | None = None  # by value instead, in a table of one row
        norm = options.norm or options.given_norm
        self._on_device = hyper.on_device | ({"norm"} if norm else set())
        self._split = split_hoisted(program, self._on_device)
        self._host = compile_host(program, self._split.known)
        needs_prologue = bool(self._on_device) or options.skip or options.counter
        self.by_value = not needs_prologue and len(names) == 1
        self.arguments: dict[str, Any] = {}
        places = {symbol: k for k, symbol in enumerate(self._split.known)}
        self._by_value_places = [
            (f"s{k}", places[symbol])
            for k, symbol in enumerate(program.hoisted)
            if symbol in places
        ]
        if self.by_value:
            return
        self._table = self._zeros(len(names) * max(1, len(program.hoisted)), compute)
        self.arguments["scalars_"] = self._table
        if len(names) > 1:
            row_of = {name: k for k, name in enumerate(names)}
            rows = [*(row_of[name] for name in first_with.values()), 0]
            blocks = np.array(rows, np.int32)[owners]
            self.arguments["rows_"] = self._backend.from_host(blocks, self._device)
        if needs_prologue:
            self._prepare_prologue()

    def _zeros(self, size: int, dtype: Any) -> Array:
        return self._backend.zeros(size, dtype, self._device)

    def _prepare_prologue(self) -> None:
        split, rows = self._split, len(self._names)
        by_value = rows == 1 and not self._options.counter
        options = replace(self._options, by_value=by_value)
        text = print_prologue(self._program, split, self._compute.name, options)
        self._given = self._zeros(max(1, len(split.given)) * rows, np.float64)
        fixed = {"given_": self._given, "count_": np.int32(rows)}
        fixed["scalars_"] = self._table
        if not by_value:
            ahead = AHEAD if self._options.counter else 1
            size = max(1, ahead * rows * len(split.known))
            fixed["known_"] = self._known_rows = self._zeros(size, np.float64)
        self.prologue = Launch(text, 1, fixed)

    def take(self, steps: Sequence[tuple[int, Values]]) -> None:
        """Compute what the host can know of steps, and send what the device needs."""
        if self.by_value:
            t, values = steps[0]
            row = self._known(values, self._names[0], t)
            for argument, place in self._by_value_places:
                self.arguments[argument] = row[place]  # CuPy rounds it, as `cast` does
            return
        names, of = self._names, self._known
        known = [of(values, name, t) for t, values in steps for name in names]
        if self.prologue is not None and self._known_rows is None:
            self.arguments |= {f"k{k}_": value for k, value in enumerate(known[0])}
        else:
            self._send(np.array(known, np.float64))
        self.refresh()

    def _send(self, table: np.ndarray) -> None:
        """Send a table (rows, known), unless it is the last one sent."""
        if np.array_equal(table, self._sent):
            return
        if self._known_rows is None:
            order = [place for _, place in self._by_value_places]
            rows = cast(table[:, order].reshape(-1), self._compute)
            self.arguments["scalars_"] = self._backend.from_host(rows, self._device)
        else:  # in place, where a graph reads it
            sent = self._backend.from_host(table.reshape(-1), self._device)
            self._known_rows[: sent.size] = sent
        self._sent = table

    def _known(self, values: Values, name: str, t: int) -> tuple[float, ...]:
        scalars = {**values.shared, "t": t}
        scalars |= {key: by[name] for key, by in values.by_name.items()}
        ordered = []
        for scalar in self._program.scalars:
            value = 0.0 if scalar in self._on_device else scalars[scalar]
            if type(value) is not float and is_on_device(value):
                message = f"{scalar} must be a number at step {t - 1}, got an array on "
                message += "the device: assign the 0-d array itself, read at each step"
                raise ArgumentTypeError(message)
            ordered.append(value)
        return self._host(*ordered)

    def refresh(self) -> None:
        """Read the scalars that live on the device again, without waiting for them."""
        if self.prologue is None:
            return
        for row, name in enumerate(self._names):
            for k, scalar in enumerate(self._split.given):
                if scalar != "norm":
                    value = self._hyper.of(scalar, name)
                    self._given[row * len(self._split.given) + k] = value

    def calls(self, shared: Mapping[str, Any]) -> list[Call]:
        """Return the launch that computes what the device knows alone, if any is."""
        own = self.prologue
        return [] if own is None else [(own, {**shared, **self.arguments})]

    def take_norm(self, norm: Array) -> None:
        """Take the norm of transformed gradients, a 0-d array on the device."""
        if "norm" in self._split.given:
            width = len(self._split.given)
            self._given[self._split.given.index("norm") :: width] = norm
