"""Methods with a line search, and what drives them without the loop."""

import pytest

from gdopt.optim.parameters import Parameters
from gdopt.problems import rosenbrock
from gdopt.training.lbfgs import LINE_SEARCH_METHODS

NAMES = pytest.mark.parametrize("name", LINE_SEARCH_METHODS)


VALLEY = rosenbrock(6)


def valley(w):
    return VALLEY.value(w), VALLEY.gradient(w)


def make(name, params, bounds=None, frozen=()):
    return LINE_SEARCH_METHODS[name](Parameters.of(params, frozen), bounds)


def drive(method, evaluate, *, gtol=1e-6, updates=3000):
    """Return the points of a run, the start included."""
    points = [method.start(evaluate)]
    while points[-1].grad_norm > gtol and not points[-1].stalled and updates:
        points.append(method.update(evaluate))
        updates -= 1
    return points
