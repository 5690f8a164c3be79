"""What changes of an optimizer between steps: frozen arrays, state, larger arrays."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from gdopt.arrays.arena import Arena, array_label
from gdopt.arrays.backend import Array
from gdopt.arrays.foreign import parameter_view
from gdopt.checks import check_choice, check_kind, check_like, shown
from gdopt.errors import ArgumentError, ArgumentTypeError, GdoptError
from gdopt.optim.accumulate import FIRST_SCALE
from gdopt.optim.executors import Binding, Executor
from gdopt.optim.gradients import Gradients
from gdopt.optim.options import Options
from gdopt.optim.parameters import Parameters, frozen_names
from gdopt.optim.plans import Plans
from gdopt.optim.resume import Resumable
from gdopt.optim.transforms import ACCUMULATED

WITHIN = "{} must not be called within averaged(): leave the block first"


class Changeable(Resumable):
    """What may be changed of an optimizer between its steps."""

    options: Options
    _binding: Binding
    _gradients: Gradients
    _checks: Plans[Gradients]
    _plans: Plans[Executor]

    @property
    def _real(self) -> Parameters:
        """What executors run on: the arrays with state, or views of their parts."""
        return self._binding.parameters

    @contextmanager
    def _between_steps(self, what: str) -> Iterator[None]:
        """Keep steps of other threads, and signals, away from a block."""
        with self._turns.change(what):
            if self._held is not None:
                raise GdoptError(WITHIN.format(what))
            yield

    def _refuse_sums(self, what: str) -> None:
        """Refuse a change while gradients are added up."""
        if self._accumulation is not None and self._accumulation.count:
            count = self._accumulation.count
            message = f"{what} must not change between the calls of accumulate, got "
            message += f"{count} gradients in the sum"
            raise ArgumentError(message)

    @property
    def frozen(self) -> tuple[str, ...]:
        """Names of the arrays that steps leave as they are.

        Assigning a name or a pattern, or a list of them, takes effect with the next
        step. A frozen array keeps its state and its average, and continues with them
        when it is updated again. One that was frozen when the optimizer was made
        gets its state then, from its start.
        """
        every = self._every
        stays = {*every.named} - {*every.arrays} | {*self._frozen}
        return tuple([name for name in every.named if name in stays])

    @frozen.setter
    def frozen(self, frozen: str | Sequence[str]) -> None:
        every = self._every
        names = frozen_names(frozen, every.names, every.named)
        with self._between_steps("frozen"):
            self._refuse_sums("frozen")
            without = [n for n in every.names if n not in every.layout.names]
            still = [name for name in without if name in names]
            if still != without:
                self._rebind(still, {})
            self._freeze([name for name in self._every.arrays if name in names])

    def _freeze(self, names: Sequence[str]) -> None:
        """Leave out arrays that have state."""
        left_out, before = tuple(names), vars(self).get("executor")
        self._frozen, self._gradients = left_out, self._checks.of(left_out)
        self.executor = self._plans.of(left_out)
        self.executor.grad_norm = None if before is None else before.grad_norm

    def reset(self) -> None:
        """Set back all but parameters and hyper-parameters, as a new run needs it.

        State goes to its start, `t` to 0, averages and slow weights to the present
        parameters; accumulated gradients are dropped, and a dynamic loss scale is the
        first one. Nothing is allocated or planned again.

        >>> import gdopt
        >>> import numpy as np
        >>> opt = gdopt.Momentum(np.array([1.0]))
        >>> opt.step(np.array([1.0]))
        True
        >>> opt.reset()
        >>> opt.t, opt.state["0"]["v"]
        (0, array([0.]))
        """
        with self._between_steps("reset"):
            self._start_again()

    def _start_again(self) -> None:
        with self._parameters.on_device():
            self._binding.fill_state(self._state, self.rule)
        self._counter.t = 0
        self._counts = dict.fromkeys(self._counts, 0)
        if self._dynamic is not None:
            self.hyper["loss_scale"] = FIRST_SCALE
        self.executor.grad_norm = None

    def replace(
        self, name: str, array: Array, state: Mapping[str, Array] | None = None
    ) -> None:
        """Update another array under a name from now on, as one that has grown.

        It also takes the place of the old one in the list or mapping that the
        parameters were given in. Steps count on, and the average and slow weights of
        the array start from it. The state of all arrays is copied, on the host.

        Args:
            name: of the array.
            array: of the same dtype, device and number of axes, and of any shape.
            state: arrays by the names of `state`, of the new shape; what is not given
                starts as if the optimizer was new.

        Raises:
            ArgumentError: an unknown name, another number of axes, another shape of a
                state, or hyper-parameters that do not fit.
            ArgumentTypeError: another dtype; the parameters are an arena or a tuple.

        >>> import gdopt
        >>> import numpy as np
        >>> params = {"W": np.ones((2, 3))}
        >>> opt = gdopt.Momentum(params, lr=1.0)
        >>> opt.step({"W": np.ones((2, 3))})
        True
        >>> grown = {n: np.pad(a, ((0, 1), (0, 0))) for n, a in opt.state["W"].items()}
        >>> opt.replace("W", np.pad(params["W"], ((0, 1), (0, 0))), state=grown)
        >>> params["W"].shape, opt.state["W"]["v"].shape, opt.t
        ((3, 3), (3, 3), 1)
        """
        every = self._every
        check_choice("name", name, every.named)
        old, label = every.named[name], array_label(name)
        view = parameter_view(array, label)
        if isinstance(every.named, Arena):
            message = "replace needs parameters in a list or a mapping, got an Arena"
            raise ArgumentTypeError(message)
        if not every.backend.is_array(view):
            message = f"{label} must be a {every.backend.name} array, got {shown(view)}"
            raise ArgumentTypeError(message)
        if view.ndim != old.ndim:
            message = f"{label} must have {old.ndim} axes, got shape {view.shape}"
            raise ArgumentError(message)
        if view.dtype != old.dtype:
            raise ArgumentTypeError(f"{label} must be {old.dtype}, got {view.dtype}")
        if state is not None:
            check_kind("state", state, Mapping, "a mapping of arrays by name")
        frozen = [n for n in every.named if n not in every.arrays]
        with self._between_steps("replace"):
            self._refuse_sums("arrays")
            if every.container is not None:
                every.container.put(name, array)
            try:
                self._rebind(frozen, {name: array}, state)
            except BaseException:
                if every.container is not None:
                    every.container.put(name, every.given[name])
                raise

    def _rebind(
        self,
        frozen: Sequence[str],
        arrays: Mapping[str, Array],
        state: Mapping[str, Array] | None = None,
    ) -> None:
        """Make everything again for other arrays; where that fails, change nothing."""
        before = dict(vars(self))
        given = self._swapped(self._parts(), frozen, arrays)
        try:
            self._restore(given)
            saved = _taken_over(given["saved"], self.state_dict(), {*arrays})
            self._load(saved, hyper=False)
            for name in arrays:
                self._write_state(name, state or {})
        except BaseException:
            vars(self).update(before)
            raise
        before["hyper"].__dict__ = vars(self.hyper)  # which the caller may hold
        self.executor.grad_norm = before["executor"].grad_norm

    def _swapped(
        self, given: dict[str, Any], frozen: Sequence[str], arrays: Mapping[str, Array]
    ) -> dict[str, Any]:
        """Return what `_restore` takes, with other arrays."""
        return given | {"params": self._source(arrays), "frozen": frozen}

    def _write_state(self, name: str, state: Mapping[str, Array]) -> None:
        own = self.state.get(name, {})
        for key, value in state.items():
            check_choice("state", key, own)
            label = f"the state {key!r} of {array_label(name)}"
            if not self._parameters.backend.is_array(value):
                raise ArgumentTypeError(f"{label} must be an array, got {shown(value)}")
            check_like(label, value, own[key])
            with self._parameters.on_device():
                own[key][...] = value


def _taken_over(
    saved: Mapping[str, Any], own: Mapping[str, Any], names: set[str]
) -> dict[str, Any]:
    """Return a saved state with this optimizer's own for arrays that are new."""
    parts = dict(saved)
    for key in {"state", ACCUMULATED} & own.keys():
        kept = {n: part for n, part in saved[key].items() if n not in names}
        parts[key] = own[key] | kept
    if own.get("others"):
        parts["others"] = _taken_over(saved["others"], own["others"], names)
    return parts
