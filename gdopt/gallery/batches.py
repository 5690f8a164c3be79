"""Descents for a linear regression: how many examples a step, and of which scale."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from gdopt.data import Normalizer, minibatches
from gdopt.gallery.parts.canvas import (
    COLOURS,
    LEGEND,
    LETTERS,
    contours,
    head,
    sheet,
    start_mark,
    told,
)
from gdopt.gallery.parts.picture import Numbers, Path, Picture
from gdopt.gallery.parts.walks import Walk, tuned
from gdopt.optim import SGD
from gdopt.plots.style import BLUE, GREEN, INK, ORANGE, logarithmic, save
from gdopt.problems import Problem

EXAMPLES, PASSES, RATE = 512, 20, 0.05
SIZES = {"batch": EXAMPLES, "mini-batch": 32, "stochastic": 1}
TINTS = {"batch": INK, "mini-batch": BLUE, "stochastic": ORANGE}


def regression(X: np.ndarray, y: np.ndarray, name: str) -> Problem:
    """Make the cost of a linear regression on two features: sum of (X p - y)^2 / 2 m.

    Args:
        X: (m, 2) float64.
        y: (m,) float64.
        name: of the problem.
    """
    best: np.ndarray = np.linalg.lstsq(X, y)[0]
    square, m = X.T @ X, len(y)
    floor = float(np.mean((X @ best - y) ** 2) / 2)

    def formula(p: Any, _: Any) -> Any:
        away = p - best
        return floor + np.sum(away @ square * away, axis=-1) / (2 * m)

    return Problem(
        name,
        formula=formula,
        slope=lambda p, _: (p - best) @ square / m,
        start=(0.0, 0.0),
        box=((-0.5, 2.0), (-1.6, 0.5)),
        minima=((float(best[0]), float(best[1])),),
        least=floor,
    )


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


def _measure_normalization() -> Numbers:
    """Fit w x + b by gradient descent, to x as it is, and to x normalized.

    x has mean 3 and standard deviation 0.5. Both descents start from 0, with the same
    cost, and have the rate with which each comes soonest to within 1e-4 of that
    cost above the least. ``conditions`` are those of the matrices of the second
    derivatives; of a normalized feature it is the identity, and rate 1 leads to the
    minimum in a single step.
    """
    rng = np.random.default_rng(0)
    x = 3 + 0.5 * rng.standard_normal(EXAMPLES)
    y = 2 * x - 1 + 0.3 * rng.standard_normal(EXAMPLES)
    normalized = Normalizer.fit(x).transform(x)
    numbers: Numbers = {"problems": {}, "walks": {}, "conditions": {}}
    for name, feature in {"as it is": x, "normalized": normalized}.items():
        X = np.stack([feature, np.ones_like(feature)], axis=-1)
        problem = regression(X, y, name)
        numbers["problems"][name] = problem
        numbers["conditions"][name] = float(np.linalg.cond(X.T @ X))
        low = problem.least + 1e-4 * (float(np.mean(y**2)) / 2 - problem.least)
        there = partial(_below, problem, low)
        numbers["walks"][name] = tuned(problem, "SGD", SGD, steps=600, there=there)
    return numbers


def _below(problem: Problem, value: float, points: np.ndarray) -> np.ndarray:
    below: np.ndarray = problem.value(points) <= value
    return below


def _paint_normalization(numbers: Numbers, path: Path, claim: str) -> None:
    figure, axes = sheet(1, 2, size=(12, 5.4))
    for axis, (name, problem) in zip(axes[0], numbers["problems"].items(), strict=True):
        walk: Walk = numbers["walks"][name]
        _contours_around(axis, problem, walk)
        axis.plot(
            *walk.points[: (walk.arrived or 0) + 1].T,
            "o-",
            color=COLOURS["Momentum"],
            linewidth=1.4,
            markersize=4,
            label=told(walk),
        )
        start_mark(axis, problem.start)
        condition = numbers["conditions"][name]
        head(axis, f"x {name}: condition {condition:,.0f}")
        axis.set_xlabel("weight w", **LETTERS)
        axis.legend(**LEGEND, loc="upper right")
    axes[0, 0].set_ylabel("bias b", **LETTERS)
    save(figure, path, claim)


def _contours_around(axis: Any, problem: Problem, walk: Walk) -> None:
    """Draw level lines in a square that holds the start, the path and the minimum."""
    points = np.concatenate([walk.points, problem.minima])
    middle = (points.max(axis=0) + points.min(axis=0)) / 2
    reach = 0.75 * float(np.ptp(points, axis=0).max())
    box = tuple((float(m) - reach, float(m) + reach) for m in middle)
    contours(axis, replace(problem, box=box))
    axis.set_aspect("equal")


batch_sizes = Picture(
    "batches",
    "The smaller the batch, the more the cost jumps, and the sooner it falls",
    _measure_batches,
    _paint_batches,
)
normalization = Picture(
    "normalization",
    "With the feature normalized the contours are round, and one step is enough",
    _measure_normalization,
    _paint_normalization,
)
