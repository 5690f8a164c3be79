"""Named arrays, also as views of one flat, aligned, padded buffer per dtype."""

from __future__ import annotations

import math
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
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
from gdopt.arrays.dtypes import COMPLEX, as_dtype, check_dtype, is_float
from gdopt.checks import (
    check_choice,
    check_int,
    check_kind,
    check_like,
    check_mapping,
    check_optional,
    check_text,
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
        raise ArgumentError(f"{rule}, got {got}")


def refuse_other_names(
    expected: Sequence[str], got: Collection[str], what: str
) -> None:
    """Refuse a mapping whose names differ from those expected, naming both sides."""
    if wrong := name_differences(expected, got):
        raise ArgumentError(f"{what} must have the names of the parameters: {wrong}")


DTYPES = ["float16", "bfloat16", "float32", "float64"]
PADDING = 64  # numbers: every view starts on 64 bytes or more, whatever its dtype


@dataclass(frozen=True)
class Slot:
    """Where one array lies: which buffer, from and to which element."""

    shape: tuple[int, ...]
    group: str
    start: int
    stop: int
    first: int = 0  # of a piece: the number of its first element in the array

    @property
    def end(self) -> int:
        """Where the padding behind the array ends, and the next array starts."""
        padding = PADDING // 2 if self.group in COMPLEX else PADDING  # by their parts
        return self.start - (self.start - self.stop) // padding * padding


@dataclass(frozen=True)
class Layout:
    """Names, shapes and places of the arrays of an arena; one group per dtype.

    Attributes:
        slots: the place of each array, by name.
        sizes: the number of elements of each buffer, padding included.
        origin: of a part that `cut` made, where its buffers start in those of the
            whole, for all groups of the whole.
        whole: the layout that a part was cut from.
    """

    slots: dict[str, Slot]
    sizes: dict[str, int]
    origin: dict[str, int] = field(default_factory=dict)
    whole: Layout | None = field(default=None, repr=False)

    @property
    def names(self) -> Collection[str]:
        """The names of all arrays, of a part those of the whole."""
        return (self.whole or self).slots.keys()

    @property
    def groups(self) -> Collection[str]:
        """The names of all dtypes, of a part those of the whole."""
        return (self.whole or self).sizes.keys()

    @classmethod
    def of(cls, arrays: Mapping[str, Array]) -> Layout:
        """Place arrays one behind the other, each padded to whole blocks."""
        return cls.place(
            {n: (tuple(a.shape), np.dtype(a.dtype).name) for n, a in arrays.items()}
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

    def cut(self, parts: int) -> list[Layout]:
        """Cut every buffer into nearly equal slices, at multiples of 64 elements.

        A part holds flat pieces of the arrays in its slices: `first` of a slot is the
        number of a piece's first element in its array, in C order. Arrays and buffers
        of which a part has no element are not in it; those of size 0 are in the first.
        `Arena.over` makes an arena of the slices. An optimizer of it takes settings as
        that of the whole: by the names of all arrays, and in their shapes.

        Raises:
            ArgumentError: fewer than one part.
            ArgumentTypeError: the number is not whole, or arrays are complex.

        >>> import gdopt
        >>> import numpy as np
        >>> layout = gdopt.Arena.of({"W": np.ones((10, 20)), "b": np.ones(3)}).layout
        >>> for part in layout.cut(2):
        ...     print(part.origin, part.sizes, part.slots["W"].first, list(part.slots))
        {'float64': 0} {'float64': 128} 0 ['W']
        {'float64': 128} {'float64': 192} 128 ['W', 'b']
        """
        check_int("parts", parts, least=1)
        if wrong := [n for n, slot in self.slots.items() if slot.group in COMPLEX]:
            message = f"cut needs real arrays, but {array_label(wrong[0])} is "
            raise ArgumentTypeError(message + self.slots[wrong[0]].group)
        return [self._part(k, parts) for k in range(parts)]

    def _part(self, k: int, parts: int) -> Layout:
        """Return a part that `cut` makes."""
        slots, sizes, bounds = {}, dict[str, int](), {}
        for group, size in self.sizes.items():
            blocks = -(-size // PADDING)
            ends = [blocks * n // parts * PADDING for n in (k, k + 1)]
            bounds[group] = [min(end, size) for end in ends]
        for name, slot in self.slots.items():
            low, high = bounds[slot.group]
            start, stop = (min(max(at, low), high) for at in (slot.start, slot.stop))
            if start < stop or (k == 0 and slot.start == slot.stop):
                first = slot.first + max(start - slot.start, 0)
                place = start - low, stop - low, first
                slots[name] = Slot((stop - start,), slot.group, *place)
                sizes[slot.group] = high - low
        origin = {
            group: self.origin.get(group, 0) + bounds.get(group, [0])[0]
            for group in self.groups
        }
        return Layout(slots, sizes, origin, self.whole or self)

    def only(self, names: Collection[str]) -> Layout:
        """Place some arrays, of a part by the names of the whole, without gaps."""
        slots, sizes = {}, dict[str, int]()
        whole = self.whole and self.whole.only(names)
        origin = {} if whole is None else dict.fromkeys(whole.sizes, 0)
        for name, slot in self.slots.items():
            if name in names:
                start = sizes.get(slot.group, 0)
                stop = start + slot.stop - slot.start
                slots[name] = replace(slot, start=start, stop=stop)
                sizes[slot.group] = slots[name].end
                if whole is not None and slot.start < slot.stop:
                    origin[slot.group] = whole.slots[name].start + slot.first - start
        return Layout(slots, sizes, origin, whole)


class Arena(Mapping[str, Array]):
    """Named arrays that are views of one flat buffer per dtype.

    An optimizer updates a whole arena in one pass over memory. Views start on 64-byte
    boundaries. The padding between them starts as zero, and no built-in rule changes
    that of parameters; a user's rule that moves zeros writes there, and so does a
    state that grows from zero gradients. ``arena["W"] = value`` copies into the view.
    Make one with `Arena.of`, or over memory that there is with `over`, and its
    gradients with `like`.

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
        self.layout = check_kind("layout", layout, Layout, "a gdopt.arrays.Layout")
        self.backend = check_kind("backend", backend, Backend, "a gdopt.arrays.Backend")
        self.device = check_text("device", device)
        dtypes = check_optional(check_mapping, "dtypes", dtypes) or {}
        self.buffers = check_optional(check_mapping, "buffers", buffers) or {
            group: backend.zeros(size, dtypes.get(group, group), device)
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

    @classmethod
    def over(cls, layout: Layout, buffers: Mapping[str, Array]) -> Self:
        """Make an arena whose arrays are views of buffers that there are.

        Args:
            layout: names, shapes and places, such as a part that `Layout.cut` made.
            buffers: a flat, contiguous array for each dtype of the layout, by its name,
                of the layout's size; all on one device, on a GPU from 64 bytes on.

        Raises:
            ArgumentError: other names or sizes; buffers that are not contiguous or
                share memory.
            ArgumentTypeError: something is not an array, or of another dtype.
            BackendError: the buffers are on several devices.

        >>> import gdopt
        >>> import numpy as np
        >>> params = gdopt.Arena.of({"W": np.ones((10, 20)), "b": np.ones(3)})
        >>> _, part = params.layout.cut(2)
        >>> own = gdopt.Arena.over(part, {"float64": params.flat[128:]})
        >>> gdopt.SGD(own, lr=1.0).step({"W": np.ones(72), "b": np.ones(3)})
        True
        >>> int(params["W"].sum()), params["b"]
        (128, array([0., 0., 0.]))
        """
        refuse_other_buffers(layout, buffers)
        backend = backend_of(*buffers.values())
        device = backend.device(next(iter(buffers.values())))
        return cls(layout, backend, device, buffers=dict(buffers))

    def like(self, dtype: Any = None) -> Arena:
        """Make an arena of zeros with the same names, shapes and places.

        Its dtypes are the same as well, or all the given one, for sums that are wider
        than what is added up. Its buffers keep their names; `Optimizer` takes such
        arrays neither for parameters nor for gradients.
        """
        if dtype is None:
            dtypes = {group: b.dtype for group, b in self.buffers.items()}
        else:
            dtype = check_dtype("dtype", dtype, DTYPES)
            dtypes = dict.fromkeys(self.layout.sizes, dtype)
        return Arena(self.layout, self.backend, self.device, dtypes)

    @property
    def flat(self) -> Array:
        """The one buffer, padding included; refused where there are several dtypes."""
        if len(self.buffers) != 1:
            rule, found = "flat needs arrays of one dtype", ", ".join(self.buffers)
            raise ArgumentError(f"{rule}, but the arena has {found}: use .buffers")
        return next(iter(self.buffers.values()))

    @property
    def nbytes(self) -> int:
        """Bytes of all buffers, padding included."""
        return sum(int(buffer.nbytes) for buffer in self.buffers.values())

    def __reduce__(self) -> Any:
        return _copied, (type(self), self.layout, self.buffers)

    def __getitem__(self, name: str) -> Array:
        return self._views[name]

    @on_their_device
    def __setitem__(self, name: str, value: Array) -> None:
        check_choice("name", name, self._views)
        view = self._views[name]
        if value is view:  # arena["W"] -= step has already written to the view
            return
        if not self.backend.is_array(value):
            raise ArgumentTypeError(
                f"{name} must be a {self.backend.name} array, got "
                f"{type(value).__name__}; for a number write arena[{name!r}][...] = it"
            )
        refuse_masked(name, value)
        check_like(name, value, view)
        view[...] = value

    def __iter__(self) -> Iterator[str]:
        return iter(self._views)

    def __len__(self) -> int:
        return len(self._views)

    def __repr__(self) -> str:
        shapes = listed(f"{name}{view.shape}" for name, view in self.items())
        dtypes = dict.fromkeys(buffer.dtype.name for buffer in self.buffers.values())
        return f"Arena({shapes}; {', '.join(dtypes)} on {self.device})"


def _copied(kind: type[Arena], layout: Layout, buffers: Mapping[str, Array]) -> Arena:
    """Make an arena with memory of its own, which starts where views must."""
    backend = backend_of(*buffers.values())
    device = backend.device(next(iter(buffers.values())))
    dtypes = {group: buffer.dtype for group, buffer in buffers.items()}
    arena = kind(layout, backend, device, dtypes)
    with backend.on(device):
        for group, buffer in buffers.items():
            arena.buffers[group][...] = buffer
    return arena


def refuse_other_buffers(layout: Layout, buffers: Mapping[str, Array]) -> None:
    """Refuse memory that is not what an arena of a layout needs."""
    check_kind("layout", layout, Layout, "a gdopt.arrays.Layout")
    check_mapping("buffers", buffers)
    if wrong := name_differences([*layout.sizes], buffers):
        raise ArgumentError(f"buffers must have the dtypes of the layout: {wrong}")
    labelled = {f"buffers[{group!r}]": buffer for group, buffer in buffers.items()}
    refuse_other_kinds(labelled)
    backend = common_backend(labelled.items())
    for group, (label, buffer) in zip(buffers, labelled.items(), strict=True):
        size = layout.sizes[group]
        check_like(label, buffer, SimpleNamespace(shape=(size,), dtype=as_dtype(group)))
        if not buffer.flags.c_contiguous:
            message = f"{label} must be contiguous, got strides {buffer.strides}"
            raise ArgumentError(message)
        if backend.name != "numpy" and size and backend.address(buffer) % 64:
            message = f"{label} must start at a multiple of 64 bytes, got address "
            raise ArgumentError(message + str(backend.address(buffer)))
    refuse_overlap(backend, labelled, "buffers")


def refuse_unusable_dtype(name: str, dtype: Any, *, complex_too: bool = False) -> None:
    """Refuse what gradient descent cannot update: integers, objects, foreign bytes."""
    dtype = np.dtype(dtype)
    if not is_float(dtype) and not (complex_too and dtype.name in COMPLEX):
        known = [*DTYPES, *(COMPLEX if complex_too else [])]
        names = f"{', '.join(known[:-1])} or {known[-1]}"
        raise ArgumentTypeError(f"{name} must be {names}, got {dtype}")
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
