"""Descents for a linear regression: how many examples a step."""

from __future__ import annotations

import numpy as np

from gdopt.data import minibatches
from gdopt.gallery.parts.canvas import (
    LEGEND,
    LETTERS,
    contours,
    head,
    sheet,
    start_mark,
)
from gdopt.gallery.parts.picture import Numbers, Path, Picture
from gdopt.gallery.parts.regression import regression
from gdopt.optim import SGD
from gdopt.plots.style import BLUE, GREEN, INK, ORANGE, logarithmic, save

EXAMPLES, PASSES, RATE = 512, 20, 0.05
SIZES = {"batch": EXAMPLES, "mini-batch": 32, "stochastic": 1}
TINTS = {"batch": INK, "mini-batch": BLUE, "stochastic": ORANGE}


def _measure_batches() -> Numbers:
    """Take 20 passes over 512 examples with batches of 512, 32 and 1, at one rate.

    The rate is the same for all three, as it is the size alone that differs. ``costs``
    are those of the batch at hand before each update, ``points`` the parameters,
    ``wholes`` the costs of all examples there.
    """
    rng = np.random.default_rng(0)
    X = rng.standard_normal((EXAMPLES, 2)) @ np.array([[1.0, 0.6], [0.0, 0.8]])
    y = X @ np.array([1.2, -0.8]) + 0.7 * rng.standard_normal(EXAMPLES)
    numbers: Numbers = {"problem": regression(X, y, "cost of all examples")}
    numbers |= {"costs": {}, "points": {}, "wholes": {}}
    for name, size in SIZES.items():
        p = np.zeros(2)
        optimizer = SGD(p, lr=RATE)
        batches = minibatches(X, y, size=size, seed=0)
        costs, points = [], [p.copy()]
        for _ in range(PASSES):
            for x, target in batches:
                rest = x @ p - target
                costs.append(float(np.mean(rest**2) / 2))
                optimizer.step(rest @ x / len(x))
                points.append(p.copy())
        numbers["costs"][name] = np.array(costs)
        numbers["points"][name] = np.array(points)
        numbers["wholes"][name] = numbers["problem"].value(np.array(points))
    return numbers


def _paint_batches(numbers: Numbers, path: Path, claim: str) -> None:
    figure, axes = sheet(2, 3, size=(12, 7.4))
    for column, (name, size) in enumerate(SIZES.items()):
        costs, points = numbers["costs"][name], numbers["points"][name]
        top, below = axes[:, column]
        passes = np.linspace(0, PASSES, len(costs) + 1)[1:]
        thick, dot = (0.3, 1) if size == 1 else (1.2, 3)
        style = {"color": TINTS[name], "linewidth": thick}
        top.plot(passes, costs, **style, label="of the batch, before the update")
        whole = numbers["wholes"][name][1:]
        top.plot(passes, whole, color=GREEN, linewidth=2.6, label="of all, after it")
        logarithmic(top, "x")
        top.set_ylim(0, 2)
        top.set_xlim(1 / EXAMPLES, PASSES)
        top.set_xlabel("passes over the examples", **LETTERS)
        updates = "1 update" if size == EXAMPLES else f"{EXAMPLES // size} updates"
        head(top, f"{name}: {updates} a pass")
        contours(below, numbers["problem"])
        below.plot(*points.T, **style, marker="o", markersize=dot)
        start_mark(below, (0, 0))
    axes[0, 0].legend(**LEGEND, loc="upper left")
    axes[0, 0].set_ylabel("cost", **LETTERS)
    axes[1, 0].set_ylabel("second weight", **LETTERS)
    axes[1, 1].set_xlabel("first weight", **LETTERS)
    save(figure, path, claim)


batch_sizes = Picture(
    "batches",
    "The smaller the batch, the more the cost jumps, and the sooner it falls",
    _measure_batches,
    _paint_batches,
)
