"""Makes what runs a rule on the arrays of an optimizer, and the memory of its state."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

from gdopt.arrays.arena import PADDING, Arena
from gdopt.arrays.backend import Array
from gdopt.arrays.dtypes import COMPLEX, as_dtype
from gdopt.checks import listed
from gdopt.errors import ArgumentError
from gdopt.kernels.norm import join_norms
from gdopt.optim import state
from gdopt.optim.cpu import CpuExecutor
from gdopt.optim.cpu_reducing import CpuReducingExecutor
from gdopt.optim.hyper import StepCounter
from gdopt.optim.known import UNKNOWN, Known
from gdopt.optim.options import MASTER, Options
from gdopt.optim.parameters import Parameters
from gdopt.optim.plans import RuleRunner
from gdopt.optim.rule import Rule
from gdopt.optim.transforms import NORMS, Transforms


class Executor(Protocol):
    """What an optimizer asks of the code that runs its rule, on the CPU or on a GPU."""

    direct: bool  # whether the last step was one compiled call
    grad_norm: Any

    def run_compiled(self, grads: Arena | list[Array]) -> bool:
        """Do a step that is one compiled call; return whether there is one."""

    def run(self, grads: Arena | list[Array], known: Known = UNKNOWN) -> bool | Array:
        """Do one step with checked gradients; return whether it was done."""


def start_state(
    rule: Rule, parameters: Parameters, options: Options
) -> dict[str, Arena]:
    """Make the state, and the master copy of the parameters, if there is one."""
    states = {}
    master = [MASTER] if options.master_weights else []
    for name in (*rule.states, *master):
        layout = state.state_layout(parameters.layout, rule, name)
        dtypes = {
            group: as_dtype(options.state_dtype_of(name, group))
            for group in layout.sizes
        }
        states[name] = Arena(layout, parameters.backend, parameters.device, dtypes)
    fill_state(states, rule, parameters)
    return states


def fill_state(states: Mapping[str, Arena], rule: Rule, parameters: Parameters) -> None:
    """Set state to its start, in place."""
    for name, arena in states.items():
        initial = "p" if name == MASTER else rule.start(name)
        if initial == "p":
            for key, array in parameters.arrays.items():
                arena[key][...] = array
        else:  # padding, too: it is divided by like an element's state
            for buffer in arena.buffers.values():
                buffer[...] = initial


class Binding:
    """What executors run on: the parameters as they are, which are real."""

    host_skips = False  # whether the host has to look for NaN and infinity

    def __init__(self, parameters: Parameters) -> None:
        self.parameters = parameters

    def start_state(self, rule: Rule, options: Options) -> dict[str, Arena]:
        """Make the state of a rule; see `start_state`."""
        return start_state(rule, self.parameters, options)

    def fill_state(self, states: Mapping[str, Arena], rule: Rule) -> None:
        """Set the state of a rule to its start, in place."""
        fill_state(states, rule, self.parameters)

    def make_executor(self, run: RuleRunner, norm_rule: Rule | None = None) -> Executor:
        """Make what runs a rule on some of the arrays, and `norm_rule` before it."""
        parameters, given, norms = run.parameters, dict(vars(run)), None
        if norm_rule is not None:
            norm_rule.check_axes(parameters.axes)
            with parameters.on_device():
                arena = start_state(norm_rule, parameters, run.options)[NORMS]
            (buffer,) = arena.buffers.values()
            given["states"], norms = {**run.states, NORMS: arena}, buffer[::PADDING]
        if parameters.backend.name != "numpy":
            from gdopt.optim.gpu.executor import GpuExecutor  # noqa: PLC0415

            return GpuExecutor(**given, norm_rule=norm_rule, norms=norms)
        kind = CpuReducingExecutor if run.rule.kernel.by_shape else CpuExecutor
        if norm_rule is None:
            return kind(**given)
        own, counter = StepCounter(), run.counter  # as running the rule counts a step
        executor = CpuReducingExecutor(**{**given, "rule": norm_rule, "counter": own})

        def norm(grads: Any) -> float:
            own.t = counter.t
            executor.run(grads)
            return float(join_norms(np, norms))

        return kind(**given, norm=norm)

    def take_rows(self, executor: Executor) -> None:
        """Let an executor of rows take gradients as they are given."""

    def named(
        self,
        rule: Rule,  # noqa: ARG002
        states: Mapping[str, Arena],
    ) -> Mapping[str, Mapping[str, Array]]:
        """Return the state as its owner sees it."""
        return states


def bind(
    parameters: Parameters, rule: Rule, transforms: Transforms, options: Options
) -> Binding:
    """Choose how a rule takes arrays: as they are, or complex ones as pairs."""
    groups = parameters.layout.sizes
    if COMPLEX.keys() & groups:
        from gdopt.optim.complex_ import bind_complex  # noqa: PLC0415 - as few need it

        return bind_complex(parameters, rule, transforms, options)
    if (mode := transforms.complex_mode) is not None:
        message = f"complex_mode needs complex parameters, got {mode!r} for "
        raise ArgumentError(message + listed(groups))
    return Binding(parameters)
