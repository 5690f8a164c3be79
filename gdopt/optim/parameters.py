"""The arrays an optimizer updates, and their gradients: named, checked, not copied."""

from __future__ import annotations

import operator
import weakref
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from types import NoneType
from typing import Any

import numpy as np

from gdopt.arrays.arena import (
    Arena,
    Layout,
    array_label,
    named_arrays,
    refuse_other_count,
    refuse_other_names,
    refuse_unusable_dtype,
)
from gdopt.arrays.backend import (
    Array,
    Backend,
    byte_bounds,
    common_backend,
    is_on_device,
    on_their_device,
)
from gdopt.checks import check_like, check_sequence, shown
from gdopt.errors import ArgumentError, ArgumentTypeError, BackendError
from gdopt.optim.patterns import key_of_each


@dataclass(frozen=True)
class Parameters:
    """Named arrays on one device, and the arena they are views of, if they are.

    Attributes:
        arrays: those that are updated.
        backend: of all.
        device: of all.
        layout: of `arrays`.
        arena: whose views `arrays` are, on the CPU perhaps next to frozen ones.
        named: all arrays, the frozen ones included.
    """

    arrays: Mapping[str, Array]
    backend: Backend
    device: str
    layout: Layout
    arena: Arena | None
    named: Mapping[str, Array]

    @property
    def axes(self) -> set[int]:
        """The numbers of axes that the arrays have."""
        return {len(slot.shape) for slot in self.layout.slots.values()}

    @property
    def has_gaps(self) -> bool:
        """Whether there are frozen arrays in the arena, which has another layout."""
        return self.arena is not None and self.arena.layout is not self.layout

    def are_neighbours(self, name: str, following: str) -> bool:
        """Return whether one array follows another in their arena, if there is one."""
        if not self.has_gaps or self.arena is None:
            return True
        slots = self.arena.layout.slots
        return slots[name].end == slots[following].start

    @classmethod
    def of(cls, params: Any, frozen: Any = ()) -> Parameters:
        """Name and check a user's parameters.

        Args:
            params: the arrays.
            frozen: a name or a pattern, or a list of them: arrays that stay.

        Raises:
            ArgumentTypeError: a container without order, something that is not an
                array, integers, a read-only array, foreign byte order.
            ArgumentError: no array, or arrays that share memory; all are frozen, or a
                pattern matches none.
            BackendError: arrays on several devices.
        """
        named = named_arrays(params, "params")
        backend = common_backend((array_label(n), array) for n, array in named.items())
        device = backend.device(next(iter(named.values())))
        keys = [frozen] if isinstance(frozen, str) else check_sequence("frozen", frozen)
        stay = key_of_each("frozen", keys, named)
        updated = {n: array for n, array in named.items() if n not in stay}
        if not updated:
            message = f"frozen must leave an array to update, got {shown(frozen)}"
            raise ArgumentError(message)
        for name, array in updated.items():
            label = array_label(name)
            refuse_unusable_dtype(label, array.dtype)
            if not backend.writeable(array):
                message = f"{label} must be writeable, got a read-only array"
                raise ArgumentTypeError(message)
        if isinstance(params, Arena) and not stay:
            return cls(params, backend, device, params.layout, params, params)
        refuse_overlap(backend, named)
        arena = params if isinstance(params, Arena) else None
        own = arena if backend.name == "numpy" else None  # a GPU's pass takes it whole
        layout = Layout.of(updated)
        return cls(updated, backend, device, layout, own, arena or named)

    def on_device(self) -> AbstractContextManager[Any]:
        """Make their device the current one for the length of a block."""
        return self.backend.on(self.device)


def refuse_overlap(backend: Backend, named: Mapping[str, Array]) -> None:
    """Refuse arrays that share memory: an update would be applied twice.

    Raises:
        ArgumentError: names the first two that overlap.
    """
    ranges = sorted(
        (*byte_bounds(backend, array), name)
        for name, array in named.items()
        if array.size
    )
    for name, array in named.items():
        if array.size and _overlaps_itself(array):
            label = array_label(name)
            message = f"params must not share memory, but elements of {label} do"
            raise ArgumentError(message)
    reaching: list[tuple[int, str]] = []  # arrays whose bytes reach the next one's
    for low, high, name in ranges:
        reaching = [(end, other) for end, other in reaching if end > low]
        for _, other in reaching:
            if backend.xp.shares_memory(named[other], named[name]):
                both = f"{array_label(other)} and {array_label(name)}"
                message = f"params must not share memory, but {both} overlap"
                raise ArgumentError(message)
        reaching.append((high, name))


def _overlaps_itself(array: Array) -> bool:
    """Return whether two elements of one array share memory."""
    reach = 0
    for stride, length in sorted(
        (abs(stride), length)
        for stride, length in zip(array.strides, array.shape, strict=True)
        if length > 1
    ):
        if stride < reach + array.dtype.itemsize:
            return True
        reach += stride * (length - 1)
    return False


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

    def __init__(self, parameters: Parameters, states: Mapping[str, Arena]) -> None:
        self._parameters = parameters
        self._names = list(parameters.arrays)
        self._places = [k for k, n in enumerate(parameters.named) if n in self._names]
        self._expected = [
            (name, type(array), array.shape, array.dtype)
            for name, array in parameters.arrays.items()
        ]
        self._extents = {}  # strides, and the bytes from an array's address on
        for name, array in parameters.arrays.items():
            low, high = byte_bounds(parameters.backend, array)
            address = parameters.backend.address(array)
            self._extents[name] = array.strides, low - address, high - address
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
        self._known: Arena | None = None
        # On a GPU an array that lives keeps its place and size: it is checked once.
        self._remembers = parameters.backend.name != "numpy"
        self._owner_of = parameters.backend.owner
        self._device_of = parameters.backend.device if self._remembers else None
        self._seen = SeenArrays()

    def check(self, grads: Any) -> Arena | list[Array]:
        """Return the arena that was given, or the arrays in the parameters' order.

        Raises:
            ArgumentError: a gradient is missing, unknown or of another shape, or
                shares memory with a parameter or with state.
            ArgumentTypeError: a gradient is None, not an array, or of another dtype.
            BackendError: a gradient is on another device.
        """
        if self._known is not None and grads is self._known:
            return self._known
        if type(grads) is self._expected[0][1]:  # first: a lone array may be small
            if len(self._parameters.named) > 1:
                refuse_other_count(len(self._parameters.named), 1)
            return self._check_fresh([grads])
        if type(grads) is dict or isinstance(grads, Mapping):
            if grads.keys() != self._parameters.arrays.keys():
                self._refuse_names(grads)
            arrays = list(map(grads.__getitem__, self._names))
        else:
            arrays = self._positional(grads)
        self._check_fresh(arrays)
        home = self._parameters.arena if self._parameters.has_gaps else None
        layout = self._parameters.layout if home is None else home.layout
        if not isinstance(grads, Arena) or grads.layout != layout:
            return arrays
        if list(grads) != list(home or self._names):  # layouts are equal in any order
            return arrays
        self._known = grads
        return grads

    def _positional(self, grads: Any) -> list[Array]:
        if isinstance(grads, list | tuple) and grads:
            arrays = list(grads)
        else:
            arrays = list(named_arrays(grads, "grads").values())
        refuse_other_count(len(self._parameters.named), len(arrays))
        frozen = len(self._places) < len(arrays)
        return [arrays[k] for k in self._places] if frozen else arrays

    def _refuse_names(self, grads: Mapping[str, Any]) -> None:
        """Refuse unknown and missing names; those of frozen arrays may be there."""
        frozen = self._parameters.named.keys() - self._parameters.arrays.keys()
        given = [name for name in grads if name not in frozen]
        refuse_other_names(self._names, given, "grads")

    def _check_fresh(self, arrays: list[Array]) -> list[Array]:
        """Check and return arrays; the loop is lean, as it runs for each every step."""
        if self._remembers and self._seen.are(arrays):
            return arrays
        device_of, device = self._device_of, self._parameters.device
        owners, suspects = self._owners, []
        for (name, kind, shape, dtype), array in zip(
            self._expected, arrays, strict=True
        ):
            if (
                type(array) is not kind
                or array.shape != shape
                or array.dtype != dtype
                or (device_of is not None and device_of(array) != device)
            ):
                self._refuse_unlike(name, array, self._parameters.arrays[name])
            if device_of is None and array.base is None:
                owner = array
            else:
                owner = self._owner_of(array)
            if owner is None or id(owner) in owners:
                suspects.append((name, array))
        if suspects:
            self._refuse_aliases(suspects)
        if self._remembers:
            self._seen = SeenArrays(arrays)
        return arrays

    def _refuse_unlike(self, name: str, array: Array, parameter: Array) -> None:
        """Raise for what is wrong; subclasses of arrays are not."""
        backend = self._parameters.backend
        if not backend.is_array(array):
            self._refuse_kind(name, array)
        label, home = f"the gradient of {array_label(name)}", self._parameters.device
        common_backend([(label, array)])  # such as masked arrays
        check_like(label, array, parameter)
        if (device := backend.device(array)) != home:
            message = f"{label} must be on {home}, got one on {device}"
            raise BackendError(message)

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
        lasts = np.searchsorted(self._starts, highs)
        reached = (self._reach[lasts - 1] > lows) & (lasts > 0)
        for k in np.flatnonzero(reached).tolist():
            (name, array), low, high, last = suspects[k], lows[k], highs[k], lasts[k]
            while last and self._reach[last - 1] > low:
                last -= 1
                other = self._by_start[last]
                held = self._held[other]
                start, stop = byte_bounds(backend, held)
                within = start < high and low < stop
                if within and backend.xp.shares_memory(array, held):
                    message = (
                        f"the gradient of {array_label(name)} must not share memory "
                        f"with {other}: the update would change it while reading it"
                    )
                    raise ArgumentError(message)

    def _refuse_kind(self, name: str, array: Any) -> None:
        home = f"a {self._parameters.backend.name} array"
        wanted = f"the gradient of {array_label(name)} must be {home}"
        if array is None:
            message = f"{wanted}, got None"
            raise ArgumentTypeError(message)
        kind = f"{type(array).__module__}.{type(array).__name__}"
        foreign = hasattr(array, "__array__") and not isinstance(array, np.generic)
        if foreign or is_on_device(array):
            message = f"{wanted} on {self._parameters.device}, got a {kind}"
            raise BackendError(message)
        message = f"{wanted}, got {kind}"
        raise ArgumentTypeError(message)

    def not_finite(self, grads: Arena | list[Array]) -> list[str]:
        """Name the gradients that hold NaN or infinity; waits for the device."""
        backend = self._parameters.backend
        if isinstance(grads, Arena):
            if all(finite(backend, buffer) for buffer in grads.buffers.values()):
                return []
            arrays: Sequence[Array] = [grads[name] for name in self._names]
        else:
            arrays = grads
        return [
            name
            for name, array in zip(self._names, arrays, strict=True)
            if not finite(backend, array)
        ]
