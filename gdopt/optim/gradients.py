"""The gradients that an optimizer is given: checked, not copied."""

from __future__ import annotations

import math
import operator
import weakref
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from types import NoneType, SimpleNamespace
from typing import Any, Self

import numpy as np

from gdopt.arrays.arena import (
    Arena,
    array_label,
    refuse_other_count,
    refuse_other_names,
)
from gdopt.arrays.backend import (
    Array,
    Backend,
    byte_bounds,
    common_backend,
    on_their_device,
)
from gdopt.arrays.containers import Container, named_arrays
from gdopt.arrays.foreign import gradient_view, is_exported, is_jax, kind_of
from gdopt.checks import check_like
from gdopt.errors import ArgumentError, ArgumentTypeError, BackendError
from gdopt.optim.parameters import Parameters
from gdopt.optim.rows import Rows


@on_their_device
def largest(array: Array) -> float:
    """Return the largest magnitude of an element, of complex ones of a part, or NaN."""
    if not np.size(array):
        return 0.0
    parts = [array.real, array.imag] if array.dtype.kind == "c" else [array]
    ends = [float(end) for part in parts for end in (part.max(), -part.min())]
    return math.nan if any(map(math.isnan, ends)) else max(ends)


@on_their_device
def finite(backend: Backend, array: Array) -> bool:
    """Return whether all elements are finite; waits for the device."""
    return bool(backend.xp.isfinite(array).all()) if np.size(array) else True


class SeenArrays:
    """Arrays that are recognized by identity, as long as they live."""

    def __init__(self, arrays: Sequence[Array] = ()) -> None:
        self._references = list(map(weakref.ref, arrays))

    def are(self, arrays: Sequence[Array]) -> bool:
        """Return whether these are the very same arrays, in the same order."""
        return (
            len(arrays) == len(self._references)
            and all(map(operator.is_, map(operator.call, self._references), arrays))
            and NoneType not in map(type, arrays)  # as a dead reference gives
        )


class Gradients:
    """What an optimizer's gradients must look like, and which it has seen.

    An arena laid out like the parameters is checked once and then known by identity;
    fresh arrays are checked each time, which costs a fraction of a microsecond each.
    """

    def __init__(
        self, parameters: Parameters, states: Mapping[str, Arena], what: str = "grads"
    ) -> None:
        self._parameters, self._what = parameters, what
        self._names = list(parameters.arrays)
        self._places = [k for k, n in enumerate(parameters.named) if n in self._names]
        self._kind = parameters.backend.xp.ndarray
        self._arrays = list(parameters.arrays.values())
        self._sources = [parameters.given[name] for name in self._names]
        self._shapes = [array.shape for array in self._arrays]
        self._wanted = self._shapes  # of the gradients
        self._dtypes = [array.dtype for array in self._arrays]
        pick = operator.itemgetter(*self._names)
        self._pick = pick if len(self._names) > 1 else lambda given: (pick(given),)
        self._container = container = parameters.container
        self._nested = container is not None and container.nested
        named, own = parameters.named, parameters.arrays
        self._frozen = {n: array.shape for n, array in named.items() if n not in own}
        self._extents = dict(map(self._extent_of, parameters.arrays.items()))
        self._held = {
            f"the parameter {array_label(name)}": array
            for name, array in parameters.arrays.items()
        }
        for state, arena in states.items():
            for group, buffer in arena.buffers.items():
                self._held[f"the state {state!r} ({group})"] = buffer
        ranges = sorted(
            (*byte_bounds(parameters.backend, array), name)
            for name, array in self._held.items()
        )
        self._starts = np.array([start for start, _, _ in ranges])
        # The highest end so far: where it is not above an address, no earlier one is.
        self._reach = np.maximum.accumulate([stop for _, stop, _ in ranges])
        self._by_start = [name for _, _, name in ranges]
        owners = [parameters.backend.owner(array) for array in self._held.values()]
        self._owners = {id(owner) for owner in owners}
        self._keep = owners  # an id is only known while its object lives
        # On a GPU an array that lives keeps its place and size: it is checked once.
        self._remembers = parameters.backend.name != "numpy"
        self._bases = self._find_bases()
        self._known: Arena | None = None
        self._arena: weakref.ref[Arena] | None = None  # which `named` has checked
        self.missing: tuple[str, ...] = ()  # arrays without a gradient in this step
        self._owner_of = parameters.backend.owner
        self.largest = 0.0  # magnitude of an element that `not_finite` has found
        self._seen = SeenArrays()

    def _find_bases(self) -> list[np.ndarray]:
        """Return what the parameters are views of, where it may be written to."""
        if self._remembers:  # arrays on a GPU can always be written to
            return []
        arena = self._parameters.arena
        bases = [*(arena.buffers.values() if arena else ())]
        bases += [a.base for a in self._arrays if isinstance(a.base, np.ndarray)]
        return [b for b in {id(b): b for b in bases}.values() if b.flags.writeable]

    def _label(self, name: str) -> str:
        one = "the gradient" if self._what == "grads" else self._what
        return f"{one} of {array_label(name)}"

    def named(self, given: Any) -> Mapping[str, Array]:
        """Return an array for each parameter by its name, checked but not kept."""
        known = None if self._arena is None else self._arena()
        if known is not None and given is known:
            return known
        found, self._known = self.check(given), None
        if self.missing:
            message = f"{self._label(self.missing[0])} must be an array, got None"
            raise ArgumentTypeError(message)
        if isinstance(found, Arena):
            self._arena = weakref.ref(found)
            return found
        return dict(zip(self._names, found, strict=True))

    def _extent_of(self, item: tuple[str, Array]) -> tuple[str, tuple[Any, ...]]:
        """Return an array's strides, and its bytes from its address on."""
        (name, array), backend = item, self._parameters.backend
        low, high = byte_bounds(backend, array)
        address = backend.address(array)
        return name, (array.strides, low - address, high - address)

    def with_shapes(self, rows: Mapping[str, Rows]) -> Self:
        """Return what checks gradients of which some are for rows."""
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__)
        other._wanted = [
            rows[name].shape if name in rows else shape
            for name, shape in zip(self._names, self._shapes, strict=True)
        ]
        unknown = None, 0, 0  # the strides and bytes of a gradient of another shape
        other._extents = {**self._extents, **dict.fromkeys(rows, unknown)}
        other._known = other._arena = None
        other._seen = SeenArrays()
        return other

    def check(self, grads: Any) -> Arena | list[Array]:
        """Return the arena that was given, or the arrays in the parameters' order.

        Arrays whose gradient is None are left out, and named in `missing`.
        """
        self.missing = ()
        if self._known is not None and grads is self._known:
            if self._parameters.arena is None:
                self._check_parameters()
            self._check_bases()
            return self._known
        if type(grads) is self._kind:  # first: a lone array may be small
            if len(self._parameters.named) > 1:
                refuse_other_count(len(self._parameters.named), 1, self._what)
            return self._check_fresh([grads])
        arrays = None
        if type(grads) is dict and len(grads) == len(self._names):
            with suppress(KeyError):
                arrays = list(self._pick(grads))
        if arrays is None:
            arrays = self._in_order(grads)
        arrays = self._check_fresh(arrays)
        home = self._parameters.arena if self._parameters.has_gaps else None
        layout = self._parameters.layout if home is None else home.layout
        if not isinstance(grads, Arena) or grads.layout != layout:
            return arrays
        if list(grads) != list(home or self._names):  # layouts are equal in any order
            return arrays
        self._known = grads
        return grads

    def _in_order(self, grads: Any) -> list[Array]:
        """Return gradients in the parameters' order, in whatever container they are."""
        container, named = self._container, self._parameters.named
        if (
            isinstance(grads, Mapping)
            and grads.keys() == self._parameters.arrays.keys()
        ):
            return list(self._pick(grads))
        if grads is None:
            message = "step needs grads: only torch's parameters carry their own"
            raise ArgumentTypeError(message)
        if container is None and type(grads) in {int, float}:
            grads = [grads]  # refused by its own name, with what to write
        by_position = type(grads) in {list, tuple} and not self._nested
        arrays = list[Array]()
        if by_position and len(grads) == len(named):
            arrays += grads
        elif (
            container is None
            or not self._nested
            or not container.collect(grads, arrays)
        ):
            return self._by_name(grads, by_position=by_position)
        if not self._frozen:
            return arrays
        self._check_frozen(zip(named, arrays, strict=True))
        return [arrays[k] for k in self._places]

    def _by_name(self, grads: Any, *, by_position: bool) -> list[Array]:
        """Return gradients by their paths; those of frozen arrays may be missing."""
        if isinstance(grads, Mapping):
            given = Container(grads, self._what).named()
        else:
            given = named_arrays(grads, self._what)
        given = self._without_d(given)
        own = [name for name in given if name not in self._frozen]
        if by_position and set(own) != set(self._names):
            refuse_other_count(len(self._parameters.named), len(grads), self._what)
        refuse_other_names(self._names, own, self._what)
        self._check_frozen(given.items())
        return [given[name] for name in self._names]

    def _without_d(self, given: dict[str, Any]) -> dict[str, Any]:
        """Return gradients by names, of W1 for dW1; dZ1 and dA1 are not read."""
        names = {name: f"d{name}" for name in (*self._names, *self._frozen)}
        own = [names[name] for name in self._names]
        there = [d for d in own if d in given]
        if not there or not given.keys().isdisjoint(names):
            return given
        refuse_other_names(own, there, self._what)
        return {name: given[d] for name, d in names.items() if d in given}

    def _check_frozen(self, given: Iterable[tuple[str, Any]]) -> None:
        """Refuse gradients of frozen arrays that are of another shape."""
        for name, array in given:
            shape = self._frozen.get(name)
            if shape is None or array is None:
                continue
            if not hasattr(array, "shape"):
                self._view_foreign(name, array, self._parameters.named[name])
            if array.shape != shape:
                label = self._label(name)
                message = f"{label} must have shape {shape}, got {array.shape}"
                raise ArgumentError(message)

    def _current(self) -> Iterable[Any]:
        """Return what the caller's containers hold now in place of the parameters."""
        container = self._container
        if container is None:
            return self._sources
        if not self._frozen:
            return container.current()
        now = list(container.current())
        return [now[k] for k in self._places]

    def _check_parameters(self) -> None:
        """Refuse parameters that were replaced, or are of another shape."""
        shapes = [array.shape for array in self._arrays]
        same = map(operator.is_, self._current(), self._sources)
        writeable = map(self._parameters.backend.writeable, self._arrays)
        self._check_bases()
        if shapes != self._shapes or not all(same) or not all(writeable):
            self._refuse_changed()

    def _check_bases(self) -> None:
        """Refuse views of an array that was made read-only."""
        for base in self._bases:
            if not base.flags.writeable:
                message = "params must stay writeable, got views of a read-only array"
                raise ArgumentTypeError(message)

    def _refuse_changed(self) -> None:
        """Raise for what is wrong with the parameters; a mapping may be reordered."""
        if self._container is not None:
            self._container.refuse_changed(self._parameters.arrays)
        for name, array, shape, dtype in zip(
            self._names, self._arrays, self._shapes, self._dtypes, strict=True
        ):
            if array.shape != shape:
                label, got = array_label(name), f"{array.dtype} of {array.shape}"
                message = f"{label} must stay {dtype} of shape {shape}, as when the "
                message += f"optimizer was made, got {got}"
                raise ArgumentError(message)
            if not self._parameters.backend.writeable(array):
                message = f"{array_label(name)} must stay writeable, got it read-only"
                raise ArgumentTypeError(message)

    def _check_fresh(self, arrays: list[Array]) -> list[Array]:
        """Check and return arrays; the loop is lean, as it runs for each every step."""
        if self._remembers or self._wanted is not self._shapes:
            return self._check_each(arrays)
        kind, owners, held = self._kind, self._owners, self._arrays
        if self._bases:
            self._check_bases()
        now = held if self._container is None else self._current()
        for array, own, current, shape, dtype in zip(
            arrays, held, now, self._shapes, self._dtypes, strict=True
        ):
            if not (
                type(array) is kind
                and array.shape == shape == own.shape
                and array.dtype is dtype
                and current is own
                and array.base is None
                and own.flags.writeable
            ):
                return self._check_each(arrays)
        return (
            arrays if owners.isdisjoint(map(id, arrays)) else self._check_each(arrays)
        )

    def _check_each(self, arrays: list[Array]) -> list[Array]:
        """Check arrays of any kind, by name; replace what is not an array by one."""
        self._check_parameters()
        if self._remembers and self._seen.are(arrays):
            return arrays
        kind, owners, suspects, missing = self._kind, self._owners, [], []
        wanted = self._wanted, self._dtypes
        expected = zip(self._names, self._arrays, *wanted, strict=True)
        for k, (name, parameter, shape, dtype) in enumerate(expected):
            array = arrays[k]
            if array is None:
                missing.append(name)
                continue
            other = type(array) is not kind or array.shape != shape
            if self._remembers or other or array.dtype != dtype:
                array = arrays[k] = self._accept(name, array, parameter, shape)
            owner = self._owner_of(array)
            if owner is None or id(owner) in owners:
                suspects.append((name, array))
        if suspects:
            self._refuse_aliases(suspects)
        if missing:
            return self._present(missing, arrays)
        if self._remembers:
            self._seen = SeenArrays(arrays)
        return arrays

    def _present(self, missing: list[str], arrays: list[Array]) -> list[Array]:
        """Return the arrays that there are, and note the names of the others."""
        if len(missing) == len(arrays):
            message = "grads must hold the gradient of an array, got None for all"
            raise ArgumentError(message)
        self.missing = (*missing,)
        return [array for array in arrays if array is not None]

    def _accept(self, name: str, array: Any, parameter: Array, shape: Any) -> Array:
        """Return a gradient of another kind as an array, or raise for what is wrong."""
        backend = self._parameters.backend
        if isinstance(array, np.generic) and backend.name == "numpy":
            array = np.asarray(array)  # what arithmetic makes of 0-d arrays
        if not backend.is_array(array):
            array = self._view_foreign(name, array, parameter)
        label, home = self._label(name), self._parameters.device
        common_backend([(label, array)])  # such as masked arrays
        check_like(label, array, SimpleNamespace(shape=shape, dtype=parameter.dtype))
        if (device := backend.device(array)) != home:
            raise BackendError(f"{label} must be on {home}, got one on {device}")
        return array

    def _reached(self, lows: Any, highs: Any) -> tuple[Any, Any]:
        """Return which ranges may reach written ones, and how many start below."""
        lasts = np.searchsorted(self._starts, highs)
        return (self._reach[lasts - 1] > lows) & (lasts > 0), lasts

    def _refuse_aliases(self, suspects: Sequence[tuple[str, Array]]) -> None:
        """Refuse memory that the update writes to while it reads the gradient."""
        backend = self._parameters.backend
        lows, highs = [], []
        for name, array in suspects:
            strides, below, above = self._extents[name]
            if array.strides == strides:
                address = backend.address(array)
                low, high = address + below, address + above
            else:
                low, high = byte_bounds(backend, array)
            lows.append(low)
            highs.append(high)
        reached, lasts = self._reached(lows, highs)
        for k in np.flatnonzero(reached).tolist():
            (name, array), low, high, last = suspects[k], lows[k], highs[k], lasts[k]
            while last and self._reach[last - 1] > low:
                last -= 1
                other = self._by_start[last]
                held = self._held[other]
                start, stop = byte_bounds(backend, held)
                within = start < high and low < stop
                if within and backend.xp.shares_memory(array, held):
                    message = f"{self._label(name)} must not share memory with "
                    message += f"{other}: the update would change it while reading it"
                    raise ArgumentError(message)

    def _view_foreign(self, name: str, array: Any, parameter: Array) -> Array:
        """View a gradient of another library, or refuse what is not an array."""
        library, home = self._parameters.backend.name, self._parameters.device
        label = self._label(name)
        wanted = f"{label} must be a {library} array"
        if is_exported(array):
            view = gradient_view(array, label, library, home)
            if view.dtype.itemsize < parameter.dtype.itemsize and is_jax(array):
                message = f"{label} must be {parameter.dtype}, got {view.dtype}: set "
                message += f"jax_enable_x64, or make the parameter {view.dtype}"
                raise ArgumentTypeError(message)
            return view
        if hasattr(array, "__array__") and not isinstance(array, np.generic):
            raise BackendError(f"{wanted} on {home}, got a {kind_of(array)}")
        message = f"{wanted}, got {kind_of(array)}"
        if parameter.shape == () and type(array) in {int, float}:
            library = "ml_dtypes" if parameter.dtype.name == "bfloat16" else "np"
            message += f": write {library}.{parameter.dtype}(g)"
        raise ArgumentTypeError(message)

    def not_finite(self, grads: Arena | list[Array]) -> list[str]:
        """Name the gradients that hold NaN or infinity; waits for the device.

        `largest` is the largest magnitude of all elements then.
        """
        if isinstance(grads, Arena):
            found = list(map(largest, grads.buffers.values()))
            self.largest = max(found)
            if all(size < math.inf for size in found):
                return []
            grads = [grads[name] for name in self._names]
        found = list(map(largest, grads))
        self.largest = max(found)
        names = [name for name in self._names if name not in self.missing]
        pairs = zip(names, found, strict=True)
        return [name for name, size in pairs if not size < math.inf]
