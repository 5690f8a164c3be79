"""Nonlinear conjugate gradients, and plain gradient descent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from gdopt.arrays.backend import Array
from gdopt.checks import check_saved_array
from gdopt.optim.parameters import Parameters
from gdopt.training.descent import Descent
from gdopt.training.line_search import LinePoint


class ConjugateGradients(Descent):
    """Updates parameters along directions that keep what the last one has reached.

    d <- -g + beta d, beta = max(0, g^T (g - h) / h^T h), with h the gradient before

    It starts again from -g where d does not descend enough. The first step tried has
    the decrease of the update before, if the function is linear.

    Source: Nocedal & Wright 2006, algorithm 5.4 with (5.45), Polak-Ribiere+, and
    (3.60), the first step; Gilbert & Nocedal 1992, (4.1), enough descent. SciPy's "CG"
    searches for another step instead of starting again.
    """

    name, curvature = "cg", 0.4
    _conjugate = True

    def __init__(self, parameters: Parameters, bounds: Any = None) -> None:
        super().__init__(parameters, bounds)
        self._next = self._x.like().flat  # the direction before bounds cut it
        # The square of the gradient, the next direction's slope, the last decrease.
        self._square = self._slope = self._decrease = 0.0

    @property
    def _remembers(self) -> bool:
        return self._slope != -self._square

    def _forget(self) -> None:
        self._square = self._slope = 0.0

    def _direction(self, g: Array) -> tuple[float, float]:
        if not self._square:
            self._xp.negative(g, out=self._next)
            (self._square,) = self._read(self._xp.dot(g, g))
            self._slope = -self._square
        self._d[...] = self._next
        if not self._slope:
            return 0.0, 0.0
        decrease = self._decrease or self._square**0.5 / 2
        return self._slope, min(1.0, -2.02 * decrease / self._slope)

    def _learn(self, start: LinePoint, found: LinePoint, g: Array) -> None:
        products = (self._xp.dot(g, other) for other in (g, self._g.flat, self._next))
        square, across, along = self._read(*products)
        beta = max(0.0, (square - across) / self._square) if self._conjugate else 0.0
        if beta * along > 0.99 * square:
            beta = 0.0
        self._next *= beta
        self._next -= g
        self._square, self._slope = square, beta * along - square
        self._decrease = max(0.0, start.value - found.value)  # rounding may hide it

    def _state(self) -> dict[str, Any]:
        numbers = np.array([self._square, self._slope, self._decrease])
        return {"direction": self._backend.to_host(self._next), "numbers": numbers}

    def _load(self, state: Mapping[str, Any]) -> None:
        saved = check_saved_array("direction", state["direction"], self._next)
        numbers = check_saved_array("numbers", state["numbers"], np.zeros(3))
        self._next[...] = self._backend.from_host(saved, self._parameters.device)
        self._square, self._slope, self._decrease = map(float, numbers)


class GradientDescent(ConjugateGradients):
    """Updates parameters along -g.

    Source: Nocedal & Wright 2006, sections 3.1 and 3.5.
    """

    name = "gd"
    _conjugate = False
