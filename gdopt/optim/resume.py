"""Saving the state of an optimizer, and going on from it."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn, Self

import numpy as np

from gdopt.arrays.arena import Arena
from gdopt.arrays.containers import Container, writeable
from gdopt.checks import check_flag, check_state
from gdopt.errors import ArgumentTypeError, StateWarning
from gdopt.optim import state
from gdopt.optim.accumulate import Accumulation, DynamicLossScale
from gdopt.optim.averages import AveragedParameters
from gdopt.optim.executors import Executor
from gdopt.optim.rule import Rule
from gdopt.optim.state import MISSING


class Resumable(AveragedParameters):
    """What an optimizer saves and loads."""

    rule: Rule
    executor: Executor
    _accumulation: Accumulation | None
    _dynamic: DynamicLossScale | None
    _extend: Callable[[Rule], Rule]
    _bind: Callable[..., None]
    _freeze: Callable[[Sequence[str]], None]
    _frozen: tuple[str, ...]  # of the arrays with state

    def state_dict(self) -> dict[str, Any]:
        """Copy everything that a resumed run needs, as NumPy arrays and numbers.

        Schedules and hyper-parameters that are arrays come with the code, not with the
        state. The dictionary fits any engine and device. Another thread's step ends
        first.
        """
        with self._turns.read("state_dict"):
            return self._saved()

    def _saved(self) -> dict[str, Any]:
        own, to_host = self._parameters, self._parameters.backend.to_host
        copied = {
            n: np.array(to_host(array)) for n, array in (self._held or {}).items()
        }
        saved: dict[str, Any] = {"params": copied} if copied else {}
        saved |= {"format": state.FORMAT, **state.names_of(self.rule)}
        saved |= {"t": self.t, **self._counts, "hyper": self.hyper.state_dict()}
        arenas = self._named_state.items()
        saved["state"] = {
            key: {name: np.array(to_host(arena[key])) for name, arena in arenas}
            for key in own.arrays
        }
        if self._accumulation is not None:
            saved[MISSING] = dict.fromkeys(self._accumulation.missing, 1)
        return saved

    @property
    def _counts(self) -> dict[str, int]:
        """What is counted besides updates, by names."""
        calls, dynamic = self._accumulation, self._dynamic
        counts = {} if calls is None else {"calls": calls.count}
        return counts if dynamic is None else counts | {"finite_steps": dynamic.count}

    @_counts.setter
    def _counts(self, counts: Mapping[str, int]) -> None:
        if self._accumulation is not None:
            self._accumulation.count = counts["calls"]
        if self._dynamic is not None:
            self._dynamic.count = counts["finite_steps"]

    def load_state_dict(
        self, saved: Mapping[str, Any], *, hyper: bool = True, strict: bool = True
    ) -> Self:
        """Take over a saved state, by the names of the parameters; all or nothing.

        Args:
            saved: what `state_dict` gave.
            hyper: whether to take over the hyper-parameters that are numbers; those of
                options that are not here are left out, and those of options that are
                here alone stay. Without it schedules may differ, and the options that
                decide what the state is, such as `ema`, `lookahead` or `accumulate`:
                what these add to it is left out if it is not here, and stays as it is
                if it is here alone.
            strict: whether all must fit. Otherwise what matches by the names of
                parameter and state, shape and dtype is loaded, and a
                `gdopt.StateWarning` names the rest; the rule must still be the same.

        Raises:
            StateError: another rule, other names, shapes or dtypes, or a newer format;
                the message shows both sides, and nothing has changed.
        """
        check_flag("hyper", hyper)
        check_flag("strict", strict)
        with self._turns.change("load_state_dict"):
            rest = self._load(saved, hyper=hyper, strict=strict)
        if any(rest):
            warnings.warn(StateWarning(*rest), stacklevel=2)
        return self

    def _load(
        self, saved: Mapping[str, Any], *, hyper: bool, strict: bool = True
    ) -> list[list[str]]:
        """Take over a state; return what is missing in it, and was not expected."""
        rest: list[list[str]] = []
        if not hyper:
            saved = state.with_own_options(saved, self.state_dict())
        if not strict and isinstance(saved, Mapping):
            own = self.state_dict()
            if saved.get("params"):
                held = self._parameters
                to_host, arrays = held.backend.to_host, held.arrays.items()
                own["params"] = {name: to_host(a) for name, a in arrays}
            saved, *rest = state.fit(saved, own)
        saved = state.with_own_options(saved, self._counts, state.SCALING)
        self._checked(saved, hyper=hyper, same_options=hyper and strict)()
        return rest

    def _checked(
        self, saved: Mapping[str, Any], *, hyper: bool, same_options: bool
    ) -> Callable[[], None]:
        """Return what takes over a state that fits, without a check that may fail."""
        missing: Any = {}
        if self._accumulation is not None and isinstance(saved, Mapping):
            missing = saved.get(MISSING)
            saved = {key: part for key, part in saved.items() if key != MISSING}
        owned = self.hyper, self._named_state, self._parameters
        counts, held, write = state.checked(
            saved,
            self.rule,
            *owned,
            counts=["t", *self._counts],
            with_hyper=hyper,
            same_options=same_options,
        )
        own = self._every.arrays if isinstance(missing, Mapping) else ()
        check_state(MISSING, missing, [name for name in own if name in missing])
        if self._held is not None and not held:
            held = self._copy_parameters()

        def take_over() -> None:
            write()
            self._counter.t, self._counts = counts["t"], counts
            if self._accumulation is not None:
                self._accumulation.missing = (*missing,)
            if held:  # the parameters hold what they were saved with
                self._every.write(held)
            if self._held is not None:
                self._held = held
                with self._parameters.on_device():
                    self._every.write(self.averages())

        return take_over

    def __getstate__(self) -> dict[str, Any]:
        """Return what a copy or a pickle is made of, with attributes of subclasses.

        Raises:
            ArgumentTypeError: the parameters are torch's, of which a copy would have
                none.
        """
        if self._tensors is not None:
            message = "an optimizer of torch's parameters is not copied: make one of "
            message += "the copied model's, and load opt.state_dict() into it"
            raise ArgumentTypeError(message)
        return self._parts()

    def _parts(self) -> dict[str, Any]:
        """Return what `_restore` takes, and the state."""
        ours = [k for k in type(self).__mro__ if k.__module__.startswith("gdopt.")]
        known = {n for kind in ours for n in getattr(kind, "__annotations__", ())}
        own = self._parameters
        return {
            "rule": self.rule.inner or self.rule,
            "options": self.options,
            "transforms": self._transforms,
            "params": self._source({}),
            "frozen": [name for name in own.names if name not in own.layout.names],
            "left_out": self._frozen,
            "settings": self.hyper.settings,
            "dynamic": self._dynamic is not None,
            "saved": self.state_dict(),
            "own": {n: value for n, value in vars(self).items() if n not in known},
        }

    def _source(self, arrays: Mapping[str, Any]) -> Any:
        """Return what the parameters are read from again, or the lone array."""
        own = self._every
        if own.container is not None:
            own.container.refuse_changed(own.arrays)
            return Container(own.container.given, "params", keys=own.container.keys())
        lone = next(iter({**own.given, **arrays}.values()))
        return own.given if isinstance(own.given, Arena) else lone

    def __copy__(self) -> NoReturn:
        message = "an optimizer is not copied without its arrays: use copy.deepcopy"
        raise ArgumentTypeError(message)

    def __setstate__(self, given: Mapping[str, Any]) -> None:
        self._restore({**given, "params": writeable(given["params"])})
        self.load_state_dict(given["saved"], hyper=False)

    def _restore(self, given: Mapping[str, Any]) -> None:
        """Make all that `Optimizer.__init__` makes; state is at its start."""
        self.options, self._transforms = given["options"], given["transforms"]
        self.rule = self._extend(given["rule"])
        arrays = given["params"], given["frozen"], given["settings"]
        self._bind(*arrays, dynamic=given["dynamic"])
        self._freeze(given["left_out"])
        vars(self).update(given["own"])

    def snapshot(self) -> Callable[[], None]:
        """Return a function that restores settings, step count and norm.

        Parameters and state are not copied: they are arrays, `params` and `state`.
        """
        settings, t, norm = dict(self.hyper.settings), self.t, self.executor.grad_norm
        counts, sums = self._counts, self._accumulation
        missing = () if sums is None else sums.missing

        def restore() -> None:
            for name, setting in settings.items():
                if self.hyper.settings[name] is not setting:
                    self.hyper.assign(name, setting)
            self._counter.t, self._counts = t, counts
            if sums is not None:
                sums.missing = missing
            self.executor.grad_norm = norm

        return restore
