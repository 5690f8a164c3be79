"""The objective of a search over networks: their accuracy on the dev examples."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gdopt import schedules
from gdopt.arrays import Array
from gdopt.arrays.backend import backend_of
from gdopt.data import minibatches
from gdopt.nn import Network
from gdopt.optim import Momentum, Optimizer
from gdopt.training import Record, fit
from gdopt.tune.study import Trial

BETAS = ("beta", "beta1", "beta2")


@dataclass(frozen=True)
class NetworkObjective:
    """Train a network by a trial of `course_space`; score its accuracy on dev examples.

    What the trial does not name is 75 hidden units, 2 layers, the last one counted,
    batches of 64 and no decay of the learning rate; betas are the optimizer's own. It
    reports after every epoch. All trials begin with the same seed.

    Args:
        train: examples (m, n) and class numbers (m,).
        dev: the same, to measure the score on.
        classes: how many there are.
        epochs: of each trial.
        optimizer: called with the parameters, ``lr=`` and the betas that are searched.
        l2: the course's lambda.
        seed: of weights and mini-batches.

    >>> import numpy as np
    >>> from gdopt.tune import course_space, tune
    >>> rng = np.random.default_rng(0)
    >>> X = rng.standard_normal((600, 2)).astype(np.float32)
    >>> y = (X[:, 0] > X[:, 1]).astype(int)
    >>> train, dev = (X[:512], y[:512]), (X[512:], y[512:])
    >>> objective = NetworkObjective(train, dev, classes=2, epochs=3)
    >>> tune(objective, course_space(), trials=8, seed=0).best.score > 0.9
    True
    """

    train: tuple[Array, Array]
    dev: tuple[Array, Array]
    classes: int
    epochs: int
    optimizer: Callable[..., Optimizer] = Momentum
    l2: float = 0.0
    seed: int = 0

    def __call__(self, trial: Trial) -> float:
        """Train, report each epoch, and return the accuracy at the end.

        Raises:
            GdoptError: the trial's values do not fit the data, or training diverges.
            Pruned: the trial is not worth continuing.
        """
        X, y = self.train
        hidden = [trial.get("hidden_units", 75)] * (trial.get("layers", 2) - 1)
        network = Network(
            (X.shape[1], *hidden, self.classes),
            seed=self.seed,
            backend=backend_of(X).name,
            dtype=X.dtype,
            l2=self.l2,
        )
        size = trial.get("batch_size", 64)
        batches = minibatches(X, y, batch_size=size, seed=self.seed)
        betas = {name: trial[name] for name in BETAS if name in trial}
        rate = self._rate(trial, len(batches))
        optimizer = self.optimizer(network.params, lr=rate, **betas)

        def report(record: Record) -> None:
            trial.report(record.dev_accuracy or 0.0, step=record.epoch)

        result = fit(
            network,
            optimizer,
            batches,
            epochs=self.epochs,
            dev=self.dev,
            callback=report,
            record_every="epoch",
        )
        return float(result.history["dev_accuracy"][-1])

    def _rate(self, trial: Trial, steps: int) -> Any:
        """Return the learning rate, which decays once an epoch."""
        rate = trial["learning_rate"]
        decay = trial.get("decay_rate", 0.0)
        return schedules.per_epoch(schedules.inverse_time(rate, rate=decay), steps)
