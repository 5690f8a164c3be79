"""Runs a rule on some rows of arrays and of their state."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from gdopt.arrays.arena import Arena, Layout
from gdopt.arrays.backend import Array, Backend
from gdopt.arrays.dtypes import compute_dtype
from gdopt.kernels.cpu.norm import CpuNorm
from gdopt.kernels.cpu.row_sums import add_rows
from gdopt.kernels.kernel import Step
from gdopt.kernels.norm import join_norms
from gdopt.kernels.packing import Scratch, adopt, random_noise, round_by
from gdopt.kernels.symbol import ARRAY
from gdopt.optim.cpu import random_streams, rehearse
from gdopt.optim.known import UNKNOWN, Known
from gdopt.optim.options import MASTER
from gdopt.optim.plans import RuleRunner
from gdopt.optim.rows import Rows
from gdopt.optim.rule import Rule
from gdopt.optim.transforms import NORMS

States = Mapping[str, Mapping[str, Array]]


@dataclass(eq=False)
class RowExecutor(RuleRunner):
    """Runs a rule once, on the named rows of some arrays and on all of the others.

    On a GPU the host waits for the norm, and for the rows if they are there.
    """

    norm_rule: Rule | None  # for the norm of each array's transformed gradient
    rows: Mapping[str, Rows]  # by the names of arrays
    inputs: Mapping[str, Mapping[str, Array]]  # given to the step, by hyper-parameter
    steps: dict[Any, tuple[Step, dict[int, int]]]  # kept from step to step
    imag: str = ""  # the state for imaginary parts of gradients, which are pairs
    grad_norm: Any = None
    where: dict[str, Any] = field(default_factory=dict)  # as in `rows`, or once
    scratch: Scratch = field(default_factory=Scratch)

    def run(self, grads: Arena | list[Array], known: Known = UNKNOWN) -> bool:
        """Do one step with checked gradients; return True, as it is done."""
        names = list(self.parameters.arrays)
        given = [grads[n] for n in names] if isinstance(grads, Arena) else grads
        with self.parameters.on_device(), np.errstate(all="ignore"):
            named = dict(zip(names, given, strict=True))
            kernel = self.rule.kernel
            takes_norm = "norm" in kernel.signature.scalars
            for name, rows in self.rows.items():
                self.where[name] = rows.where
                in_order = rows.increasing or not (takes_norm or kernel.by_shape)
                if rows.repeats or not in_order:
                    self._put_in_order(name, named, rows)
            t = self.counter.t + 1
            values = self.hyper.at(t - 1)
            shared, by = values.shared | {"t": t}, values.by_name.items()
            scalars = {n: shared | {key: of[n] for key, of in by} for n in named}
            self.grad_norm = known.norm
            if takes_norm:
                if known.norm is None:
                    self.grad_norm = self._norm(named, scalars)
                for one in scalars.values():
                    one["norm"] = float(self.grad_norm)
            updates = [
                self._update(self.rule, name, g, scalars[name], self.states)
                for name, g in named.items()
            ]
            for update in updates:
                update()
            self.counter.t = t
        return True

    def _put_in_order(self, name: str, named: dict[str, Array], rows: Rows) -> None:
        """Take each row once, increasing, the sum of its gradients, and its inputs."""
        backend = self.parameters.backend
        self.where[name], order, firsts = rows.ordered()
        g = named[name].astype(compute_dtype(named[name].dtype), copy=False)
        if backend.name == "numpy":
            named[name] = add_rows(g, order, firsts)
        else:
            from gdopt.optim.gpu.rows import add_rows as on_device  # noqa: PLC0415

            named[name] = on_device(backend, g, order, firsts)
        order = backend.from_host(order, self.parameters.device)
        self.inputs = {  # no row of which is repeated
            key: {**one, name: one[name][order]} for key, one in self.inputs.items()
        }

    def _norm(
        self, named: Mapping[str, Array], scalars: Mapping[str, Mapping[str, Any]]
    ) -> Any:
        """Return the norm of the gradients of named rows and of all other arrays."""
        backend, device = self.parameters.backend, self.parameters.device
        if self.norm_rule is not None:
            norms = backend.zeros(len(named), np.float64, device)
            states = {
                **self.states,
                NORMS: {name: norms[k, ...] for k, name in enumerate(named)},
            }
            for name, g in named.items():
                self._update(self.norm_rule, name, g, scalars[name], states)()
            return join_norms(backend.xp, norms)
        return norm_of(backend, device, named)

    def _update(
        self,
        rule: Rule,
        name: str,
        g: Array,
        scalars: Mapping[str, Any],
        states: States,
    ) -> Callable[[], None]:
        """Return what updates an array, or its rows, and its state.

        What it needs is compiled, copied and allocated before.
        """
        if not g.size:
            return lambda: None
        parameters, backend = self.parameters, self.parameters.backend
        elements = tuple(self.hyper.elements_of(rule))
        if self.imag:
            g, imag = g[..., 0], g[..., 1]
            states = {**states, self.imag: {name: imag}}
        key = rule, name, elements, g.dtype, *self.inputs
        new = key not in self.steps
        step, streams = self._prepared(*key[:4]) if new else self.steps[key]
        master = self.options.master_weights
        held = self.states[MASTER] if master else parameters.arrays
        arrays = [held[name], *(states[state][name] for state in rule.states), g]
        later = step.program.inputs[len(arrays) :]
        taken = [len(rule.states) + 1]  # what has a row for each of the rows
        taken += [len(rule.states)] if self.imag else []
        for place, symbol in enumerate(later, len(arrays)):
            taken += [place] if symbol.name in self.inputs else []
            spread = self.inputs.get(symbol.name) or self.hyper.elements[symbol.name]
            arrays.append(spread[name])
        values = step.values(scalars)
        where = self.where.get(name, ...)
        numbered = isinstance(where, np.ndarray)
        at = backend.from_host(where, parameters.device) if numbered else where
        update = None
        if numbered and not (streams or master):
            update = _row_loop(step, arrays, where, values, taken, new=new)
        if update is None:
            noise = self._noise(name, where, scalars["t"], streams) if streams else {}
            parts = _parts_of(step, arrays, at, taken, noise)
            if step.on_cpu:
                step.reserve(parts, self.scratch)
            if step.on_cpu and new:
                rehearse(step, [part.dtype for part in parts], g.ndim, {})
            run = partial(step.run, parts, values)
            put_back = partial(_put_back, step, arrays, at, parts, noise)
            update = partial(self._run, name, at, parts, run, put_back)
        self.steps[key] = step, streams
        return update

    def _run(
        self,
        name: str,
        at: Any,
        parts: Sequence[Array],
        run: Callable[..., None],
        put_back: Callable[[], None],
    ) -> None:
        """Run a step on parts of arrays, which may have a copy in half precision."""
        own, master = self.parameters.arrays[name], self.options.master_weights
        if master:
            adopt(parts[0], own[at])
        run(scratch=self.scratch)
        put_back()
        if master:
            own[at] = self.states[MASTER][name][at]

    def _prepared(
        self, rule: Rule, name: str, elements: Sequence[str], summed: Any
    ) -> tuple[Step, dict[int, int]]:
        """Return what runs a rule on an array, and the streams of random bits."""
        slot, backend = self.parameters.layout.slots[name], self.parameters.backend
        axes = len(slot.shape)
        stored = self.options.stored(rule, slot.group, len(elements), axes)
        streams, dtypes = random_streams(stored), [array.dtype for array in stored]
        for k in streams:
            dtypes[k] = "float32"  # they are rounded afterwards
        dtypes[len(rule.states) + 1] = summed
        for k, element in enumerate(elements, len(dtypes) - len(elements)):
            dtypes[k] = slot.group if element in self.inputs else dtypes[k]
        return rule.kernel.step(backend, dtypes, elements, axes), streams

    def _noise(
        self, name: str, where: Any, t: int, streams: Mapping[int, int]
    ) -> dict[int, Array]:
        """Return the random bits of what is rounded by them: those of its elements."""
        layout, backend = self.parameters.layout, self.parameters.backend
        slot, cuts = layout.slots[name], where if isinstance(where, tuple) else (where,)
        axes = [np.arange(length) for length in slot.shape]
        for axis, cut in enumerate(() if where is ... else cuts):
            axes[axis] = axes[axis][cut]
        index = np.ravel_multi_index(np.ix_(*axes), slot.shape) if axes else np.zeros(1)
        index = index.reshape(-1).astype(np.int64)
        index += slot.start + self.origin_of(slot.group)
        index = backend.from_host(index, self.parameters.device)
        seed = self.seed_of(slot.group)
        return {k: random_noise(seed, t, index, own) for k, own in streams.items()}


def norm_of(backend: Backend, device: str, grads: Mapping[str, Array]) -> Any:
    """Return the norm of gradients, a float or a 0-d array on their device."""
    layout = Layout.of(grads)
    if backend.name == "numpy":
        return CpuNorm(layout)(list(grads.values()))
    from gdopt.kernels.cuda.norm import GradNorm  # noqa: PLC0415

    arena = Arena(layout, backend, device)
    for name, g in grads.items():
        arena[name] = g
    return GradNorm(backend, device, layout)(arena)


def _row_loop(
    step: Step,
    arrays: Sequence[Array],
    rows: Any,
    values: Any,
    taken: Sequence[int],
    *,
    new: bool,
) -> Callable[[], None] | None:
    """Return a compiled loop over rows, bound to its arrays, if there is one."""
    if not hasattr(step.engine, "bind_counted"):  # but a Numba loop over elements
        return None
    dtype = step.engine.dtype
    if not all(a.flags.c_contiguous and a.dtype == dtype for a in arrays):
        return None
    from gdopt.kernels.cpu.row_loops import row_loop  # noqa: PLC0415 - Numba

    matrices = [array.reshape(len(array), -1) for array in arrays]
    run = row_loop(step.program, dtype, (*taken,))
    if new:
        run(matrices, values, rows[:0])  # which compiles it
    return partial(run, matrices, values, rows)


def _parts_of(
    step: Step,
    arrays: Sequence[Array],
    where: Any,
    taken: Sequence[int],
    noise: Mapping[int, Array],
) -> list[Array]:
    """Return a part of all arrays but scalars, and what is a part itself.

    Rows by their numbers are copied. `taken` are the places of what is a part: the
    gradient, and what a step is given; `noise` are random bits, by the place of what is
    rounded by them.
    """
    numbered, parts = hasattr(where, "dtype"), []
    pairs = zip(step.program.inputs, arrays, strict=True)
    for k, (symbol, array) in enumerate(pairs):
        part = array
        if k not in taken and symbol.kind != ARRAY:
            whole = numbered and array.flags.c_contiguous  # else take copies all of it
            part = array.take(where, axis=0) if whole else array[where]
        parts.append(part.astype(np.float32) if k in noise else part)
    return parts


def _put_back(
    step: Step,
    arrays: Sequence[Array],
    where: Any,
    parts: Sequence[Array],
    noise: Mapping[int, Array],
) -> None:
    """Write parts that are copies to the arrays that they were taken from."""
    program, numbered = step.program, hasattr(where, "dtype")
    for k, part in enumerate(parts[: len(program.results)]):
        if k in noise:
            rounded = round_by(part.reshape(-1), noise[k])
            arrays[k][where] = rounded.reshape(part.shape)
        elif numbered and program.writes(k) and program.inputs[k].kind != ARRAY:
            arrays[k][where] = part
