"""Complex parameters: what runs a rule on real and imaginary parts.

``"split"`` is the same real rule on the parts, which lie next to each other: views of
the arrays. ``"modulus"`` is the rule traced with complex values, as a real rule on two
arrays for each complex one: the parts are copied to arrays of their own before a step,
and back after it.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from gdopt.arrays.arena import Arena, Layout, array_label
from gdopt.arrays.backend import Array
from gdopt.arrays.dtypes import COMPLEX, as_complex, as_parts, real_name
from gdopt.checks import listed
from gdopt.errors import ArgumentError, RuleError
from gdopt.kernels.complex import COUPLING, ComplexSymbol
from gdopt.kernels.symbol import BY_SHAPE, Symbol
from gdopt.kernels.trace import trace
from gdopt.optim.executors import Binding, Executor
from gdopt.optim.options import COMPLEX_MODES, Options
from gdopt.optim.parameters import Parameters
from gdopt.optim.rule import BuiltInRule, Rule
from gdopt.optim.transforms import Transforms

PARAMETER, GRADIENT = "imag_parameter", "imag_gradient"  # names of their second parts
REDUCTIONS = ("sum", "max", "norm")


def imag_of(state: str) -> str:
    """Return the name of the second part of a state."""
    return f"imag_of_{state}"


@dataclass(frozen=True)
class Lowered:
    """A rule for complex arrays as one for real ones.

    Attributes:
        rule: takes the real parts, and the imaginary parts as further state.
        complex_states: the names of the states that are complex.
        coupling: what differs from the rule on both parts apart; empty if nothing does.
    """

    rule: Rule
    complex_states: frozenset[str]
    coupling: tuple[str, ...]


@functools.lru_cache(maxsize=64)
def lowered(rule: Rule, known: frozenset[str] = frozenset()) -> Lowered:
    """Trace a rule with complex values; which of its state is complex shows then.

    State starts as real, but for copies of the parameter. What comes out complex is
    complex, and the rule is traced again until nothing changes.

    Raises:
        RuleError: it does what complex values do not have, such as an order.
    """
    copies = {state for state in rule.states if rule.start(state) == "p"}
    states = known.intersection(rule.states) | copies
    while True:
        found, coupling = set[str](), set[str]()
        token = COUPLING.set(coupling)
        try:
            made = _lower(rule, states, found)
        finally:
            COUPLING.reset(token)
        if found <= states:
            return Lowered(made, states, tuple(sorted(coupling)))
        states |= found


def _lower(rule: Rule, states: frozenset[str], found: set[str]) -> Rule:
    """Return a rule on the parts; it adds to `found` what else comes out complex."""
    signature = rule.kernel.signature
    first, *_, last = signature.arrays
    imag = {first: PARAMETER, **{s: imag_of(s) for s in rule.states if s in states}}
    names = [first, PARAMETER]
    for state in rule.states:
        names += [state, imag[state]] if state in imag else [state]
    names += [GRADIENT, last]
    if len({*names, *signature.scalars}) < len(names) + len(signature.scalars):
        message = f"{rule.name}: a name begins with imag_: choose another"
        raise RuleError(message)

    def formula(*inputs: Any, **values: Any) -> Any:
        by_name = dict(zip(names, inputs, strict=True))
        given = [
            ComplexSymbol(by_name[n], by_name[imag[n]]) if n in imag else by_name[n]
            for n in (first, *rule.states)
        ]
        g = ComplexSymbol(by_name[last], by_name[GRADIENT])
        results = rule.function(*given, g, **values)
        parts: list[Any] = []
        results = results if isinstance(results, tuple) else (results,)
        for name, result in zip((first, *rule.states), results, strict=True):
            pair = isinstance(result, ComplexSymbol)
            if pair and name not in imag:
                found.add(name)
            real = result.re if pair else Symbol.of(result)
            parts.append(real)
            if name in imag:
                parts.append(result.im if pair else 0.0 * real)
        return (*parts, by_name[GRADIENT])

    kind = inspect.Parameter
    formula.__name__ = f"complex_{rule.name}"
    formula.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [kind(name, kind.POSITIONAL_OR_KEYWORD) for name in names]
        + [kind(name, kind.KEYWORD_ONLY) for name in signature.scalars]
    )
    formula.__wrapped__ = rule.function  # type: ignore[attr-defined]
    return Rule(formula, rule.initial, rule.ranges, rule.per, rule.inner)


def reduces(rule: Rule) -> bool:
    """Return whether a rule computes with more of an array than one element."""
    kernel = rule.kernel
    formula = trace(rule.function, kernel.signature, kinds=rule.per, axes=2)
    return any(n.operation in REDUCTIONS or n.name in BY_SHAPE for n in formula.nodes())


def bind_complex(
    parameters: Parameters, rule: Rule, transforms: Transforms, options: Options
) -> Binding:
    """Choose how a rule takes complex parameters; see `gdopt.optim.executors.bind`."""
    name = next(n for n, s in parameters.layout.slots.items() if s.group in COMPLEX)
    inner = rule.inner or rule
    refused = {
        "bounds": "bounds" in transforms.options,
        "clip_value": "clip_value" in transforms.options,
        "state_dtype": options.state_dtype is not None,
        inner.name: is_rprop(inner) or reduces(inner),
    }
    for what in [what for what, given in refused.items() if given]:
        group = parameters.layout.slots[name].group
        message = f"{what} needs real parameters, but {array_label(name)} is {group}"
        raise ArgumentError(message)
    mode = transforms.complex_mode
    if mode == "modulus":
        return ModulusBinding(parameters, rule, transforms)
    if mode is None and (coupling := _coupling(inner)):
        modes = "; ".join(f"complex_mode={m!r}: {w}" for m, w in COMPLEX_MODES.items())
        message = f"complex_mode must be given for {inner.name}, as libraries differ "
        raise ArgumentError(message + f"because of {coupling}: write one of {modes}")
    if "agc" in transforms.options:
        message = "agc of complex parameters needs complex_mode='modulus', got "
        raise ArgumentError(message + repr(mode))
    return SplitBinding(parameters)


def is_rprop(rule: Rule) -> bool:
    """Return whether a rule is Rprop, which goes by the signs of products."""
    return isinstance(rule, BuiltInRule) and rule.name == "rprop"


def _coupling(rule: Rule) -> str:
    """Say why a rule on both parts apart is not the rule on complex values."""
    try:
        return listed(lowered(rule).coupling)
    except RuleError as error:
        return str(error)


class PartsArena(Arena):
    """An arena of complex numbers viewed as one of real numbers."""

    def __init__(self, arena: Arena) -> None:
        layout = Layout.place(
            {
                n: (shape_of_parts(slot.shape, slot.group), real_name(slot.group))
                for n, slot in arena.layout.slots.items()
            }
        )
        buffers = {real_name(g): b.view(real_name(g)) for g, b in arena.buffers.items()}
        super().__init__(layout, arena.backend, arena.device, buffers=buffers)

    @staticmethod
    def fits(arena: Arena) -> bool:
        """Return whether the parts of each dtype have a buffer of their own."""
        return len({*map(real_name, arena.buffers)}) == len(arena.buffers)


def shape_of_parts(shape: tuple[int, ...], group: str) -> tuple[int, ...]:
    """Return the shape of `as_parts` of an array."""
    return (*shape, 2) if group in COMPLEX else shape


class SplitBinding(Binding):
    """The same real rule on both parts, by views of the arrays."""

    def __init__(self, parameters: Parameters) -> None:
        arrays = {name: as_parts(a) for name, a in parameters.arrays.items()}
        arena, layout = parameters.arena, Layout.of(arrays)
        self._names = list(arrays)
        self._complex = frozenset(
            n for n, s in parameters.layout.slots.items() if s.group in COMPLEX
        )
        self._known: tuple[Arena | None, Any] = None, None
        if arena is not None and not PartsArena.fits(arena):
            arena = None
        if arena is not None:
            arena = PartsArena(arena)
            if not parameters.has_gaps:
                layout, arrays = arena.layout, arena
        real = {"arrays": arrays, "layout": layout, "arena": arena}
        super().__init__(replace(parameters, **real, pairs=self._complex))

    def make_executor(
        self, rule: Rule, states: Mapping[str, Arena], *given: Any, **options: Any
    ) -> Executor:
        """Make what runs a rule on views of the gradients."""
        made = super().make_executor(rule, states, *given, **options)
        return ComplexExecutor(made, self.parts)

    def parts(self, grads: Arena | list[Array]) -> Arena | list[Array]:
        """View gradients as real numbers; an arena that comes again is known."""
        if not isinstance(grads, Arena):
            return [as_parts(array) for array in grads]
        if self._known[0] is not grads:
            fits = PartsArena.fits(grads)
            names = self._names
            viewed = PartsArena(grads) if fits else [as_parts(grads[n]) for n in names]
            self._known = grads, viewed
        return self._known[1]

    def named(
        self, rule: Rule, states: Mapping[str, Arena]
    ) -> Mapping[str, Mapping[str, Array]]:
        """View the state of complex parameters as complex numbers."""
        return {
            state: {
                name: as_complex(array)
                if name in self._complex and state not in rule.per
                else array
                for name, array in arena.items()
            }
            for state, arena in states.items()
        }


class ModulusBinding(Binding):
    """The rule on complex values: on copies of the parts, in arrays of their own.

    Real parameters among complex ones have imaginary parts of 0.
    """

    host_skips = True

    def __init__(
        self, parameters: Parameters, rule: Rule, transforms: Transforms
    ) -> None:
        self._given = parameters
        slots = parameters.layout.slots
        layout = Layout.place(
            {name: (s.shape, real_name(s.group)) for name, s in slots.items()}
        )
        self._real, self._gradient = (
            Arena(layout, parameters.backend, parameters.device) for _ in range(2)
        )
        of_options = frozenset(transforms.states)
        self._complex_states = lowered(rule, of_options).complex_states
        own = {"arrays": self._real, "layout": layout, "arena": self._real}
        super().__init__(replace(parameters, **own))

    def start_state(self, rule: Rule, options: Options) -> dict[str, Arena]:
        """Make complex and real state, and the arrays of parts."""
        given = self._given
        made = lowered(rule, self._complex_states).rule
        self._parts = super().start_state(made, options)
        states = {}
        for state in rule.states:
            states[state] = self._parts[state]
            if state in self._complex_states:
                arena = Arena(Layout.of(given.arrays), given.backend, given.device)
                start = rule.start(state)
                for name, array in given.arrays.items():
                    arena[name][...] = array if start == "p" else start
                states[state] = arena
        return states

    def make_executor(
        self,
        rule: Rule,
        states: Mapping[str, Arena],
        *given: Any,
        norm_rule: Rule | None = None,
        **options: Any,
    ) -> Executor:
        """Make what runs a rule on the parts, which are copied around it."""
        made = lowered(rule, self._complex_states).rule
        if norm_rule is not None:
            norm_rule = lowered(norm_rule, self._complex_states).rule
        inner = super().make_executor(
            made, self._parts, *given, norm_rule=norm_rule, **options
        )
        arrays = {s: states[s] for s in rule.states if s in self._complex_states}
        pairs = [(self._given.arrays, self._real, self._parts[PARAMETER])]
        pairs += [
            (a, self._parts[s], self._parts[imag_of(s)]) for s, a in arrays.items()
        ]

        def before(grads: Arena | list[Array]) -> Arena:
            if not isinstance(grads, Arena):
                grads = dict(zip(self._given.arrays, grads, strict=True))
            for arrays, re, im in (
                *pairs,
                (grads, self._gradient, self._parts[GRADIENT]),
            ):
                for name in self._real:
                    array = arrays[name]
                    re[name][...] = array.real
                    im[name][...] = array.imag if array.dtype.name in COMPLEX else 0
            return self._gradient

        def after() -> None:
            for arrays, re, im in pairs:
                for name in self._real:
                    array = arrays[name]
                    array.real[...] = re[name]
                    if array.dtype.name in COMPLEX:
                        array.imag[...] = im[name]

        return ComplexExecutor(inner, before, after)


class ComplexExecutor:
    """Runs an executor of real arrays on parts of complex ones.

    Args:
        inner: the executor.
        before: returns the parts of gradients.
        after: called after a step, if need be.
    """

    def __init__(
        self,
        inner: Any,
        before: Callable[[Any], Any],
        after: Callable[[], None] | None = None,
    ) -> None:
        self._inner, self._before, self._after = inner, before, after

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        return functools.partial(self._around, found) if name == "launch" else found

    @property
    def grad_norm(self) -> Any:
        """The norm of the last gradients."""
        return self._inner.grad_norm

    @grad_norm.setter
    def grad_norm(self, norm: Any) -> None:
        self._inner.grad_norm = norm

    def run_compiled(self, grads: Arena | list[Array]) -> bool:
        """Do a step that nothing can interrupt; return whether there was one."""
        return self._after is None and self._inner.run_compiled(self._before(grads))

    def run(self, grads: Arena | list[Array]) -> bool | Array:
        """Do one step with checked gradients; return whether it was done."""
        return self._around(self._inner.run, grads)

    def _around(self, run: Callable[[Any], Any], grads: Any) -> Any:
        done = run(self._before(grads))
        if self._after is not None:
            self._after()
        return done
