"""The loop: updates, records, callbacks, stopping rules and checkpoints."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np

from gdopt.averages import EWA
from gdopt.averages.formula import BETA
from gdopt.checks import check_count, check_number, shown
from gdopt.copies import running
from gdopt.errors import ArgumentError, ArgumentTypeError, DivergenceError
from gdopt.files import check_path
from gdopt.optim import Optimizer
from gdopt.parallel.sharded import Sharded
from gdopt.training.checkpoints import CheckpointFolder, SignalsSave
from gdopt.training.descent import Descent
from gdopt.training.graph import TrainingGraph
from gdopt.training.methods import FirstOrder, max_norm, parameters_of
from gdopt.training.objectives import Objective, not_finite_in
from gdopt.training.parts import Exchange, Parts, check_parts
from gdopt.training.records import History, Record, Result
from gdopt.training.resume import put_back, resume, settings_of, state_of, with_evidence
from gdopt.training.sharded_folder import ShardedFolder
from gdopt.training.sources import Batches, Replays, Update, WholeProblem
from gdopt.training.stops import Stops

# A loss in float32 is wrong by about 2e-6, an ulp of logits near 20: a rise below this
# share of max(1, loss) is rounding.
RISE = 1e-5
Callback = Callable[[Record], bool | None]


@dataclass(frozen=True)
class Cadence:
    """How often a run makes a record: in steps, in seconds, or else in epochs."""

    steps: int | None = None
    seconds: float | None = None

    @classmethod
    def of(cls, every: Any) -> Cadence:
        """Read ``record_every``: a number of steps, ``"epoch"`` or ``"2.5 s"``."""
        if not isinstance(every, str):
            return cls(steps=check_count("record_every", every))
        if every == "epoch":
            return cls()
        found = re.fullmatch(r"(\d+\.?\d*|\.\d+) ?s", every)
        if found and float(found[1]) > 0:
            return cls(seconds=float(found[1]))
        rule = "a number of steps, 'epoch', or seconds such as '2.5 s'"
        raise ArgumentError(f"record_every must be {rule}, got {every!r}")

    def is_due(self, step: int, waited: float, *, ends_epoch: bool) -> bool:
        """Return whether there is a record of a step."""
        if self.steps is not None:
            return step % self.steps == 0
        return ends_epoch if self.seconds is None else waited >= self.seconds


class Run:
    """One run of `gdopt.steps`, `gdopt.minimize` or `gdopt.fit`, as callbacks see it.

    Attributes:
        objective: what is minimized.
        optimizer: the method: an optimizer of its parameters, or a line search.
        params: the user's container.
        parameters: the arrays in it.
        stops: the rules that end it.
        data: batches; None for a run without data.
        dev: arguments of the evaluation that ends an epoch.
        history: what was recorded.
        step: updates so far, those before it was resumed included.
        epoch: epochs that have been completed.
        reason: why it has ended; None before.
    """

    def __init__(
        self,
        objective: Objective,
        method: Any,
        stops: Stops,
        *,
        data: Any = None,
        dev: Any = None,
        callbacks: Sequence[Callback] = (),
        record_every: Any = 1,
        smoothing: float = 0.9,
        checkpoint: Any = None,
        checkpoint_seconds: float = 60.0,
        graph: TrainingGraph | None = None,
    ) -> None:
        self.objective, self.optimizer, self.stops = objective, method, stops
        self.params, self.parameters = objective.params, parameters_of(method)
        self.callbacks, self.data, self.dev = callbacks, data, check_dev(dev)
        self.history = History()
        self.average = EWA(check_number("smoothing", smoothing, BETA))
        self.step = self.epoch = 0
        self.seconds = 0.0
        self.reason: str | None = None
        self.success = False
        self.fun = math.nan
        self.grad_norm: float | None = None
        self.last_loss, self.has_warned = math.inf, False
        self.settings = settings_of(self)
        self._cadence = Cadence.of(record_every)
        self._checkpoint = _check_checkpoint(checkpoint, data), checkpoint_seconds
        self._folder: CheckpointFolder | ShardedFolder | None = None
        check_parts(method, data)
        sharded = isinstance(method, Sharded)
        self._exchange = Exchange(method) if sharded else None
        self._signals: SignalsSave | None = None
        self._clock = _Clock(self._exchange)
        self.source: Any = self._make_source(method, graph)

    def _make_source(self, method: Any, graph: TrainingGraph | None) -> Any:
        data, exchange = self.data, self._exchange
        if data is None:
            if isinstance(method, Optimizer):
                change = self.stops.xtol is not None
                method = FirstOrder(method, measure_change=change)
            return WholeProblem(self.objective, method, self._check)
        if isinstance(method, Descent):
            name = type(method).__name__
            message = f"data must be None for {name}, whose line search compares values"
            raise ArgumentError(message)
        given = self.objective, method, data, self._check
        if exchange is not None:
            exchange.tell = self._tell
            return Parts(*given, exchange=exchange)
        return Batches(*given) if graph is None else Replays(*given, graph=graph)

    @running
    def records(self) -> Iterator[Record]:
        """Run, and yield the records."""
        path, seconds = self._checkpoint
        if self._exchange is not None:
            agree = self.optimizer.ranks.agree
            how = {"record_every": self._cadence, "checkpoint": path and str(path)}
            how |= {"checkpoint_seconds": seconds} | self.settings | vars(self.stops)
            agree("of the run,", how)
            for name, arrays in (("data", self.data.arrays), ("dev", self.dev or ())):
                named = {f"array {k}": array for k, array in enumerate(arrays)}
                agree(f"of {name},", named)
        with ExitStack() as stack:
            # It refers to the run, whose arrays are let go at the end.
            stack.callback(setattr, self, "source", None)
            if path is not None and self._exchange is None:
                self._folder = stack.enter_context(CheckpointFolder(path, seconds))
            elif path is not None:
                folder = ShardedFolder(path, seconds, self.optimizer)
                self._folder = stack.enter_context(folder)
            for callback in self.callbacks:
                getattr(callback, "begin", _nothing)(self)
                stack.callback(getattr(callback, "end", _nothing), self)
            if self._folder is not None:
                resume(self, self._folder)
                saves = SignalsSave(self._save, alone=self._exchange is None)
                self._signals = stack.push(saves)  # before it sets a handler
                self._signals.__enter__()
            try:
                yield from self._updates()
            except GeneratorExit:
                self._save()
                raise

    def finish(self) -> Result:
        """Run to the end, and return the result."""
        for _ in self.records():
            pass
        return self.result()

    def result(self) -> Result:
        """Return what has been reached."""
        fun, grad_norm = self.fun, self.grad_norm
        for callback in self.callbacks:
            kept = getattr(callback, "restored", None)
            if kept is not None:
                fun = kept.loss if self.data is None else kept.smoothed_loss
                grad_norm = kept.grad_norm
        evaluations = self.objective.evaluations
        reason = self.reason or "the run was interrupted"
        counts = self.step, evaluations
        return Result(
            self.params, fun, grad_norm, *counts, reason, self.success, self.history
        )

    def _updates(self) -> Iterator[Record]:
        clock, begun = self._clock, self.step
        clock.begin(self.seconds)
        if self.data is None and self.step == 0:
            self._note(self.source.at_start())
            yield from self._shared(self._record(clock))
        while self.reason is None:
            self._answer()
            self._save_if_due()
            self.source.prepare()
            ends, self.seconds = self.source.ends_epoch, clock.seconds
            due = self._is_due(clock, ends_epoch=ends)
            lr = self._rate()
            update = self.source.update(read=due)
            self.step, self.epoch = self.step + 1, self.epoch + ends
            clock.count(update.examples)
            self._note(update)
            if due or (self.reason is not None and not math.isnan(update.loss)):
                record = self._record(clock, lr, ends_epoch=ends)
                yield from self._shared(record)
        if self.step > begun:
            if self.data is not None:
                self._check_parameters()
            self._save()

    def _answer(self) -> None:
        """Save, and pass a signal on, where one has come; on ranks, if all know it."""
        if self._signals is None:
            return
        exchange = self._exchange
        self._signals.answer(0 if exchange is None else exchange.signal)
        if exchange is not None:  # the handler lets the run continue
            exchange.signal = 0

    def _tell(self) -> tuple[float, float, bool, int]:
        """Return what other ranks must know at a step; see `Exchange`."""
        due = self._folder is not None and self._folder.due(ended_epoch=self.epoch > 0)
        return *self._clock.own(), due, self._signals.noted if self._signals else 0

    def _shared(self, record: Record) -> Iterator[Record]:
        """Pass a record to the callbacks, and to the caller."""
        signals = self._signals
        self.history.append(record)
        for callback in self.callbacks:
            stop = callback(record)
            if stop is not None and not isinstance(stop, bool | np.bool_):
                message = f"callback must return True, False or None, got {shown(stop)}"
                raise ArgumentTypeError(message)
            if stop and self.reason is None:
                name = getattr(callback, "__name__", type(callback).__name__)
                said = getattr(callback, "reason", None)
                self.reason = said or f"{name} stopped the run at step {record.step}"
        if signals is not None:
            signals.between = True
        yield record
        if signals is not None:
            signals.go_on()

    def _is_due(self, clock: _Clock, *, ends_epoch: bool) -> bool:
        """Return whether the next update is recorded."""
        due = self._cadence.is_due(self.step + 1, clock.waited, ends_epoch=ends_epoch)
        if ends_epoch and self._cadence.steps is not None and len(self.data) > 1:
            due = True  # the dev examples are evaluated
        here = self.step + 1, self.epoch + ends_epoch, self.seconds
        return due or self.stops.exhausted(*here) is not None

    def _note(self, update: Update) -> None:
        """Keep what an update has led to, and see whether it ends the run."""
        before = self.fun if self.step else None
        self.fun, point = update.loss, update.point
        if point is not None:
            self.grad_norm = point.grad_norm
            found = self.stops.converged(self.fun, point, before)
            self.reason, self.success = found, found is not None
            self.reason = self.reason or point.stalled
        self.reason = self.reason or self.stops.exhausted(
            self.step, self.epoch, self.seconds
        )

    def _record(
        self, clock: _Clock, lr: float | None = None, *, ends_epoch: bool = True
    ) -> Record:
        loss, measured = self.fun, {}
        speed = clock.speed() if self.data is not None else None
        if self.dev is not None and ends_epoch:
            measured = self.objective.measure(self.dev)
        smoothed = self.average.update(loss)
        if self.data is not None:
            self.fun = smoothed
            found = self.stops.converged(smoothed)
            self.reason, self.success = found or self.reason, found is not None
        record = Record(
            self.step,
            self.epoch + (not ends_epoch) if self.data is not None else 1,
            loss,
            smoothed,
            lr=self._rate() if lr is None else lr,
            grad_norm=self.grad_norm,
            seconds=clock.seconds,
            examples_per_second=speed,
            warning=self._warning(loss),
            **measured,
        )
        clock.restart()
        return record

    def _rate(self) -> float | None:
        """Return the learning rate, where it is one number."""
        lr = getattr(self.optimizer, "hyper", {}).get("lr")
        return lr if isinstance(lr, float | int) else None

    def _warning(self, loss: float) -> str | None:
        """Say, once, that the loss of all examples has risen."""
        before, self.last_loss = self.last_loss, loss
        whole = self.data is not None and len(self.data) == 1
        if self.has_warned or not whole or loss <= before + RISE * max(1.0, before):
            return None
        self.has_warned = True
        return (
            f"the loss rose from {before:.6g} to {loss:.6g} at step {self.step}; in "
            f"batch gradient descent it must fall at every step: {self._likely_cause()}"
        )

    def _likely_cause(self) -> str:
        lr = self._rate()
        rate = "the learning rate" if lr is None else f"the learning rate, {lr:.6g},"
        return f"{rate} is probably too large"

    def _check_parameters(self) -> None:
        """Refuse parameters that the last update has made NaN or infinite."""
        with self.parameters.on_device():
            arrays = self.parameters.arrays.values()
            largest = max_norm(self.parameters.backend.xp, arrays)
        self._check("parameters", largest, None, ago=1)

    def _check(self, what: str, number: float, batch: Any, ago: int = 0) -> None:
        """Refuse a number that is not finite, and name what is to blame."""
        if math.isfinite(number):
            return
        begun = self.step > ago
        place = f"at step {self.step + 1 - ago}"
        if self.data is None:
            begun = self.history["step"].size > 0
            place = f"after step {self.step + 1}" if begun else "at the start"
        elif not ago:
            place += f", in epoch {self.epoch + 1}"
        arrays = getattr(self.data, "arrays", batch)
        cause = None if arrays is None else not_finite_in(arrays, "the data")
        if cause is None and not begun:
            cause = "start where the function is defined"
        message = f"{what} must stay finite, got {number} {place}: "
        error = DivergenceError(message + (cause or self._likely_cause()))
        error.by_rate = cause is None
        raise error

    def _save_if_due(self) -> None:
        if self._folder is not None and self.step:
            ended = self.data is not None and self.epoch > 0
            if self._exchange is None:
                due = self._folder.due(ended_epoch=ended)
            else:
                due = self._exchange.is_save_due
            if due:
                self._save(last=False)

    def _save(self, *, last: bool = True) -> None:
        """Write a checkpoint, between two updates.

        With the state goes what tells the problem from others: value and gradient here.
        Of a run with data they are those of the next batch. If the `last` checkpoint
        needs them, sampler and objective are restored.
        """
        if self._folder is None or self.step == 0:
            return
        state = state_of(self, whole=self._exchange is None)
        self._folder.write(self.step, with_evidence(self, state))
        if self._exchange is not None:
            self._exchange.is_save_due = False
        if last:
            put_back(self, state)


class _Clock:
    """Seconds of a run, and examples since its last record; on ranks, rank 0's."""

    def __init__(self, exchange: Exchange | None) -> None:
        self._exchange = exchange
        self.begin(0.0)

    def begin(self, before: float) -> None:
        """Start, after earlier parts of the run."""
        self._begin = time.perf_counter() - before
        if self._exchange is not None:
            self._exchange.seconds = before
        self.restart()

    def own(self) -> tuple[float, float]:
        """Return the seconds since the start of the run, and since the last record."""
        now = time.perf_counter()
        return now - self._begin, now - self._since

    def restart(self) -> None:
        """Start counting again."""
        self._examples, self._since = 0, time.perf_counter()

    def count(self, examples: int) -> None:
        """Add the examples of a batch."""
        self._examples += examples

    @property
    def seconds(self) -> float:
        """Since the start of the run."""
        return self.own()[0] if self._exchange is None else self._exchange.seconds

    @property
    def waited(self) -> float:
        """Since the last record."""
        return self.own()[1] if self._exchange is None else self._exchange.waited

    def speed(self) -> float:
        """Examples a second since the last record."""
        return self._examples / self.waited


def _nothing(_run: Run) -> None:
    """Stand for what a callback does not do."""


def _check_checkpoint(path: Any, data: Any) -> Any:
    """Refuse data that a checkpoint cannot continue."""
    if path is None:
        return None
    check_path("checkpoint", path, "the path of a folder")
    if data is not None and not hasattr(data, "load_state_dict"):
        raise ArgumentTypeError(
            "data must have state_dict() and load_state_dict(state) where there is a "
            f"checkpoint, as gdopt.minibatches has, got {type(data).__name__}"
        )
    return path


def check_dev(dev: Any) -> tuple[Any, ...] | None:
    """Return the arguments of the evaluation that ends an epoch."""
    if dev is None:
        return None
    if not isinstance(dev, tuple | list):
        message = f"dev must be a tuple of arrays such as (X, y), got {shown(dev)}"
        raise ArgumentTypeError(message)
    return tuple(dev)
