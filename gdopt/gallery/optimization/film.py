"""The saddle again, as an animation: who is still there after how many steps."""

from __future__ import annotations

from typing import Any

import numpy as np

from gdopt.extras import load_extra
from gdopt.gallery.optimization.paths import saddle_paths
from gdopt.gallery.parts.canvas import (
    COLOURS,
    LEGEND,
    LETTERS,
    WIDTHS,
    contours,
    sheet,
    start_mark,
)
from gdopt.gallery.parts.picture import Numbers, Path, Picture
from gdopt.plots.style import INK

EVERY = 3  # steps from one frame to the next
REST = 12  # frames that show the end
FRAMES_A_SECOND = 10
DOTS = 64  # per inch


def _measure_film() -> Numbers:
    """Take the walks of `saddle_paths` where it is turned and all are led to it.

    ``frames`` are the steps at which they are shown, until the last has arrived.
    """
    numbers = saddle_paths.measure()["turned"]
    last = max(walk.arrived for walk in numbers["walks"].values())
    frames = [*range(0, last + EVERY, EVERY)]
    return {**numbers, "frames": frames}


def _paint_film(numbers: Numbers, path: Path, claim: str) -> None:
    """Draw frame by frame; what does not move is drawn once, as an image."""
    writers = load_extra("matplotlib.animation", "train", "drawing")
    figure, axis = _stage(numbers, claim)
    lines = {}
    for name in numbers["walks"]:
        style = {"color": COLOURS[name], "linewidth": WIDTHS[name], "alpha": 0.8}
        (tail,) = axis.plot([], [], **style)
        (dot,) = axis.plot([], [], "o", color=COLOURS[name], markersize=10)
        lines[name] = tail, dot
    text = axis.text(-1.9, -1.9, "", **LETTERS)
    writer = writers.PillowWriter(fps=FRAMES_A_SECOND)
    with writer.saving(figure, path, dpi=DOTS):
        for frame in [*numbers["frames"], *[numbers["frames"][-1]] * REST]:
            _move(lines, numbers, frame)
            text.set_text(f"step {frame}")
            writer.grab_frame()


def _stage(numbers: Numbers, claim: str) -> tuple[Any, Any]:
    """Make a figure whose background is all that stands still."""
    agg = load_extra("matplotlib.backends.backend_agg", "train", "drawing")
    figure, axes = sheet(1, 1, size=(7.0, 6.0))
    figure.set_dpi(DOTS)
    axis = axes[0, 0]
    contours(axis, numbers["problem"], points=101, filled=False)
    start_mark(axis, numbers["problem"].start)
    for name in numbers["walks"]:
        axis.plot([], [], "o", color=COLOURS[name], markersize=10, label=name)
    axis.legend(**LEGEND, loc="lower right")
    figure.suptitle(claim, fontsize=13, color=INK, x=0.01, ha="left")
    canvas = agg.FigureCanvasAgg(figure)
    canvas.draw()
    still = np.array(canvas.buffer_rgba())
    place, limits = axis.get_position(), (axis.get_xlim(), axis.get_ylim())
    figure.clear()
    figure.set_layout_engine("none")
    figure.figimage(still, zorder=-1)
    empty = figure.add_axes(place, xlim=limits[0], ylim=limits[1])
    empty.set_axis_off()
    return figure, empty


def _move(lines: dict[str, Any], numbers: Numbers, step: int) -> None:
    """Show every path up to a step."""
    for name, (tail, dot) in lines.items():
        points: np.ndarray = numbers["walks"][name].points[: step + 1]
        tail.set_data(*points.T)
        dot.set_data(*points[-1:].T)


saddle_film = Picture(
    "saddle-film",
    "Momentum leaves the saddle first, gradient descent last",
    _measure_film,
    _paint_film,
    ending=".gif",
)
