"""The optimizer: a rule, its hyper-parameters and its state, bound to arrays."""

from __future__ import annotations

import difflib
import threading
from collections.abc import Callable, Mapping
from typing import Any, Self

from gdopt.arrays.arena import Arena
from gdopt.arrays.backend import Array
from gdopt.errors import ArgumentError, ArgumentTypeError, GdoptError
from gdopt.kernels.kernel import compute_dtype
from gdopt.optim import state
from gdopt.optim.gradients import Gradients
from gdopt.optim.hyper import Hyper
from gdopt.optim.interrupt import Uninterrupted
from gdopt.optim.parameters import Parameters
from gdopt.optim.passes import Passes
from gdopt.optim.rule import Rule
from gdopt.optim.rule import rule as make_rule

ELSEWHERE = {  # keywords of other libraries, and what says the same here
    "learning_rate": "lr",
    "alpha": "lr (the course's alpha) or beta (torch's RMSprop)",
    "rho": "beta",
    "decay": "beta, or a schedule as lr",
    "betas": "beta1 and beta2",
    "beta_1": "beta1",
    "beta_2": "beta2",
    "epsilon": "eps",
    "momentum": "Momentum(beta=...) or Nesterov(beta=...)",
    "nesterov": "Nesterov(beta=...)",
    "dampening": 'Momentum(form="ewa")',
    "weight_decay": "AdamW(weight_decay=...)",
}


class Optimizer:
    """Updates arrays in place by a rule, in one fused pass over memory.

    Args:
        params: an array, a sequence or a mapping of arrays, or a `gdopt.Arena`;
            float16, float32 or float64, on one device. They stay the caller's own and
            are changed in place, whatever their strides. An arena is one pass.
        rule: `gdopt.rule` or a plain function ``f(p, *state, g, *, scalars)`` that
            returns ``(p, *state)``; state starts from 0 unless the rule says otherwise.
        non_finite: what a step does with NaN or infinity in the gradients:
            ``"ignore"`` computes with them, ``"skip"`` changes nothing, not even the
            step count, ``"raise"`` refuses them by name.
        hyper: the rule's scalars, except ``t``; each a number, a schedule
            ``step -> number``, an array that broadcasts to every parameter, a 0-d
            array, or a mapping from names to these.

    Raises:
        ArgumentError: a value out of its range; parameters that overlap.
        ArgumentTypeError: an unknown keyword, parameters of a kind that cannot be used.
        BackendError: parameters on several devices.
        RuleError: the rule cannot be traced.

    >>> import gdopt
    >>> import numpy as np
    >>> def signed(p, g, *, lr):  # a rule of one's own, as fast as the built-in ones
    ...     return p - lr * gdopt.sign(g)
    >>> p = np.array([1.0, -1.0])
    >>> opt = gdopt.Optimizer(p, rule=signed, lr=0.25)
    >>> opt.step(np.array([3.0, -0.1]))
    True
    >>> p
    array([ 0.75, -0.75])
    """

    def __init__(
        self,
        params: Any,
        rule: Rule | Callable[..., Any],
        *,
        non_finite: str = "ignore",
        **hyper: Any,
    ) -> None:
        self.rule = rule if isinstance(rule, Rule) else make_rule()(rule)
        if non_finite not in {"ignore", "skip", "raise"}:
            message = (
                f"non_finite must be 'ignore', 'skip' or 'raise', got {non_finite!r}"
            )
            raise ArgumentError(message)
        self.non_finite = non_finite
        hyper = {**self.rule.kernel.signature.defaults, **hyper}
        self._refuse_keywords(hyper)
        self._parameters = Parameters.of(params)
        self.hyper = Hyper(self.rule, self._parameters, hyper)
        self._state = self._start()
        self._gradients = Gradients(self._parameters, self._state)
        self._passes = Passes(self.rule, self._parameters, self._state, self.hyper)
        self._lock = threading.Lock()

    def _refuse_keywords(self, given: Mapping[str, Any]) -> None:
        known = self.rule.scalars
        kind = type(self).__name__
        for name in given:
            if name not in known:
                near = difflib.get_close_matches(name, known, n=1)
                hint = ELSEWHERE.get(name) or (near[0] if near else "")
                message = (
                    f"{kind} got an unknown keyword {name!r}"
                    + (f"; did you mean {hint}?" if hint else "")
                    + f" It takes {', '.join(known)}"
                )
                raise ArgumentTypeError(message)
        for name in known:
            if name not in given:
                message = f"{kind} needs {name}, a number or a schedule, got none"
                raise ArgumentTypeError(message)

    def _start(self) -> dict[str, Arena]:
        """Make the state: float32 for float16 parameters, else of their dtype."""
        parameters = self._parameters
        dtypes = {group: compute_dtype(group) for group in parameters.layout.sizes}
        states = {}
        for name in self.rule.states:
            arena = Arena(
                parameters.layout, parameters.backend, parameters.device, dtypes
            )
            initial = self.rule.start(name)
            for key, array in parameters.arrays.items():
                arena[key][...] = array if initial == "p" else initial
            states[name] = arena
        return states

    @property
    def t(self) -> int:
        """Number of updates done; the next one is step `t` of a schedule."""
        return self.hyper.step

    @property
    def params(self) -> Mapping[str, Array]:
        """The parameters by name: the caller's own arrays."""
        return self._parameters.arrays

    @property
    def state(self) -> dict[str, dict[str, Array]]:
        """The state by parameter and name, as live views."""
        return {
            key: {name: arena[key] for name, arena in self._state.items()}
            for key in self._parameters.arrays
        }

    @property
    def state_bytes(self) -> int:
        """Bytes of memory that the state takes, padding included."""
        return sum(arena.nbytes for arena in self._state.values())

    def step(self, grads: Any) -> bool:
        """Update all parameters once, in place; Ctrl-C waits until it is done.

        Args:
            grads: gradients in the form of the parameters: an array, a sequence, a
                mapping, or an arena from ``params.like()``, which needs no check per
                array; each of its parameter's shape, dtype and device.

        Returns:
            Whether the update was done: False where ``non_finite="skip"`` skipped it.

        Raises:
            ArgumentError: a gradient is missing, of another shape, shares memory with
                parameters or state, or is not finite and ``non_finite="raise"``; a
                schedule gave a value out of range.
            ArgumentTypeError: a gradient is None, no array, or of another dtype.
            BackendError: a gradient is on another device.
            GdoptError: another thread is in the middle of a step.
        """
        if not self._lock.acquire(blocking=False):
            message = "step must not be called while another thread's step is running"
            raise GdoptError(message)
        try:
            checked = self._gradients.check(grads)
            values = self.hyper.at(self.t)
            if self.non_finite != "ignore":
                names = self._gradients.not_finite(checked)
                if names and self.non_finite == "skip":
                    return False
                if names:
                    message = f"grads must be finite, got NaN or infinity in {names}"
                    raise ArgumentError(message)
            with Uninterrupted():
                self._passes.run(checked, values, self.t + 1)
                self.hyper.step += 1
        finally:
            self._lock.release()
        return True

    def state_dict(self) -> dict[str, Any]:
        """Copy everything that a resumed run needs, as NumPy arrays and numbers.

        Schedules and hyper-parameters that are arrays come with the code, not with the
        state. The dictionary fits any engine and device.
        """
        return state.save(self.rule, self.hyper, self._state, self._parameters)

    def load_state_dict(self, saved: Mapping[str, Any]) -> Self:
        """Take over a saved state, by the names of the parameters; all or nothing.

        Raises:
            StateError: another rule, other names, shapes or dtypes, or a newer format;
                the message shows both sides, and nothing has changed.
        """
        state.load(saved, self.rule, self.hyper, self._state, self._parameters)
        return self

    def __repr__(self) -> str:
        settings = ", ".join(f"{n}={v!r}" for n, v in self.hyper.settings.items())
        count = sum(int(array.size) for array in self.params.values())
        return (
            f"{type(self).__name__}({settings}; {len(self.params)} arrays, {count} "
            f"elements on {self._parameters.device}, t={self.t})"
        )
