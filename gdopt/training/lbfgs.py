"""L-BFGS: the two-loop recursion on the products of the last steps."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from gdopt.arrays.backend import Array
from gdopt.checks import check_saved_array
from gdopt.optim.parameters import Parameters
from gdopt.training.conjugate import ConjugateGradients, GradientDescent
from gdopt.training.descent import Descent
from gdopt.training.line_search import LinePoint

MEMORY = 10  # pairs, as in SciPy


class LBFGS(Descent):
    """Updates parameters along d = -H g, with H from the last 10 steps.

    A pair of a step is s, the change of the parameters, and y, that of the gradient.
    The two-loop recursion is done on the host, on the products of all pairs with each
    other and with g; d is then one product of its results and the pairs. A direction
    reads the pairs three times, and a GPU is waited for once.

    Within bounds, the recursion is restricted to the elements that no bound holds, and
    the direction leads to the projected end of the step.

    Source: Nocedal & Wright 2006, algorithms 7.4 and 7.5; Chen, Wang & Zhou 2014,
    Large-scale L-BFGS using MapReduce (the recursion on products); Schmidt, Kim & Sra
    2011, Projected Newton-type methods in machine learning, section 2. SciPy's L-BFGS-B
    chooses the elements by the generalized Cauchy point.
    """

    name = "l-bfgs"

    def __init__(self, parameters: Parameters, bounds: Any = None) -> None:
        super().__init__(parameters, bounds)
        rows = 2 * MEMORY, self._d.size  # s and y of a pair are neighbours
        device = self._parameters.device
        self._pairs = self._backend.zeros(rows, self._d.dtype, device)
        self._products = np.zeros((2 * MEMORY, 2 * MEMORY))  # columns of y alone
        self._count = 0  # of the pairs so far; later ones replace the oldest

    @property
    def _remembers(self) -> bool:
        return self._count > 0

    def _forget(self) -> None:
        self._count = 0

    def _state(self) -> dict[str, Any]:
        held = self._backend.to_host(self._pairs[: 2 * min(self._count, MEMORY)])
        own = {"pairs": held, "products": self._products}
        return {**own, "count": np.array(self._count)}

    def _load(self, state: Mapping[str, Any]) -> None:
        count = int(check_saved_array("count", state["count"], np.array(0)))
        held = self._pairs[: 2 * min(count, MEMORY)]
        pairs = check_saved_array("pairs", state["pairs"], held)
        products = check_saved_array("products", state["products"], self._products)
        held[...] = self._backend.from_host(pairs, self._parameters.device)
        self._products[...], self._count = products, count

    def _direction(self, g: Array) -> tuple[float, float]:
        held = 2 * min(self._count, MEMORY)
        *of_g, square = self._multiply(self._pairs[:held], g)
        rows = self._products.tolist()
        newest = (self._count - 1) % MEMORY
        order = [*range(newest + 1, held // 2), *range(newest + 1)] if held else []
        least = float(np.finfo(g.dtype).eps)  # bounds may leave less of a pair
        order = [
            k
            for k in order
            if rows[2 * k][2 * k + 1] > least * rows[2 * k + 1][2 * k + 1]
        ]
        if not order:
            self._xp.negative(g, out=self._d)
            return -square, 1 / math.sqrt(square) if square else 0.0
        scale, weights = _recur(rows, of_g, order)
        host = np.array(weights, g.dtype)
        weighted = self._backend.from_host(host, self._parameters.device)
        self._xp.dot(weighted, self._pairs[:held], out=self._d)
        self._d -= self._xp.multiply(g, scale, out=self._trial.flat)
        slope = sum(w * p for w, p in zip(weights, of_g, strict=True))
        return slope - scale * square, 1.0

    def _multiply(self, pairs: Array, g: Array) -> list[float]:
        """Return the products of all pairs and g with g; note those with the new y."""
        xp, held = self._xp, len(pairs)
        parts = [xp.dot(pairs, g), xp.dot(g, g).reshape(1)]
        last = 2 * ((self._count - 1) % MEMORY) + 1
        columns = slice(last, last + 1) if self._box is None else slice(1, held, 2)
        if held and self._box is None:
            parts.append(xp.dot(pairs, pairs[last]))
        elif held:
            parts.append(xp.dot(pairs, (pairs[columns] * self._mask).T).ravel())
        found = self._backend.to_host(xp.concatenate(parts)).astype(np.float64)
        if held:
            block = found[held + 1 :].reshape(held, -1)
            self._products[:held, columns] = block
            self._products[columns, 1:held:2] = block[1::2].T
        numbers: list[float] = found[: held + 1].tolist()
        return numbers

    def _learn(self, start: LinePoint, found: LinePoint, g: Array) -> None:  # noqa: ARG002
        gained = found.slope - start.slope
        if gained <= -np.finfo(self._d.dtype).eps * start.slope:
            return  # the curvature along the step is not positive
        s, y = self._pairs[2 * (self._count % MEMORY) :][:2]
        self._xp.subtract(self._trial.flat, self._x.flat, out=s)
        self._xp.subtract(self._trial_g.flat, self._g.flat, out=y)
        self._count += 1


def _recur(
    rows: list[list[float]], of_g: list[float], order: list[int]
) -> tuple[float, list[float]]:
    """Do the two-loop recursion for -H g; return the parts of -g and of all pairs.

    Rows are of s (even) and y (odd), columns of y; `order` begins with the oldest pair.
    Source: Nocedal & Wright 2006, algorithm 7.4 with (7.20).
    """
    alphas = dict[int, float]()
    for k in reversed(order):
        row = rows[2 * k]
        rest = of_g[2 * k] - sum(a * row[2 * j + 1] for j, a in alphas.items())
        alphas[k] = rest / row[2 * k + 1]
    last = 2 * order[-1]
    scale = rows[last][last + 1] / rows[last + 1][last + 1]
    weights = [0.0] * len(of_g)
    for n, k in enumerate(order):
        row, y = rows[2 * k + 1], 2 * k + 1
        rest = of_g[y] - sum(a * row[2 * j + 1] for j, a in alphas.items())
        rest = scale * rest - sum(weights[2 * j] * rows[2 * j][y] for j in order[:n])
        weights[2 * k] = rest / rows[2 * k][y] - alphas[k]
        weights[y] = scale * alphas[k]
    return scale, weights


LINE_SEARCH_METHODS: dict[str, type[Descent]] = {
    method.name: method for method in (LBFGS, ConjugateGradients, GradientDescent)
}
