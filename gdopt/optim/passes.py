"""Plans which arrays a step hands to the kernel, and keeps the plan."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from gdopt.arrays.arena import Arena, Slot
from gdopt.arrays.backend import Array
from gdopt.kernels.kernel import Step, compute_dtype
from gdopt.optim.hyper import Hyper, Values
from gdopt.optim.parameters import Parameters
from gdopt.optim.rule import Rule


@dataclass(frozen=True)
class Piece:
    """Arrays that one call of a kernel updates: of a parameter, or of a whole run."""

    name: str
    step: Step
    call: Callable[[Array, Any], None]
    group: str
    start: int
    stop: int


class Passes:
    """Runs a rule over all parameters in as few passes as their memory allows.

    Parameters and gradients in arenas are one pass per dtype; with hyper-parameters by
    name, one per run of neighbours with equal values. Arrays apart are one pass each.
    """

    def __init__(
        self,
        rule: Rule,
        parameters: Parameters,
        states: Mapping[str, Arena],
        hyper: Hyper,
    ) -> None:
        self._rule = rule
        self._parameters = parameters
        self._states = states
        self._hyper = hyper
        self._version = -1
        self._steps: dict[str, Step] = {}
        self._apart: list[Piece] = []
        self._runs: dict[Any, list[Piece]] = {}

    def run(self, grads: Arena | list[Array], values: Values, t: int) -> None:
        """Do one step with checked gradients and values."""
        if self._version != self._hyper.version:
            self._plan()
        computed: dict[Any, Any] = {}
        if isinstance(grads, Arena) and self._parameters.arena is not None:
            for piece in self._runs_for(values):
                gradient = grads.buffers[piece.group][piece.start : piece.stop]
                piece.call(gradient, self._hoisted(piece, values, t, computed))
            return
        arrays = grads.values() if isinstance(grads, Arena) else grads
        for piece, gradient in zip(self._apart, arrays, strict=True):
            piece.call(gradient, self._hoisted(piece, values, t, computed))

    def _hoisted(
        self, piece: Piece, values: Values, t: int, computed: dict[Any, Any]
    ) -> Any:
        """Compute the hoisted values once for all pieces with equal scalars."""
        own: dict[str, Any] = {}
        key: Any = piece.group
        if values.by_name:
            own = {name: by[piece.name] for name, by in values.by_name.items()}
            key = (piece.group, *map(_key, own.values()))
        if key not in computed:
            computed[key] = piece.step.values({**values.shared, **own, "t": t})
        return computed[key]

    def _plan(self) -> None:
        """Find the kernels' steps and the arrays apart for the present settings."""
        parameters, elements = self._parameters, list(self._hyper.elements)
        for group in parameters.layout.sizes:
            compute = compute_dtype(group)
            states = [compute] * len(self._states)
            dtypes = [group, *states, group, *([compute] * len(elements))]
            kernel = self._rule.kernel
            self._steps[group] = kernel.step(parameters.backend, dtypes, elements)
        self._apart = [
            self._piece(name, slot, lambda arena, name=name: arena[name], array)
            for (name, slot), array in zip(
                parameters.layout.slots.items(), parameters.arrays.values(), strict=True
            )
        ]
        self._runs = {}
        self._version = self._hyper.version

    def _piece(self, name: str, slot: Slot, take: Any, parameter: Array) -> Piece:
        states = [take(arena) for arena in self._states.values()]
        step = self._steps[slot.group]
        inputs = [symbol.name for symbol in step.program.inputs]
        order = inputs[len(states) + 2 :]  # hyper-parameters that are arrays
        after = [take(self._hyper.elements[element]) for element in order]
        call = step.bind([parameter, *states], after)
        return Piece(name, step, call, slot.group, slot.start, slot.stop)

    def _runs_for(self, values: Values) -> list[Piece]:
        """Join neighbours in the arena whose values by name are equal."""
        slots = self._parameters.layout.slots
        keys = {
            name: tuple(_key(by[name]) for by in values.by_name.values())
            for name in (slots if values.by_name else ())
        }
        memo = tuple(keys.values())
        if memo not in self._runs:
            if len(self._runs) > 8:  # schedules by name give new values at every step
                self._runs.clear()
            self._runs[memo] = self._join(keys)
        return self._runs[memo]

    def _join(self, keys: Mapping[str, Any]) -> list[Piece]:
        layout, arena = self._parameters.layout, self._parameters.arena
        pieces = []
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

                pieces.append(self._piece(name, cut, take, take(arena)))
        return pieces


def _key(value: Any) -> Any:
    """Compare numbers by value, and arrays on the device by identity."""
    return value if isinstance(value, float | int) else id(value)
