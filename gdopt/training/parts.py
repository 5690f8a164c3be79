"""A run on several ranks: its steps, and what the ranks tell each other at each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from gdopt.checks import shown
from gdopt.errors import ArgumentError, ArgumentTypeError
from gdopt.parallel.batches import ReplicaBatches
from gdopt.parallel.sharded import Sharded
from gdopt.training.objectives import read_value
from gdopt.training.sources import Batches, Update


def check_parts(method: Any, data: Any) -> None:
    """Refuse a sharded optimizer without batches in parts, and these without it."""
    replicas = data.replicas if isinstance(data, ReplicaBatches) else None
    what, sharded = "data must be ranks.minibatches(", isinstance(method, Sharded)
    if sharded and replicas is None:
        message = f"{what}...) for an optimizer by ranks.sharded, got {shown(data)}"
        raise ArgumentTypeError(message)
    if replicas is not None and not sharded:
        message = "the optimizer must be ranks.sharded(...) where data are of "
        message += f"ranks.minibatches, got {type(method).__name__}"
        raise ArgumentTypeError(message)
    if sharded and replicas != method.replicas:
        message = f"{what}..., replicas={method.replicas}), as the optimizer has them, "
        raise ArgumentError(message + f"got {replicas}")


class Exchange:
    """What the ranks of a run tell each other at each step, so that all do the same.

    The clock and the folder of rank 0 decide for all. A signal to one is one to all.

    Attributes:
        tell: returns the seconds of this rank since the start, and since the last
            record; whether a checkpoint is due; and the number of a signal, or 0.
        seconds, waited: those of rank 0.
        is_save_due: whether all save after this step.
        signal: to any rank, or 0.
    """

    def __init__(self, optimizer: Sharded) -> None:
        self._ranks = optimizer.ranks
        self._most = -(-optimizer.replicas // self._ranks.size)  # replicas of a rank
        self.tell: Callable[[], tuple[float, float, bool, int]]
        self.seconds = self.waited = 0.0
        self.is_save_due, self.signal = False, 0

    def step(self, losses: list[float], examples: int) -> tuple[float, int]:
        """Return the sum of all replicas' losses, in their order, and all examples."""
        own = np.array([*self.tell(), examples, *losses])
        shared = self._ranks.share(np.pad(own, (0, self._most - len(losses))))
        self.seconds, self.waited = map(float, shared[0, :2])
        self.is_save_due, self.signal = bool(shared[0, 2]), int(shared[:, 3].max())
        total = 0.0
        for loss in shared[:, 5:].ravel().tolist():
            total += loss
        return total, int(shared[:, 4].sum())

    def rows(self, own: np.ndarray) -> np.ndarray:
        """Stack a row of each replica in their order, with zeros in between."""
        shared = self._ranks.share(np.pad(own, ((0, self._most - len(own)), (0, 0))))
        return np.asarray(shared).reshape(-1, own.shape[1])


class Parts(Batches):
    """A run with data on ranks: each update takes the gradients of all replicas."""

    def __init__(self, *given: Any, exchange: Exchange) -> None:
        super().__init__(*given)
        self._exchange = exchange

    def prepare(self) -> None:
        """Draw the next global batch; evaluate and add this rank's parts of it."""
        if self._drawn is not None:
            return
        self._batch, losses = tuple(self._next(self._data)), []
        evaluations = self._objective.evaluations
        self._optimizer.discard()
        for part in self._batch:
            loss, grads = 0.0, None
            if part.weight:
                batch = part.arrays or (part.rows,)
                value, grads = self._objective.evaluate(batch, part)
                loss = part.weight * read_value(value)
            losses.append(loss)
            self._optimizer.add(grads, part)
        self._objective.evaluations = evaluations + 1  # of the batch
        examples = sum(len(part.rows) for part in self._batch)
        self._drawn = self._exchange.step(losses, examples)

    def update(self, *, read: bool) -> Update:  # noqa: ARG002 - all are read
        """Do an update by the gradients of all ranks."""
        loss, examples = self._drawn
        self._check("loss", loss, ())
        self._objective.share(self._exchange.rows)
        self._optimizer.step()
        self._drawn = None
        return Update(loss, examples)

    def evidence(self) -> tuple[float, None]:
        """Return the loss of the next batch: no rank has all of the gradients."""
        self.prepare()
        return self._drawn[0], None

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue with the batch after the last one that was used."""
        super().load_state_dict(state)
        self._optimizer.discard()
