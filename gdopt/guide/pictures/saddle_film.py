"""The saddle as an animation: which optimizer is still there after how many steps.

Picture: saddle-film.gif.
"""

from pathlib import Path
from typing import Any

import numpy as np

from gdopt.guide.pictures import canvas
from gdopt.guide.pictures.canvas import Numbers, figure_grid
from gdopt.guide.pictures.trajectories import TINTS, WIDTHS, compute_saddle
from gdopt.imports import load_extra

EVERY = 3  # steps from one frame to the next
REST = 4000  # milliseconds more that show the end
PAUSE = 100  # milliseconds from one frame to the next
DPI = 64


def compute_film() -> Numbers:
    """Take the trajectories where the saddle is turned and leads all of them to it.

    ``frames`` are the steps at which they are shown, until the last has arrived.
    """
    _, numbers = compute_saddle().values()
    last = max(one.arrived for one in numbers["trajectories"].values())
    return {**numbers, "frames": [*range(0, last + EVERY, EVERY)]}


def draw_film(numbers: Numbers, path: Path) -> None:
    """Draw frame by frame; what does not move is drawn once, as an image."""
    images = load_extra("PIL.Image", "train", "drawing")
    figure, axis = _stage(numbers)
    lines = {}
    for name in numbers["trajectories"]:
        style = {"color": TINTS[name], "linewidth": WIDTHS[name], "alpha": 0.8}
        (tail,) = axis.plot([], [], **style)
        (dot,) = axis.plot([], [], "o", color=TINTS[name], markersize=10)
        lines[name] = tail, dot
    text = axis.text(-1.9, -1.9, "")
    frames = []
    for step in numbers["frames"]:
        for name, (tail, dot) in lines.items():
            points = numbers["trajectories"][name].points[: step + 1]
            tail.set_data(*points.T)
            dot.set_data(*points[-1:].T)
        text.set_text(f"step {step}")
        figure.canvas.draw()
        image = images.fromarray(np.array(figure.canvas.buffer_rgba()))
        frames.append(image.convert("RGB"))
    pauses = [PAUSE] * (len(frames) - 1) + [PAUSE + REST]
    film = {"save_all": True, "append_images": frames[1:], "duration": pauses}
    frames[0].save(path, loop=0, **film)


def _stage(numbers: Numbers) -> tuple[Any, Any]:
    """Return a figure whose background is all that stands still, and its axis."""
    agg = load_extra("matplotlib.backends.backend_agg", "train", "drawing")
    title = "Momentum leaves the saddle first, gradient descent last"
    figure, axis = figure_grid(title, (7.0, 6.0))
    figure.suptitle(title, x=0.01, ha="left", fontsize=13)
    figure.set_dpi(DPI)
    canvas.draw_contours(axis, numbers["problem"], points=101, filled=False)
    canvas.mark_start(axis, numbers["problem"].start)
    for name in numbers["trajectories"]:
        axis.plot([], [], "o", color=TINTS[name], markersize=10, label=name)
    axis.legend(loc="lower right")
    axis.set(xlabel="first parameter", ylabel="second parameter")
    agg.FigureCanvasAgg(figure).draw()
    still = np.array(figure.canvas.buffer_rgba())
    place, x, y = axis.get_position(), axis.get_xlim(), axis.get_ylim()
    figure.clear()
    figure.set_layout_engine("none")
    figure.figimage(still, zorder=-1)
    empty = figure.add_axes(place, xlim=x, ylim=y)
    empty.set_axis_off()
    return figure, empty


def main(arguments: list[str] | None = None) -> None:
    """Draw the picture."""
    folder = canvas.output_folder(arguments, __doc__)
    draw_film(compute_film(), folder / "saddle-film.gif")


if __name__ == "__main__":
    main()
