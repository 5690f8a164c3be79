"""One training that is looked after: its rate changed between epochs, with a log."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from gdopt.checks import check_kind
from gdopt.data import MiniBatches
from gdopt.errors import ArgumentTypeError
from gdopt.optim import Optimizer
from gdopt.training import Record

Rule = Callable[[Record], Mapping[str, Any] | None]


@dataclass(frozen=True)
class Change:
    """A hyper-parameter that was changed.

    Attributes:
        epoch: after which, from 1.
        step: after which, from 1.
        name: of the hyper-parameter.
        before: its value at the next step, as it would have been.
        after: its value at the next step, as it is.
        why: what the changer said.
    """

    epoch: int
    step: int
    name: str
    before: Any
    after: Any
    why: str


class Nurse:
    """Look after one training: the course's "panda", where "caviar" trains many.

    Iterate over it in place of `gdopt.fit`. Between two epochs a rule may change
    hyper-parameters, and so may you, by `change`, at any record; the log keeps what was
    changed and when. A schedule that is changed to a number is no schedule any more.

    Args:
        records: of `gdopt.fit`.
        optimizer: of that training.
        batches: of that training; they tell where an epoch ends.
        rule: takes the last record of an epoch, and gives the hyper-parameters to be
            changed, by name, or None.

    Attributes:
        log: every `Change`, in order.

    Raises:
        ArgumentTypeError: an argument is of the wrong kind.

    Source: Ng, Improving deep neural networks, week 3, "Hyperparameters tuning in
    practice: pandas vs. caviar"; week 2, "Learning rate decay": manual decay.

    >>> import gdopt
    >>> import numpy as np
    >>> X, y = np.eye(4, dtype=np.float32), np.arange(4)
    >>> network = gdopt.nn.Network((4, 4), seed=0, backend="numpy")
    >>> opt = gdopt.SGD(network.params, lr=1.0)
    >>> batches = gdopt.minibatches(X, y, size=2, seed=0)
    >>> def halve(record):
    ...     return {"lr": record.lr / 2} if record.epoch == 2 else None
    >>> nurse = Nurse(gdopt.fit(network, opt, batches, epochs=3), opt, batches, halve)
    >>> [record.lr for record in nurse]
    [1.0, 1.0, 1.0, 1.0, 0.5, 0.5]
    >>> nurse.log
    [Change(epoch=2, step=4, name='lr', before=1.0, after=0.5, why='halve')]
    """

    def __init__(
        self,
        records: Iterable[Record],
        optimizer: Optimizer,
        batches: MiniBatches,
        rule: Rule | None = None,
    ) -> None:
        check_kind("optimizer", optimizer, Optimizer)
        check_kind("batches", batches, MiniBatches)
        if rule is not None and not callable(rule):
            message = f"rule must be a function of a record, got {rule!r}"
            raise ArgumentTypeError(message)
        self._records = records
        self._optimizer = optimizer
        self._batches = batches
        self._rule = rule
        self._epoch = 0
        self.log: list[Change] = []

    def __iter__(self) -> Iterator[Record]:
        """Train on, and yield every record, the rule's changes already made."""
        for record in self._records:
            self._epoch = record.epoch
            if self._rule is not None and self._batches.state_dict()["position"] == 0:
                name = getattr(self._rule, "__name__", type(self._rule).__name__)
                self.change(self._rule(record) or {}, why=name)
            yield record

    def change(self, settings: Mapping[str, Any], *, why: str = "by hand") -> None:
        """Change hyper-parameters from the next step on, all of them or none.

        Args:
            settings: by name: numbers, schedules, or what else the optimizer takes.
            why: for the log.

        Raises:
            ArgumentError: a name is unknown, or a value is out of its range; nothing
                has changed.
            ArgumentTypeError: a value is of a kind that cannot be used.
        """
        hyper = self._optimizer.hyper
        old = {name: hyper.settings.get(name) for name in settings}
        before = {name: hyper[name] for name in settings if name in hyper}
        changed: list[str] = []
        try:
            for name, setting in settings.items():
                hyper[name] = setting
                changed.append(name)
        except BaseException:
            for name in changed:
                hyper[name] = old[name]
            raise
        step = self._optimizer.t
        self.log += [
            Change(self._epoch, step, name, before[name], hyper[name], why)
            for name in settings
        ]
