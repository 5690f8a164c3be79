"""What all pictures of the gallery share: a sheet, contours, paths."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gdopt.extras import load_extra
from gdopt.gallery.parts.walks import Walk
from gdopt.plots.style import BLUE, GREEN, INK, ORANGE, prepare
from gdopt.problems import Problem

COLOURS = {"SGD": INK, "Momentum": BLUE, "RMSprop": ORANGE, "Adam": GREEN}
WIDTHS = {"SGD": 3.6, "Momentum": 2.6, "RMSprop": 1.9, "Adam": 1.2}  # thin over thick
DOTS = "#B0B0B0"  # of single values; pale, but seen at half the size
LETTERS = {"fontsize": 12, "color": INK}
LEGEND = {
    "fontsize": 11,
    "labelcolor": INK,
    "facecolor": "white",
    "edgecolor": "none",
    "framealpha": 0.85,
}


def sheet(
    rows: int, columns: int, *, size: tuple[float, float], **options: Any
) -> tuple[Any, Any]:
    """Make a figure with rows and columns of panels; its size in inches.

    Returns:
        The figure, and its axes in an array, (rows, columns).
    """
    figures = load_extra("matplotlib.figure", "train", "drawing")
    figure = figures.Figure(figsize=size, layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, **options)
    for axis in axes.flat:
        prepare(axis)
    return figure, axes


def head(axis: Any, text: str) -> None:
    """Write above a panel what it shows."""
    axis.set_title(text, fontsize=12, color=INK, loc="left")


def contours(
    axis: Any,
    problem: Problem,
    *,
    by_decades: bool = False,
    filled: bool = True,
    points: int = 201,
) -> None:
    """Draw a problem's level lines over its box, and its minima as crosses.

    The levels are even in the root of the height above the least, or in its logarithm.
    """
    (left, right), (low, high) = problem.box
    x, y = np.linspace(left, right, points), np.linspace(low, high, points)
    heights = problem.value(np.stack(np.meshgrid(x, y), axis=-1))
    heights -= min(heights.min(), problem.least) if problem.minima else heights.min()
    heights = np.log10(heights + 1e-3) if by_decades else np.sqrt(heights)
    levels = np.linspace(heights.min(), heights.max(), 17)
    if filled:
        colours = load_extra("matplotlib.colors", "train", "drawing")
        pale = colours.LinearSegmentedColormap.from_list("pale", ["#DDE5EC", "#FFFFFF"])
        axis.contourf(x, y, heights, levels=levels, cmap=pale)
    lines = {"colors": "#A9B4BF", "linewidths": 0.7, "linestyles": "solid"}
    axis.contour(x, y, heights, levels=levels, **lines)
    for minimum in problem.minima:
        axis.plot(*minimum, "x", color=INK, markersize=9, markeredgewidth=2.2)
    axis.set_xlim(left, right)
    axis.set_ylim(low, high)
    axis.grid(visible=False)


def trail(axis: Any, walk: Walk, until: int) -> None:
    """Draw the first points of a walk, and a line from each to the next one."""
    points = walk.points[: until + 1]
    colour, width = COLOURS[walk.name], WIDTHS[walk.name]
    size = 2 + width if len(points) < 150 else width
    style = {"linewidth": width, "marker": "o", "markersize": size, "alpha": 0.9}
    axis.plot(points[:, 0], points[:, 1], color=colour, **style)


def start_mark(axis: Any, start: Sequence[float]) -> None:
    """Mark where all descents start."""
    axis.plot(*start[:2], "s", color="white", markeredgecolor=INK, markersize=8)


def told(walk: Walk) -> str:
    """Say of a walk who walked, at which rate, and how long it took."""
    if walk.arrived is None:
        return f"{walk.name}, rate {walk.rate:.2g}: not there"
    steps = "1 step" if walk.arrived == 1 else f"{walk.arrived:,} steps"
    return f"{walk.name}, rate {walk.rate:.2g}: {steps}"
