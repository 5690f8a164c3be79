"""Training an estimator's network until it comes to rest."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gdopt.data import MiniBatches, Split, minibatches
from gdopt.estimators.model import Model
from gdopt.estimators.settings import Settings
from gdopt.training import fit

Part = tuple[np.ndarray, np.ndarray]


@dataclass
class History:
    """What came of training.

    Attributes:
        losses: mean loss of each epoch, with the L2 term.
        scores: of the examples kept, after each epoch.
        rested: whether training came to rest before its last epoch.
    """

    losses: list[float] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    rested: bool = False


def train(
    model: Model,
    parts: Split[Any],
    settings: Settings,
    *,
    epochs: int,
    size: int,
    seed: int,
    judge: Callable[[Model, Part], float],
) -> History:
    """Train for so many epochs, or until none has brought a gain for a while.

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
    history = History()
    weights, best = model.network.params.flat, None
    highest, without_gain = -math.inf, 0
    for loss in _epochs(model, batches, settings, epochs):
        history.losses.append(loss)
        value = -loss
        if parts.test is not None:
            value = judge(model, parts.test)
            history.scores.append(value)
            if value > highest:
                best = weights.copy()
        without_gain = 0 if value >= highest + settings.tol else without_gain + 1
        highest = max(highest, value)
        if without_gain > settings.n_iter_no_change:
            history.rested = True
            break
    if best is not None:
        weights[...] = best
    return history


def _epochs(
    model: Model, batches: MiniBatches, settings: Settings, epochs: int
) -> Iterator[float]:
    """Train epoch by epoch, and yield the mean loss of its examples."""
    steps, size = len(batches), batches.batch_size
    examples = len(batches.arrays[0])
    network: Any = model.network
    records = fit(
        network,
        model.optimizer,
        batches,
        epochs=epochs,
        l2=settings.alpha,
        validate=False,
    )
    total = 0.0
    for number, record in enumerate(records, start=1):
        if number % steps:
            total += record.loss * size
            continue
        yield (total + record.loss * (examples - (steps - 1) * size)) / examples
        total = 0.0
