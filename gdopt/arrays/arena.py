"""Named arrays, also as views of one flat, aligned, padded buffer per dtype."""

from __future__ import annotations

import math
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from gdopt.arrays.backend import (
    Array,
    Backend,
    backend_of,
    byte_bounds,
    common_backend,
    on_their_device,
)
from gdopt.arrays.containers import LoneName, named_arrays, refuse_other_kinds
from gdopt.arrays.dtypes import COMPLEX, is_float
from gdopt.checks import (
    check_choice,
    check_like,
    listed,
    name_differences,
    refuse_masked,
)
from gdopt.errors import ArgumentError, ArgumentTypeError


def array_label(name: str, what: str = "params") -> str:
    """Return what messages call an array: by its key or position, or as an argument."""
    if isinstance(name, LoneName):
        return what
    return f"{what}[{name}]" if name.isdecimal() else repr(name)


def refuse_other_count(expected: int, got: int, what: str = "grads") -> None:
    """Refuse gradients that are more or fewer than the parameters."""
    if got != expected:
        rule = f"{what} must hold {expected} arrays, one for each parameter"
        message = f"{rule}, got {got}"
        raise ArgumentError(message)


def refuse_other_names(
    expected: Sequence[str], got: Collection[str], what: str
) -> None:
    """Refuse a mapping whose names differ from those expected, naming both sides."""
    if wrong := name_differences(expected, got):
        message = f"{what} must have the names of the parameters: {wrong}"
        raise ArgumentError(message)


PADDING = 64  # numbers: every view starts on 64 bytes or more, whatever its dtype


@dataclass(frozen=True)
class Slot:
    """Where one array lies: which buffer, from and to which element."""

    shape: tuple[int, ...]
    group: str
    start: int
    stop: int

    @property
    def end(self) -> int:
        """Where the padding behind the array ends, and the next array starts."""
        padding = PADDING // 2 if self.group in COMPLEX else PADDING  # by their parts
        return self.start - (self.start - self.stop) // padding * padding


@dataclass(frozen=True)
class Layout:
    """Names, shapes and places of the arrays of an arena; one group per dtype."""

    slots: dict[str, Slot]
    sizes: dict[str, int]

    @classmethod
    def of(cls, arrays: Mapping[str, Array]) -> Layout:
        """Place arrays one behind the other, each padded to whole blocks."""
        return cls.place(
            {
                name: (tuple(array.shape), np.dtype(array.dtype).name)
                for name, array in arrays.items()
            }
        )

    @classmethod
    def place(cls, arrays: Mapping[str, tuple[tuple[int, ...], str]]) -> Layout:
        """Place arrays of given shapes and groups."""
        slots, sizes = {}, dict[str, int]()
        for name, (shape, group) in arrays.items():
            start = sizes.get(group, 0)
            slots[name] = Slot(shape, group, start, start + math.prod(shape))
            sizes[group] = slots[name].end
        return cls(slots, sizes)


class Arena(Mapping[str, Array]):
    """Named arrays that are views of one flat buffer per dtype.

    An optimizer updates a whole arena in one pass over memory. Views start on 64-byte
    boundaries. The padding between them starts as zero, and no built-in rule changes
    that of parameters; a user's rule that moves zeros writes there, and so does a
    state that grows from zero gradients. ``arena["W"] = value`` copies into the view.
    Make one with `Arena.of`, and its gradients with `like`.

    >>> import numpy as np
    >>> params = Arena.of({"W": np.ones((2, 3)), "b": np.zeros(3)})
    >>> params["W"].base is params.flat.base  # a view, not a copy
    True
    >>> grads = params.like()
    >>> grads["b"] = np.full(3, 0.5)  # copied into the view
    >>> float(grads.flat.sum())
    1.5
    """

    def __init__(
        self,
        layout: Layout,
        backend: Backend,
        device: str,
        dtypes: Mapping[str, Any] | None = None,
        buffers: dict[str, Array] | None = None,
    ) -> None:
        self.layout = layout
        self.backend = backend
        self.device = device
        self.buffers = buffers or {
            group: backend.zeros(size, (dtypes or {}).get(group, group), device)
            for group, size in layout.sizes.items()
        }
        self._views = {
            name: self.buffers[slot.group][slot.start : slot.stop].reshape(slot.shape)
            for name, slot in layout.slots.items()
        }

    @classmethod
    def of(cls, arrays: Any) -> Self:
        """Copy arrays into a new arena on their own device.

        Args:
            arrays: an array, or a list, tuple or mapping of arrays and of such
                containers, named by path; on one device, of any shapes and dtypes.

        Raises:
            ArgumentTypeError: something is not an array, or a container has no order.
            ArgumentError: arrays share memory: they would be copied apart.
            BackendError: the arrays are on several devices.
        """
        named = named_arrays(arrays, "arrays")
        labelled = {array_label(n, "arrays"): array for n, array in named.items()}
        refuse_other_kinds(labelled)
        backend = common_backend(labelled.items())
        for label, array in labelled.items():
            refuse_unusable_dtype(label, array.dtype, complex_too=True)
        refuse_overlap(backend, labelled, "arrays")
        device = backend.device(next(iter(named.values())))
        arena = cls(Layout.of(named), backend, device)
        for name, array in named.items():
            arena[name] = array
        return arena

    def like(self) -> Arena:
        """Make an arena of zeros with the same names, shapes, dtypes and places."""
        return Arena(self.layout, self.backend, self.device)

    @property
    def flat(self) -> Array:
        """The one buffer, padding included; refused where there are several dtypes."""
        if len(self.buffers) != 1:
            rule, found = "flat needs arrays of one dtype", ", ".join(self.buffers)
            message = f"{rule}, but the arena has {found}: use .buffers"
            raise ArgumentError(message)
        return next(iter(self.buffers.values()))

    @property
    def nbytes(self) -> int:
        """Bytes of all buffers, padding included."""
        return sum(int(buffer.nbytes) for buffer in self.buffers.values())

    def __reduce__(self) -> Any:
        return type(self).of, (dict(self),)  # views of a buffer of the copy's own

    def __getitem__(self, name: str) -> Array:
        return self._views[name]

    @on_their_device
    def __setitem__(self, name: str, value: Array) -> None:
        check_choice("name", name, self._views)
        view = self._views[name]
        if value is view:  # arena["W"] -= step has already written to the view
            return
        if not self.backend.is_array(value):
            message = (
                f"{name} must be a {self.backend.name} array, got "
                f"{type(value).__name__}; for a number write arena[{name!r}][...] = it"
            )
            raise ArgumentTypeError(message)
        refuse_masked(name, value)
        check_like(name, value, view)
        view[...] = value

    def __iter__(self) -> Iterator[str]:
        return iter(self._views)

    def __len__(self) -> int:
        return len(self._views)

    def __repr__(self) -> str:
        shapes = listed(f"{name}{view.shape}" for name, view in self.items())
        return f"Arena({shapes}; {', '.join(self.buffers)} on {self.device})"


def refuse_unusable_dtype(name: str, dtype: Any, *, complex_too: bool = False) -> None:
    """Refuse what gradient descent cannot update: integers, objects, foreign bytes."""
    dtype = np.dtype(dtype)
    if not is_float(dtype) and not (complex_too and dtype.name in COMPLEX):
        known = ["float16", "bfloat16", "float32", "float64"]
        known += COMPLEX if complex_too else []
        names = f"{', '.join(known[:-1])} or {known[-1]}"
        message = f"{name} must be {names}, got {dtype}"
        raise ArgumentTypeError(message)
    if not dtype.isnative:
        message = f"{name} must be in this machine's byte order, got {dtype.str!r}"
        raise ArgumentTypeError(message)


def refuse_overlap(backend: Backend, labelled: Mapping[str, Array], what: str) -> None:
    """Refuse arrays that share memory, or a part of a file: both would be written."""
    ranges = sorted(
        (*(_in_file(array) or ("", *byte_bounds(backend, array))), name)
        for name, array in labelled.items()
        if array.size
    )
    reaching: list[tuple[str, int, str]] = []  # arrays whose bytes reach the next one's
    for file, low, high, name in ranges:
        reaching = [one for one in reaching if one[0] == file and one[1] > low]
        for _, _, other in reaching:
            if file or backend.xp.shares_memory(labelled[other], labelled[name]):
                both = f"{other} and {name} overlap" + (f" in {file}" if file else "")
                message = f"{what} must not share memory, but {both}"
                if byte_bounds(backend, labelled[other]) == (low, high):
                    message += ": tied parameters are given once"
                raise ArgumentError(message)
        reaching.append((file, high, name))


def _in_file(array: Array) -> tuple[str, int, int] | None:
    """Return file and bytes of a memory map, which another map of it shares."""
    root = array
    while isinstance(getattr(root, "base", None), np.ndarray):
        root = root.base
    if not isinstance(root, np.memmap) or root.mode == "c" or root.filename is None:
        return None  # "c" is a copy where it is written
    first = root.offset - root.__array_interface__["data"][0]
    low, high = byte_bounds(backend_of(array), array)
    return os.path.realpath(root.filename), low + first, high + first


def overlaps_itself(array: Array) -> bool:
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
