"""Runs a rule on the CPU, in as few passes as the memory of its arrays allows."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from gdopt.arrays.arena import Arena, Slot
from gdopt.arrays.backend import Array
from gdopt.kernels.cpu.norm import CpuNorm
from gdopt.kernels.kernel import Step
from gdopt.kernels.packing import Rounding, group_seed
from gdopt.optim.hyper import Hyper, StepCounter, Values
from gdopt.optim.options import MASTER, Options
from gdopt.optim.parameters import Parameters
from gdopt.optim.rule import Rule


@dataclass(frozen=True)
class Segment:
    """Arrays that one call of a kernel updates: of a parameter, or of a whole run."""

    name: str
    step: Step
    call: Callable[..., None]
    group: str
    start: int
    stop: int
    copy: tuple[Array, Array] | None  # of half precision, and its exact master


class CpuExecutor:
    """Runs a rule over all parameters in as few passes as their memory allows.

    Parameters and gradients in arenas are one pass per dtype; with hyper-parameters by
    name, one per run of neighbours with equal values. Separate arrays take a pass each.
    """

    def __init__(
        self,
        rule: Rule,
        parameters: Parameters,
        states: Mapping[str, Arena],
        hyper: Hyper,
        counter: StepCounter,
        *,
        options: Options,
    ) -> None:
        self._rule, self._parameters, self._states = rule, parameters, states
        self._hyper, self._counter, self._options = hyper, counter, options
        self.grad_norm: float | None = None
        takes_norm = "norm" in rule.kernel.signature.scalars
        self._norm = CpuNorm(parameters.layout) if takes_norm else None
        self._version = -1
        self._steps: dict[str, Step] = {}
        self._random_streams: dict[str, dict[int, int]] = {}
        self._separate: list[Segment] = []
        self._plain = True
        self._merged: dict[Any, list[Segment]] = {}

    def run(self, grads: Arena | list[Array]) -> bool:
        """Do one step with checked gradients; return True, as it is done."""
        step = self._counter.t
        values = self._hyper.at(step)
        own: dict[str, Any] = {"t": step + 1}
        if self._norm is not None:
            own["norm"] = self.grad_norm = self._norm(grads)
        if self._version != self._hyper.version:
            self._prepare()
        computed: dict[Any, Any] = {}
        if isinstance(grads, Arena) and self._parameters.arena is not None:
            for segment in self._segments_for(values):
                gradient = grads.buffers[segment.group][segment.start : segment.stop]
                self._update(segment, gradient, values, own, computed)
        else:
            arrays = grads.values() if isinstance(grads, Arena) else grads
            for segment, gradient in zip(self._separate, arrays, strict=True):
                self._update(segment, gradient, values, own, computed)
        self._counter.t = step + 1
        return True

    def _update(
        self,
        segment: Segment,
        gradient: Array,
        values: Values,
        own: Mapping[str, Any],
        computed: dict[Any, Any],
    ) -> None:
        """Update a segment; those with equal scalars share the values in `computed`."""
        by_name: dict[str, Any] = {}
        key: Any = segment.group
        if values.by_name:
            by_name = {name: by[segment.name] for name, by in values.by_name.items()}
            key = (segment.group, *by_name.values())
        if key not in computed:
            computed[key] = segment.step.values({**values.shared, **by_name, **own})
        if self._plain:
            segment.call(gradient, computed[key])
            return
        rounding, random_streams = None, self._random_streams[segment.group]
        if random_streams:
            number = list(self._steps).index(segment.group)
            seed = group_seed(self._options.seed, number)
            rounding = Rounding(seed, own["t"], segment.start, random_streams)
        segment.call(gradient, computed[key], rounding)
        if segment.copy is not None:
            half, exact = segment.copy
            with np.errstate(over="ignore", under="ignore", invalid="ignore"):
                half[...] = exact

    def _prepare(self) -> None:
        """Bind the kernels' steps to separate arrays, for the present settings."""
        parameters, elements = self._parameters, list(self._hyper.elements)
        for group in parameters.layout.sizes:
            stored = self._options.stored(self._rule, group, len(elements))
            self._random_streams[group] = {
                place: array.random_stream
                for place, array in enumerate(stored)
                if array.random_stream is not None
            }
            kernel, dtypes = self._rule.kernel, [array.dtype for array in stored]
            self._steps[group] = kernel.step(parameters.backend, dtypes, elements)
        self._plain = not (
            any(self._random_streams.values()) or self._options.master_weights
        )
        self._separate = [
            self._segment(name, slot, operator.itemgetter(name))
            for name, slot in parameters.layout.slots.items()
        ]
        self._merged = {}
        self._version = self._hyper.version

    def _segment(self, name: str, slot: Slot, take: Callable[[Any], Array]) -> Segment:
        """Bind the kernel's step to what `take` finds in the parameters and arenas."""
        parameter = take(self._parameters.arrays)
        states = [take(self._states[state]) for state in self._rule.states]
        step = self._steps[slot.group]
        inputs = [symbol.name for symbol in step.program.inputs]
        order = inputs[len(states) + 2 :]  # hyper-parameters that are arrays
        after = [take(self._hyper.elements[element]) for element in order]
        copy = None
        if self._options.master_weights:
            copy = parameter, take(self._states[MASTER])
            parameter = copy[1]
        call = step.bind([parameter, *states], after)
        return Segment(name, step, call, slot.group, slot.start, slot.stop, copy)

    def _segments_for(self, values: Values) -> list[Segment]:
        """Join neighbours in the arena whose values by name are equal."""
        slots = self._parameters.layout.slots
        keys = {
            name: tuple(by[name] for by in values.by_name.values())
            for name in (slots if values.by_name else ())
        }
        memo = tuple(keys.values())
        if memo not in self._merged:
            if len(self._merged) > 8:  # schedules by name give new values at every step
                self._merged.clear()
            self._merged[memo] = self._merge_neighbours(keys)
        return self._merged[memo]

    def _merge_neighbours(self, keys: Mapping[str, Any]) -> list[Segment]:
        layout = self._parameters.layout
        segments = []
        for group, size in layout.sizes.items():
            inside = [(n, s) for n, s in layout.slots.items() if s.group == group]
            heads = [
                (name, slot)
                for k, (name, slot) in enumerate(inside)
                if k == 0 or keys.get(name) != keys.get(inside[k - 1][0])
            ]
            ends = [slot.start for _, slot in heads[1:]] + [size]
            for (name, slot), end in zip(heads, ends, strict=True):
                cut = Slot((end - slot.start,), group, slot.start, end)

                def take(arena: Any, cut: Slot = cut) -> Array:
                    return arena.buffers[cut.group][cut.start : cut.stop]

                segments.append(self._segment(name, cut, take))
        return segments
