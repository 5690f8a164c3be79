"""What a hyper-parameter is set to: a number, schedule or array, or these by name."""

from __future__ import annotations

from collections.abc import Mapping
from types import NoneType
from typing import Any, Self

import numpy as np

from gdopt.arrays.arena import Arena, Slot, array_label
from gdopt.arrays.backend import Array, common_backend, is_on_device
from gdopt.arrays.dtypes import compute_dtype
from gdopt.checks import Range, as_scalar, check_function, check_number, listed, shown
from gdopt.errors import ArgumentError, ArgumentTypeError, BackendError
from gdopt.optim.parameters import Parameters
from gdopt.optim.patterns import key_of_each

Value = float | Array  # of one hyper-parameter, at one step
Key = str | None  # in a mapping; None for one setting for all arrays
ONE_FOR_ALL = ("clip_norm", "loss_scale")  # as the norm is of all gradients
UNMATCHED = {"weight_decay": 0.0}  # of arrays that no key of a mapping matches
NUMBERS = {int, float} | {
    np.dtype(code).type for code in np.typecodes["AllInteger"] + np.typecodes["Float"]
}


class Setting:
    """A setting of one hyper-parameter, checked; `assigned` makes the next one."""

    def __init__(self, name: str, bounds: Range, parameters: Parameters) -> None:
        computed = [compute_dtype(group) for group in parameters.layout.groups]
        self.name, self._bounds, self._parameters = name, bounds, parameters
        self._dtype = min(computed, key=lambda dtype: dtype.itemsize)
        self.low, self.high = bounds.closed(self._dtype)
        self._matched: tuple[tuple[Key, ...], dict[str, Key]] | None = None
        self.given: Any = None  # but for copies of arrays
        self.parts: dict[Key, Any] = {}  # by the keys of a mapping, or one under None
        self.keys: dict[str, Key] | None = None  # of each parameter, where they differ
        self.elements: Arena | None = None  # arrays, spread over the parameters
        self.on_device = False  # whether a part is a 0-d array on a GPU
        self.changes = False  # whether a part is read at every step

    def assigned(self, given: Any) -> Self:
        """Return a setting of the same hyper-parameter; schedules are checked later."""
        new, by_name = object.__new__(type(self)), isinstance(given, Mapping)
        new.__dict__.update(self.__dict__)
        if self.name in ONE_FOR_ALL and (by_name or _is_array(given, least=1)):
            got = shown(given)
            message = f"{self.name} must be one value for all parameters, got {got}"
            raise ArgumentTypeError(message)
        parts = dict(given) if by_name else {None: given}
        new.keys = new._match(parts) if by_name else None
        low, high = self.low, self.high
        others = {
            key: part
            for key, part in parts.items()
            if not ((type(part) is float or type(part) is int) and low <= part <= high)
        }
        new.elements, new.on_device, new.changes = None, False, False
        if others:
            with self._parameters.on_device():
                new._check_others(others, parts)
            parts = {key: _copy(part) for key, part in parts.items()}
        new.given = {key: parts[key] for key in given} if by_name else parts[None]
        new.parts = parts
        if new.keys is not None:
            new._merge_equal()
        return new

    def _match(self, parts: dict[Key, Any]) -> dict[str, Key]:
        """Return the key of each parameter; add a part for those without one."""
        order = (*parts,)
        if self._matched is None or self._matched[0] != order:
            names, own = self._parameters.names, self._parameters.layout.names
            found: dict[str, Key] = dict(key_of_each(self.name, parts, names))
            missing = [repr(name) for name in own if name not in found]
            if missing and self.name not in UNMATCHED:
                message = f"{self.name} must have the names of the parameters: missing "
                message += listed(missing) + '; "*" stands for all others'
                raise ArgumentError(message)
            self._matched = order, {name: found.get(name) for name in own}
        keys = self._matched[1]
        if self.name in UNMATCHED:
            parts[None] = UNMATCHED[self.name]
        return keys

    def _merge_equal(self) -> None:
        """Merge keys with equal numbers or one setting; leave out those not used."""
        first: dict[Any, Key] = {}
        merged = {
            key: first.setdefault(part if type(part) in NUMBERS else (id(part),), key)
            for key, part in self.parts.items()
        }
        keys = {name: merged[key] for name, key in (self.keys or {}).items()}
        used = {*keys.values()}
        self.keys = keys if len(used) > 1 else None
        if len(used) == 1:
            self.parts = {None: self.parts[used.pop()]}
        else:
            self.parts = {key: part for key, part in self.parts.items() if key in used}

    def _check_others(self, others: dict[Key, Any], parts: dict[Key, Any]) -> None:
        """Check what are not plain numbers, and lay out arrays."""
        for key, part in others.items():
            self._check(key, part)
        self.changes = any(map(is_read, others.values()))
        arrays = filter(is_on_device, others.values())
        self.on_device = any(not part.ndim for part in arrays)
        if self.on_device and any(map(callable, others.values())):
            message = f"{self.name} must not mix schedules with 0-d arrays on the "
            message += f"device, as the host does not wait for them, got {shown(parts)}"
            raise ArgumentTypeError(message)
        if any(_is_array(part, least=1) for part in others.values()):
            self.elements = self._lay_out(parts)

    def _check(self, key: Key, part: Any) -> None:
        """Refuse what cannot be a setting; schedules are checked when they are read."""
        foreign = not isinstance(part, np.ndarray) and not is_on_device(part)
        if callable(part):
            check_function(self._label(key), part)
            return
        if not _is_array(part) or (foreign and not part.ndim):
            self._read(key, part, 0)
            return
        label, home = self._label(key), self._parameters.device
        backend = common_backend([(label, part)])
        device = backend.device(part)
        if device != home and (part.ndim or device != "cpu"):
            got = f"a {backend.name} array on {device}"
            raise BackendError(f"{label} must be on {home}, got {got}")
        if part.dtype.kind not in "iuf":
            message = f"{label} must be an array of numbers, got {part.dtype}"
            raise ArgumentTypeError(message)
        if part.ndim and part.size:
            for value in (part.min(), part.max()):  # NaN shows in both
                check_number(label, float(value), self._bounds, self._dtype)
        elif not part.ndim:
            self._read(key, part, 0)

    def _lay_out(self, parts: dict[Key, Any]) -> Arena:
        """Spread arrays over the parameters, in the dtype of the arithmetic."""
        layout = self._parameters.layout
        dtypes = {group: compute_dtype(group) for group in layout.sizes}
        backend, device = self._parameters.backend, self._parameters.device
        arena = Arena(layout, backend, device, dtypes)
        for name, slot in (layout.whole or layout).slots.items():
            part = parts[None if self.keys is None else self.keys[name]]
            paired = name in self._parameters.pairs
            shape = slot.shape[:-1] if paired else slot.shape
            if is_read(part):
                message = f"{self.name} must not mix arrays with schedules or 0-d "
                message += f"arrays, got {shown(part)} for {array_label(name)}"
                raise ArgumentTypeError(message)
            try:
                if layout.whole is not None and np.ndim(part):
                    part = _piece(backend.xp, part, slot.shape, layout.slots.get(name))
                if name in arena:
                    pairs = paired and np.ndim(part)
                    arena[name][...] = part[..., None] if pairs else part
            except ValueError:
                message = f"{self.name} must broadcast to {array_label(name)} of shape "
                message += f"{shape}, got shape {part.shape}"
                raise ArgumentError(message) from None
        for slot in layout.slots.values():  # a zero eps would give NaN in the padding
            buffer = arena.buffers[slot.group]
            buffer[slot.stop : slot.end] = buffer[slot.stop - 1 : slot.stop]
        return arena

    @property
    def calls(self) -> bool:
        """Whether reading a part may run code that is not gdopt's."""
        return any(map(_calls, self.parts.values()))

    @property
    def reads_host(self) -> bool:
        """Whether a part on the host may have another value at every step."""
        return self.changes and any(
            is_read(part) and not callable(part) and not is_on_device(part)
            for part in self.parts.values()
        )

    def copied(self) -> Any:
        """Return a copy of the array that was given, or of each by its parameter."""
        if self.keys is None:
            return _copy(self.parts[None])
        return {name: _copy(self.parts[key]) for name, key in self.keys.items()}

    def of(self, parameter: str) -> Any:
        """Return the part that holds for a parameter."""
        return self.parts[None if self.keys is None else self.keys[parameter]]

    def at(self, step: int) -> Value | dict[str, Value]:
        """Return the value at a step, or the values by name where they differ."""
        if self.keys is None:
            return self._read(None, self.parts[None], step)
        read = {key: self._read(key, part, step) for key, part in self.parts.items()}
        return {name: read[key] for name, key in self.keys.items()}

    def _read(self, key: Key, part: Any, step: int) -> Value:
        value = part(step) if callable(part) else part
        if type(value) not in NUMBERS:
            if is_on_device(value) and _is_array(value, most=0):
                return value  # which is not waited for
            value = as_scalar(value)
        if type(value) in NUMBERS:
            number = value if value is part and type(value) is int else float(value)
            if self.low <= number <= self.high:
                return number
        label = self._label(key) + (f" at step {step}" if callable(part) else "")
        return check_number(label, value, self._bounds, self._dtype)

    def _label(self, key: Key) -> str:
        return self.name if key is None else f"{self.name}[{key!r}]"


def is_read(part: Any) -> bool:
    """Return whether a setting is read at every step."""
    return type(part) not in NUMBERS and not _is_array(part, least=1)


def _piece(xp: Any, part: Any, shape: tuple[int, ...], slot: Slot | None) -> Any:
    """Return what of an array, spread over a whole parameter, is for a piece of it."""
    extra = max(np.ndim(part) - len(shape), 0)
    if extra and set(part.shape[:extra]) == {1}:  # as an assignment takes it
        part = part.reshape(part.shape[extra:])
    spread = xp.broadcast_to(part, shape or (1,))
    if slot is None or not spread.size:
        return spread[..., :0].reshape(-1)
    stop, row = slot.first + slot.stop - slot.start, spread[0].size
    rows = spread[slot.first // row : -(-stop // row)].reshape(-1)
    return rows[slot.first % row :][: stop - slot.first]


def _calls(part: Any) -> bool:
    """Return whether reading a setting, or a part of it, runs the caller's code."""
    if type(part).__module__.startswith("gdopt.schedules."):
        return any(map(_calls, vars(part).values()))
    if isinstance(part, list | tuple):
        return any(map(_calls, part))
    known = isinstance(part, int | float | str | np.generic | np.ndarray | NoneType)
    return not known


def _copy(part: Any) -> Any:
    """Copy an array that is not read again at every step."""
    return part.copy() if _is_array(part, least=1) else part


def _is_array(value: Any, least: int = 0, most: int = 64) -> bool:
    is_array = hasattr(value, "dtype") and isinstance(getattr(value, "ndim", None), int)
    is_array = is_array and not isinstance(value, np.generic)
    return is_array and least <= value.ndim <= most
