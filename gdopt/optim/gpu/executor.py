"""Runs a rule over arrays on a GPU: one launch for each dtype, however many arrays."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from gdopt.arrays.arena import Arena
from gdopt.arrays.backend import Array
from gdopt.kernels.cuda.engine import Call, Launch, launch_all
from gdopt.kernels.cuda.norm import GradNorm
from gdopt.kernels.cuda.prologue import PrologueOptions
from gdopt.kernels.cuda.text import KernelText
from gdopt.kernels.norm import join_norms
from gdopt.optim.gpu.group import DtypeGroup
from gdopt.optim.gpu.reducing import ReducingGroup
from gdopt.optim.gpu.values import DeviceStepCounter, HoistedScalars
from gdopt.optim.known import UNKNOWN, Known
from gdopt.optim.overflow import MOST, PEAKS, peak_rule, safe_magnitude, statistics
from gdopt.optim.plans import RuleRunner
from gdopt.optim.rule import Rule
from gdopt.optim.state import state_layout

Group = DtypeGroup | ReducingGroup
NUMBERS = itertools.count()
OVERFLOW = KernelText(
    "raw bool done_, raw float64 peaks_, int32 count_, float64 most_",
    "raw float64 norm_",
    """for (int k_ = 0; done_[0] && k_ < count_; ++k_)
  if (!(peaks_[k_] <= most_)) norm_[1] = nan("");""",
    "gdopt_overflow",
)


def hoisted_of(groups: Sequence[Group]) -> list[HoistedScalars]:
    """Return the hoisted values of all passes of groups."""
    return [values for group in groups for values in group.values]


def calls_of(
    groups: Sequence[Group],
    located: Sequence[Mapping[str, Any]],
    shared: Mapping[str, Any],
) -> list[Call]:
    """Return the launches of groups: of all prologues, and then of all passes."""
    calls = [call for values in hoisted_of(groups) for call in values.calls(shared)]
    for group, arguments in zip(groups, located, strict=True):
        calls += group.calls(arguments, shared)
    return calls


@dataclass(eq=False)
class GpuExecutor(RuleRunner):
    """The passes of one optimizer on a GPU; nothing in them waits for the device.

    Arrays in an arena, or separate ones, are one launch per dtype, whatever their
    values by name. Before it, where the step asks for it, come the two launches of the
    norm, and a one-thread prologue that computes the values which depend on it, or
    takes them from rows sent ahead for the step that a counter on the device counts.
    """

    norm_rule: Rule | None = None
    norms: Array | None = None
    grad_norm: Any = None

    def __post_init__(self) -> None:
        """Prepare nothing yet: the settings may change before the first step."""
        self._norm_groups: list[Group] = []  # for the norm of each array
        self._number = next(NUMBERS)  # as the counter is shared, and kept here
        self._takes_norm = "norm" in self.rule.kernel.signature.scalars
        self._skip = self.options.non_finite == "skip"
        self._trial_groups: list[Group] = []  # for the largest new state of each array
        self._version = -1
        self._groups: list[Group] = []
        self._sum: GradNorm | None = None
        self._device_counter: DeviceStepCounter | None = None
        self._tries = self._skip and bool(statistics(self.rule))
        if self._tries:
            own, dtype = self.parameters, self.options.state_dtype
            layout = state_layout(own.layout, peak_rule(self.rule), PEAKS)
            peaks = Arena(layout, own.backend, own.device)
            self.states = {**self.states, PEAKS: peaks}
            fixed = {"peaks_": peaks.buffers["float64"], "most_": MOST[dtype]}
            fixed["count_"] = np.int32(layout.sizes["float64"])
            self._overflow = Launch(OVERFLOW, 1, fixed)
            self._safe = own.backend.zeros((), np.float64, own.device)
        if self._skip:
            self.count_on_device()

    def count_on_device(self) -> None:
        """Take the step count from the device from now on, as a graph has to."""
        if self._device_counter is None:
            shared, own = self.counter.device, self.parameters
            if not isinstance(shared, DeviceStepCounter):
                shared = DeviceStepCounter(own.backend, own.device)
            self._device_counter = self.counter.device = shared
            self._version = -1

    def run(self, grads: Arena | list[Array], known: Known = UNKNOWN) -> bool | Array:
        """Do one step; return True, or a 0-d truth value on the device that decides."""
        with self.parameters.on_device():
            self.prepare()
            done = self.launch(grads, known)
            self.count()
            return done

    def send_values(self) -> None:
        """Send the values of the next step, or of many where the device counts."""
        groups = [*self._norm_groups, *self._trial_groups, *self._groups]
        hyper, hoisted = self.hyper, hoisted_of(groups)
        if self._device_counter is None:
            known = hyper.at(self.counter.t)
            for values in hoisted:
                values.take([(self.counter.t + 1, known)])
            return
        sent = self._number, hyper.revision  # others may have counted in between
        if not self._device_counter.lacks_rows(sent):
            for values in hoisted:
                values.refresh()
            return
        if self._tries:
            self._safe[...] = safe_magnitude(self.rule, self.parameters, hyper)
        step = self.counter.t
        steps = [(step + 1, hyper.at(step))]
        ahead = self._device_counter.rows(sent)
        ahead = 1 if hyper.reads_host else ahead
        for k in range(step + 1, step + ahead):
            try:
                steps.append((k + 1, hyper.at(k)))
            except Exception:  # noqa: BLE001 - raised when its step is reached
                break
        for values in hoisted:
            values.take(steps)
        self._device_counter.start(step, len(steps), sent)

    def launch(self, grads: Arena | list[Array], known: Known = UNKNOWN) -> Any:
        """Launch the step's kernels; the values have been sent."""
        own = self.parameters.arrays
        if isinstance(grads, Arena) and len(grads) != len(own):  # has other places
            grads = [grads[name] for name in own]
        located = [group.locate(grads) for group in self._groups]
        shared = self._shared_arguments()
        decides = self._skip and known.finite is None
        if self._sum is not None and (decides or known.norm is None):
            for group, arguments in zip(self._groups, located, strict=True):
                group.add_squares(self._sum, arguments)
            self._sum.finish(shared)
        if known is not UNKNOWN:
            self._take_known(known, shared)
        if self.norms is not None:
            self._take_norm(grads, shared)
        if self._tries and decides:
            self._find_overflow(grads, shared)
        launch_all(calls_of(self._groups, located, shared))
        return shared["done_"].reshape(()) if self._skip else True

    def _take_known(self, known: Known, shared: Mapping[str, Any]) -> None:
        """Take what is known in place of what the launches before it compute."""
        if known.norm is not None:
            array = self.parameters.backend.xp.array
            self.grad_norm = array(known.norm, np.float64)
            if "norm_" in shared:
                shared["norm_"][0] = self.grad_norm
        if known.finite and "norm_" in shared:
            shared["norm_"][1] = 0

    def _take_norm(self, grads: Arena | list[Array], shared: dict[str, Any]) -> None:
        """Compute the norm of the transformed gradients, for the groups' prologues."""
        assert self.norms is not None  # noqa: S101 - as there is a rule for them
        located = [group.locate(grads) for group in self._norm_groups]
        launch_all(calls_of(self._norm_groups, located, shared))
        self.grad_norm = join_norms(self.parameters.backend.xp, self.norms)
        for values in hoisted_of([*self._trial_groups, *self._groups]):
            values.take_norm(self.grad_norm)

    def _find_overflow(
        self, grads: Arena | list[Array], shared: Mapping[str, Any]
    ) -> None:
        """Let the step be skipped where it would make state infinite.

        Passes look for that where a gradient is large, and do nothing otherwise.
        """
        trial = {**shared, "done_": shared["norm_"][:1] > self._safe}
        located = [group.locate(grads) for group in self._trial_groups]
        launch_all(calls_of(self._trial_groups, located, trial))
        self._overflow(trial)

    def count(self) -> None:
        """Count a step that has been launched, where the host counts."""
        if self._device_counter is None:
            self.counter.t += 1
        else:
            self._device_counter.launched()

    def prepare(self) -> int:
        """Send what the next step needs; return the plan that a graph is for."""
        if self._version != self.hyper.version:
            self._plan()
        self.send_values()
        return self._version

    def _shared_arguments(self) -> dict[str, Any]:
        """Make what the step reports: fresh arrays, which the caller may keep."""
        empty = self.parameters.backend.xp.empty
        shared: dict[str, Any] = {}
        if self._skip:
            shared["done_"] = empty(1, np.bool_)
        if self._sum is not None:
            shared["norm_"] = empty(2, np.float64)
        if self.norm_rule is None and self._takes_norm:
            self.grad_norm = shared["norm_"][0]
        if self._device_counter is not None:
            shared["counter_"] = self._device_counter.array
        else:
            shared["t_"] = np.uint32((self.counter.t + 1) & 0xFFFFFFFF)
        return shared

    def _plan(self) -> None:
        own, given = self.parameters, self.norm_rule is not None
        counter = self._device_counter is not None
        options = PrologueOptions(
            norm=self._takes_norm and not given,
            given_norm=given,
            skip=self._skip,
            counter=counter,
            counts=True,
        )
        self._groups = self._make_groups(self.rule, options)
        if self._tries:
            trial = replace(options, skip=False, gated=True, counts=False)
            self._trial_groups = self._make_groups(peak_rule(self.rule), trial)
        if self.norm_rule is not None:
            options = PrologueOptions(counter=counter)
            self._norm_groups = self._make_groups(self.norm_rule, options)
        takes_sum = self._skip or (self._takes_norm and not given)
        if takes_sum and self._sum is None:
            self._sum = GradNorm(own.backend, own.device, own.layout)
        self._version = self.hyper.version

    def _make_groups(self, rule: Rule, options: PrologueOptions) -> list[Group]:
        """Prepare the kernels of a rule for each dtype; the last one counts."""
        layout = self.parameters.layout
        own = {slot.group for slot in layout.slots.values()}
        *others, last = (group for group in layout.sizes if group in own)
        group_of: type[Group] = ReducingGroup if rule.kernel.by_shape else DtypeGroup
        silent = replace(options, counts=False)
        made = [group_of(self, rule, group, silent) for group in others]
        return [*made, group_of(self, rule, last, options)]
