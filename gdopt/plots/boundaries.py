"""Where a network draws the line between two classes of points in the plane."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from gdopt.checks import whole
from gdopt.errors import ArgumentError
from gdopt.extras import load_extra
from gdopt.plots.style import BLUE, INK, ORANGE, STYLE, save

COLUMNS = 3
Chance = Callable[[np.ndarray], np.ndarray]


def grid(X: np.ndarray, steps: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Spread points over the plane around some others.

    Args:
        X: (m, 2), examples.
        steps: along each axis, at least 2.

    Returns:
        The two axes, (steps,) each, and all their points, (steps**2, 2).
    """
    low, high = X.min(axis=0), X.max(axis=0)
    room = 0.06 * (high - low)
    first, second = np.linspace(low - room, high + room, steps).T
    points = np.stack(np.meshgrid(first, second), axis=-1).reshape(-1, 2)
    return first, second, points.astype(X.dtype)


def boundary_length(chance: Chance, X: np.ndarray, *, steps: int = 200) -> float:
    """Measure how long a boundary is: the share of neighbours on a grid it parts.

    A simple boundary is short; one that winds around single examples is long.

    Args:
        chance: of points (k, 2), the probability (k,) of class 1.
        X: (m, 2), examples, around which the grid lies.
        steps: of the grid along each axis, at least 2.

    >>> X = np.array([[0.0, 0.0], [1.0, 1.0]])
    >>> round(boundary_length(lambda p: 1.0 * (p[:, 0] > 0.5), X, steps=50), 4)
    0.0102
    """
    steps = whole("steps", steps, least=2)
    *_, points = grid(X, steps)
    sides = (np.asarray(chance(points)) > 0.5).reshape(steps, steps)
    parted = (sides[1:] != sides[:-1]).sum() + (sides[:, 1:] != sides[:, :-1]).sum()
    return float(parted / (2 * steps * (steps - 1)))


def decision_boundaries(
    models: Mapping[str, Chance],
    X: np.ndarray,
    y: np.ndarray,
    path: str | os.PathLike[str],
    *,
    title: str = "",
) -> None:
    """Draw, for each of several models, the probabilities, the boundary and the points.

    Args:
        models: by what stands above each panel; each gives for points (k, 2) the
            probability (k,) of class 1, as `gdopt.nn.Network.predict_proba` does.
        X: (m, 2), examples.
        y: (m,), 0 or 1.
        path: of the picture; its ending tells the format.
        title: what stands above.

    Raises:
        ArgumentError: there is no model, or X is not of two columns.
        MissingExtraError: matplotlib is not installed.
    """
    if not models:
        message = "models must hold at least one, got none"
        raise ArgumentError(message)
    if X.ndim != 2 or X.shape[1] != 2:
        message = f"X must have shape (m, 2), got {X.shape}"
        raise ArgumentError(message)
    figures = load_extra("matplotlib.figure", "train", "drawing")
    columns = min(COLUMNS, len(models))
    rows = -(-len(models) // columns)
    size = (4 * columns, 3.8 * rows + 0.6)
    figure = figures.Figure(figsize=size, layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    for axis in axes.flat[len(models) :]:
        axis.set_visible(False)
    for axis, (name, chance) in zip(axes.flat, models.items(), strict=False):
        _draw(axis, chance, X, y)
        axis.set_title(name, **STYLE)
    save(figure, path, title)


def _draw(axis: Any, chance: Chance, X: np.ndarray, y: np.ndarray) -> None:
    first, second, points = grid(X, 200)
    values = np.asarray(chance(points)).reshape(len(second), len(first))
    colors = load_extra("matplotlib.colors", "train", "drawing")
    tints = colors.LinearSegmentedColormap.from_list("", [BLUE, "white", ORANGE])
    axis.contourf(first, second, values, 21, cmap=tints, alpha=0.45, vmin=0, vmax=1)
    if values.min() < 0.5 < values.max():
        axis.contour(first, second, values, [0.5], colors=[INK], linewidths=1.6)
    for label, color, marker in ((0, BLUE, "o"), (1, ORANGE, "^")):
        chosen = X[y == label]
        axis.scatter(
            chosen[:, 0],
            chosen[:, 1],
            s=16,
            c=color,
            marker=marker,
            edgecolors="white",
            linewidths=0.4,
            label=f"class {label}",
        )
    axis.tick_params(labelsize=11, colors=INK)
