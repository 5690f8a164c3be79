"""Descents for a linear regression, to a feature as it is and normalized."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from gdopt.data import Normalizer
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
from gdopt.gallery.parts.regression import regression
from gdopt.gallery.parts.walks import Walk, tuned
from gdopt.optim import SGD
from gdopt.plots.style import save
from gdopt.problems import Problem

EXAMPLES = 512


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


normalization = Picture(
    "normalization",
    "With the feature normalized the contours are round, and one step is enough",
    _measure_normalization,
    _paint_normalization,
)
