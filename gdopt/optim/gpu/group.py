"""The passes over the gradients and parameters of one dtype on a GPU."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from operator import itemgetter
from typing import Any

import numpy as np

from gdopt.arrays.arena import Arena
from gdopt.arrays.backend import Array
from gdopt.arrays.dtypes import Storage, compute_name
from gdopt.kernels.cuda.engine import Call, Launch, as_bits
from gdopt.kernels.cuda.fused import KernelVariant, print_fused
from gdopt.kernels.cuda.norm import GradNorm
from gdopt.kernels.cuda.prologue import PrologueOptions
from gdopt.optim.gpu.values import HoistedScalars, PointerTable, block_owners
from gdopt.optim.options import MASTER
from gdopt.optim.plans import RuleRunner
from gdopt.optim.rule import Rule


class DtypeGroup:
    """One launch that updates every parameter of a dtype, in an arena or separate."""

    def __init__(
        self, run: RuleRunner, rule: Rule, group: str, prologue_options: PrologueOptions
    ) -> None:
        parameters, states, hyper = run.parameters, run.states, run.hyper
        options, slots = run.options, parameters.layout.slots
        self.group, self._size = group, parameters.layout.sizes[group]
        self._slots = {n: s for n, s in slots.items() if s.group == group}
        places = [k for k, n in enumerate(slots) if n in self._slots]
        self._column = itemgetter(*places, places[0])  # a tuple, also of one array
        self._parameters, self._separate = parameters, parameters.arena is None
        elements = hyper.elements_of(rule)
        self._program = rule.kernel.element_program(elements)
        self._compute = compute_name(group)
        given = self._program, self._slots, prologue_options, hyper, parameters
        owners = block_owners(self._slots.values(), self._size)
        self._values = HoistedScalars(*given, owners=owners, compute=self._compute)
        self._stored = options.stored(rule, group, len(elements))
        names = [symbol.name for symbol in self._program.inputs]
        self._gradient = len(rule.states) + 1
        self._gradient_name = names[self._gradient]
        self._hyper, self._copies = hyper, options.master_weights
        own = states[MASTER] if self._copies else parameters.arena
        inputs = [own, *(states[name] for name in rule.states), None]
        inputs += [hyper.elements.get(name) for name in names[self._gradient + 1 :]]
        self._open = [k for k, name in enumerate(names) if name in hyper.open]
        self._changing = [self._gradient_name, *(names[k] for k in self._open)]
        self._fixed: dict[str, Any] = {
            name: as_bits(arena.buffers[group])
            for name, arena in zip(names, inputs, strict=True)
            if arena is not None
        }
        self._fixed["seed_"] = np.uint32(run.seed_of(group))
        self._fixed["origin_"] = np.int64(run.origin_of(group))
        if self._copies and parameters.arena is not None:
            self._fixed["copy_"] = as_bits(parameters.arena.buffers[group])
        self._prologue_options = prologue_options
        self._tables: dict[bool, PointerTable] = {}
        self._launches: dict[Any, Launch] = {}

    def locate(self, grads: Arena | list[Array]) -> dict[str, Any]:
        """Say where the gradients are, and separate parameters."""
        given = [grads, *(self._hyper.given[name] for name in self._changing[1:])]
        if isinstance(grads, Arena):
            buffers = [as_bits(arena.buffers[self.group]) for arena in given]
            located = dict(zip(self._changing, buffers, strict=True))
            if self._separate:
                located |= self._table_for(gradients=False).locate()
            return located
        columns = [self._column(arrays)[:-1] for arrays in given]
        return self._table_for(gradients=True).locate(*columns)

    def _table_for(self, *, gradients: bool) -> PointerTable:
        if gradients not in self._tables:
            parameters = self._parameters
            columns: list[Any] = [None] * len(self._changing) if gradients else []
            if self._separate:  # in the order of the pass, whose last array is the copy
                own = [parameters.arrays[name] for name in self._slots]
                columns = [*columns, own] if self._copies else [own, *columns]
            slots, size = self._slots.values(), self._size
            self._tables[gradients] = PointerTable(
                parameters.backend, parameters.device, slots, columns, size
            )
        return self._tables[gradients]

    def add_squares(self, total: GradNorm, located: Mapping[str, Any]) -> None:
        """Add the squares of the gradients of this dtype."""
        if self._gradient_name in located:
            total.add(self.group, {"g": located[self._gradient_name]})
            return
        column = int(self._separate and not self._copies)
        count = len(self._changing) + self._separate
        total.add(self.group, located, columns=count, column=column)

    @property
    def values(self) -> list[HoistedScalars]:
        """The hoisted values of its passes."""
        return [self._values]

    def calls(
        self, located: Mapping[str, Any], shared: Mapping[str, Any]
    ) -> list[Call]:
        """Return the launch of the pass."""
        key = self._gradient_name not in located, "axes_" in located
        if key not in self._launches:
            variant = self._variant(gradients_separate=key[0], strided=key[1])
            text = print_fused(self._program, variant)
            self._launches[key] = Launch(text, self._size // variant.width, self._fixed)
        arguments = {**shared, **self._values.arguments, **located}
        return [(self._launches[key], arguments)]

    def _variant(self, *, gradients_separate: bool, strided: bool) -> KernelVariant:
        stored = list(self._stored)
        stored[0] = replace(stored[0], separate=self._separate and not self._copies)
        for place in (self._gradient, *self._open):
            stored[place] = Storage(self.group, separate=gradients_separate)
        copy = Storage(self.group, separate=self._separate) if self._copies else None
        return KernelVariant(
            tuple(stored),
            self._compute,
            copy=copy,
            table=not self._values.by_value,
            rows="rows_" in self._values.arguments,
            may_skip=self._prologue_options.skip,
            device_counter=self._prologue_options.counter,
            strided=strided,
        )
