"""Hyper-parameters: floats, schedules of the step, arrays, or any of them by name."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from gdopt.arrays.arena import Arena, array_label
from gdopt.arrays.backend import is_on_device
from gdopt.checks import as_number, check_choice, listed, shown
from gdopt.copies import NotCopied
from gdopt.errors import ArgumentError, ArgumentTypeError, RuleError
from gdopt.optim.parameters import Parameters
from gdopt.optim.rule import Rule
from gdopt.optim.settings import NUMBERS, Setting, Value, is_read

BOUNDS = ("lower", "upper")  # of the parameters


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


class Hyper(NotCopied, Mapping[str, Value | dict[str, Value]]):
    """The hyper-parameters of an optimizer, by name.

    Reading gives the values at the next step; assigning takes effect with it. A setting
    is a number, a schedule ``step -> number``, an array that broadcasts to every
    parameter (copied when assigned), a 0-d array or another object with ``__float__``
    (read again at every step), or a mapping to any of these from the parameters' names
    and patterns such as ``"bias*"``: a name takes precedence, then the first pattern
    that matches. An array that nothing matches is an error; its weight decay is 0.
    """

    _instead = "settings are not copied: copy the optimizer, or write dict(hyper)"

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
        self._fixed = Values({}, {})  # of settings that are not read at every step
        self.changes = False  # whether a setting is read at every step,
        self.calls = False  # and that may call the caller's code
        self.version = 0  # of what kernels are prepared for: what is an array, or where
        self.revision = 0  # of what the settings are worth
        self._settings: dict[str, Setting] = {}
        self.open: list[str] = []  # arrays that are given to each step
        self.given: dict[str, Any] = {}  # those of a step, as gradients are
        for name in (name for name in rule.scalars if name in given):
            self._settings[name] = Setting(name, rule.bounds(name), parameters)
            self.assign(name, given[name])

    def followed(self, hidden: set[str]) -> tuple[dict[str, Setting], Values]:
        """Return all settings but some, and what is not read at every step."""
        fixed = self._fixed
        shared = {n: v for n, v in fixed.shared.items() if n not in hidden}
        by_name = {n: v for n, v in fixed.by_name.items() if n not in hidden}
        kept = {n: one for n, one in self._settings.items() if n not in hidden}
        return kept, Values(shared, by_name)

    def elements_of(self, rule: Rule) -> list[str]:
        """Name the settings that are arrays and that a rule takes."""
        return [name for name in self.elements if name in rule.scalars]

    @property
    def settings(self) -> dict[str, Any]:
        """The settings as they were given, but for copies of arrays."""
        return {name: setting.given for name, setting in self._settings.items()}

    @property
    def elements(self) -> dict[str, Arena]:
        """The settings that are arrays, spread over the parameters."""
        found = {name: setting.elements for name, setting in self._settings.items()}
        return {name: arena for name, arena in found.items() if arena is not None}

    @property
    def on_device(self) -> set[str]:
        """Names of the settings that are, or have, 0-d arrays on a GPU."""
        return {name for name, setting in self._settings.items() if setting.on_device}

    @property
    def classes(self) -> dict[str, int]:
        """A number for each parameter, the same where all settings are; or nothing."""
        settings = self._settings.values()
        by_name = [s.keys for s in settings if s.keys and s.elements is None]
        first: dict[Any, int] = {}
        return {
            name: first.setdefault(tuple([keys[name] for keys in by_name]), len(first))
            for name in (self._parameters.arrays if by_name else ())
        }

    @property
    def reads_host(self) -> bool:
        """Whether a setting on the host may have another value at every step."""
        return any(setting.reads_host for setting in self._settings.values())

    def of(self, name: str, parameter: str) -> Any:
        """Return the setting that holds for a parameter."""
        return self._settings[name].of(parameter)

    def __setitem__(self, name: str, given: Any) -> None:
        setting, kind = self._settings.get(name), type(given)
        if setting is None:
            check_choice("hyper", name, self._settings)
        elif kind in NUMBERS and type(setting.given) in NUMBERS and name not in BOUNDS:
            revision, fixed = self.revision, self._fixed
            number = given if kind is float or kind is int else float(given)
            fixed = Values({**fixed.shared, name: number}, fixed.by_name)
            if setting.low <= number <= setting.high and revision == self.revision:
                setting.given = setting.parts[None] = given
                self._fixed, self.revision = fixed, revision + 1
                return
        ended = any(map(callable, self._settings[name].parts.values()))
        self.assign(name, given)
        if ended and {*map(type, self._settings[name].parts.values())} <= set(NUMBERS):
            message = f"{name} was a schedule, which ends here: it is "
            warnings.warn(f"{message}{shown(given)} now", stacklevel=2)

    def assign(self, name: str, given: Any) -> None:
        """Check a setting of any kind, and take it over, without a warning.

        A step of another thread keeps what it has read. Nothing is called between the
        stores, so that neither a signal nor a thread comes between them.
        """
        revision, old = self.revision, self._settings[name]
        new = old.assigned(given)
        if name in BOUNDS:
            self._check_bounds(new)
        if new.elements is not None:
            try:  # state that is not of elements must not depend on an array
                self._rule.check_axes(self._parameters.axes, {*self.elements, name})
            except RuleError as error:
                message = f"{name} must not be an array here: {error}"
                raise ArgumentTypeError(message) from error
        same = new.on_device == old.on_device and new.keys == old.keys
        version = self.version + (not same or new.elements is not old.elements)
        settings, (_, fixed) = {**self._settings, name: new}, self.followed({name})
        if not new.changes:
            self._read_into(fixed, new, self._counter.t)
        changes = any(setting.changes for setting in settings.values())
        calls = changes and any(setting.calls for setting in settings.values())
        if self.revision != revision:
            self.assign(name, given)  # another one has been set in the meantime
            return
        self._settings, self._fixed, self.version = settings, fixed, version
        self.changes, self.calls, self.revision = changes, calls, revision + 1

    def _check_bounds(self, new: Setting) -> None:
        """Refuse a lower bound above the upper one, where both are known."""
        low, high = (new if n == new.name else self._settings.get(n) for n in BOUNDS)
        if low is None or high is None or not (low.parts and high.parts):
            return
        for name in self._parameters.layout.names:
            both = (low, high)
            ends = [s.elements.get(name) if s.elements else s.of(name) for s in both]
            if not any(map(is_read, ends)):
                _refuse_crossed(ends, f" for {array_label(name)}")

    def _check_bounds_at(self, values: Values, step: int) -> None:
        """Refuse such bounds where one of them is read at every step, on the host."""
        low, high = (self._settings[name] for name in BOUNDS)
        names = self._parameters.layout.names
        for name in names if low.changes or high.changes else ():
            ends: list[Any] = []
            for setting in (low, high):
                shared = values.shared.get(setting.name)
                by_name = values.by_name.get(setting.name, {})
                own = setting.elements or by_name
                ends.append(own.get(name) if own else shared)
            known = not any(end is None or is_on_device(end) for end in ends)
            if known:  # and not of another part
                _refuse_crossed(ends, f" for {array_label(name)} at step {step}")

    def at(self, step: int) -> Values:
        """Return every value at a step, checked; arrays are in `elements`."""
        if not self.changes:
            return self._fixed
        values = Values(dict(self._fixed.shared), dict(self._fixed.by_name))
        for setting in self._settings.values():
            if setting.changes:
                self._read_into(values, setting, step)
        if BOUNDS[0] in self._settings:
            self._check_bounds_at(values, step)
        return values

    def _read_into(self, values: Values, setting: Setting, step: int) -> None:
        if setting.elements is not None:
            return
        value = setting.at(step)
        if isinstance(value, dict):
            values.by_name[setting.name] = value
        else:
            values.shared[setting.name] = value

    def __getitem__(self, name: str) -> Value | dict[str, Value]:
        setting = self._settings[name]
        if setting.elements is not None:
            with self._parameters.on_device():
                value = setting.copied()
        else:
            value = setting.at(self._counter.t)
        if isinstance(setting.given, dict) and not isinstance(value, dict):
            return dict.fromkeys(self._parameters.layout.names, value)
        return value

    def __repr__(self) -> str:
        return f"Hyper({self.text()})"

    def text(self) -> str:
        """Write the settings as they were given, as keywords."""
        return ", ".join(f"{n}={_text(v)}" for n, v in self.settings.items())

    def __iter__(self) -> Iterator[str]:
        return iter(self._settings)

    def __len__(self) -> int:
        return len(self._settings)

    def state_dict(self) -> dict[str, Any]:
        """Return the settings that are numbers; the others come with the code."""
        saved = {}
        for name, given in self.settings.items():
            parts = given if isinstance(given, dict) else {"": given}
            if all(type(part) in NUMBERS for part in parts.values()):
                numbers = {key: as_number(name, part) for key, part in parts.items()}
                saved[name] = numbers if isinstance(given, dict) else numbers[""]
        return saved


def _text(given: Any) -> str:
    """Write a setting; the keys of a mapping in their order, which counts."""
    if not isinstance(given, dict):
        return shown(given)
    return f"{{{listed(f'{key!r}: {shown(part)}' for key, part in given.items())}}}"


def _refuse_crossed(ends: list[Any], where: str) -> None:
    if np.any(ends[0] > ends[1]):
        low, high = map(shown, ends)
        raise ArgumentError(f"lower must be at most upper, got {low} and {high}{where}")
