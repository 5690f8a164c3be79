"""The optimizer: a rule, its hyper-parameters and its state, bound to arrays."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any, Protocol, TypeVar, runtime_checkable

from gdopt.arrays.arena import Arena, array_label
from gdopt.arrays.backend import Array
from gdopt.checks import listed
from gdopt.errors import ArgumentError, ArgumentTypeError, GdoptError
from gdopt.interrupt import Uninterrupted
from gdopt.optim.accumulate import FIRST_SCALE, Accumulation, DynamicLossScale
from gdopt.optim.changes import BUSY, WITHIN, Changeable
from gdopt.optim.executors import Executor, bind
from gdopt.optim.hyper import Hyper, StepCounter
from gdopt.optim.inputs import StepHyper, StepInputs
from gdopt.optim.options import (
    Options,
    refuse_inputs,
    refuse_keywords,
    split_options,
)
from gdopt.optim.parameters import Gradients, Parameters
from gdopt.optim.patterns import refuse_groups
from gdopt.optim.plans import Plans
from gdopt.optim.row_executor import RowExecutor
from gdopt.optim.rows import find_rows, refuse_whole
from gdopt.optim.rule import RESERVED, Rule, rule as make_rule
from gdopt.optim.tensors import TensorGradients
from gdopt.optim.transforms import (
    ACCUMULATED,
    accumulation,
    extended,
    norm_rule,
)

Init = TypeVar("Init", bound=Callable[..., None])


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


class Optimizer(Changeable):
    """Updates arrays in place by a rule, in one fused pass over memory.

    What goes around the rule is in the same pass, in this order: accumulate, loss
    scale, maximize, clip_value, clip_each, agc, clip_norm, coupled weight decay, the
    rule, other weight decay, bounds, lookahead, ema or swa. Each norm is that of the
    gradient as transformed so far. All numbers among these are hyper-parameters.

    Args:
        params: an array, a `gdopt.Arena`, which is one pass, or a list, tuple or
            mapping of arrays and of such containers, whose arrays are named by path,
            ``"layers.0.W"``; float16, bfloat16, float32 or float64, on one device. They
            stay the caller's own and are changed in place, whatever their strides. An
            array that replaces one in its container is refused at the next step, as is
            one that was resized; arrays that are attributes (`self.W`) are not watched,
            nor is a resize there and back again. Those of torch are given as
            ``list(model.parameters())`` or ``dict(model.named_parameters())``, once
            they are where they stay; those of other libraries have DLPack or
            ``__cuda_array_interface__``, and are writable.
            Or complex64 or complex128, for rules that work element by element; the
            gradient is dL/dRe + i dL/dIm, as in torch, and the conjugate of JAX's.
        rule: `gdopt.rule` or a plain function ``f(p, *state, g, *, scalars)`` that
            returns ``(p, *state)``; state starts from 0 unless the rule says otherwise.
        frozen: a name or a pattern such as ``"embedding*"``, or a list of them: arrays
            that are not updated. They have no state, and their gradients, which may be
            None or missing from a mapping, are not read, nor are they in a norm;
            ``opt.frozen = ...`` changes which they are.
        non_finite: what a step does with NaN or infinity in the gradients:
            ``"ignore"`` computes with them, ``"skip"`` changes nothing, not even the
            step count, ``"raise"`` refuses them by name.
        accumulate: calls of `step` for one update, at least 1: it takes the mean of
            their gradients at the last one, until which `step` returns False.
        loss_scale: by which the gradients are divided, in (0, inf), or ``"dynamic"``:
            65,536, then half as much after every step with gradients that are not
            finite, which is skipped (with what has been accumulated), and twice as
            much after 2,000 others in a row. Multiply the loss by ``opt.loss_scale``.
        maximize: whether to follow the gradient and not its opposite.
        clip_value: largest magnitude of an element of a gradient, in (0, inf].
        clip_each: largest norm of the gradient of an array, in (0, inf].
        agc: adaptive clipping: largest norm of the gradient of a unit, in proportion to
            the norm of its parameters, or .001 if that is larger; in (0, inf].
        unit_axis: of `agc`: 0 if a unit is a row (torch's layers), 1 if it is a column
            (optax's, and gdopt's own network); vectors are one unit.
        clip_norm: largest norm of all gradients together, in (0, inf]: larger ones are
            scaled down to it, exactly.
        weight_decay: in [0, inf); by name, ``{"W*": 0.01}``, others are not decayed.
        decay_mode: needed with `weight_decay`, unless the rule has its own:
            ``"coupled"`` adds weight_decay p to the gradient, ``"decoupled"`` subtracts
            lr weight_decay p, ``"independent"`` weight_decay p, from the new parameter;
            p is the parameter before the step.
        bounds: a pair (lower, upper) that parameters are clipped to after an update:
            numbers, arrays, schedules, or a mapping from names to pairs; -inf and inf
            leave a side open. Their hyper-parameters are `lower` and `upper`.
        lookahead: a pair (steps, step size): slow weights move towards the parameters
            by that share, once in that number of steps, and the parameters are set to
            them (Zhang et al. 2019, algorithm 1). Its hyper-parameter is
            `slow_step_size`, in (0, 1].
        ema: beta of the exponentially weighted average of the parameters that
            `average` gives, in [0, 1); it starts from the parameters before the first
            step; torch's and Keras's start from those after it.
        swa_start: updates after which the mean of the parameters after each update
            begins, which `average` gives (Izmailov et al. 2018); not with `ema`.
        complex_mode: how the rule takes complex parameters: ``"split"`` applies it to
            real and imaginary parts apart, as torch does; ``"modulus"`` to complex
            values, whose size is ``np.abs``, as optax does, and state that comes out
            real is real. It must be given where the results differ, so not for SGD.
        master_weights: whether float16 or bfloat16 parameters are rounded copies of
            float32 ones, which are kept as state and updated in the same pass. Where
            something else was written into a parameter, that is taken over.
        state_dtype: ``"bfloat16"`` halves the state: it is rounded at random, up or
            down, right on average. By default state is float32, or float64 for float64.
        rounding: ``"stochastic"`` rounds bfloat16 parameters that have no master
            weights at random, too.
        seed: of that randomness, at least 0; it depends on the step and the place of
            an element alone, so that every engine and layout rounds in the same way.
        hyper: the rule's scalars, except ``t``; each a number, a schedule
            ``step -> number``, an array that broadcasts to every parameter, a 0-d
            array, or a mapping to these from names, and patterns such as ``"bias*"``.

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
    >>> opt.lr, opt.lr / 2  # hyper-parameters are attributes; see `hyper`
    (0.25, 0.125)
    """

    _inputs: StepInputs
    _required: list[str]  # hyper-parameters that each step is given
    _norm_scale: Any  # the loss scale of the last step, where known
    _around: bool  # whether a step is more than one of the executor's
    zero_grad: Callable[[], None]  # where parameters are torch's

    def __init__(
        self,
        params: Any,
        rule: Rule | Callable[..., Any],
        *,
        frozen: str | Sequence[str] = (),
        non_finite: str = "ignore",
        accumulate: int = 1,
        loss_scale: Any = None,
        maximize: bool = False,
        clip_value: Any = None,
        clip_each: Any = None,
        agc: Any = None,
        unit_axis: int | None = None,
        clip_norm: Any = None,
        weight_decay: Any = None,
        decay_mode: str | None = None,
        bounds: Any = None,
        lookahead: tuple[int, Any] | None = None,
        ema: Any = None,
        swa_start: int | None = None,
        complex_mode: str | None = None,
        master_weights: bool = False,
        state_dtype: str | None = None,
        rounding: str = "nearest",
        seed: int = 0,
        **hyper: Any,
    ) -> None:
        given: dict[str, Any] = {
            "accumulate": accumulate,
            "loss_scale": loss_scale,
            "maximize": maximize,
            "clip_value": clip_value,
            "clip_each": clip_each,
            "agc": agc,
            "unit_axis": unit_axis,
            "clip_norm": clip_norm,
            "weight_decay": weight_decay,
            "decay_mode": decay_mode,
            "bounds": bounds,
            "lookahead": lookahead,
            "ema": ema,
            "swa_start": swa_start,
            "complex_mode": complex_mode,
        }
        dynamic = isinstance(loss_scale, str) and loss_scale == "dynamic"
        if dynamic:
            given["loss_scale"] = FIRST_SCALE
            non_finite = "skip" if non_finite == "ignore" else non_finite
        self.options = Options(non_finite, master_weights, state_dtype, rounding, seed)
        if dynamic and non_finite == "raise":
            message = "loss_scale='dynamic' skips steps: non_finite must not be 'raise'"
            raise ArgumentError(message)
        rule = rule if isinstance(rule, Rule) else make_rule()(rule)
        self._transforms, extras = split_options(type(self), rule, given)
        own = {name: extras.pop(name) for name in rule.scalars if name in extras}
        hyper = {**rule.defaults, **hyper, **own}
        refuse_keywords(type(self), rule, hyper)
        self.rule = self._extend(rule)
        refuse_groups(type(self), params, hyper | extras)
        self._bind(params, frozen, hyper | extras, dynamic=dynamic)

    def _bind(
        self, params: Any, frozen: Any, settings: Mapping[str, Any], *, dynamic: bool
    ) -> None:
        """Make the state, and what runs the rule, for arrays."""
        self._parameters = Parameters.of(params, frozen)
        self.options.check_layout(self._parameters.layout)
        own = self.rule, self._transforms, self.options
        self._binding = bind(self._parameters, *own)
        parameters = self._binding.parameters
        self.rule.check_axes(parameters.axes)
        self._counter = StepCounter()
        self.hyper = Hyper(self.rule, parameters, settings, self._counter)
        with parameters.on_device():
            self._state = self._binding.start_state(self.rule, self.options)
        self._named_state = self._binding.named(self.rule, self._state)
        self._dynamic = DynamicLossScale(self.hyper) if dynamic else None
        self._accumulation = None
        if self.accumulate > 1:
            make = self._make_accumulating
            sums = self._accumulated
            self._accumulation = Accumulation(self.accumulate, make, sums)
        self._plans = Plans(self._real, self._make_executor)
        self._required = [n for n in self.rule.scalars if n not in set(self.hyper)]
        self._inputs = StepInputs(self._make_step_hyper, self._check_input)
        self._bind_gradients()
        self._lock = vars(self).get("_lock") or threading.Lock()
        self._held = self._norm_scale = None

    def _bind_gradients(self) -> None:
        """Make what checks gradients, or reads those of torch's parameters."""
        every, states = self._every, self.state_arenas
        self._tensors = tensors = every.tensors
        if tensors is not None:
            self.zero_grad = tensors.zero_grad

        def make(parameters: Parameters) -> Gradients:
            if tensors is None:
                return Gradients(parameters, states)
            return TensorGradients(parameters, states, tensors)

        self._around = self.host_skips or "loss_scale" in self._transforms.options
        self._around = self._around or tensors is not None
        self._checks = Plans(every, make)
        self._freeze(())

    def _make_step_hyper(self, names: frozenset[str]) -> StepHyper:
        """Make the hyper-parameters of steps that are given arrays of these names."""
        return StepHyper(self.hyper, names, self._make_executor, self._real)

    def _check_input(self, name: str) -> Plans[Gradients]:
        """Make what checks arrays that are given to steps."""
        states = self.state_arenas
        return Plans(self._real, lambda some: Gradients(some, states, name))

    def _extend(self, rule: Rule) -> Rule:
        """Return the rule with all that goes around it."""
        return extended(rule, self._transforms)

    @property
    def host_skips(self) -> bool:
        """Whether the host has to know if a step is skipped."""
        skips = self.non_finite == "skip" and self._binding.host_skips
        return self._dynamic is not None or self.accumulate > 1 or skips

    @property
    def accumulate(self) -> int:
        """Calls of `step` for one update."""
        return self._transforms.accumulate

    def _make_executor(
        self, parameters: Parameters, hyper: Hyper | None = None
    ) -> Executor:
        """Make what runs the rule for some of the arrays."""
        return self._binding.make_executor(
            self.rule,
            parameters,
            self._state,
            hyper or self.hyper,
            self._counter,
            options=self._executor_options(),
            norm_rule=norm_rule(self._transforms),
        )

    @property
    def _accumulated(self) -> Arena:
        """The sums of gradients."""
        return self._state[ACCUMULATED]

    def _make_accumulating(self, counter: StepCounter) -> Plans[Executor]:
        """Make what adds up gradients; it leaves the parameters as they are."""
        rule, make = accumulation(), self._binding.make_executor
        hyper = Hyper(rule, self._real, {}, counter)
        options = replace(self._executor_options(), master_weights=False)
        sums = {ACCUMULATED: self._accumulated}
        return Plans(
            self._real,
            lambda parameters: make(
                rule, parameters, sums, hyper, counter, options=options
            ),
        )

    def _executor_options(self) -> Options:
        """Return the options of executors, which skip nothing if the host has to."""
        own = self.options
        return replace(own, non_finite="ignore") if self.host_skips else own

    @property
    def state(self) -> Mapping[str, Mapping[str, Array]]:
        """The state by parameter and name, as live views."""
        own = self._named_state.items()
        found = {
            key: MappingProxyType({n: held[key] for n, held in own})
            for key in self._parameters.arrays
        }
        return MappingProxyType(found)

    @property
    def state_arenas(self) -> Mapping[str, Arena]:
        """The memory of the state, by the rule's names, padding included."""
        return self._state

    @property
    def grad_norm(self) -> Any:
        """The norm of the last gradients that ``clip_norm`` compared.

        A float; on a GPU a 0-d float64 array, which is not waited for; None before the
        first step.
        """
        norm = self.executor.grad_norm
        scaled = "loss_scale" in self._transforms.options
        if norm is None or self._transforms.measures or not scaled:
            return norm
        if self._norm_scale is not None:
            return norm / self._norm_scale
        return norm / self.hyper.at(max(0, self.t - 1)).shared["loss_scale"]

    @property
    def state_bytes(self) -> int:
        """Bytes of memory that the state takes, padding included."""
        return sum(arena.nbytes for arena in self._state.values())

    @property
    def non_finite(self) -> str:
        """What a step does with NaN or infinity in the gradients."""
        return self.options.non_finite

    def step(self, grads: Any = None, *, at: Any = None, **given: Any) -> bool | Array:
        """Update all parameters once, in place; Ctrl-C waits until it is done.

        Args:
            grads: gradients in the form of the parameters: an array, the same nested
                containers, or an arena from ``params.like()``, which needs no check per
                array; or a mapping from paths. Mappings are matched by name, lists by
                position. Each has its parameter's shape, dtype and device; that of a
                0-d array may be a NumPy scalar. Arrays of torch, JAX and others are
                read where they lie. Parameters of torch carry their own: without an
                argument, their ``grad`` is read. An array whose gradient is None is
                left out, as are frozen ones: it is not updated, its state stays, and it
                is not in a norm. The gradients of frozen arrays may also be missing
                from a mapping. With ``accumulate``, None adds nothing to the sum, and
                None at all calls leaves the array out.
            at: the rows that gradients are for, where they are not for all: integers,
                of which one gradient row each is given, in any order, or a slice or a
                tuple of slices; with several arrays a mapping from their names, as
                ``{"E": rows}``: arrays that it does not name are updated whole. Rows
                that are not named, and their state and average, stay as they are, and
                neither decay nor count in a norm; `t` counts this step as any other.
                Gradients of the same row are added up first, in the order given.
            given: hyper-parameters for this step alone, ``step(grads, scale=s)``: a
                number, a 0-d array, or arrays in the form of gradients and checked like
                these, whose elements may be out of range; with ``accumulate``, those of
                the call that updates count. One that was not given when the optimizer
                was made must be given to each step.

        Gradients, arrays in `given`, 0-d arrays and schedules are read at each step,
        and not kept; arrays that hyper-parameters and bounds are set to are copied.
        `t` counts the steps of the optimizer, as in Keras and torch's SparseAdam; other
        optimizers of torch count those of each parameter, and agree as long as no
        gradient is missing: make an optimizer for each part to count apart.

        Returns:
            Whether the update was done: False where ``non_finite="skip"`` skipped it.
            On a GPU that is a 0-d truth value on the device, which is not waited for,
            but where `at` names rows.

        Raises:
            ArgumentError: a gradient is missing, of another shape, shares memory with
                parameters or state, or is not finite and ``non_finite="raise"``; all
                are None; a schedule gave a value out of range; a parameter was replaced
                or resized, or is torch's and lies in other memory than before; a row is
                not there, or the rule or an option takes the whole of an array that
                `at` names.
            ArgumentTypeError: a gradient is not an array, or of another dtype.
            BackendError: a gradient is on another device.
            GdoptError: another thread is in the middle of a step, or the parameters
                hold averages.
        """
        if self._held is not None:
            raise GdoptError(WITHIN.format("step"))
        if not self._lock.acquire(False):  # a keyword takes .1 us more
            raise GdoptError(BUSY.format("step"))
        try:
            if given or self._required:
                return self._step_with(grads, at, given)
            if at is not None:
                return self._step_at(grads, at, self.hyper)
            checked = self._gradients.check(grads)
            if self._around:
                return self._step_around(checked)
            if self.options.non_finite != "ignore" and self._has_non_finite(
                checked, waits=False
            ):
                return False
            if not self._gradients.missing and self.executor.run_compiled(checked):
                return True
            with Uninterrupted():
                return self._run(checked, self._frozen + self._gradients.missing)
        finally:
            self._lock.release()

    def _step_with(self, grads: Any, at: Any, given: Mapping[str, Any]) -> bool | Array:
        """Do a step with hyper-parameters of its own."""
        refuse_inputs(type(self), self.rule, given, self._required)
        hyper = self._inputs.take(given, self._frozen)
        try:
            if at is not None:
                return self._step_at(grads, at, hyper)
            return self._step_around(self._gradients.check(grads), hyper=hyper)
        finally:
            hyper.arrays = {}

    def _step_at(self, grads: Any, at: Any, hyper: Hyper) -> bool | Array:
        """Do a step on the named rows of some arrays."""
        own = self._parameters
        rows = find_rows(at, own)
        if hyper.open:
            message = f"at= takes no arrays as {listed(hyper.open)}: give numbers"
            raise ArgumentTypeError(message)
        refuse_whole(rows, self.rule, self._transforms, hyper, own)
        shapes = {name: own.shape for name, own in rows.items()}
        gradients = self._gradients.with_shapes(shapes)
        checked = gradients.check(grads)
        self._gradients.missing = gradients.missing
        left_out = {*self._frozen, *gradients.missing}
        real = self._real.without(left_out) if left_out else self._real
        executor = RowExecutor(
            self.rule,
            real,
            self._state,
            hyper,
            self._counter,
            options=self.options,
            norm_rule=norm_rule(self._transforms),
            rows={name: rows[name] for name in rows if name not in left_out},
        )
        self._binding.take_rows(executor)
        done = self._step_around(checked, executor, hyper=hyper)
        if executor.grad_norm is not None:
            self.executor.grad_norm = executor.grad_norm
        return done

    def _run(
        self,
        grads: Arena | list[Array],
        left_out: tuple[str, ...],
        hyper: Hyper | None = None,
    ) -> bool | Array:
        """Update all arrays but those that are frozen or have no gradient."""
        if isinstance(hyper, StepHyper):
            done, self.executor.grad_norm = hyper.run(grads, left_out)
            return done
        if left_out == self._frozen:
            return self.executor.run_compiled(grads) or self.executor.run(grads)
        executor = self._plans.of(left_out)
        done = executor.run_compiled(grads) or executor.run(grads)
        self.executor.grad_norm = executor.grad_norm
        return done

    def _completed(
        self, left_out: tuple[str, ...], grads: Arena | list[Array]
    ) -> Arena | list[Array]:
        """Return gradients with zeros for those that are known from earlier calls."""
        own, found, late = self._every, iter(grads), self._gradients.missing
        with own.on_device():
            return [
                own.backend.xp.zeros_like(array) if name in late else next(found)
                for name, array in own.arrays.items()
                if name not in left_out
            ]

    def _step_around(
        self,
        grads: Arena | list[Array],
        rows: Executor | None = None,
        *,
        hyper: Hyper | None = None,
    ) -> bool | Array:
        """Do a step of several calls, of scaled gradients, of rows, or of tensors."""
        accumulation, dynamic = self._accumulation, self._dynamic
        waits = self.host_skips or rows is not None
        non_finite = self.options.non_finite != "ignore"
        if non_finite and self._has_non_finite(grads, waits=waits):
            if dynamic is not None:
                dynamic.update(done=False)
                if accumulation is not None:
                    accumulation.count = 0
            return False
        left_out = self._frozen + self._gradients.missing
        with Uninterrupted():
            if accumulation is not None:
                if not accumulation.full:
                    accumulation.add(grads, left_out)
                    return False
                left_out, given = accumulation.left_out(left_out), left_out
                grads = self._completed(left_out, grads) if left_out != given else grads
            now = hyper or self.hyper
            known = None if now.changes else now.at(0).shared
            self._norm_scale = known and known.get("loss_scale")
            done = rows.run(grads) if rows else self._run(grads, left_out, hyper)
            if accumulation is not None:
                accumulation.count = 0
            if dynamic is not None:
                dynamic.update(done=True)
            if self._tensors is not None and done is not False:
                self._tensors.written(self._every.arrays.keys() - {*left_out})
            return done

    def _has_non_finite(self, grads: Any, *, waits: bool) -> bool:
        """Return whether the host has to skip a step, or refuse its gradients."""
        skips = self.options.non_finite == "skip"
        on_device = self._parameters.backend.name != "numpy"
        if skips and on_device and not waits:
            return False  # the device decides, which the host does not wait for
        names = self._gradients.not_finite(grads)
        if names and not skips:
            found = f"the gradients of {listed(map(array_label, names))}"
            message = f"grads must be finite, got NaN or infinity in {found}"
            raise ArgumentError(message)
        return bool(names)

    def __repr__(self) -> str:
        count = sum(int(array.size) for array in self.params.values())
        return (
            f"{type(self).__name__}({self.hyper.text()}; {len(self.params)} arrays, "
            f"{count} elements on {self._parameters.device}, t={self.t})"
        )


# A rule's hyper-parameters are attributes; only its own weight decay may be an option.
RESERVED.update(
    dir(Optimizer),
    *(getattr(kind, "__annotations__", ()) for kind in Optimizer.__mro__),
)
RESERVED.update({"grads", "at"})
RESERVED.update({*(Optimizer.__init__.__kwdefaults__ or {})} - {"weight_decay"})


def with_options(init: Init) -> Init:
    """Let an `__init__` that takes ``**options`` show the options of `Optimizer`.

    Its signature is set on the function: a class's own is inherited by subclasses,
    whatever their `__init__` takes.
    """
    shared = inspect.signature(Optimizer.__init__).parameters.values()
    signature = inspect.signature(init)
    *own, _ = signature.parameters.values()
    names = {one.name for one in own}
    names |= {"decay_mode"} if "weight_decay" in names else set()  # it is the rule's
    options = [
        option
        for option in shared
        if option.kind is option.KEYWORD_ONLY and option.name not in names
    ]
    shown = signature.replace(parameters=[*own, *options])
    init.__signature__ = shown  # type: ignore[attr-defined]
    return init
