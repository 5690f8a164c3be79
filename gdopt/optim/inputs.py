"""Hyper-parameters that are given to a step, for that step alone."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping
from typing import Any

from gdopt.arrays.arena import Arena, array_label
from gdopt.arrays.backend import Array, is_on_device
from gdopt.arrays.containers import is_container
from gdopt.checks import as_scalar, has_axes, listed, shown
from gdopt.errors import ArgumentTypeError, RuleError
from gdopt.optim.executors import Executor
from gdopt.optim.gradients import Gradients
from gdopt.optim.hyper import Hyper
from gdopt.optim.known import Known, run_step
from gdopt.optim.parameters import Parameters
from gdopt.optim.plans import Plans
from gdopt.optim.rows import Rows
from gdopt.optim.settings import ONE_FOR_ALL, Setting


class StepHyper(Hyper):
    """The hyper-parameters at a step: an optimizer's, but for those that are given."""

    def __init__(
        self,
        base: Hyper,
        names: frozenset[str],  # of those that are arrays
        make: Callable[[Parameters, Hyper], Executor],
        parameters: Parameters,
    ) -> None:
        vars(self).update(vars(base))
        self._base, self._seen = base, (-1, -1)
        self._own: dict[str, Setting] = {}
        self._slots: dict[str, Array] = {}
        self.arrays: dict[str, Mapping[str, Array]] = {}
        self.open = [name for name in self._rule.scalars if name in names]
        own = weakref.proxy(self)  # as the executors are kept here
        self.plans = Plans(parameters, lambda some: make(some, own))
        try:
            self._rule.check_axes(self._parameters.axes, {*self.elements, *names})
        except RuleError as error:
            message = f"{listed(self.open)} must not be an array here: {error}"
            raise ArgumentTypeError(message) from error

    def elements_of(self, rule: Any) -> list[str]:
        """Name the settings that are arrays and that a rule takes."""
        return [n for n in rule.scalars if n in self.open or n in self.elements]

    def take(self, numbers: Mapping[str, Any]) -> None:
        """Take numbers for a step; what is not given is as in the optimizer."""
        kept = {name: self._number(name, value) for name, value in numbers.items()}
        base, own = self._base, self._own
        if base.revision != self._seen[0] or own.keys() != kept.keys():
            hidden = {*kept, *self.open}
            bounds, on = self._rule.bounds, self._parameters
            fresh = {n: Setting(n, bounds(n), on) for n in kept}
            self._own = {name: own.get(name, new) for name, new in fresh.items()}
            others = base.followed(hidden)
            self._settings, self._fixed = others[0] | self._own, others[1]
            same = own.keys() == kept.keys() and base.version == self._seen[1]
            self.version += not same
            self.revision += 1
            self._seen = base.revision, base.version
        for name, value in kept.items():
            self[name] = value
            self._own[name] = self._settings[name]

    def take_arrays(self, arrays: Mapping[str, Mapping[str, Array]]) -> None:
        """Take arrays for a step; real ones of complex parameters for both parts."""
        self.arrays, own = dict(arrays), self._parameters
        if own.pairs:
            with own.on_device():
                for name, one in arrays.items():
                    self.arrays[name] = {
                        n: a[..., None].repeat(2, -1) if n in own.pairs else a
                        for n, a in one.items()
                    }

    def _number(self, name: str, value: Any) -> Any:
        """Return a number in place of a 0-d array; a device's is copied there."""
        if isinstance(value, Mapping):
            return {k: self._number(f"{name}[{k!r}]", v) for k, v in value.items()}
        if callable(value):
            message = f"{name} must be a number or an array at a step, got "
            raise ArgumentTypeError(message + shown(value))
        if not is_on_device(value):
            return as_scalar(value)
        own = self._parameters
        with own.on_device():
            if name not in self._slots:
                self._slots[name] = own.backend.zeros((), "float64", own.device)
            self._slots[name][...] = value
        return self._slots[name]

    def run(
        self, grads: Arena | list[Array], left_out: tuple[str, ...], known: Known
    ) -> tuple[Any, Any]:
        """Do a step; return whether it was done, and its norm."""
        executor, own = self.plans.of(left_out), self._parameters.arrays
        names = [name for name in own if name not in left_out]
        every = [grads, *self.arrays.values()]
        layouts = [one.layout if isinstance(one, Arena) else None for one in every]
        if left_out or None in layouts or any(one != layouts[0] for one in layouts):
            if isinstance(grads, Arena):
                grads = [grads[name] for name in names]
            self.given = {k: [a[n] for n in names] for k, a in self.arrays.items()}
        else:
            self.given = dict(self.arrays)
        try:
            return run_step(executor, grads, known), executor.grad_norm
        finally:
            self.given = {}


class StepInputs:
    """Checks what is given to steps, and knows executors by what of it is an array."""

    def __init__(
        self,
        make: Callable[[frozenset[str]], StepHyper],
        check: Callable[[str], Plans[Gradients]],
    ) -> None:
        self._make, self._check = make, check
        self._made: dict[frozenset[str], StepHyper] = {}
        self._checks: dict[str, Plans[Gradients]] = {}

    def take(
        self,
        given: Mapping[str, Any],
        frozen: tuple[str, ...],
        rows: Mapping[str, Rows],
    ) -> StepHyper:
        """Check what is given to a step; return its hyper-parameters."""
        repeated = [name for name, own in rows.items() if own.repeats]
        names = frozenset(n for n, value in given.items() if _holds_arrays(value))
        arrays = {}
        for name in names:
            if name in ONE_FOR_ALL:
                message = f"{name} must be one value for all parameters, got "
                raise ArgumentTypeError(message + shown(given[name]))
            if repeated:
                message = f"{name} must be a number where at= repeats rows of "
                message += f"{array_label(repeated[0])}, as their gradients are summed"
                raise ArgumentTypeError(message + " first")
            if name not in self._checks:
                self._checks[name] = self._check(name)
            check = self._checks[name].of(frozen)
            check = check.with_shapes(rows) if rows else check
            arrays[name] = check.named(given[name])
        if names not in self._made:
            self._made[names] = self._make(names)
        hyper = self._made[names]
        hyper.take({name: one for name, one in given.items() if name not in names})
        hyper.take_arrays(arrays)
        return hyper


def _holds_arrays(value: Any) -> bool:
    """Return whether a value is an array, or holds one for a parameter."""
    if is_container(value):
        parts = value.values() if isinstance(value, Mapping) else value
        return not isinstance(value, Mapping) or any(map(_holds_arrays, parts))
    return has_axes(value)
