"""The cost of a linear regression on two features, as a surface."""

from __future__ import annotations

from typing import Any

import numpy as np

from gdopt.problems import Problem


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
