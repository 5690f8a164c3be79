"""Where the gradients of a run come from: the whole problem, or batch after batch."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from gdopt.arrays import Array
from gdopt.checks import check_state, shown
from gdopt.errors import ArgumentError, ArgumentTypeError
from gdopt.optim import Optimizer
from gdopt.training.graph import TrainingGraph
from gdopt.training.methods import named_gradients, parameters_of
from gdopt.training.objectives import Objective, read_value
from gdopt.training.point import Point

END = object()  # what an epoch that is over yields
# Refuses what is not finite, by its name, number and batch, and how many updates `ago`.
Check = Callable[..., None]


@dataclass(frozen=True)
class Update:
    """What is known after an update."""

    loss: float  # NaN where it was not read
    examples: int = 0  # in its batch
    point: Point | None = None  # of a run without data: where it has led


class WholeProblem:
    """A run without data: value and gradient are those of the whole problem."""

    ends_epoch = False

    def __init__(self, objective: Objective, method: Any, check: Check) -> None:
        self._objective, self._method, self._check = objective, method, check
        self._known: Update | None = None

    def prepare(self) -> None:
        """Evaluate at the parameters, unless that has been done."""
        self.at_start()

    def at_start(self) -> Update:
        """Return what is known at the parameters."""
        return self._known or self._take(self._method.start(self._objective.evaluate))

    def update(self, *, read: bool) -> Update:  # noqa: ARG002 - all are read
        """Do an update."""
        return self._take(self._method.update(self._objective.evaluate))

    def _take(self, point: Point) -> Update:
        self._check("value", point.value, None)
        self._check("gradient", point.grad_norm, None)
        self._known = Update(point.value, point=point)
        return self._known

    def evidence(self) -> tuple[float, Mapping[str, Array]]:
        """Return the value and the gradients at the parameters."""
        return self.at_start().loss, self._method.gradients

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run needs: nothing."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Start from the parameters as they are."""
        check_state("sampler", state)
        self._known = None


class Batches:
    """A run with data: each update takes the gradient of the next batch."""

    def __init__(
        self, objective: Objective, optimizer: Optimizer, data: Any, check: Check
    ) -> None:
        self._objective, self._optimizer = objective, optimizer
        self._data, self._check = data, check
        self._parameters = parameters_of(optimizer)
        self._epoch: Iterator[Any] | None = None
        self._number = 0
        self._drawn: Any = None
        self._batch: Any = None
        self._late: tuple[Callable[[], float], Any] | None = None  # and its batch
        self.ends_epoch = False

    def prepare(self) -> None:
        """Draw the next batch and evaluate at it, unless that has been done."""
        if self._drawn is None:
            batch = self._next(self._data)
            pair = isinstance(batch, tuple | list)
            self._batch = tuple(batch) if pair else (batch,)
            self._drawn = self._objective.evaluate(self._batch)

    def _next(self, data: Any) -> Any:
        """Return the next batch, the first of a new epoch where one has ended."""
        if self._epoch is None:
            self._epoch, self._number = iter(data), getattr(self._data, "first", 0)
        self._number += 1
        self.ends_epoch = self._number == len(self._data)
        batch = next(self._epoch, END)
        more = self.ends_epoch and next(self._epoch, END) is not END
        if batch is END or more:
            message = f"data must yield the {len(self._data)} batches of its len() in "
            message += f"every epoch, got {'more' if more else self._number - 1}"
            raise ArgumentError(message)
        if self.ends_epoch:
            self._epoch = None
        return batch

    def update(self, *, read: bool) -> Update:
        """Do an update by the gradients of the batch that was drawn."""
        loss, grads = self._drawn
        number = self._read(loss, read=read)
        self._optimizer.step(grads)
        self._drawn = None
        return Update(number, examples_in(self._batch[0], self._data))

    def _read(self, loss: Any, *, read: bool) -> float:
        """Check the loss, or leave it to the next call, if a GPU has to wait."""
        own = self._parameters
        if self._late is not None:
            (fetched, batch), self._late = self._late, None
            with own.on_device():
                number = fetched()
            self._check("loss", number, batch, ago=1)
        if not read and own.backend.name != "numpy" and own.backend.is_array(loss):
            with own.on_device():
                self._late = own.backend.fetch(loss), self._batch
            return math.nan
        number = read_value(loss)
        self._check("loss", number, self._batch)
        return number

    def evidence(self) -> tuple[float, Mapping[str, Array] | None] | None:
        """Return loss and gradients of the next batch."""
        self.prepare()
        loss, grads = self._drawn
        return read_value(loss), named_gradients(self._optimizer, grads)

    def state_dict(self) -> dict[str, Any]:
        """Return where the sampler is."""
        return dict(self._data.state_dict())

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue with the batch after the last one that was used."""
        self._data.load_state_dict(state)
        self._epoch = self._drawn = None


class Replays(Batches):
    """A run with data whose steps a GPU replays as a graph."""

    def __init__(self, *given: Any, graph: TrainingGraph) -> None:
        super().__init__(*given)
        self._graph = graph

    def prepare(self) -> None:
        """Draw the next batch, by the numbers of its epoch and its own."""
        if self._drawn is None:
            self._drawn = self._next(self._data.positions())

    def update(self, *, read: bool) -> Update:
        """Replay the step."""
        epoch, number = self._drawn
        size = self._data.batch_size
        count = min(size, len(self._data.arrays[0]) - number * size)
        loss = self._graph.run(epoch, number)
        self._drawn = None
        return Update(self._read(loss, read=read), count)

    def evidence(self) -> None:
        """Return nothing: a replay makes loss and update together."""


def examples_in(array: Any, data: Any) -> int:
    """Return how many examples an array of `data` holds; 0 if it is not an array."""
    shape = getattr(array, "shape", ())
    axis = getattr(data, "axis", 0) if len(shape) > 1 else 0
    return int(shape[axis]) if shape else 0


def refuse_iterators(name: str, data: Any) -> None:
    """Refuse data that cannot be looped over for every epoch."""
    loops = hasattr(data, "__iter__") and hasattr(data, "__len__")
    other = isinstance(data, tuple | dict | str | type) or hasattr(data, "shape")
    if not loops or other or hasattr(data, "__next__") or len(data) == 0:
        message = f"{name} must be batches that each epoch loops over, such as "
        message += f"gdopt.minibatches(X, y, batch_size=64), got {shown(data)}"
        raise ArgumentTypeError(message)
