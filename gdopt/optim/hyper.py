"""Hyper-parameters: floats, schedules of the step, arrays, or any of them by name."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from gdopt.arrays.arena import Arena, array_label, refuse_other_names
from gdopt.arrays.backend import Array, common_backend, is_on_device
from gdopt.arrays.dtypes import compute_dtype
from gdopt.checks import as_number, check_choice, check_number, shown
from gdopt.errors import (
    ArgumentError,
    ArgumentTypeError,
    BackendError,
    RuleError,
)
from gdopt.optim.parameters import Parameters
from gdopt.optim.rule import Rule

Value = float | Array  # of one hyper-parameter, at one step
ONE_FOR_ALL = ("clip_norm", "loss_scale")  # as the norm is of all gradients


@dataclass(frozen=True)
class Values:
    """Hyper-parameters at one step: those all arrays share, and those by name."""

    shared: dict[str, Value]
    by_name: dict[str, dict[str, Value]]


class DeviceCounter(Protocol):
    """A count of steps on a device, which decides there whether a step is done."""

    running: bool

    def read(self) -> int:
        """Return the steps done; waits for the device."""

    def stop(self) -> None:
        """Discard the count: the host's is valid from now on."""


class StepCounter:
    """The updates that an optimizer has done: `t`, which schedules are functions of."""

    def __init__(self) -> None:
        self.array = np.zeros(1, np.int64)  # a compiled step raises the count in it
        self.device: DeviceCounter | None = None  # its count holds while it runs

    @property
    def t(self) -> int:
        """Updates done; where a device counts them, it is waited for."""
        if self.device is not None and self.device.running:
            self.array[0] = self.device.read()
        return self.array.item()

    @t.setter
    def t(self, t: int) -> None:
        self.array[0] = t
        if self.device is not None:
            self.device.stop()


class Hyper(Mapping[str, Value | dict[str, Value]]):
    """The hyper-parameters of an optimizer, by name.

    Reading gives the values at the next step; assigning takes effect with it. A setting
    is a number, a schedule ``step -> number``, an array that broadcasts to every
    parameter (copied when assigned), a 0-d array (read again at every step), or a
    mapping from the parameters' names to any of these.
    """

    def __init__(
        self,
        rule: Rule,
        parameters: Parameters,
        given: Mapping[str, Any],
        counter: StepCounter,
    ) -> None:
        self._rule = rule
        self._counter = counter
        self._parameters = parameters
        computed = [compute_dtype(group) for group in parameters.layout.sizes]
        self._dtype = min(computed, key=lambda dtype: dtype.itemsize)
        self.settings: dict[str, Any] = {}
        self.elements: dict[str, Arena] = {}
        self.version = 0  # of what the settings are: numbers, schedules, arrays, ...
        self.revision = 0  # of what they are worth
        self.constant: Values | None = None  # where they are worth the same at any step
        self._fixed = True
        for name in rule.scalars:
            self[name] = given[name]

    def parts(self) -> Iterator[tuple[str, Any]]:
        """Return the settings with their names; one by name as each of its parts."""
        for name, setting in self.settings.items():
            for part in setting.values() if isinstance(setting, dict) else [setting]:
                yield name, part

    def elements_of(self, rule: Rule) -> list[str]:
        """Name the settings that are arrays and that a rule takes."""
        return [name for name in self.elements if name in rule.scalars]

    @property
    def reads_host_arrays(self) -> bool:
        """Return whether a setting is a 0-d NumPy array, to be read at every step."""
        return any(isinstance(p, np.ndarray) and p.ndim == 0 for _, p in self.parts())

    def __setitem__(self, name: str, setting: Any) -> None:
        check_choice("hyper", name, self._rule.scalars)
        if _is_number(setting) and _is_number(self.settings.get(name)):
            number = check_number(name, setting, self._rule.bounds(name), self._dtype)
            self.settings[name] = setting
            if self.constant is not None:
                self.constant.shared[name] = setting if _is_plain(setting) else number
            self.revision += 1
            return
        if name in ONE_FOR_ALL and (
            isinstance(setting, Mapping) or _is_array(setting, least=1)
        ):
            got = shown(setting)
            message = f"{name} must be one value for all parameters, got {got}"
            raise ArgumentTypeError(message)
        if isinstance(setting, Mapping):
            refuse_other_names(list(self._parameters.arrays), setting, name)
            setting = dict(setting)
            parts = setting
        else:
            parts = dict.fromkeys(self._parameters.arrays, setting)
        with self._parameters.on_device():
            self._assign(name, setting, parts)

    def _assign(self, name: str, setting: Any, parts: Mapping[str, Any]) -> None:
        for key, part in parts.items():
            label = f"{name}[{key!r}]" if parts is setting else name
            self._check(label, name, part)
        if any(map(callable, parts.values())) and any(
            map(is_on_device, parts.values())
        ):
            message = (
                f"{name} must not mix schedules with 0-d arrays on the device, as the "
                f"host does not wait for them, got {shown(setting)}"
            )
            raise ArgumentTypeError(message)
        has_arrays = any(_is_array(part, least=1) for part in parts.values())
        arena = self._lay_out(name, parts) if has_arrays else None
        if arena is not None:
            self._check_traces({*self.elements, name}, name)
        self.settings[name] = _copy(setting)
        self.elements.pop(name, None)
        if arena is not None:
            self.elements[name] = arena
        self.version += 1
        self.revision += 1
        self.constant = None
        # Where all are numbers or arrays, they are read once, until one is assigned.
        fixed = self.state_dict().keys() | self.elements.keys()
        self._fixed = fixed == self.settings.keys()

    def _check_traces(self, elements: Collection[str], name: str) -> None:
        """Refuse an array where state that is not of elements depends on a setting."""
        try:
            self._rule.check_axes(self._parameters.axes, elements)
        except RuleError as error:
            message = f"{name} must not be an array here: {error}"
            raise ArgumentTypeError(message) from error

    def _check(self, label: str, name: str, setting: Any) -> None:
        """Refuse what cannot be a setting; schedules are checked when they are read."""
        if callable(setting):
            return
        bounds = self._rule.bounds(name)
        if not _is_array(setting):
            check_number(label, setting, bounds, self._dtype)
            return
        backend = common_backend([(label, setting)])
        device = backend.device(setting)
        if device != self._parameters.device and (setting.ndim or device != "cpu"):
            message = (
                f"{label} must be on {self._parameters.device}, got a {backend.name} "
                f"array on {device}"
            )
            raise BackendError(message)
        if setting.dtype.kind not in "iuf":
            message = f"{label} must be an array of numbers, got {setting.dtype}"
            raise ArgumentTypeError(message)
        if setting.ndim and setting.size:
            for value in (setting.min(), setting.max()):  # NaN shows in both
                check_number(label, float(value), bounds, self._dtype)
        elif not setting.ndim:
            self._read(label, name, setting, self._counter.t)

    def _lay_out(self, name: str, parts: Mapping[str, Any]) -> Arena:
        """Spread arrays over the parameters, in the dtype of the arithmetic."""
        parameters = self._parameters
        dtypes = {group: compute_dtype(group) for group in parameters.layout.sizes}
        arena = Arena(parameters.layout, parameters.backend, parameters.device, dtypes)
        for key, part in parts.items():
            if callable(part) or _is_array(part, most=0):
                message = (
                    f"{name} must not mix arrays with schedules or 0-d arrays, got "
                    f"{shown(part)} for {array_label(key)}"
                )
                raise ArgumentTypeError(message)
            shape = arena[key].shape
            try:
                arena[key][...] = part
            except ValueError:
                message = (
                    f"{name} must broadcast to {array_label(key)} of shape {shape}, "
                    f"got shape {part.shape}"
                )
                raise ArgumentError(message) from None
        for slot in parameters.layout.slots.values():  # a zero eps would give NaN there
            buffer = arena.buffers[slot.group]
            buffer[slot.stop : slot.end] = buffer[slot.stop - 1 : slot.stop]
        return arena

    def at(self, step: int) -> Values:
        """Return every value at a step, checked; arrays are in `elements`."""
        if self.constant is not None:
            return self.constant
        shared: dict[str, Value] = {}
        by_name: dict[str, dict[str, Value]] = {}
        for name, setting in self.settings.items():
            if name in self.elements:
                continue
            if isinstance(setting, dict):
                by_name[name] = {
                    key: self._read(f"{name}[{key!r}]", name, part, step)
                    for key, part in setting.items()
                }
            else:
                shared[name] = self._read(name, name, setting, step)
        values = Values(shared, by_name)
        if self._fixed:
            self.constant = values
        return values

    def _read(self, label: str, name: str, setting: Any, step: int) -> Value:
        if _is_plain(setting):
            return setting
        if callable(setting):
            label = f"{label} at step {step}"
            setting = setting(step)
        if _is_array(setting, most=0):
            if not isinstance(setting, np.ndarray):
                return setting  # on the device, which is not waited for
            setting = setting.item()
        return check_number(label, setting, self._rule.bounds(name), self._dtype)

    def __getitem__(self, name: str) -> Value | dict[str, Value]:
        setting = self.settings[name]
        if name in self.elements:
            with self._parameters.on_device():
                copied: Value | dict[str, Value] = _copy(setting)
            return copied
        values = self.at(self._counter.t)
        by_name = values.by_name.get(name)
        return values.shared[name] if by_name is None else dict(by_name)

    def __repr__(self) -> str:
        return f"Hyper({self.text()})"

    def text(self) -> str:
        """Write the settings as keywords."""
        return ", ".join(f"{n}={shown(v)}" for n, v in self.settings.items())

    def __iter__(self) -> Iterator[str]:
        return iter(self.settings)

    def __len__(self) -> int:
        return len(self.settings)

    def state_dict(self) -> dict[str, Any]:
        """Return the settings that are numbers; the others come with the code."""
        saved = {}
        for name, setting in self.settings.items():
            parts = setting if isinstance(setting, dict) else {"": setting}
            if not any(callable(p) or _is_array(p) for p in parts.values()):
                numbers = {key: as_number(name, part) for key, part in parts.items()}
                saved[name] = numbers if isinstance(setting, dict) else numbers[""]
        return saved


def _is_plain(setting: Any) -> bool:
    """Return whether a setting is a number of Python's."""
    return type(setting) is float or type(setting) is int


def _is_number(setting: Any) -> bool:
    """Return whether a setting is a number, NumPy's included."""
    kinds = int | float | np.integer | np.floating
    return isinstance(setting, kinds) and not isinstance(setting, bool)


def _copy(setting: Any) -> Any:
    """Copy arrays that are not read again at every step."""
    if isinstance(setting, dict):
        return {key: _copy(part) for key, part in setting.items()}
    return setting.copy() if _is_array(setting, least=1) else setting


def _is_array(value: Any, least: int = 0, most: int = 64) -> bool:
    has_both = hasattr(value, "ndim") and hasattr(value, "dtype")
    return (
        has_both and not isinstance(value, np.generic) and least <= value.ndim <= most
    )
