"""A network with its optimizer, and its training by scikit-learn's rules."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gdopt.arrays import Array
from gdopt.data import Split, minibatches
from gdopt.estimators.settings import Settings
from gdopt.nn import Network
from gdopt.optim import Optimizer
from gdopt.training import Record, fit


class TrainedNetwork:
    """A network and the optimizer of its parameters.

    Copies and pickles are made of the parts' settings, parameters and state, as NumPy
    arrays, and have the bits of the original.

    Args:
        optimizer: called with the parameters and ``lr=``.
        lr: learning rate, or its schedule.
        settings: what the network is made with.

    >>> import copy
    >>> import gdopt
    >>> model = TrainedNetwork(gdopt.Adam, 0.1, sizes=(2, 2), seed=0)
    >>> twin = copy.deepcopy(model)
    >>> bool((twin.network.params.flat == model.network.params.flat).all())
    True
    """

    def __init__(
        self, optimizer: Callable[..., Optimizer], lr: Any, **settings: Any
    ) -> None:
        self._recipe = optimizer, lr, settings
        self.network = Network(**settings)
        self.restart()

    def restart(self) -> None:
        """Make a new optimizer for the parameters, which has no state yet."""
        optimizer, lr, _ = self._recipe
        self.optimizer = optimizer(self.network.params, lr=lr)

    def to_device(self, array: np.ndarray) -> Array:
        """Copy an array of the host to where the parameters are."""
        params = self.network.params
        return params.backend.from_host(array, params.device)

    def to_host(self, array: Array) -> np.ndarray:
        """Copy an array back to the host."""
        host: np.ndarray = self.network.params.backend.to_host(array)
        return host

    def call(self, method: str, X: np.ndarray) -> np.ndarray:
        """Call a method of the network, by its name, with examples of the host."""
        return self.to_host(getattr(self.network, method)(self.to_device(X)))

    def arrays(self, letter: str) -> list[np.ndarray]:
        """Return the weights of each layer, ``"W"``, or the biases, ``"b"``."""
        layers = range(1, len(self.network.sizes))
        return [self.to_host(self.network.params[f"{letter}{k}"]) for k in layers]

    def __getstate__(self) -> dict[str, Any]:
        params = self.network.params
        return {
            "recipe": self._recipe,
            "params": {name: np.array(self.to_host(a)) for name, a in params.items()},
            "optimizer": self.optimizer.state_dict(),
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        optimizer, lr, settings = state["recipe"]
        self.__init__(optimizer, lr, **settings)  # type: ignore[misc]
        for name, array in state["params"].items():
            self.network.params[name] = self.to_device(array)
        self.optimizer.load_state_dict(state["optimizer"])


Part = tuple[np.ndarray, np.ndarray]


@dataclass
class EpochLosses:
    """The result of training.

    Attributes:
        losses: mean loss of each epoch, with the L2 term.
        scores: of the examples kept, after each epoch.
        rested: whether training converged before its last epoch.
    """

    losses: list[float] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    rested: bool = False


def train(
    model: TrainedNetwork,
    parts: Split[Any],
    settings: Settings,
    *,
    epochs: int,
    size: int,
    seed: int,
    judge: Callable[[TrainedNetwork, Part], float],
) -> EpochLosses:
    """Train for `epochs`, or until none has brought a gain for a while.

    An epoch brings no gain where its value, the score or else minus the loss, lies
    below ``best + tol``; more than n_iter_no_change of them in a row are the end.
    Where examples were kept to judge by, the weights of the best epoch come back.

    Args:
        model: what is trained.
        parts: examples and targets on the host; those of `test`, or None, were kept.
        settings: of the estimator.
        epochs: at most.
        size: examples in a mini-batch.
        seed: of the order of the examples.
        judge: gives the score of a model on examples and targets.

    Raises:
        DivergenceError: the loss is no longer finite.
    """
    batches = minibatches(
        *map(model.to_device, parts.train),
        batch_size=size,
        seed=seed,
        allow_nan=True,  # looked for when the data were taken
    )
    progress = EpochJudge(model, parts, settings, judge, size)
    model.network.l2 = settings.alpha
    fit(
        model.network,
        model.optimizer,
        batches,
        epochs=epochs,
        callback=progress,
        validate=False,
    )
    return progress.history


class EpochJudge:
    """Judges each epoch by scikit-learn's rules; a callback."""

    def __init__(
        self,
        model: TrainedNetwork,
        parts: Split[Any],
        settings: Settings,
        judge: Callable[[TrainedNetwork, Part], float],
        size: int,
    ) -> None:
        self.history = EpochLosses()
        self._model, self._parts, self._settings = model, parts, settings
        self._judge, self._size = judge, size
        self._weights, self._best = model.network.params.flat, None
        self._highest, self._without_gain = -math.inf, 0
        self._examples, self._total = 0, 0.0

    def __call__(self, record: Record) -> bool:
        """Add the loss of a batch; judge the epoch that it ends."""
        count = len(self._parts.train[0])
        size = min(self._size, count - self._examples)
        self._examples += size
        self._total += record.loss * size
        if self._examples < count:
            return False
        loss, self._examples, self._total = self._total / count, 0, 0.0
        return self._end_epoch(loss)

    def _end_epoch(self, loss: float) -> bool:
        self.history.losses.append(loss)
        value, settings = -loss, self._settings
        if self._parts.test is not None:
            value = self._judge(self._model, self._parts.test)
            self.history.scores.append(value)
            if value > self._highest:
                self._best = self._weights.copy()
        gained = value >= self._highest + settings.tol
        self._without_gain = 0 if gained else self._without_gain + 1
        self._highest = max(self._highest, value)
        self.history.rested = self._without_gain > settings.n_iter_no_change
        return self.history.rested

    def end(self, _run: Any) -> None:
        """Restore the weights of the best epoch."""
        if self._best is not None:
            self._weights[...] = self._best
