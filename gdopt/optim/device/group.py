"""The pass over the parameters of one dtype on a GPU."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from gdopt.arrays.arena import Arena
from gdopt.arrays.backend import Array
from gdopt.arrays.storage import Stored, compute_name
from gdopt.kernels.cuda import Duties, Form, Launch, as_bits, print_fused
from gdopt.optim.device.norm import SquareSum
from gdopt.optim.device.tables import Tables
from gdopt.optim.device.values import HoistedValues, Plan
from gdopt.optim.parameters import Parameters
from gdopt.optim.rules.compose import MASTER
from gdopt.optim.rules.rule import Rule
from gdopt.optim.settings.hyper import Hyper
from gdopt.optim.settings.options import Options


class GroupPass:
    """One launch that updates every parameter of a dtype, in an arena or apart."""

    def __init__(
        self,
        *,
        rule: Rule,
        group: str,
        plan: Plan,
        parameters: Parameters,
        states: Mapping[str, Arena],
        hyper: Hyper,
        options: Options,
        seed: int,
        duties: Duties,
    ) -> None:
        layout = parameters.layout
        self.group, self._size = group, layout.sizes[group]
        slots = {n: s for n, s in layout.slots.items() if s.group == group}
        self._names, self._parameters = list(slots), parameters
        self._places = [k for k, n in enumerate(layout.slots) if n in slots]
        elements = list(hyper.elements)
        self._program = rule.kernel.program(elements)
        compute = compute_name(group)
        backend, device = parameters.backend, parameters.device
        self.values = HoistedValues(
            program=self._program,
            compute=compute,
            plan=plan,
            slots=slots,
            duties=duties,
            hyper=hyper,
            backend=backend,
            device=device,
        )
        self._stored = options.stored(rule, group, len(elements))
        self._gradient = len(rule.states) + 1
        arenas = [states[name] for name in rule.states]
        own = states[MASTER] if options.master else parameters.arena
        inputs = [own, *arenas, None, *self._element_arenas(hyper, len(arenas) + 2)]
        names = [symbol.name for symbol in self._program.inputs]
        self._fixed: dict[str, Any] = {
            name: as_bits(arena.buffers[group])
            for name, arena in zip(names, inputs, strict=True)
            if arena is not None
        }
        self._fixed["seed_"] = np.uint32(seed)
        self._copies = options.master
        if options.master and parameters.arena is not None:
            self._fixed["copy_"] = as_bits(parameters.arena.buffers[group])
        self._duties = duties
        self._tables: dict[bool, Tables] = {}
        self._launches: dict[Any, Launch] = {}

    def _element_arenas(self, hyper: Hyper, first: int) -> list[Arena]:
        return [hyper.elements[s.name] for s in self._program.inputs[first:]]

    def locate(self, grads: Arena | list[Array]) -> dict[str, Any]:
        """Say where the gradients are, and parameters kept apart."""
        if isinstance(grads, Arena):
            name = self._program.inputs[self._gradient].name
            located = {name: as_bits(grads.buffers[self.group])}
            if self._parameters.arena is None:
                located |= self._table_for(gradients=False).locate(None)
            return located
        column = [grads[place] for place in self._places]
        return self._table_for(gradients=True).locate(column)

    def _table_for(self, *, gradients: bool) -> Tables:
        if gradients not in self._tables:
            own = [self._parameters.arrays[name] for name in self._names]
            apart = self._parameters.arena is None
            before = [own] if apart and not self._copies else []
            after = [own] if apart and self._copies else []
            layout = self._parameters.layout
            self._tables[gradients] = Tables(
                self._parameters.backend,
                self._parameters.device,
                [layout.slots[name] for name in self._names],
                before,
                after,
            )
        return self._tables[gradients]

    def add_squares(self, total: SquareSum, located: Mapping[str, Any]) -> None:
        """Add the squares of the gradients of this dtype."""
        name = self._program.inputs[self._gradient].name
        if name in located:
            total.add(self.group, {"g": located[name]}, 0, 0)
            return
        apart = self._parameters.arena is None
        column = int(apart and not self._copies)
        total.add(self.group, located, 1 + apart, column)

    def run_prologue(self, shared: Mapping[str, Any]) -> None:
        """Compute the values that the device knows alone."""
        if self.values.prologue is not None:
            self.values.prologue({**shared, **self.values.arguments})

    def update(self, located: Mapping[str, Any], shared: Mapping[str, Any]) -> None:
        """Launch the pass."""
        name = self._program.inputs[self._gradient].name
        key = name in located, "axes_" in located
        if key not in self._launches:
            form = self._form(gradients_apart=not key[0], strided=key[1])
            text = print_fused(self._program, form)
            self._launches[key] = Launch(text, self._size // form.width, self._fixed)
        self._launches[key]({**shared, **self.values.arguments, **located})

    def _form(self, *, gradients_apart: bool, strided: bool) -> Form:
        apart = self._parameters.arena is None
        stored = list(self._stored)
        stored[0] = replace(stored[0], apart=apart and not self._copies)
        stored[self._gradient] = Stored(self.group, apart=gradients_apart)
        copy = Stored(self.group, apart=apart) if self._copies else None
        return Form(
            tuple(stored),
            compute_name(self.group),
            copy=copy,
            table=not self.values.by_value,
            rows="rows_" in self.values.arguments,
            gated=self._duties.gate,
            clocked=self._duties.clock,
            strided=strided,
        )
