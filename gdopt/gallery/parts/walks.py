"""Descents from a start, and the rate that suits each optimizer best.

Whoever compares optimizers at one and the same rate compares rates: a step of Adam's is
as long as the rate says, one of gradient descent's as long as the gradient is, too. So
each optimizer gets the rate that does best for it, out of the same `RATES`, and keeps
its other settings. All rates are tried at once, as the rows of one array.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from gdopt.kernels.ops import sqrt
from gdopt.optim import SGD, Adam, Momentum, Optimizer, RMSprop
from gdopt.problems import Problem

Make = Callable[..., Optimizer]
Judge = Callable[[np.ndarray], np.ndarray]  # (..., n) points -> (...) whether arrived

RATES = 10.0 ** (np.arange(-20, 16) / 5)  # five a decade, from 1e-4 to 1e3
OPTIMIZERS: dict[str, Make] = {
    "SGD": SGD,
    "Momentum": Momentum,
    "RMSprop": RMSprop,
    "Adam": Adam,
}


def adagrad(p: Any, h: Any, g: Any, *, lr: Any, eps: Any = 1e-10) -> Any:
    """Divide by the root of the sum of squares: a rule of one's own.

    Source: Duchi, Hazan & Singer 2011, Adaptive subgradient methods; eps as in torch.
    """
    h = h + g * g
    return p - lr * g / (sqrt(h) + eps), h


def make_adagrad(params: Any, *, lr: Any) -> Optimizer:
    """Make an optimizer of the rule `adagrad`."""
    return Optimizer(params, adagrad, lr=lr)


@dataclass(frozen=True, eq=False)
class Walk:
    """One descent.

    Attributes:
        name: of the optimizer.
        rate: that was chosen for it.
        points: (steps + 1, n), the start first.
        values: (steps + 1,), of the problem there.
        arrived: steps after which it was there to stay; None where it was not.
    """

    name: str
    rate: float
    points: np.ndarray
    values: np.ndarray
    arrived: int | None

    def first(self, level: float) -> int | None:
        """Give the steps after which the value first was at most `level`."""
        below = np.flatnonzero(self.values <= level)
        return int(below[0]) if len(below) else None


def descend(
    problem: Problem,
    make: Make,
    rates: np.ndarray,
    steps: int,
    start: Any = None,
    *,
    keep: bool = True,
) -> np.ndarray:
    """Descend at several rates side by side.

    Args:
        problem: gives the gradients.
        make: ``make(params, lr=...)`` gives the optimizer.
        rates: (k,), one for each descent.
        steps: how many.
        start: (..., n), by default the problem's own, one point.
        keep: whether all points are kept, or the last ones alone.

    Returns:
        (steps + 1, k, ..., n): all points, the start first; (k, ..., n): the last.
    """
    begin = np.array(problem.start if start is None else start, dtype=np.float64)
    p = np.tile(begin, (len(rates), *([1] * begin.ndim)))
    optimizer = make(p, lr=np.reshape(rates, (-1, *([1] * begin.ndim))).copy())
    points = np.empty((steps + 1 if keep else 1, *p.shape))
    points[0] = p
    with np.errstate(all="ignore"):  # at rates that are too large it runs away
        for step in range(steps):
            optimizer.step(problem.gradient(p))
            points[step + 1 if keep else 0] = p
    return points if keep else points[0]


def arrivals(inside: np.ndarray) -> np.ndarray:
    """Give the steps after which each descent is inside to stay.

    Args:
        inside: (steps + 1, ...) truth values.

    Returns:
        (...) whole numbers; steps + 1 where the last step is outside.

    >>> arrivals(np.array([[False, True], [True, True], [True, False]]))
    array([1, 3])
    """
    count = len(inside)
    since_outside = np.argmax(~inside[::-1], axis=0)
    return np.where(inside.all(axis=0), 0, count - since_outside)


def near(problem: Problem, distance: float) -> Judge:
    """Judge whether points are within a distance of a minimum."""
    return lambda points: problem.distance(points) <= distance


def tuned(problem: Problem, name: str, make: Make, *, steps: int, there: Judge) -> Walk:
    """Descend at the rate, of all `RATES`, that arrives soonest, to stay.

    Where none arrives in `steps`, it is the rate that ends at the least value; of equal
    ones the smaller.
    """
    points = descend(problem, make, RATES, steps)
    with np.errstate(all="ignore"):
        values = problem.value(points)
        soonest = arrivals(there(points))
    best = int(np.argmin(soonest))
    arrived: int | None = int(soonest[best])
    if arrived == steps + 1:
        best, arrived = int(np.nanargmin(values[-1])), None
    return Walk(name, float(RATES[best]), points[:, best], values[:, best], arrived)


def race(problem: Problem, *, steps: int, there: Judge) -> dict[str, Walk]:
    """Let SGD, Momentum, RMSprop and Adam descend, each at the rate that suits it."""
    return {
        name: tuned(problem, name, make, steps=steps, there=there)
        for name, make in OPTIMIZERS.items()
    }
