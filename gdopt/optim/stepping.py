"""One step of an optimizer: what it checks, skips, sums up and runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from gdopt.arrays.arena import Arena, array_label
from gdopt.arrays.backend import Array
from gdopt.checks import listed
from gdopt.errors import ArgumentError, GdoptError
from gdopt.optim.changes import WITHIN, Changeable
from gdopt.optim.executors import Executor
from gdopt.optim.gradients import Gradients
from gdopt.optim.hyper import Hyper
from gdopt.optim.inputs import StepHyper, StepInputs
from gdopt.optim.known import UNKNOWN, Known, run_step
from gdopt.optim.options import refuse_inputs
from gdopt.optim.overflow import overflown, safe_magnitude
from gdopt.optim.parameters import Parameters
from gdopt.optim.plans import Plans, RuleRunner, weakly
from gdopt.optim.row_executor import RowExecutor
from gdopt.optim.rows import Rows, find_rows, refuse_whole
from gdopt.optim.transforms import norm_rule


class Stepping(Changeable):
    """What a step of an optimizer does."""

    _inputs: StepInputs
    _row_steps: dict[Any, Any]  # kept by executors of rows
    _required: list[str]  # hyper-parameters that each step is given
    _norm_scale: Any  # the loss scale of the last step, where known
    _waits_to_skip = False  # whether the host looks for gradients that are not finite
    _around: bool  # whether a step is more than one of the executor's

    @property
    def non_finite(self) -> str:
        """What a step does with NaN or infinity in the gradients."""
        return self.options.non_finite

    @property
    def accumulate(self) -> int:
        """Calls of `step` for one update."""
        return self._transforms.accumulate

    @property
    def host_skips(self) -> bool:
        """Whether the host has to know if a step is skipped."""
        waits = self._waits_to_skip or self._binding.host_skips
        waits = waits or self._every.tensors is not None  # as autograd counts updates
        skips = self.non_finite == "skip" and waits
        return self._dynamic is not None or self.accumulate > 1 or skips

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

    def _make_executor(
        self, parameters: Parameters, hyper: Hyper | None = None
    ) -> Executor:
        """Make what runs the rule for some of the arrays."""
        run = self._rule_run(parameters, self.hyper if hyper is None else hyper)
        return self._binding.make_executor(run, norm_rule(self._transforms))

    def _rule_run(self, parameters: Parameters, hyper: Hyper) -> RuleRunner:
        """Return the rule with what it runs on; it skips nothing if the host has to."""
        own, counter = self.options, self._counter
        options = replace(own, non_finite="ignore") if self.host_skips else own
        return RuleRunner(self.rule, parameters, self._state, hyper, counter, options)

    def _make_step_hyper(self, names: frozenset[str]) -> StepHyper:
        """Make the hyper-parameters of steps that are given arrays of these names."""
        make = weakly(self._make_executor)
        return StepHyper(self.hyper, names, make, self._real)

    def _check_input(self, name: str) -> Plans[Gradients]:
        own, states = self._parameters, self.state_arenas
        if self._real is not own:  # complex parameters, whose hyper-parameters are real
            own = replace(own, arrays={n: a.real for n, a in own.arrays.items()})
        return Plans(own, lambda some: Gradients(some, states, name))

    def step(
        self,
        grads: Any = None,
        *,
        at: Any = None,
        norm: Any = None,
        finite: Any = None,
        **given: Any,
    ) -> bool | Array:
        """Update all parameters once, in place; signals and threads wait meanwhile.

        Whatever the Python handler of a signal raises comes before the update or after
        it. A step, a change, or a saved or loaded state of another thread ends first.

        Args:
            grads: gradients in the form of the parameters: an array, the same nested
                containers, or an arena from ``params.like()``, which needs no check per
                array; or a mapping from paths, or from the course's names, ``dW1`` for
                W1. Mappings are matched by name, lists by position. Each has its
                parameter's shape, dtype and device; that of a 0-d array may be a NumPy
                scalar. Arrays of torch, JAX and others are read where they lie.
                Parameters of torch carry their own: without an argument, their ``grad``
                is read. An array whose gradient is None is
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
            norm: that of all gradients, where these are a part of them: it takes the
                place of the one that is computed for ``clip_norm``, or for a rule that
                takes it, and is `grad_norm`; a number of at least 0, NaN or infinity,
                or a 0-d array. It is that of gradients as they are given, so it does
                not go with options that change them before the norm is taken.
            finite: whether all gradients are finite, where these are a part of them;
                ``non_finite`` other than ``"ignore"`` goes by it, and these are not
                looked at, nor for what would make state infinite.
            given: hyper-parameters for this step alone, ``step(grads, scale=s)``: a
                number, a 0-d array, or arrays in the form of gradients and checked like
                these, whose elements may be out of range; those of complex parameters
                are real. With ``accumulate``, those of the call that updates count;
                with `at`, an array has a row for each gradient row, and no row is
                repeated. One that was not given when the optimizer was made must be
                given to each step.

        Gradients, arrays in `given`, 0-d arrays and schedules are read at each step,
        and not kept; arrays that hyper-parameters and bounds are set to are copied.
        `t` counts the steps of the optimizer, as in Keras and torch's SparseAdam; other
        optimizers of torch count those of each parameter, and agree as long as no
        gradient is missing: make an optimizer for each part to count apart.

        Returns:
            Whether the update was done: False where ``non_finite="skip"`` skipped it.
            On a GPU that is a 0-d truth value on the device, which is not waited for,
            but where `at` names rows, and for parameters of torch.

        Raises:
            ArgumentError: a gradient is missing, of another shape, shares memory with
                parameters or state, or is not finite and ``non_finite="raise"``; all
                are None; a schedule gave a value out of range; a parameter was replaced
                or resized, or is torch's and lies in other memory than before; a row is
                not there, or the rule or an option takes the whole of an array that
                `at` names.
            ArgumentTypeError: a gradient is not an array, or of another dtype; `norm`
                is not a number, or `finite` is not a truth value.
            BackendError: a gradient or `norm` is on another device.
            GdoptError: a schedule has called this; another thread's step does not end
                for ten seconds; or the parameters hold averages.
        """
        executor: Any = self.executor
        plain = at is norm is finite is None
        if executor.direct and plain and not (given or self._around):
            turns = self._turns
            with turns.lock:  # not `turns`, which cost as much: signals do not wait
                turns.count = count = turns.count + 1
                if not turns.inside and self._held is None:
                    view = executor.compiled_view(self._gradients.check(grads))
                    same = executor.revision == self.hyper.revision
                    # A handler that has run here meanwhile may have changed anything.
                    if view is not None and same and turns.count == count:
                        try:
                            executor._counted(view)  # noqa: SLF001 - in one call
                        except BaseException:
                            executor.restore_mode()
                            raise
                        return True
        with self._turns:
            if self._held is not None:
                raise GdoptError(WITHIN.format("step"))
            if given or self._required or not plain:
                own = self._transforms, self._parameters
                known = Known.of(norm, finite, *own)
                return self._step_with(grads, at, given, known)
            checked = self._gradients.check(grads)
            if self._around:
                return self._step_around(checked)
            return self._run(checked, self._frozen + self._gradients.missing)

    def _step_with(
        self, grads: Any, at: Any, given: Mapping[str, Any], known: Known
    ) -> bool | Array:
        """Do a step with hyper-parameters of its own, or on rows."""
        refuse_inputs(type(self), self.rule, given, self._required)
        rows = {} if at is None else find_rows(at, self._parameters)
        hyper = self._inputs.take(given, self._frozen, rows) if given else None
        try:
            if at is not None:
                return self._step_at(grads, rows, hyper, known)
            checked = self._gradients.check(grads)
            return self._step_around(checked, hyper=hyper, known=known)
        finally:
            if hyper is not None:
                hyper.arrays = {}

    def _step_at(
        self,
        grads: Any,
        rows: Mapping[str, Rows],
        hyper: StepHyper | None,
        known: Known,
    ) -> bool | Array:
        refuse_whole(rows, self.rule, self._transforms, self.hyper, self._parameters)
        gradients = self._gradients.with_shapes(rows)
        checked = gradients.check(grads)
        self._gradients.missing = gradients.missing
        left_out = {*self._frozen, *gradients.missing}
        real = self._real.without(left_out) if left_out else self._real
        executor = RowExecutor(
            **vars(self._rule_run(real, hyper or self.hyper)),
            norm_rule=norm_rule(self._transforms),
            rows={name: rows[name] for name in rows if name not in left_out},
            inputs={} if hyper is None else hyper.arrays,
            steps=self._row_steps,
        )
        self._binding.take_rows(executor)
        done = self._step_around(checked, executor, hyper=hyper, known=known)
        if executor.grad_norm is not None:
            self.executor.grad_norm = executor.grad_norm
        return done

    def _run(
        self,
        grads: Arena | list[Array],
        left_out: tuple[str, ...],
        hyper: Hyper | None = None,
        known: Known = UNKNOWN,
    ) -> bool | Array:
        """Update all arrays but those that are frozen or have no gradient."""
        if isinstance(hyper, StepHyper):
            done, self.executor.grad_norm = hyper.run(grads, left_out, known)
            return done
        if left_out == self._frozen:
            return run_step(self.executor, grads, known)
        executor = self._plans.of(left_out)
        done = run_step(executor, grads, known)
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
        known: Known = UNKNOWN,
    ) -> bool | Array:
        """Do a step of several calls, of scaled gradients, of rows, or of tensors."""
        accumulation, dynamic = self._accumulation, self._dynamic
        waits = self.host_skips or rows is not None
        non_finite = self.options.non_finite != "ignore"
        if non_finite and self._has_non_finite(grads, known, waits=waits):
            return self._skip()
        given = self._frozen + self._gradients.missing
        now, left_out, every = hyper or self.hyper, given, grads
        updates = accumulation is None or accumulation.full
        careful = non_finite and known.finite is None and self._may_overflow(now)
        if accumulation is not None and (updates or careful):
            left_out = accumulation.left_out(given)
            every = self._completed(left_out, grads) if left_out != given else grads
        run = partial(self._run, every, left_out, hyper, known)
        run = partial(rows.run, every, known) if rows else run
        if careful:
            run = partial(self._run_or_undo, run, updates=updates)
            if not updates and not run():
                return self._skip()
        if accumulation is not None and not updates:
            accumulation.add(grads, given)
            return False
        shared = None if now.changes else now.at(0).shared
        self._norm_scale = shared and shared.get("loss_scale")
        done = run()
        if done is False:
            return self._skip()
        if accumulation is not None:
            accumulation.count = 0
        if dynamic is not None:
            dynamic.update(done=True)
        if self._tensors is not None:
            self._tensors.written(self._every.arrays.keys() - {*left_out})
        return done

    def _skip(self) -> bool:
        """Note that the host has skipped a step; return False."""
        if self._dynamic is not None:
            self._dynamic.update(done=False)
            if self._accumulation is not None:
                self._accumulation.count = 0
        return False

    def _has_non_finite(self, grads: Any, known: Known, *, waits: bool) -> bool:
        """Return whether the host has to skip a step, or refuse its gradients."""
        if known.finite is False and self.non_finite == "raise":
            raise ArgumentError("grads must be finite, got finite=False")
        if known.finite is not None:
            return not known.finite
        skips = self.options.non_finite == "skip"
        on_device = self._parameters.backend.name != "numpy"
        if skips and on_device and not waits:
            self._gradients.largest = 0.0
            return False  # the device decides, which the host does not wait for
        names = self._gradients.not_finite(grads)
        self._refuse(names, "be finite, got NaN or infinity in")
        return bool(names)

    def _refuse(self, names: Sequence[str], rule: str) -> None:
        """Refuse gradients by name, unless their step is skipped."""
        if names and self.non_finite == "raise":
            found = f"the gradients of {listed(map(array_label, names))}"
            raise ArgumentError(f"grads must {rule} {found}")

    def _may_overflow(self, hyper: Hyper) -> bool:
        """Return whether gradients are so large that a step could overflow its state.

        It is asked after `_has_non_finite`, and for gradients that the host looks at.
        """
        safe = safe_magnitude(self.rule, self._real, hyper)
        return not self._gradients.largest <= safe

    def _run_or_undo(
        self,
        run: Callable[[], Any],
        *,
        updates: bool = True,
        agree: Callable[[list[str]], list[str]] = list,
    ) -> Any:
        """Do a step; undo it where it makes state infinite, or where it is a trial.

        Return what the step does, or False where state has overflowed.
        """
        undo, own, arenas = self.snapshot(), self._every, self.state_arenas
        first = not updates and self._accumulation and not self._accumulation.count
        with own.on_device():
            buffers = [b for arena in arenas.values() for b in arena.buffers.values()]
            kept = [(a, a.copy()) for a in (*own.arrays.values(), *buffers)]
            for sums in self._accumulated.buffers.values() if first else ():
                sums[...] = 0
        done = run()
        names = agree(overflown(own, arenas))  # with those of other processes
        if names or not updates:
            with own.on_device():
                for array, before in kept:
                    array[...] = before
            undo()
        self._refuse(names, "leave the state finite, got too large ones in")
        return False if names else done
