"""The optimizer: a rule, its hyper-parameters and its state, bound to arrays."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol, TypeVar, runtime_checkable

from gdopt.arrays.arena import Arena
from gdopt.arrays.backend import Array
from gdopt.copies import MappingProxy
from gdopt.errors import ArgumentError
from gdopt.optim.accumulate import FIRST_SCALE, Accumulation, DynamicLossScale
from gdopt.optim.executors import Executor, bind
from gdopt.optim.gradients import Gradients
from gdopt.optim.hyper import Hyper, StepCounter
from gdopt.optim.inputs import StepInputs
from gdopt.optim.options import SHARED, Options, refuse_keywords, split_options
from gdopt.optim.parameters import Parameters
from gdopt.optim.patterns import refuse_groups
from gdopt.optim.plans import Plans, weakly
from gdopt.optim.rule import RESERVED, Rule, rule as make_rule
from gdopt.optim.stepping import Stepping
from gdopt.optim.tensors import TensorGradients
from gdopt.optim.transforms import ACCUMULATED, accumulation, extended
from gdopt.optim.turns import Turns

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


class Optimizer(Stepping):
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
            step count, ``"raise"`` refuses them by name. As not finite counts what
            would make state infinite as well, after all that goes before the rule: in
            float32, Adam's mean square overflows above 1.8e19. With ``"ignore"`` it
            stays infinite, and its element of the parameter never moves again.
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
        keywords = locals()
        given = {name: keywords[name] for name in SHARED}
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
        self._plans = Plans(self._real, weakly(self._make_executor))
        self._required = [n for n in self.rule.scalars if n not in set(self.hyper)]
        step_hyper, check = weakly(self._make_step_hyper), weakly(self._check_input)
        self._inputs = StepInputs(step_hyper, check)
        self._bind_gradients()
        self._turns = vars(self).get("_turns") or Turns()
        self._row_steps = {}
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
        self._around = self._around or self.non_finite != "ignore"
        self._checks = Plans(every, make)
        self._freeze(())

    def _extend(self, rule: Rule) -> Rule:
        """Return the rule with all that goes around it."""
        return extended(rule, self._transforms)

    @property
    def _accumulated(self) -> Arena:
        return self._state[ACCUMULATED]

    def _make_accumulating(self, counter: StepCounter) -> Plans[Executor]:
        """Make what adds up gradients; it leaves the parameters as they are."""
        rule, make = accumulation(), self._binding.make_executor
        hyper = Hyper(rule, self._real, {}, counter)
        run = self._rule_run(self._real, hyper)
        options = replace(run.options, master_weights=False)
        sums = {ACCUMULATED: self._accumulated}
        run = replace(run, rule=rule, states=sums, counter=counter, options=options)
        return Plans(self._real, lambda some: make(replace(run, parameters=some)))

    @property
    def state(self) -> Mapping[str, Mapping[str, Array]]:
        """The state by parameter and name, as live views."""
        own = self._named_state.items()
        found = {
            key: MappingProxy({n: held[key] for n, held in own})
            for key in self._parameters.arrays
        }
        return MappingProxy(found)

    @property
    def state_arenas(self) -> Mapping[str, Arena]:
        """The memory of the state, by the rule's names, padding included."""
        return self._state

    @property
    def state_bytes(self) -> int:
        """Bytes of memory that the state takes, padding included."""
        return sum(arena.nbytes for arena in self.state_arenas.values())

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
RESERVED.update({"grads", "at", "finite", "params", "rule", "self"})
RESERVED.update({*(Optimizer.__init__.__kwdefaults__ or {})} - {"weight_decay"})


def with_options(init: Init) -> Init:
    """Let an `__init__` that takes ``**options`` show the options of `Optimizer`.

    The signature is the function's: a class's own would be inherited by subclasses.
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
