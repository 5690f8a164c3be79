"""Complex parameters: what runs a rule on their real and imaginary parts.

``"split"`` is the rule on real arrays that are views, with a last axis for both parts.
``"modulus"`` is the rule traced with complex values, as a real rule on two arrays for
each complex one: before a step the parts are copied to arrays of their own, and after
it back.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from gdopt.arrays.arena import Arena, Layout, array_label
from gdopt.arrays.backend import Array
from gdopt.arrays.dtypes import COMPLEX, as_complex, as_parts, compute_name, real_name
from gdopt.errors import ArgumentError, RuleError
from gdopt.kernels.complex import on_parts
from gdopt.kernels.symbol import BY_SHAPE, Symbol
from gdopt.kernels.trace import Signature, trace
from gdopt.optim.executors import Binding, Executor
from gdopt.optim.known import Known
from gdopt.optim.options import COMPLEX_MODES, Options
from gdopt.optim.parameters import Parameters
from gdopt.optim.plans import RuleRunner
from gdopt.optim.rule import BuiltInRule, Rule
from gdopt.optim.transforms import Transforms

PARAMETER, GRADIENT = "imag_parameter", "imag_gradient"  # their second parts
REAL_ONLY = ("bounds", "clip_value")  # options
REDUCTIONS = ("sum", "max", "norm")


def imag_of(state: str) -> str:
    """Return the name of the imaginary part of a state."""
    return f"imag_of_{state}"


@functools.lru_cache(maxsize=64)
def lowered(
    rule: Rule, known: frozenset[str] = frozenset()
) -> tuple[Rule, frozenset[str]]:
    """Return a rule as one of real arrays, and the names of its complex state.

    State starts as real, but for what is known and copies of the parameter. What comes
    out complex is complex, and the rule is traced again until nothing changes.
    """
    copies = {state for state in rule.states if rule.start(state) == "p"}
    states, found = known.intersection(rule.states) | copies, set[str]()
    while True:
        made = _lower(rule, states, found)
        if found <= states:
            return made, states
        states |= found


def _lower(rule: Rule, states: frozenset[str], found: set[str]) -> Rule:
    """Return a rule on the parts; it adds to `found` what comes out complex."""
    signature = rule.kernel.signature
    first, *_, last = signature.arrays
    imag = {first: PARAMETER, **{state: imag_of(state) for state in states}}
    second = {**imag, last: GRADIENT}
    pairs = on_parts(rule.function, signature, second, made_complex=found.add)

    def formula(*inputs: Any, **values: Any) -> Any:
        *others, imag_g, g = inputs  # a rule's last argument is its gradient
        return (*pairs(*others, g, imag_g, **values), imag_g)

    own = Signature.of(pairs)
    names = (*own.arrays[:-2], GRADIENT, last)
    Signature(names, own.scalars, {}).put_on(formula)
    formula.__name__ = pairs.__name__
    return Rule(formula, rule.initial, rule.ranges, rule.per, rule.inner)


def is_split(rule: Rule) -> bool:
    """Return whether a trace shows that a rule does the same to each part by itself."""
    try:
        made, states = lowered(rule)
    except RuleError:
        return False
    first, *_, last = rule.kernel.signature.arrays
    imag = {first: PARAMETER, last: GRADIENT} | {s: imag_of(s) for s in states}

    @functools.cache
    def same(x: Symbol, y: Symbol) -> bool:
        if x.name:
            return imag.get(x.name, x.name) == y.name
        mine, other = ((n.operation, n.value, len(n.arguments)) for n in (x, y))
        return mine == other and all(map(same, x.arguments, y.arguments))

    program = made.kernel.program()
    results = {s.name: r for s, r in zip(program.inputs, program.results, strict=False)}
    names = (first, *rule.states)  # real state must not depend on the parts
    return all(same(results[n], results[imag.get(n, n)]) for n in names)


def reduces(rule: Rule) -> bool:
    """Return whether a rule computes with more of an array than one element."""
    formula = trace(rule.function, rule.kernel.signature, kinds=rule.per, axes=2)
    return any(n.operation in REDUCTIONS or n.name in BY_SHAPE for n in formula.nodes())


def bind_complex(
    parameters: Parameters, rule: Rule, transforms: Transforms, options: Options
) -> Binding:
    """Choose how a rule takes complex parameters; see `gdopt.optim.executors.bind`."""
    name = next(n for n, s in parameters.layout.slots.items() if s.group in COMPLEX)
    inner, mode = rule.inner or rule, transforms.complex_mode
    by_sign = isinstance(inner, BuiltInRule) and inner.name == "rprop"
    refused = {option: option in transforms.options for option in REAL_ONLY}
    refused["state_dtype"] = options.state_dtype is not None
    refused[inner.name] = by_sign or reduces(inner)
    for what in [what for what, given in refused.items() if given]:
        group = parameters.layout.slots[name].group
        message = f"{what} needs real parameters, but {array_label(name)} is {group}"
        raise ArgumentError(message)
    split = is_split(inner)
    if mode is None and not split:
        modes = "; ".join(f"complex_mode={m!r}: {w}" for m, w in COMPLEX_MODES.items())
        message = f"complex_mode must be given for {inner.name}, as libraries differ: "
        message += f"write one of {modes}"
        raise ArgumentError(message)
    units = "agc" in transforms.options  # which are of whole numbers
    if units and mode == "split" and not split:
        message = "agc of complex parameters needs complex_mode='modulus', got 'split'"
        raise ArgumentError(message)
    if units or mode == "modulus":
        return ModulusBinding(parameters, rule, transforms)
    return SplitBinding(parameters)


def parts_of(arena: Arena) -> Arena | None:
    """View an arena as real numbers; None where two dtypes have parts of one dtype."""
    views = {real_name(g): b.view(real_name(g)) for g, b in arena.buffers.items()}
    if len(views) < len(arena.buffers):
        return None
    layout = Layout.of({name: as_parts(array) for name, array in arena.items()})
    return Arena(layout, arena.backend, arena.device, buffers=views)


class SplitBinding(Binding):
    """The rule on both parts by themselves: on views of the arrays."""

    def __init__(self, parameters: Parameters) -> None:
        self._arena: tuple[Arena | None, Any] = None, None
        arrays: Mapping[str, Array]
        arrays = {name: as_parts(array) for name, array in parameters.arrays.items()}
        arena = parameters.arena and parts_of(parameters.arena)
        layout = Layout.of(arrays)
        if arena is not None and not parameters.has_gaps:
            arrays, layout = arena, arena.layout
        slots = parameters.layout.slots
        pairs = frozenset(n for n, slot in slots.items() if slot.group in COMPLEX)
        given = replace(parameters, arrays=arrays, layout=layout, pairs=pairs)
        super().__init__(replace(given, arena=arena))

    def make_executor(self, run: RuleRunner, norm_rule: Rule | None = None) -> Executor:
        """Make what runs a rule on views of the gradients."""
        made = super().make_executor(run, norm_rule)
        surround(made, functools.partial(self._views, run.parameters.arrays))
        return made

    def take_rows(self, executor: Executor) -> None:
        """Let an executor of rows take views of the gradients."""
        surround(executor, functools.partial(self._views, self.parameters.arrays))

    def _views(self, names: Mapping[str, Array], grads: Arena | list[Array]) -> Any:
        if not isinstance(grads, Arena):
            return list(map(as_parts, grads))
        if self._arena[0] is not grads:
            self._arena = grads, parts_of(grads)
        views = self._arena[1]
        return [as_parts(grads[name]) for name in names] if views is None else views

    def named(
        self, rule: Rule, states: Mapping[str, Arena]
    ) -> Mapping[str, Mapping[str, Array]]:
        """View the state of complex parameters as complex numbers."""
        pairs = self.parameters.pairs
        return {
            state: arena
            if state in rule.per
            else {n: as_complex(a) if n in pairs else a for n, a in arena.items()}
            for state, arena in states.items()
        }


class ModulusBinding(Binding):
    """The rule on copies of the parts; imaginary parts of real parameters are 0."""

    host_skips = True

    def __init__(
        self, parameters: Parameters, rule: Rule, transforms: Transforms
    ) -> None:
        self._given, of_options = parameters, frozenset(transforms.states)
        _, self._complex = lowered(rule, of_options)
        slots = parameters.layout.slots.items()
        layout = Layout.place({n: (s.shape, real_name(s.group)) for n, s in slots})
        self._real = real = Arena(layout, parameters.backend, parameters.device)
        super().__init__(replace(parameters, arrays=real, layout=layout, arena=real))

    def start_state(self, rule: Rule, options: Options) -> dict[str, Arena]:
        """Make complex and real state, and the arrays of parts."""
        given = self._given
        self._parts = super().start_state(lowered(rule, self._complex)[0], options)
        states = {state: self._parts[state] for state in rule.states}
        layout = Layout.of(given.arrays)
        dtypes = {group: compute_name(group) for group in layout.sizes}
        for state in self._complex:
            states[state] = Arena(layout, given.backend, given.device, dtypes)
        self.fill_state(states, rule)
        return states

    def fill_state(self, states: Mapping[str, Arena], rule: Rule) -> None:
        """Set complex and real state to their start."""
        for state, arena in states.items():
            start = rule.start(state)
            for name, array in self._given.arrays.items():
                arena[name][...] = array if start == "p" else start

    def make_executor(self, run: RuleRunner, norm_rule: Rule | None = None) -> Executor:
        """Make what runs a rule on the parts, which are copied around it."""
        rule, states, hyper = run.rule, run.states, run.hyper
        made = lowered(rule, self._complex)[0]
        norms = norm_rule and lowered(norm_rule, self._complex)[0]
        real_run = replace(run, rule=made, states=self._parts)
        inner = super().make_executor(real_run, norms)
        parts, real, names = self._parts, self._real, list(run.parameters.arrays)
        pairs: list[Any] = [(self._given.arrays, real, parts[PARAMETER])]
        pairs += [
            (states[state], parts[state], parts[imag_of(state)])
            for state in self._complex.intersection(rule.states)
        ]
        gradient, inputs = real.like(), {name: real.like() for name in hyper.open}

        def before(grads: Any) -> Arena:
            for name, arena in inputs.items():
                for key, array in zip(names, hyper.given[name], strict=True):
                    arena[key] = array
            hyper.given.update(inputs)
            if not isinstance(grads, Arena):
                grads = dict(zip(names, grads, strict=True))
            for arrays, re, im in (*pairs, (grads, gradient, parts[GRADIENT])):
                for name in names:
                    _take(arrays[name], re[name], im[name])
            return gradient

        def after() -> None:
            for arrays, re, im in pairs:
                for name in names:
                    _put(arrays[name], re[name], im[name])

        surround(inner, before, after)
        return inner

    def take_rows(self, executor: Any) -> None:
        """Let an executor of rows run on the parts, where they lie."""
        states, given = executor.states, self._given.arrays
        pairs = {imag_of(state): states[state] for state in self._complex}
        pairs[PARAMETER] = given
        held = {imag: _parts_of(arrays, 1) for imag, arrays in pairs.items()}
        held |= {state: _parts_of(states[state], 0) for state in self._complex}
        executor.states = {**states, **held}
        arrays = {n: _part(given[n], 0) for n in executor.parameters.arrays}
        executor.parameters = replace(executor.parameters, arrays=arrays)
        executor.rule = lowered(executor.rule, self._complex)[0]
        if executor.norm_rule is not None:
            executor.norm_rule = lowered(executor.norm_rule, self._complex)[0]
        executor.imag = GRADIENT

        def before(grads: Any) -> list[Array]:
            given = [grads[n] for n in arrays] if isinstance(grads, Arena) else grads
            return list(map(as_pairs, given))

        surround(executor, before)


def as_pairs(array: Array) -> Array:
    """View complex numbers as pairs of parts; add a part of 0 to real ones."""
    parts = as_parts(array)
    if parts is not array:
        return parts
    pair = array[..., None].repeat(2, -1)
    pair[..., 1] = 0
    return pair


def _part(array: Array, k: int) -> Array:
    """View a part of complex numbers; the imaginary part of real ones is a new 0."""
    parts = as_parts(array)
    if parts is not array:
        return parts[..., k]
    return np.zeros_like(array) if k else array


def _parts_of(arrays: Mapping[str, Array], k: int) -> dict[str, Array]:
    return {name: _part(array, k) for name, array in arrays.items()}


def _take(array: Array, re: Array, im: Array) -> None:
    """Copy both parts of an array."""
    parts = as_parts(array)
    is_real = parts is array
    re[...] = parts if is_real else parts[..., 0]
    im[...] = 0 if is_real else parts[..., 1]


def _put(array: Array, re: Array, im: Array) -> None:
    """Copy parts back to their array."""
    parts = as_parts(array)
    if parts is array:
        parts[...] = re
    else:
        parts[..., 0], parts[..., 1] = re, im


def surround(
    executor: Any, before: Callable[[Any], Any], after: Callable[[], None] | None = None
) -> None:
    """Let an executor take parts of gradients, and do something after each step."""

    def around(run: Callable[..., Any], grads: Any, *known: Known) -> Any:
        done = run(before(grads), *known)
        if after is not None:
            after()
        return done

    if hasattr(executor, "launch"):  # which `run` calls
        executor.launch = functools.partial(around, executor.launch)
        return
    executor.run = functools.partial(around, executor.run)
    # A signal must not come between a step and what is after it.
    view = functools.partial(around, executor.compiled_view)
    executor.compiled_view = view if after is None else lambda _: None
