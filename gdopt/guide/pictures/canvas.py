"""What all scripts share: the folder to draw into, panels, contours, saving."""

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from gdopt.imports import load_extra
from gdopt.plots.series import FAINT, INK
from gdopt.problems import Problem

Numbers = dict[str, Any]

COLOURS = 128  # of a saved picture
DOTS = "#B0B0B0"  # of single values; pale, but seen at half the size
STYLE = {
    "figure.titlesize": 15,
    "text.color": INK,
    "font.size": 12,
    "axes.titlesize": 12,
    "axes.titlelocation": "left",
    "axes.labelsize": 12,
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "grid.color": FAINT,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.fontsize": 11,
    "legend.facecolor": "white",
    "legend.edgecolor": "none",
    "legend.framealpha": 0.85,
}


def output_folder(arguments: list[str] | None, description: str | None) -> Path:
    """Set the style, and return the folder that is named, made where it is missing."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=description, formatter_class=raw)
    text = "folder for the pictures; files of the same names are overwritten"
    parser.add_argument("out", metavar="OUT", type=Path, help=text)
    folder: Path = parser.parse_args(arguments).out
    load_extra("matplotlib", "train", "drawing").rcParams.update(STYLE)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def figure_grid(
    title: str, size: tuple[float, float], rows: int = 1, columns: int = 1, **share: Any
) -> tuple[Any, Any]:
    """Return a figure of some inches under a title, and its axes in an array.

    Of one axis there is no array, and of one row it is (columns,).
    """
    figures = load_extra("matplotlib.figure", "train", "drawing")
    figure = figures.Figure(figsize=size, layout="constrained")
    figure.suptitle(title, x=0.01, ha="left")
    return figure, figure.subplots(rows, columns, **share)


def draw_contours(
    axis: Any,
    problem: Problem,
    *,
    by_decades: bool = False,
    filled: bool = True,
    points: int = 201,
) -> None:
    """Draw a problem's level lines over its box, and its minima as crosses.

    The levels are even in the root of the height above the minimum, or in its
    logarithm.
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
    axis.set(xlim=(left, right), ylim=(low, high))
    axis.grid(visible=False)


def mark_start(axis: Any, start: tuple[float, ...]) -> None:
    """Mark where all descents start."""
    axis.plot(*start[:2], "s", color="white", markeredgecolor=INK, markersize=8)


def save(figure: Any, path: Path) -> None:
    """Write a figure as a PNG of half its size, in 128 colours."""
    agg = load_extra("matplotlib.backends.backend_agg", "train", "drawing")
    images = load_extra("PIL.Image", "train", "drawing")
    figure.set_dpi(150)
    agg.FigureCanvasAgg(figure).draw()
    image = images.fromarray(np.asarray(figure.canvas.buffer_rgba())).convert("RGB")
    half = image.resize(
        (image.width // 2, image.height // 2), images.Resampling.LANCZOS
    )
    # The median cut, which is the default, would take thin lines' colours away.
    few = {"method": images.Quantize.MAXCOVERAGE, "kmeans": 1000}
    half.quantize(COLOURS, dither=images.Dither.NONE, **few).save(path)
