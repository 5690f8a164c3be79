"""The arrays an optimizer updates: named, checked, not copied."""

from __future__ import annotations

import sys
from collections.abc import Collection, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any

from gdopt.arrays.arena import (
    Arena,
    Layout,
    array_label,
    overlaps_itself,
    refuse_overlap,
    refuse_unusable_dtype,
)
from gdopt.arrays.backend import Array, Backend, common_backend
from gdopt.arrays.containers import Container, read_arrays, refuse_other_kinds
from gdopt.arrays.foreign import Tensors, parameter_view
from gdopt.checks import check_sequence, shown
from gdopt.copies import MappingProxy
from gdopt.errors import ArgumentError, ArgumentTypeError
from gdopt.interrupt import Uninterrupted
from gdopt.optim.patterns import key_of_each


@dataclass(frozen=True)
class Parameters:
    """Named arrays on one device, and the arena they are views of, if they are."""

    arrays: Mapping[str, Array]  # which are updated
    backend: Backend
    device: str
    layout: Layout  # of `arrays`
    arena: Arena | None  # of `arrays`, on the CPU perhaps next to frozen ones
    named: Mapping[str, Array]  # all arrays, the frozen ones included
    container: Container | None  # the caller's, that holds them
    given: Mapping[str, Any]  # what the caller holds: of other libraries, too
    tensors: Tensors | None = None  # those of torch
    pairs: frozenset[str] = frozenset()  # complex, with a last axis for parts
    has_gaps: bool = False  # whether `arrays` are some of an arena, or of the state

    @property
    def shown(self) -> Mapping[str, Array]:
        """All arrays, where none can be replaced: an arena copies what is assigned."""
        arena = isinstance(self.named, Arena)
        return self.named if arena else MappingProxy(self.named)

    @property
    def names(self) -> Collection[str]:
        """The names of all arrays, of a part of an arena those of the whole."""
        own = self.named
        return own.layout.names if isinstance(own, Arena) else own.keys()

    @property
    def axes(self) -> set[int]:
        """The numbers of axes that the arrays have."""
        return {len(slot.shape) for slot in self.layout.slots.values()}

    def are_neighbours(self, name: str, following: str) -> bool:
        """Return whether one array follows another in the state, and in an arena."""
        every = [self.layout, *([] if self.arena is None else [self.arena.layout])]
        return all(one.slots[name].end == one.slots[following].start for one in every)

    def without(self, names: set[str]) -> Parameters:
        """Return the other arrays, at their places in the layout."""
        slots = {n: s for n, s in self.layout.slots.items() if n not in names}
        return replace(
            self,
            arrays={name: self.arrays[name] for name in slots},
            layout=replace(self.layout, slots=slots),
            arena=self.arena if self.backend.name == "numpy" else None,
            has_gaps=True,
        )

    @classmethod
    def of(cls, params: Any, frozen: Any = ()) -> Parameters:
        """Name and check a user's parameters, of which a name or pattern is frozen."""
        arena = params if isinstance(params, Arena) else None
        given, container = read_arrays(params, "params")
        tensors = Tensors.among(given)
        named = {n: parameter_view(a, array_label(n)) for n, a in given.items()}
        labelled = {array_label(name): array for name, array in named.items()}
        refuse_other_kinds(labelled)
        if container is not None:
            container.refuse_changed()
        backend = common_backend(labelled.items())
        device = backend.device(next(iter(named.values())))
        names = named.keys() if arena is None else arena.layout.names
        stay = frozen_names(frozen, names, named)
        updated = {n: array for n, array in named.items() if n not in stay}
        for name, array in updated.items():
            label = array_label(name)
            refuse_unusable_dtype(label, array.dtype, complex_too=True)
            dtype = array.dtype.name
            group = dtype if arena is None else arena.layout.slots[name].group
            if dtype != group:
                message = f"{label} must be {group}, as in the layout of params, got "
                raise ArgumentTypeError(f"{message}{dtype}: take Arena.of(params)")
            if not backend.writeable(array):
                message = f"{label} must be writeable, got a read-only array"
                if "jax" in sys.modules:
                    message += ": of a JAX array keep a copy, np.array(w)"
                raise ArgumentTypeError(message)
            if array.size and overlaps_itself(array):
                message = f"params must not share memory, but elements of {label} do"
                raise ArgumentError(message)
        if arena is not None and not stay:
            return cls(arena, backend, device, arena.layout, arena, arena, None, arena)
        refuse_overlap(backend, labelled, "params")
        own = arena if backend.name == "numpy" else None  # a GPU's pass takes it whole
        if arena is None:
            layout = Layout.of(updated)
        else:  # its views cannot be replaced, nor resized
            layout = arena.layout.only({*names} - stay)
            gaps = own is not None
            views = arena, None, arena
            made = updated, backend, device, layout, own, *views
            return cls(*made, has_gaps=gaps)
        held = named, container, given, tensors
        return cls(updated, backend, device, layout, None, *held)

    def write(self, values: Mapping[str, Array]) -> None:
        """Write values into the arrays; see `Tensors` for those of torch."""
        if self.tensors is not None:
            self.tensors.refuse_moved()
        with self.on_device(), Uninterrupted():
            for name, array in self.arrays.items():
                array[...] = values[name]
            if self.tensors is not None:
                self.tensors.written(self.arrays)

    def on_device(self) -> AbstractContextManager[Any]:
        """Make their device the current one for the length of a block."""
        if self.tensors is not None and self.backend.name == "cupy":
            return self.tensors.on_stream(self.backend, self.device)
        return self.backend.on(self.device)


def frozen_names(frozen: Any, names: Collection[str], own: Collection[str]) -> set[str]:
    """Return what a name or a pattern, or a list of them, stands for: not for all.

    Of a part of an arena, names and patterns are for the arrays of the whole.
    """
    keys = [frozen] if isinstance(frozen, str) else check_sequence("frozen", frozen)
    stay = {*key_of_each("frozen", keys, names)}
    if stay.issuperset(own):
        message = f"frozen must leave an array to update, got {shown(frozen)}"
        raise ArgumentError(message)
    return stay
