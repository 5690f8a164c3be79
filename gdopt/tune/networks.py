"""The objective of a search over networks: their accuracy on the dev examples."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from gdopt import schedules
from gdopt.arrays.backend import Array, backend_of
from gdopt.checks import (
    check_count,
    check_int,
    check_mapping,
    check_not_negative,
    check_optional,
    check_seed,
    check_sequence,
    shown,
)
from gdopt.data import minibatches
from gdopt.data.gather import check_arrays
from gdopt.errors import ArgumentError, ArgumentTypeError
from gdopt.nn import Network
from gdopt.optim import Momentum, Optimizer
from gdopt.training import Record, fit
from gdopt.tune.study import Trial

BETAS = ("beta", "beta1", "beta2")
UNITS, LAYERS, BATCH_SIZE = 75, 2, 64  # of a trial that does not name them


@dataclass(frozen=True)
class NetworkObjective:
    """Train a network by a trial of `course_space`; score it on dev examples.

    The score of a classifier is its accuracy, which is to be maximized; that of a
    regression is its loss, half the mean squared error, which is to be minimized.

    What the trial does not name is 75 hidden units, 2 layers, the last one counted,
    batches of 64 and no decay of the learning rate; betas are the optimizer's own. It
    reports after every epoch. All trials begin with the same seed.

    Args:
        train: examples (m, n) and class numbers (m,), or targets (m,).
        dev: the same, to measure the score on.
        classes: how many there are; None is a regression.
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
    classes: int | None
    epochs: int
    optimizer: Callable[..., Optimizer] = Momentum
    l2: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("train", "dev"):
            part = check_sequence(name, getattr(self, name))
            check_arrays(part, 0, f"{name}[{{}}]")
            if len(part) != 2 or part[0].ndim != 2:
                shapes = [array.shape for array in part]
                rule = f"{name} must be examples (m, n) and their labels"
                raise ArgumentError(f"{rule}, got shapes {shown(shapes)}")
        check_optional(partial(check_int, least=2), "classes", self.classes)
        check_count("epochs", self.epochs)
        if not callable(self.optimizer):
            message = f"optimizer must be a kind of optimizer, got {self.optimizer!r}"
            raise ArgumentTypeError(message)
        check_not_negative("l2", self.l2)
        check_seed(self.seed)

    def __call__(self, trial: Trial) -> float:
        """Train, report each epoch, and return the score at the end.

        Raises:
            GdoptError: the trial's values do not fit the data, or training diverges.
            Pruned: the trial is not worth continuing.
        """
        check_mapping("trial", trial)
        X, y = self.train
        hidden = [trial.get("hidden_units", UNITS)] * (trial.get("layers", LAYERS) - 1)
        network = Network(
            (X.shape[1], *hidden, self.classes or 1),
            output="softmax" if self.classes else "linear",
            seed=self.seed,
            backend=backend_of(X).name,
            dtype=X.dtype,
            l2=self.l2,
        )
        size = trial.get("batch_size", BATCH_SIZE)
        batches = minibatches(X, y, batch_size=size, seed=self.seed)
        betas = {name: trial[name] for name in BETAS if name in trial}
        rate = self._rate(trial, len(batches))
        optimizer = self.optimizer(network.params, lr=rate, **betas)

        measured = "dev_accuracy" if self.classes else "dev_loss"

        def report(record: Record) -> None:
            trial.report(getattr(record, measured), step=record.epoch)

        result = fit(
            network,
            optimizer,
            batches,
            epochs=self.epochs,
            dev=self.dev,
            callback=report,
            record_every="epoch",
        )
        return float(result.history[measured][-1])

    def _rate(self, trial: Trial, steps: int) -> Any:
        """Return the learning rate, which decays once an epoch."""
        rate = trial["learning_rate"]
        decay = trial.get("decay_rate", 0.0)
        return schedules.per_epoch(schedules.inverse_time(rate, rate=decay), steps)
