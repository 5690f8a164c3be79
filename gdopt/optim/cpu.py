"""Runs a rule on the CPU, in as few passes as the memory of its arrays allows."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gdopt.arrays.arena import Arena
from gdopt.arrays.backend import Array
from gdopt.arrays.dtypes import Storage, as_dtype
from gdopt.kernels.cpu.chain import OPEN, Chain
from gdopt.kernels.cpu.norm import CpuNorm
from gdopt.kernels.kernel import Step
from gdopt.kernels.packing import Rounding, Scratch, flat_view
from gdopt.kernels.symbol import reduced_shape
from gdopt.optim.hyper import Values
from gdopt.optim.known import UNKNOWN, Known
from gdopt.optim.options import MASTER
from gdopt.optim.plans import RuleRunner

Take = Callable[[Any], Array]
NONE_YET = -1.0  # in place of a norm


@dataclass(frozen=True)
class Segment:
    """Arrays that one call of a kernel updates: of a parameter, or of neighbours."""

    name: str  # of the first parameter
    group: str
    start: int  # of its random bits: in the arena, of a part in that of the whole
    step: Step
    call: Callable[..., None]
    reserve: Callable[[Any], None]  # scratch for a gradient
    gradient: Take  # from all gradients
    gather: Callable[[], Any] | None  # of parameters that are copied together first
    scatter: Callable[[], Any] | None  # and back afterwards
    random_streams: Mapping[int, int]  # of the arrays that are rounded at random


def random_streams(stored: Sequence[Storage]) -> dict[int, int]:
    """Return the streams of random bits by the places of the arrays that take one."""
    streams = [array.random_stream for array in stored]
    return {k: stream for k, stream in enumerate(streams) if stream is not None}


def gather(out: Array, padding: Sequence[Array], arrays: Sequence[Array]) -> Array:
    """Copy arrays into a flat one, each with its padding behind it, if any has one."""
    if padding:
        arrays = [part for pair in zip(arrays, padding, strict=True) for part in pair]
    np.concatenate(arrays, axis=None, out=out)
    return out


def scatter(arrays: Sequence[Array], parts: Sequence[Array]) -> None:
    """Copy parts of a flat array back to arrays of their dtype."""
    for array, part in zip(arrays, parts, strict=True):
        array[...] = part


def rehearse(
    step: Step,
    dtypes: Sequence[Any],
    axes: int,
    streams: Mapping[int, int],
    half: str | None = None,
) -> None:
    """Compile a step for arrays of those dtypes, by running it on one element."""
    if hasattr(step.engine, "reserve"):  # NumPy's, which is compiled
        return
    arrays = [
        np.ones(reduced_shape(symbol.kind, (1,) * axes), as_dtype(dtype))
        for symbol, dtype in zip(step.program.inputs, dtypes, strict=True)
    ]
    copy = None if half is None else np.ones_like(arrays[0], as_dtype(half))
    values = step.engine.cast([1.0] * len(step.program.hoisted))
    step.run(arrays, values, Rounding(0, 1, 0, streams) if streams else None, copy)


@dataclass(eq=False)
class CpuExecutor(RuleRunner):
    """Runs a rule over all parameters in as few passes as their memory allows.

    Parameters and gradients in arenas are one pass per dtype; with hyper-parameters by
    name, one per run of neighbours with equal values. Separate arrays take a pass each;
    small ones are copied together first, as many as stay in cache.
    """

    norm: Callable[[Any], float] | None = None

    def __post_init__(self) -> None:
        """Prepare nothing yet: the settings may change before the first step."""
        layout = self.parameters.layout
        takes_norm = "norm" in self.rule.kernel.signature.scalars
        self._norm = self.norm or (CpuNorm(layout) if takes_norm else None)
        self._version = self.revision = -1
        self._steps: dict[str, Step] = {}
        self._random_streams: dict[str, dict[int, int]] = {}
        self._segments: dict[bool, list[Segment]] = {}
        self._spaces: dict[Any, Array] = {}  # of what is gathered
        self._scratch = Scratch()
        self._group, *_ = layout.sizes
        self._dtype = np.dtype(self._group)
        self._counted: Any = None  # one call, bound in C: no signal comes before it
        self._chain: Chain | None = None  # with NumPy,
        self._until_chain = 0  # steps until it is made; 0 for never
        self._scalars: list[str] = []  # in the order of what the counted call reads
        self._settings = np.zeros(len(self.rule.scalars))
        self._last_norm = np.array([NONE_YET])

    @property
    def grad_norm(self) -> float | None:
        """The norm of the last gradients; None if it was not taken yet."""
        norm = self._last_norm.item()
        return None if norm == NONE_YET else norm

    @grad_norm.setter
    def grad_norm(self, norm: float | None) -> None:
        self._last_norm[0] = NONE_YET if norm is None else norm

    def compiled_view(self, grads: Arena | list[Array]) -> Array | None:
        """Return what the step that is one compiled call takes, if there is one.

        The call follows at once where `revision` is still that of the settings.
        """
        hyper, in_arena = self.hyper, self.parameters.arena is not None
        if self._counted is None or self._version != hyper.version:
            return None
        if self._chain is not None:
            return self._chained(self._chain, grads)
        if isinstance(grads, list):
            view = None if in_arena else flat_view(grads[0], self._dtype)
        else:
            view = grads.buffers[self._group] if in_arena else None
        if view is not None and (self.revision != hyper.revision or hyper.changes):
            revision = hyper.revision
            values = hyper.at(self.counter.t).shared
            for k, name in enumerate(self._scalars):  # faster than all in one
                self._settings[k] = values[name]
            self.revision = revision
        return view

    def _chained(self, chain: Chain, grads: Arena | list[Array]) -> Any:
        """Return what the calls of NumPy take, if they take such gradients."""
        flat, t = not isinstance(grads, list), self.counter.t
        if flat != (self.parameters.arena is not None):
            return None
        revision, step = self.hyper.revision, self._steps[self._group]
        own: dict[str, Any] = {"t": t + 1}
        last: list[Any] = [(self.counter.array.__setitem__, 0, t + 1)]
        if self._norm is not None:
            own["norm"] = norm = self._norm(grads)
            last.append((self._last_norm.__setitem__, 0, norm))
        values = step.values(self.hyper.at(t).shared | own)
        given = grads if isinstance(grads, list) else [grads.buffers[self._group]]
        self.revision = revision
        return chain.fill(given, values, *last)

    def run_compiled(self, grads: Arena | list[Array]) -> bool:
        """Do a step that is one compiled call; return whether there is one."""
        if self._version != self.hyper.version:
            self._prepare()
        elif self._until_chain:  # it is not worth making where settings change often
            self._until_chain -= 1
            self._chain = None if self._until_chain else self._make_chain()
            self._counted = self._chain and self._chain.run
        view = self.compiled_view(grads)
        if view is not None:
            try:
                self._counted(view)
            finally:
                self.restore_mode()
        self.direct = view is not None and not self.hyper.calls
        return view is not None

    def restore_mode(self) -> None:
        """Restore the processor's mode, as the compiled call may have failed."""
        if self._chain is not None:
            self._chain.restore()

    def run(self, grads: Arena | list[Array], known: Known = UNKNOWN) -> bool:
        """Do one step with checked gradients; return True, as it is done."""
        step = self.counter.t
        values = self.hyper.at(step)
        own: dict[str, Any] = {"t": step + 1}
        if known.norm is not None:
            own["norm"] = self.grad_norm = known.norm
        elif self._norm is not None:
            given = grads
            if self.parameters.has_gaps and not isinstance(grads, list):
                given = [grads[name] for name in self.parameters.arrays]
            own["norm"] = self.grad_norm = self._norm(given)
        if self._version != self.hyper.version:
            self._prepare()
        segments = self._segments_for(in_arena=not isinstance(grads, list))
        computed: dict[Any, Any] = {}
        hoisted = [self._values_of(one, values, own, computed) for one in segments]
        self._reserve(segments, grads)
        for segment, scalars in zip(segments, hoisted, strict=True):
            self._update(segment, segment.gradient(grads), scalars, own["t"])
        self.counter.t = step + 1
        return True

    def _reserve(self, segments: Sequence[Segment], grads: Any) -> None:
        """Take what depends on a step's gradients: nothing."""

    def _values_of(
        self,
        segment: Segment,
        values: Values,
        own: dict[str, Any],
        computed: dict[Any, Any],
    ) -> Any:
        """Compute a segment's values; those with equal scalars share them."""
        key: Any = segment.step
        scalars = values.shared
        if values.by_name:
            by_name = {name: by[segment.name] for name, by in values.by_name.items()}
            key, scalars = (segment.step, *by_name.values()), scalars | by_name
        if key not in computed:
            computed[key] = segment.step.values(scalars | own)
        return computed[key]

    def _update(self, segment: Segment, gradient: Array, values: Any, t: int) -> None:
        if segment.gather is not None:
            segment.gather()
        rounding = None
        if segment.random_streams:
            seed = self.seed_of(segment.group)
            rounding = Rounding(seed, t, segment.start, segment.random_streams)
        segment.call(gradient, values, rounding)
        if segment.scatter is not None:
            segment.scatter()

    def _prepare(self) -> None:
        """Build the kernels' steps for the present settings."""
        parameters = self.parameters
        elements = self.hyper.elements_of(self.rule)
        for group in parameters.layout.sizes:
            stored = self.options.stored(self.rule, group, len(elements))
            self._random_streams[group] = random_streams(stored)
            kernel, dtypes = self.rule.kernel, [array.dtype for array in stored]
            self._steps[group] = kernel.step(parameters.backend, dtypes, elements)
        self._segments, self._spaces = {}, {}
        self._bind_counted()
        self._version, self.revision = self.hyper.version, -1
        self.direct = False  # the first call compiles

    def _bind_counted(self) -> None:
        """Bind the one call that is a whole step, where there is such a call."""
        parameters, layout = self.parameters, self.parameters.layout
        self._counted, self._chain, self._until_chain = None, None, 0
        flat, group, norm = parameters.arena is not None, self._group, self._norm
        others = self.options.master_weights or not isinstance(norm, CpuNorm | None)
        others = others or parameters.has_gaps or bool(self.hyper.open)
        others = others or len(layout.sizes) > 1 or bool(self.hyper.classes)
        if others or self._random_streams[group]:
            return
        step = self._steps[group]
        if hasattr(step.engine, "chain"):
            self._until_chain = 2
        elif hasattr(step.engine, "bind_counted") and (flat or len(layout.slots) == 1):
            take = self._take(list(layout.slots), flat=flat)
            self._scalars = step.program.settings
            self._settings = np.zeros(len(self._scalars))
            inputs = self._inputs(step, take, take(parameters.arrays))
            taken: list[Array] = []
            if isinstance(norm, CpuNorm):
                taken = [*norm.tables(group), self._last_norm]
            own = self._settings, self.counter.array, taken
            self._counted = step.engine.bind_counted(*inputs, *own)

    def _make_chain(self) -> Chain | None:
        """Return all calls of a step by NumPy, where they can be one."""
        arrays, arena = self.parameters.arrays, self.parameters.arena
        layout, order = self.parameters.layout, list(arrays)
        step = self._steps[self._group]
        chain: Chain | None = step.engine.chain(layout.sizes[self._group])
        if chain is None:
            return None
        runs = self._merge_neighbours({}, in_arena=False) if arena is None else [order]
        for names in runs:
            gathered = arena is None and len(names) > 1
            take = self._take(names, flat=gathered or arena is not None)
            gradient, first = OPEN, order.index(names[0])
            own = [arrays[name] for name in names]
            if gathered:
                parameter, parts, rest = self._gathered("the parameter", names)
                gradient, taken, more = self._gathered("the gradient", names)
                chain.copy(parts, own)
                chain.copy(taken, slice(first, first + len(names)))
                chain.copy([*rest, *more], [0.0] * 2 * len(rest))
            else:
                parameter = take(arrays if arena is None else arena)
            before, after = self._inputs(step, take, parameter)
            if not chain.update([*before, gradient, *after], first):
                return None
            if gathered:
                chain.copy(own, parts)
        return chain

    def _gathered(
        self, kind: str, names: Sequence[str]
    ) -> tuple[Array, list[Array], list[Array]]:
        """Return flat scratch, its parts for the arrays of neighbours, and padding."""
        slots = [self.parameters.layout.slots[name] for name in names]
        start, end = slots[0].start, slots[-1].end
        flat = self._space(slots[0].group, kind, end - start)
        parts = [
            flat[slot.start - start : slot.stop - start].reshape(slot.shape)
            for slot in slots
        ]
        between = [flat[slot.stop - start : slot.end - start] for slot in slots]
        return flat, parts, [part for part in between if part.size]

    def _take(self, names: Sequence[str], *, flat: bool) -> Take:
        """Return what takes neighbours from an arena: a flat part, or a lone view."""
        if not flat:
            return operator.itemgetter(names[0])
        first, last = names[0], names[-1]

        def take(arena: Arena) -> Array:
            slots = arena.layout.slots
            own = slots[first]
            return arena.buffers[own.group][own.start : slots[last].end]

        return take

    def _inputs(
        self, step: Step, take: Take, parameter: Array
    ) -> tuple[list[Array], list[Array]]:
        """Return the inputs of a kernel before its gradient, and after it."""
        states = [take(self.states[state]) for state in self.rule.states]
        inputs = [symbol.name for symbol in step.program.inputs]
        order = inputs[len(states) + 2 :]  # hyper-parameters that are arrays
        elements = self.hyper.elements
        after = [take(elements[n]) if n in elements else None for n in order]
        return [parameter, *states], after

    def _bind(
        self,
        step: Step,
        inputs: tuple[list[Array], list[Array]],
        half: Array | None,
        taker: Callable[[str], Take],
    ) -> tuple[Callable[..., None], Callable[[Any], None]]:
        """Bind the step to all arrays but gradients, and those that a step is given.

        Returns what runs it, and what takes its scratch.
        """
        (before, after), hyper = inputs, self.hyper
        names = [symbol.name for symbol in step.program.inputs[len(before) + 1 :]]
        takers = {name: taker(name) for name in names if name in hyper.open}
        scratch = self._scratch

        def arrays(one: Any) -> list[Any]:
            rest = [
                takers[name](hyper.given[name]) if name in takers else array
                for name, array in zip(names, after, strict=True)
            ]
            return [*before, one, *rest]

        def reserve(one: Any) -> None:
            step.reserve(arrays(one), scratch, half)

        if not takers:
            return step.bind(before, after, half, scratch), reserve

        def call(one: Any, values: Any, rounding: Rounding | None = None) -> None:
            step.run(arrays(one), values, rounding, half, scratch)

        return call, reserve

    def _segment(self, names: Sequence[str], *, in_arena: bool) -> Segment:
        """Bind the step to neighbours; those that are separate are gathered first."""
        arrays, layout = self.parameters.arrays, self.parameters.layout
        arrays = arrays if self.parameters.arena is None else self.parameters.arena
        slots = [layout.slots[name] for name in names]
        group, start, end = slots[0].group, slots[0].start, slots[-1].end
        owned = self.parameters.arena is not None
        flat = len(names) > 1 or (in_arena and owned)
        take = self._take(names, flat=flat)
        padding = [np.zeros(slot.end - slot.stop, group) for slot in slots]
        padding = padding if any(map(len, padding)) else []
        before = after = half = None
        if owned or not flat:
            parameter = take(arrays)
        else:
            parameter, parts, _ = self._gathered("the parameter", names)
            own = [arrays[name] for name in names]
            places = [(s.start - start, s.stop - start, s.end - start) for s in slots]
            mover = getattr(self._steps[group].engine, "mover", lambda *_: None)
            before, after = mover(parameter, own, places) or (
                functools.partial(gather, parameter, padding, own),
                functools.partial(scatter, own, parts),
            )
        if self.options.master_weights:
            parameter, half = take(self.states[MASTER]), parameter

        def taker(kind: str) -> Take:
            if in_arena:
                return take
            order = list(layout.slots)
            pick = operator.itemgetter(*map(order.index, names))
            space = self._space(group, kind, end - start) if flat else None
            return (lambda grads: gather(space, padding, pick(grads))) if flat else pick

        step, gradient = self._steps[group], taker("the gradient")
        bound = self._bind(step, self._inputs(step, take, parameter), half, taker)
        calls = step, *bound, gradient, before
        streams = self._random_streams[group]
        place = start + self.origin_of(group)
        return Segment(names[0], group, place, *calls, after, streams)

    def _space(self, group: str, kind: str, size: int) -> Array:
        """Return scratch that segments share, one after the other."""
        zeros, most = self.parameters.backend.zeros, self._steps[group].engine.size
        space: Array = self._spaces.setdefault((group, kind), zeros(most, group))
        return space[:size]

    def _rehearse(self, segment: Segment, names: Sequence[str]) -> None:
        """Compile and allocate what a segment needs, before the step writes any."""
        slots = [self.parameters.layout.slots[name] for name in names]
        size, axes = slots[-1].end - slots[0].start, len(slots[0].shape)
        elements = len(self.hyper.elements_of(self.rule))
        stored = self.options.stored(self.rule, segment.group, elements, axes)
        dtypes, engine = [array.dtype for array in stored], segment.step.engine
        half = segment.group if self.options.master_weights else None
        rehearse(segment.step, dtypes, axes, segment.random_streams, half)
        whole = not self.rule.kernel.by_shape
        for k in range(len(dtypes) if whole else 0):  # whatever strides gradients have
            self._scratch.take(k, min(size, engine.size), engine.dtype)
        if hasattr(engine, "reserve"):
            for shape in [(size,)] if whole else {slot.shape for slot in slots}:
                engine.reserve(shape)

    def _segments_for(self, *, in_arena: bool) -> list[Segment]:
        """Join neighbours in the arena whose settings by name are equal."""
        if in_arena not in self._segments:
            runs = self._merge_neighbours(self.hyper.classes, in_arena=in_arena)
            made = [self._segment(names, in_arena=in_arena) for names in runs]
            for segment, names in zip(made, runs, strict=True):
                if len(made) > 1 or self.rule.kernel.by_shape:
                    self._rehearse(segment, names)
            self._segments[in_arena] = made
        return self._segments[in_arena]

    def _merge_neighbours(
        self, numbers: Mapping[str, int], *, in_arena: bool
    ) -> list[list[str]]:
        """Name the parameters of each segment: of all neighbours, or of small ones."""
        layout = self.parameters.layout
        slots, whole = layout.slots, in_arena and self.parameters.arena is not None
        neighbours = self.parameters.are_neighbours
        segments: list[list[str]] = []
        for group in layout.sizes:
            engine, runs = self._steps[group].engine, list[list[str]]()
            small, limit, size = engine.small, engine.size, 0
            for name in (n for n, slot in slots.items() if slot.group == group):
                own = slots[name].end - slots[name].start
                fits = whole or (own <= small and size + own <= limit)
                before = runs[-1][-1] if runs else name
                same = numbers.get(name) == numbers.get(before)
                if fits and runs and same and neighbours(before, name):
                    runs[-1].append(name)
                    size += own
                else:
                    runs.append([name])
                    size = own if own <= small else limit + 1  # a large one stays alone
            segments += runs
        return segments
