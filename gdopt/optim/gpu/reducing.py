"""The launches of rules that reduce, or depend on shapes, for one dtype on a GPU."""

from __future__ import annotations

import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from operator import itemgetter
from typing import Any

import numpy as np

from gdopt.arrays.arena import Arena, Slot
from gdopt.arrays.backend import Array
from gdopt.arrays.dtypes import Storage, compute_name
from gdopt.kernels.cuda.engine import Call
from gdopt.kernels.cuda.fused import KernelVariant
from gdopt.kernels.cuda.norm import GradNorm
from gdopt.kernels.cuda.passes import PassLaunches
from gdopt.kernels.cuda.prologue import PrologueOptions
from gdopt.kernels.packing import rows_and_columns
from gdopt.kernels.passes import ReducingProgram
from gdopt.optim.gpu.values import HoistedScalars, PointerTable, block_counts
from gdopt.optim.options import MASTER
from gdopt.optim.plans import RuleRunner
from gdopt.optim.rule import Rule


@dataclass(frozen=True, eq=False)
class AxesGroup:
    """The arrays with the same number of axes, for which a formula is traced."""

    program: ReducingProgram
    numbers: Sequence[int]  # of the arrays in the tables
    slots: Mapping[str, Slot]  # of the arrays, by name
    stored: tuple[Storage, ...]  # each input
    values: HoistedScalars  # in float64


class ReducingGroup:
    """What `DtypeGroup` is for other rules: a launch for each pass and number of axes.

    Every array is reached by a pointer, whether it lies in an arena or not.
    """

    def __init__(
        self, run: RuleRunner, rule: Rule, group: str, prologue_options: PrologueOptions
    ) -> None:
        parameters, states, hyper = run.parameters, run.states, run.hyper
        options, slots = run.options, parameters.layout.slots
        self.group, self._parameters, self._hyper = group, parameters, hyper
        self._rule, self._options = rule, options
        self._prologue_options = prologue_options
        self._slots = {n: s for n, s in slots.items() if s.group == group}
        places = [k for k, name in enumerate(slots) if name in self._slots]
        self._column = itemgetter(*places, places[0])  # a tuple, also of one array
        self._fixed = {
            "seed_": np.uint32(run.seed_of(group)),
            "origin_": np.int64(run.origin_of(group)),
        }
        self._gradient = len(rule.states) + 1
        taken = hyper.elements_of(rule)
        self._open = [name for name in taken if name in hyper.open]
        self._open_places = [self._gradient + 1 + taken.index(n) for n in self._open]
        own = states[MASTER] if options.master_weights else parameters.arrays
        given: list[Mapping[str, Array] | None] = [own]
        given += [states[name] for name in rule.states]
        given += [None, *(hyper.elements.get(n) for n in hyper.elements_of(rule))]
        given += [parameters.arrays] if options.master_weights else []
        columns = [
            None if arena is None else [arena[name] for name in self._slots]
            for arena in given
        ]
        self._columns = len(columns)
        backend, device = parameters.backend, parameters.device
        size = parameters.layout.sizes[group]
        self._table = PointerTable(backend, device, self._slots.values(), columns, size)
        self._seen: weakref.ref[Arena] | None = None  # whose gradients were located
        self._groups = self._split_by_axes()
        self._launches: dict[bool, list[tuple[PassLaunches, dict[str, Array]]]] = {}

    @property
    def values(self) -> list[HoistedScalars]:
        """The hoisted values of its passes, for each number of axes."""
        return [one.values for one in self._groups]

    def _split_by_axes(self) -> list[AxesGroup]:
        every = [len(slot.shape) for slot in self._slots.values()]
        groups = []
        for axes in sorted(set(every)):
            slots = {n: s for n, s in self._slots.items() if len(s.shape) == axes}
            elements = self._hyper.elements_of(self._rule)
            stored = [
                *self._options.stored(self._rule, self.group, len(elements), axes)
            ]
            program = self._rule.kernel.program(elements, axes)
            compute = compute_name(self.group)
            for place in self._open_places:
                stored[place] = Storage(self.group)
            rounded = any(
                program.writes(k) and symbol.element and stored[k].dtype != compute
                for k, symbol in enumerate(program.inputs)
            )
            if rounded:
                program = self._rule.kernel.program(elements, axes, early=False)
            assert isinstance(program, ReducingProgram)  # noqa: S101 - by `by_shape`
            counts = self._prologue_options.counts and axes == max(every)
            order = np.arange(len(slots))
            values = HoistedScalars(
                program,
                slots,
                replace(self._prologue_options, counts=counts),
                self._hyper,
                self._parameters,
                owners=np.repeat(order, block_counts(slots.values())),
                compute="float64",
            )
            numbers = [k for k, own in enumerate(every) if own == axes]
            separate = tuple(replace(one, separate=True) for one in stored)
            groups.append(AxesGroup(program, numbers, slots, separate, values))
        return groups

    def locate(self, grads: Arena | list[Array]) -> dict[str, Any]:
        """Say where all arrays are; make what launches need, before there are any."""
        if self._hyper.open or not isinstance(grads, Arena):
            given, self._seen = self._hyper.given, None
            every = [grads, *(given[name] for name in self._open)]
            columns = [
                [arrays[name] for name in self._slots]
                if isinstance(arrays, Arena)
                else self._column(arrays)[:-1]
                for arrays in every
            ]
            located = self._table.locate(*columns)
        elif self._seen is not None and grads is self._seen():
            located = self._table.locate()
        else:
            located = self._table.locate([grads[name] for name in self._slots])
            self._seen = weakref.ref(grads)
        strided = "axes_" in located
        if strided not in self._launches:
            made = [self._prepare(one, strided=strided) for one in self._groups]
            self._launches[strided] = [(one, one.memory()) for one in made]
        return located

    def add_squares(self, total: GradNorm, located: Mapping[str, Any]) -> None:
        """Add the squares of the gradients of this dtype."""
        total.add(self.group, located, columns=self._columns, column=self._gradient)

    def calls(
        self, located: Mapping[str, Any], shared: Mapping[str, Any]
    ) -> list[Call]:
        """Return the launches of the passes."""
        launches_of = self._launches["axes_" in located]
        return [
            call
            for one, (launches, memory) in zip(self._groups, launches_of, strict=True)
            for call in launches.calls(
                {**shared, **one.values.arguments, **located}, memory
            )
        ]

    def _prepare(self, one: AxesGroup, *, strided: bool) -> PassLaunches:
        parameters, copies = self._parameters, self._options.master_weights
        variant = KernelVariant(
            one.stored,
            compute_name(self.group),
            copy=Storage(self.group, separate=True) if copies else None,
            table=not one.values.by_value,
            rows="rows_" in one.values.arguments,
            may_skip=self._prologue_options.skip or self._prologue_options.gated,
            device_counter=self._prologue_options.counter,
            strided=strided,
        )
        ends = np.cumsum(block_counts(one.slots.values()))
        places = ends - block_counts(one.slots.values())
        shapes = {
            number: rows_and_columns(slot.shape)
            for number, slot in zip(one.numbers, one.slots.values(), strict=True)
        }
        send = partial(parameters.backend.from_host, device=parameters.device)
        return PassLaunches(
            one.program,
            variant,
            shapes=shapes,
            places=places.tolist(),
            send=send,
            fixed=self._fixed,
        )
