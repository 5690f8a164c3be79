"""The optimizer: a rule, its hyper-parameters and its state, bound to arrays."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol, Self, TypeVar, runtime_checkable

from gdopt.arrays.arena import Arena, array_label
from gdopt.arrays.backend import Array
from gdopt.arrays.dtypes import as_dtype
from gdopt.checks import listed
from gdopt.errors import ArgumentError, GdoptError
from gdopt.interrupt import Uninterrupted
from gdopt.optim import state
from gdopt.optim.cpu import CpuExecutor
from gdopt.optim.cpu_reducing import CpuReducingExecutor
from gdopt.optim.hyper import Hyper, StepCounter
from gdopt.optim.options import AVERAGE, MASTER, Options, extended, refuse_keywords
from gdopt.optim.parameters import Gradients, Parameters
from gdopt.optim.rule import Rule, rule as make_rule

Init = TypeVar("Init", bound=Callable[..., None])


class Executor(Protocol):
    """What an optimizer asks of the code that runs its rule, on the CPU or on a GPU."""

    grad_norm: Any

    def run_compiled(self, grads: Arena | list[Array]) -> bool:
        """Do a step that nothing can interrupt; return whether there was one."""

    def run(self, grads: Arena | list[Array]) -> bool | Array:
        """Do one step with checked gradients; return whether it was done."""


@runtime_checkable
class GraphExecutor(Executor, Protocol):
    """What a CUDA graph of a whole step asks in addition; the CPU's cannot do it."""

    def count_on_device(self) -> None:
        """Take the step count from the device from now on."""

    def prepare(self) -> int:
        """Send what the next step needs; a graph holds while the result stays equal."""

    def launch(self, grads: Arena | list[Array]) -> bool | Array:
        """Launch the step's kernels; return whether it was done."""

    def count(self) -> None:
        """Count a step that has been launched."""


class Optimizer:
    """Updates arrays in place by a rule, in one fused pass over memory.

    Args:
        params: an array, a sequence or a mapping of arrays, or a `gdopt.Arena`;
            float16, bfloat16, float32 or float64, on one device. They stay the caller's
            own and are changed in place, whatever their strides. An arena is one pass.
        rule: `gdopt.rule` or a plain function ``f(p, *state, g, *, scalars)`` that
            returns ``(p, *state)``; state starts from 0 unless the rule says otherwise.
        non_finite: what a step does with NaN or infinity in the gradients:
            ``"ignore"`` computes with them, ``"skip"`` changes nothing, not even the
            step count, ``"raise"`` refuses them by name.
        clip_norm: largest norm of all gradients together, in (0, inf): larger ones are
            scaled down to it, exactly. A hyper-parameter, in the same pass.
        loss_scale: by which the gradients are divided, before they are clipped. A
            hyper-parameter, in the same pass.
        ema: beta of the exponentially weighted average of the parameters that
            `average` gives, in [0, 1); it starts from the parameters. A
            hyper-parameter, in the same pass.
        master_weights: whether float16 or bfloat16 parameters are rounded copies of
            float32 ones, which are kept as state and updated in the same pass.
        state_dtype: ``"bfloat16"`` halves the state: it is rounded at random, up or
            down, right on average. By default state is float32, or float64 for float64.
        rounding: ``"stochastic"`` rounds bfloat16 parameters that have no master
            weights at random, too.
        seed: of that randomness, at least 0; it depends on the step and the place of
            an element alone, so that every engine and layout rounds in the same way.
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
    >>> def signed(p, g, *, lr):  # your own rule, as fast as the built-in ones
    ...     return p - lr * np.sign(g)
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
        clip_norm: Any = None,
        loss_scale: Any = None,
        ema: Any = None,
        master_weights: bool = False,
        state_dtype: str | None = None,
        rounding: str = "nearest",
        seed: int = 0,
        **hyper: Any,
    ) -> None:
        self.options = Options(non_finite, master_weights, state_dtype, rounding, seed)
        extras = {"clip_norm": clip_norm, "loss_scale": loss_scale, "ema": ema}
        extras = {name: value for name, value in extras.items() if value is not None}
        rule = rule if isinstance(rule, Rule) else make_rule()(rule)
        hyper = {**rule.defaults, **hyper}
        refuse_keywords(type(self), rule, hyper)
        self.rule = extended(rule, tuple(extras))
        self._parameters = Parameters.of(params)
        self.options.check_layout(self._parameters.layout)
        self.rule.check_axes(self._parameters.axes)
        self._counter = StepCounter()
        self.hyper = Hyper(self.rule, self._parameters, hyper | extras, self._counter)
        with self._parameters.on_device():
            self._state = self._start()
        self._gradients = Gradients(self._parameters, self._state)
        self.executor = self._make_executor()
        self._lock = threading.Lock()
        self._held: dict[str, Array] | None = None  # parameters, while averages show

    def _make_executor(self) -> Executor:
        """Choose what runs the rule: the loops of the CPU, or one launch on a GPU."""
        given = self.rule, self._parameters, self._state, self.hyper, self._counter
        if self._parameters.backend.name == "numpy":
            by_shape = self.rule.kernel.by_shape
            executor = CpuReducingExecutor if by_shape else CpuExecutor
            return executor(*given, options=self.options)
        from gdopt.optim.gpu.executor import GpuExecutor  # noqa: PLC0415

        return GpuExecutor(*given, options=self.options)

    def _start(self) -> dict[str, Arena]:
        """Make the state, and the master copy of the parameters, if there is one."""
        parameters = self._parameters
        states = {}
        master = [MASTER] if self.options.master_weights else []
        for name in (*self.rule.states, *master):
            layout = state.state_layout(parameters.layout, self.rule, name)
            dtypes = {
                group: as_dtype(self.options.state_dtype_of(name, group))
                for group in layout.sizes
            }
            arena = Arena(layout, parameters.backend, parameters.device, dtypes)
            initial = "p" if name == MASTER else self.rule.start(name)
            if initial == "p":
                for key, array in parameters.arrays.items():
                    arena[key][...] = array
            else:  # padding, too: it is divided by like an element's state
                for buffer in arena.buffers.values():
                    buffer[...] = initial
            states[name] = arena
        return states

    @property
    def t(self) -> int:
        """Number of updates done; the next one is step `t` of a schedule."""
        return self._counter.t

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
    def state_arenas(self) -> Mapping[str, Arena]:
        """The memory of the state, by the rule's names, padding included."""
        return self._state

    @property
    def average(self) -> dict[str, Array]:
        """The average of the parameters by name, as live views.

        Raises:
            ArgumentError: the optimizer was made without ``ema``.
        """
        if AVERAGE not in self._state or "ema" not in self.hyper:
            message = "average needs an optimizer made with ema, got one without"
            raise ArgumentError(message)
        return dict(self._state[AVERAGE])

    def averages(self) -> Mapping[str, Array]:
        """The averages by name that `averaged` shows: those of ``ema``."""
        return self.average

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Let the parameters hold their averages within a block, as for evaluation.

        After the block they hold what they held before it, also if it raises. A state
        saved within the block has them, and loading it puts them back.

        Raises:
            ArgumentError: the optimizer keeps no averages: it was made without ``ema``.
            GdoptError: the block is within another one.

        >>> import gdopt
        >>> import numpy as np
        >>> p = np.array([1.0])
        >>> opt = gdopt.SGD(p, 1.0, ema=0.75)
        >>> opt.step(np.array([1.0]))
        True
        >>> with opt.averaged():
        ...     print(p)
        [0.75]
        >>> p
        array([0.])
        """
        if self._held is not None:
            message = "averaged must not be entered within averaged()"
            raise GdoptError(message)
        with self._parameters.on_device():
            shown = self.averages()
            self._held = {name: array.copy() for name, array in self.params.items()}
        try:
            self._hold(shown)
            yield
        finally:
            held, self._held = self._held, None
            self._hold(held)

    def _hold(self, values: Mapping[str, Array]) -> None:
        """Write values into the parameters."""
        with self._parameters.on_device(), Uninterrupted():
            for name, array in self.params.items():
                array[...] = values[name]

    @property
    def grad_norm(self) -> Any:
        """The norm of the last gradients as given, where ``clip_norm`` is set.

        A float; on a GPU a 0-d float64 array, which is not waited for; None before the
        first step.
        """
        return self.executor.grad_norm

    @property
    def state_bytes(self) -> int:
        """Bytes of memory that the state takes, padding included."""
        return sum(arena.nbytes for arena in self._state.values())

    @property
    def non_finite(self) -> str:
        """What a step does with NaN or infinity in the gradients."""
        return self.options.non_finite

    def step(self, grads: Any) -> bool | Array:
        """Update all parameters once, in place; Ctrl-C waits until it is done.

        Args:
            grads: gradients in the form of the parameters: an array, a sequence, a
                mapping, or an arena from ``params.like()``, which needs no check per
                array; each of its parameter's shape, dtype and device.

        Returns:
            Whether the update was done: False where ``non_finite="skip"`` skipped it.
            On a GPU that is a 0-d truth value on the device, which is not waited for.

        Raises:
            ArgumentError: a gradient is missing, of another shape, shares memory with
                parameters or state, or is not finite and ``non_finite="raise"``; a
                schedule gave a value out of range.
            ArgumentTypeError: a gradient is None, not an array, or of another dtype.
            BackendError: a gradient is on another device.
            GdoptError: another thread is in the middle of a step, or the parameters
                hold averages.
        """
        if self._held is not None:
            message = "step must not be called within averaged(): leave the block first"
            raise GdoptError(message)
        if not self._lock.acquire(False):  # a keyword takes .1 us more
            message = "step must not be called while another thread's step is running"
            raise GdoptError(message)
        try:
            checked = self._gradients.check(grads)
            if self.options.non_finite != "ignore" and self._has_non_finite(checked):
                return False
            if self.executor.run_compiled(checked):
                return True
            with Uninterrupted():
                return self.executor.run(checked)
        finally:
            self._lock.release()

    def _has_non_finite(self, grads: Any) -> bool:
        """Return whether the host has to skip a step, or refuse its gradients."""
        skips = self.options.non_finite == "skip"
        if skips and self._parameters.backend.name != "numpy":
            return False  # the device decides, which the host does not wait for
        names = self._gradients.not_finite(grads)
        if names and not skips:
            found = f"the gradients of {listed(map(array_label, names))}"
            message = f"grads must be finite, got NaN or infinity in {found}"
            raise ArgumentError(message)
        return bool(names)

    def state_dict(self) -> dict[str, Any]:
        """Copy everything that a resumed run needs, as NumPy arrays and numbers.

        Schedules and hyper-parameters that are arrays come with the code, not with the
        state. The dictionary fits any engine and device.
        """
        owned = self.hyper, self._state, self._parameters
        return state.save(self.rule, self.t, *owned, held=self._held)

    def load_state_dict(self, saved: Mapping[str, Any]) -> Self:
        """Take over a saved state, by the names of the parameters; all or nothing.

        Raises:
            StateError: another rule, other names, shapes or dtypes, or a newer format;
                the message shows both sides, and nothing has changed.
        """
        owned = self.hyper, self._state, self._parameters
        self._counter.t, held = state.load(saved, self.rule, *owned)
        if self._held is not None:  # the parameters hold what they were saved with
            with self._parameters.on_device():
                now = {name: array.copy() for name, array in self.params.items()}
                self._held = held or now
                self._hold(self._held)
                self._hold(self.averages())
        elif held:
            self._hold(held)
        return self

    def snapshot(self) -> Callable[[], None]:
        """Return a function that restores settings, step count and norm.

        Parameters and state are not copied: they are arrays, `params` and `state`.
        """
        settings, t, norm = dict(self.hyper.settings), self.t, self.grad_norm

        def restore() -> None:
            for name, setting in settings.items():
                if self.hyper.settings[name] is not setting:
                    self.hyper[name] = setting
            self._counter.t = t
            self.executor.grad_norm = norm

        return restore

    def __repr__(self) -> str:
        count = sum(int(array.size) for array in self.params.values())
        return (
            f"{type(self).__name__}({self.hyper.text()}; {len(self.params)} arrays, "
            f"{count} elements on {self._parameters.device}, t={self.t})"
        )


def with_options(init: Init) -> Init:
    """Let an `__init__` that takes ``**options`` show the options of `Optimizer`.

    Its signature is set on the function: a class's own is inherited by subclasses,
    whatever their `__init__` takes.
    """
    shared = inspect.signature(Optimizer.__init__).parameters.values()
    signature = inspect.signature(init)
    *own, _ = signature.parameters.values()
    options = [option for option in shared if option.kind is option.KEYWORD_ONLY]
    shown = signature.replace(parameters=[*own, *options])
    init.__signature__ = shown  # type: ignore[attr-defined]
    return init
