"""The line between two classes, when a network is held back and when it is not."""

from __future__ import annotations

from typing import Any

import numpy as np

from gdopt.data import minibatches
from gdopt.gallery.parts.picture import Numbers, Path, Picture
from gdopt.gallery.regularization.moons import moons
from gdopt.nn import Network
from gdopt.optim import Adam
from gdopt.plots.boundaries import boundary_length, decision_boundaries
from gdopt.training import fit

POINTS, UNSEEN, NOISE = 160, 2000, 0.3
SIZES, EPOCHS, RATE = (2, 32, 16, 1), 240, 0.05
CASES = {f"λ {l2:g}": {"l2": l2, "keep": 1.0} for l2 in (0.0, 1.0, 10.0)} | {
    f"keep {keep:g}": {"l2": 0.0, "keep": keep} for keep in (0.9, 0.8, 0.6)
}


def _train(X: np.ndarray, y: np.ndarray, *, l2: float, keep: float) -> Network:
    """Train by batch gradient descent with Adam, always from the same weights."""
    network = Network(
        SIZES,
        output="sigmoid",
        keep=keep,
        seed=1,
        dtype=np.float64,  # in float32 other orders of sums lead to other networks
        backend="numpy",
    )
    optimizer = Adam(network.params, lr=RATE)
    batches = minibatches(X, y, size=len(X), shuffle=False)
    for _ in fit(
        network,
        optimizer,
        batches,
        epochs=EPOCHS,
        l2=l2,
        checked=True,
        record_every=EPOCHS,
    ):
        pass
    return network


def _measure() -> Numbers:
    """Train on 160 points of two noisy half moons, held back more and more.

    By lambda (with all units kept) and by the share of units that dropout keeps (with
    lambda 0): ``chances`` is what gives the probability of class 1; ``weights`` the
    root of the sum of all squares; ``lengths`` what
    `gdopt.plots.boundaries.boundary_length` gives; ``seen`` and ``unseen`` are
    accuracies, the latter on 2,000 more points. Units are dropped while training alone:
    the boundaries are those of whole networks.

    Source: Ng, Improving deep neural networks, week 1, "Why regularization reduces
    overfitting?" and "Dropout regularization".
    """
    X, y = moons(POINTS, noise=NOISE, seed=0)
    unseen = moons(UNSEEN, noise=NOISE, seed=1)
    kinds = ("chances", "weights", "lengths", "seen", "unseen")
    numbers: Numbers = {"X": X, "y": y, **{kind: {} for kind in kinds}}
    for name, settings in CASES.items():
        network = _train(X, y, **settings)
        squares = [np.sum(a**2) for a in network.params.values() if a.ndim == 2]
        numbers["chances"][name] = network.predict_proba
        numbers["weights"][name] = float(np.sqrt(sum(squares)))
        numbers["lengths"][name] = boundary_length(network.predict_proba, X)
        numbers["seen"][name] = network.accuracy(X, y)
        numbers["unseen"][name] = network.accuracy(*unseen)
    return numbers


def _paint(numbers: Numbers, path: Path, claim: str) -> None:
    free = next(iter(numbers["lengths"].values()))
    titled: dict[str, Any] = {}
    for name, chance in numbers["chances"].items():
        length, size = numbers["lengths"][name] / free, numbers["weights"][name]
        seen, unseen = numbers["seen"][name], numbers["unseen"][name]
        text = (
            f"{name}: boundary {length:.0%}, weights {size:.1f}\n"
            f"right: {seen:.0%}, of new points {unseen:.0%}"
        )
        titled[text] = chance
    decision_boundaries(titled, numbers["X"], numbers["y"], path, title=claim)


boundaries = Picture(
    "boundaries",
    "Held back by lambda or by dropout, a network draws a shorter boundary",
    _measure,
    _paint,
)
