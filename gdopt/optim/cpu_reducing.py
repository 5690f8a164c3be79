"""Runs a rule whose formula reduces, or depends on shapes, on the CPU."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from gdopt.arrays.arena import Arena
from gdopt.arrays.backend import Array
from gdopt.kernels.kernel import Step
from gdopt.kernels.packing import rows_and_columns
from gdopt.optim.cpu import CpuExecutor, Segment, random_streams
from gdopt.optim.known import UNKNOWN, Known
from gdopt.optim.options import MASTER


class CpuReducingExecutor(CpuExecutor):
    """Runs passes over each array, with a formula for each number of axes."""

    def _prepare(self) -> None:
        parameters = self.parameters
        elements = self.hyper.elements_of(self.rule)
        slots = parameters.layout.slots
        self._of_axes: dict[tuple[str, int], tuple[Step, dict[int, int], bool]] = {}
        for slot in slots.values():
            axes = len(slot.shape)
            if (slot.group, axes) not in self._of_axes:
                stored = self.options.stored(self.rule, slot.group, len(elements), axes)
                dtypes = [array.dtype for array in stored]
                step = self.rule.kernel.step(parameters.backend, dtypes, elements, axes)
                kinds = zip(step.program.inputs, dtypes, strict=True)
                compute = step.engine.dtype
                exact = all(dtype == compute for s, dtype in kinds if s.element)
                self._of_axes[slot.group, axes] = step, random_streams(stored), exact
        self._segments = {}
        self._version, self.revision = self.hyper.version, -1

    def _merge_neighbours(
        self, numbers: Mapping[str, int], *, in_arena: bool
    ) -> list[list[str]]:
        """Name the parameters that one call updates: none, where they are separate."""
        slots, runs = self.parameters.layout.slots, list[list[str]]()
        whole = in_arena and self.parameters.arena is not None
        whole = whole and not self.hyper.open
        keys = {n: (s.group, len(s.shape)) for n, s in slots.items()}
        for name in slots:
            before = runs[-1][-1] if runs else name
            alike = keys[name] == keys[before]
            alike = alike and numbers.get(name) == numbers.get(before)
            if runs and whole and alike and self._of_axes[keys[name]][2]:
                runs[-1].append(name)
            else:
                runs.append([name])
        return runs

    def _segment(self, names: Sequence[str], *, in_arena: bool) -> Segment:
        """Bind the kernel's step to arrays, by their places in arenas if it can be."""
        parameters, first = self.parameters, names[0]
        slot = parameters.layout.slots[first]
        step, streams, exact = self._of_axes[slot.group, len(slot.shape)]
        own: Mapping[str, Array] = parameters.arrays
        half = None
        if self.options.master_weights:
            own, half = self.states[MASTER], own[first]
        gradient: Callable[[Any], Any] = operator.itemgetter(first)
        if not in_arena:
            gradient = operator.itemgetter(list(parameters.layout.slots).index(first))
        whole = parameters.arena is not None and not self.hyper.open
        reserve: Callable[[Any], None] = lambda _: None  # noqa: E731
        if exact and in_arena and whole:
            call, gradient = self._bind_table(step, names), lambda arena: arena
        else:
            take = operator.itemgetter(first)
            inputs = self._inputs(step, take, take(own))
            call, reserve = self._bind(step, inputs, half, lambda _: gradient)
        place = first, slot.group, slot.start + self.origin_of(slot.group)
        return Segment(*place, step, call, reserve, gradient, None, None, streams)

    def _reserve(self, segments: Sequence[Segment], grads: Any) -> None:
        """Take the space into which arrays that are not flat are copied."""
        for segment in segments:
            segment.reserve(segment.gradient(grads))

    def run(self, grads: Arena | list[Array], known: Known = UNKNOWN) -> bool:
        """Do one step with checked gradients; return True, as it is done."""
        try:
            return super().run(grads, known)
        finally:
            self._scratch.clear()

    def _bind_table(self, step: Step, names: Sequence[str]) -> Callable[..., None]:
        """Bind the step to arrays that lie in arenas, all inputs of them."""
        parameters, places = self.parameters, list[list[int]]()
        symbols = step.program.inputs
        given: list[Any] = [parameters.arena]
        given += [self.states[name] for name in self.rule.states]
        given.append(parameters.arena)  # gradients lie as their parameters
        given += [self.hyper.elements[s.name] for s in symbols[len(given) :]]
        for name in names:
            starts = [arena.layout.slots[name].start for arena in given]
            shape = parameters.layout.slots[name].shape
            places.append([*rows_and_columns(shape), *starts])
        table = np.array(places, np.int64)
        groups = [arena.layout.slots[names[0]].group for arena in given]
        buffers = [a.buffers[g] for a, g in zip(given, groups, strict=True)]
        place = len(self.rule.states) + 1

        def call(grads: Arena, values: Any, _: Any = None) -> None:
            own: list[Array] = [*buffers]
            own[place] = grads.buffers[groups[0]]
            scalars = np.array([values] * len(names), np.float64)
            step.engine.run(table, own, scalars.reshape(len(names), -1))

        return call
