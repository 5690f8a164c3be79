"""The hoisted values of a step: by value where the host knows them, else by a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gdopt.arrays.arena import Slot
from gdopt.arrays.backend import Backend
from gdopt.errors import ArgumentTypeError
from gdopt.kernels.cuda import Duties, Launch, print_prologue, split_hoisted
from gdopt.kernels.packing import cast
from gdopt.kernels.trace import Program, compile_host
from gdopt.optim.device.clock import AHEAD
from gdopt.optim.device.tables import Rows, send_table
from gdopt.optim.settings.hyper import Hyper, Values


def is_on_device(value: Any) -> bool:
    """Tell whether a setting is an array that the host must not wait for."""
    return hasattr(value, "__cuda_array_interface__")


@dataclass(frozen=True)
class Plan:
    """Who shares values, and which of them the device knows alone.

    Attributes:
        on_device: names of the scalars that are 0-d arrays there, and the norm.
        names: a parameter's name for each row of values.
        row_of: the row of each parameter.
    """

    on_device: frozenset[str]
    names: tuple[str, ...]
    row_of: Mapping[str, int]

    @classmethod
    def of(cls, hyper: Hyper, names: Sequence[str], *, norm: bool) -> Plan:
        """Read the settings as they are now."""
        by_name = [
            setting
            for key, setting in hyper.settings.items()
            if isinstance(setting, dict) and key not in hyper.elements
        ]
        rows: dict[Any, str] = {}
        row_of = {}
        for name in names:
            shared = tuple(_identity(setting[name]) for setting in by_name)
            rows.setdefault(shared, name)
            row_of[name] = list(rows).index(shared)
        on_device = {"norm"} if norm else set()
        for key, setting in hyper.settings.items():
            parts = setting.values() if isinstance(setting, dict) else [setting]
            if key not in hyper.elements and any(map(is_on_device, parts)):
                on_device.add(key)
        return cls(frozenset(on_device), tuple(rows.values()), row_of)


def _identity(setting: Any) -> Any:
    return setting if isinstance(setting, float | int) else id(setting)


class HoistedValues:
    """The hoisted values for the parameters of one dtype.

    Args:
        program: the traced rule.
        compute: the dtype of the arithmetic.
        plan: who shares values.
        slots: of the parameters of that dtype, by name.
        duties: what the prologue does besides, where there is one.
        hyper: the settings.
        backend: of the parameters.
        device: of the parameters.
    """

    def __init__(
        self,
        *,
        program: Program,
        compute: str,
        plan: Plan,
        slots: Mapping[str, Slot],
        duties: Duties,
        hyper: Hyper,
        backend: Backend,
        device: str,
    ) -> None:
        self._program, self._plan = program, plan
        self._compute = np.dtype(compute)
        self._backend, self._device = backend, device
        self._duties, self._settings = duties, hyper.settings
        names = [plan.names[row] for row in sorted({plan.row_of[n] for n in slots})]
        self._names = names
        self.prologue: Launch | None = None
        used = {scalar for scalar in plan.on_device if scalar in program.scalars}
        self._split = split_hoisted(program, used)
        self._host = compile_host(program, self._split.known)
        self.by_value = not (used or duties.gate or duties.clock or len(names) > 1)
        self.arguments: dict[str, Any] = {}
        places = {symbol: k for k, symbol in enumerate(self._split.known)}
        self._by_value_places = [
            (f"s{k}", places[symbol])
            for k, symbol in enumerate(program.hoisted)
            if symbol in places
        ]
        if self.by_value:
            return
        columns = max(1, len(program.hoisted))
        self._table = backend.zeros(len(names) * columns, compute, device)
        self.arguments["scalars_"] = self._table
        if len(names) > 1:
            place = {plan.row_of[name]: k for k, name in enumerate(names)}
            rows = [place[plan.row_of[name]] for name in slots]
            sender = Rows(backend, device, list(slots.values()))
            self.arguments["rows_"] = sender.send(rows)
        if used or duties.gate or duties.clock:
            self._prepare_prologue()

    def _prepare_prologue(self) -> None:
        text = print_prologue(
            self._program, self._split, self._compute.name, self._duties
        )
        width = max(1, len(self._split.given)) * len(self._names)
        self._given = self._backend.zeros(width, np.float64, self._device)
        ahead = AHEAD if self._duties.clock else 1
        size = max(1, ahead * len(self._names) * len(self._split.known))
        self._known_rows = self._backend.zeros(size, np.float64, self._device)
        fixed = {"given_": self._given, "known_": self._known_rows}
        fixed |= {"count_": np.int32(len(self._names))}
        self.prologue = Launch(text, 1, fixed | {"scalars_": self._table})

    def take(self, steps: Sequence[tuple[int, Values]]) -> None:
        """Compute on the host what the host can know, and send what the device needs.

        Args:
            steps: each with its count t, from 1, and the values of the settings.
        """
        if self.by_value:
            t, values = steps[0]
            row = cast(self._known(values, self._names[0], t), self._compute)
            for argument, place in self._by_value_places:
                self.arguments[argument] = row[place]
            return
        known = np.array(
            [
                self._known(values, name, t)
                for t, values in steps
                for name in self._names
            ],
            np.float64,
        ).reshape(len(steps), len(self._names), len(self._split.known))
        if self.prologue is not None:
            table = send_table(self._backend, self._device, known, np.float64)
            self._known_rows[: table.size] = table  # in place, where a graph reads it
            self.refresh()
        else:
            order = [place for _, place in self._by_value_places]
            self.arguments["scalars_"] = send_table(
                self._backend, self._device, known[0][:, order], self._compute
            )

    def _known(self, values: Values, name: str, t: int) -> tuple[float, ...]:
        scalars = {**values.shared, "t": t}
        scalars |= {key: by[name] for key, by in values.by_name.items()}
        ordered = []
        for scalar in self._program.scalars:
            value = 0.0 if scalar in self._plan.on_device else scalars[scalar]
            if is_on_device(value):
                message = (
                    f"{scalar} must be a number at step {t - 1}, got an array on the "
                    "device: assign the 0-d array itself, which is read at every step"
                )
                raise ArgumentTypeError(message)
            ordered.append(value)
        return self._host(*ordered)

    def refresh(self) -> None:
        """Read the scalars that live on the device anew, without waiting for them."""
        if self.prologue is None:
            return
        for row, name in enumerate(self._names):
            for k, scalar in enumerate(self._split.given):
                if scalar != "norm":
                    setting = self._settings[scalar]
                    value = setting[name] if isinstance(setting, dict) else setting
                    self._given[row * len(self._split.given) + k] = value
