"""Which optimizer comes of which, what a large rate does, and why Adagrad stalls.

Pictures: family.png, large-rate.png, adagrad.png.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from gdopt.guide.pictures import canvas
from gdopt.guide.pictures.canvas import Numbers, figure_grid, save
from gdopt.guide.pictures.trajectories import best_trajectory, descend, legend_label
from gdopt.optim import SGD, Adagrad, RMSprop
from gdopt.plots.series import BLUE, GREEN, INK, ORANGE, logarithmic
from gdopt.problems import beale, bowl

BOXES = {  # by name: place, colour and formula
    "SGD": (0.0, 1.0, INK, "p ← p - lr g"),
    "Momentum": (1.0, 2.0, BLUE, "v ← β v + (1 - β) g\np ← p - lr v"),
    "Nesterov": (2.2, 2.0, BLUE, "v ← β v + g\np ← p - lr (g + β v)"),
    "Adagrad": (1.0, 0.0, ORANGE, "h ← h + g²\np ← p - lr g / (√h + ε)"),
    "RMSprop": (2.2, 0.0, ORANGE, "v ← β v + (1 - β) g²\np ← p - lr g / (√v + ε)"),
    "Adam": (2.75, 1.0, GREEN, "m, v ← averages of g, g²\np ← p - lr m̂ / (√v̂ + ε)"),
    "AdamW": (4.0, 1.0, GREEN, "p ← (1 - lr λ) p\nthen Adam's step"),
}
ARROWS = {
    ("SGD", "Momentum"): "average\nthe gradients",
    ("Momentum", "Nesterov"): "look\nahead",
    ("SGD", "Adagrad"): "divide by the root\nof the squares' sum",
    ("Adagrad", "RMSprop"): "average,\nnot sum",
    ("Momentum", "Adam"): "mean of\nthe gradients",
    ("RMSprop", "Adam"): "mean of\nthe squares",
    ("Adam", "AdamW"): "decay\napart",
}
WIDTH, HEIGHT = 0.78, 0.52  # of a box
SHOWN = 8  # points of a path that leaves the picture


def draw_family(path: Path) -> None:
    """Draw a box for each formula, and arrows with what changes.

    Source: Polyak 1964 (momentum, the heavy ball), Nesterov 1983, Duchi, Hazan & Singer
    2011 (Adagrad), Tieleman & Hinton 2012 (RMSprop), Kingma & Ba 2015 (Adam),
    Loshchilov & Hutter 2019 (AdamW).
    """
    title = "Adam is momentum plus RMSprop: gradient descent with two memories"
    figure, axis = figure_grid(title, (13, 6.2))
    axis.set_axis_off()
    axis.set(xlim=(-0.45, 4.45), ylim=(-0.35, 2.35))
    centre = {"ha": "center", "va": "center"}
    for name, (x, y, colour, formula) in BOXES.items():
        style = {"fill": False, "edgecolor": colour, "linewidth": 2.2}
        left, low = x - WIDTH / 2, y - HEIGHT / 2
        patch = axis.bar(left, HEIGHT, WIDTH, low, align="edge", **style)
        patch[0].set_joinstyle("round")
        axis.text(x, y + 0.15, name, fontsize=15, color=colour, **centre)
        axis.text(x, y - 0.08, formula, fontsize=10.5, color=INK, **centre)
    for (parent, child), change in ARROWS.items():
        _draw_arrow(axis, parent, child, change)
    save(figure, path)


def _draw_arrow(axis: Any, parent: str, child: str, change: str) -> None:
    """Draw an arrow from box to box, with what changes next to it."""
    (x, y), (u, v) = BOXES[parent][:2], BOXES[child][:2]
    if y == v:
        start, end = (x + WIDTH / 2, y), (u - WIDTH / 2, v)
    else:
        side = HEIGHT / 2 if v > y else -HEIGHT / 2
        start, end = (x + 0.1, y + side), (u - 0.1, v - side)
    arrow = {"arrowstyle": "-|>", "color": INK, "linewidth": 1.6}
    axis.annotate("", end, start, arrowprops={**arrow, "shrinkA": 1, "shrinkB": 1})
    text = {"ha": "center", "va": "center", "fontsize": 10.5, "color": INK}
    middle, height = (start[0] + end[0]) / 2, (start[1] + end[1]) / 2
    if y == v:
        axis.text(middle, height + 0.14, change, **text)
    else:
        paper = {"facecolor": "white", "edgecolor": "none", "pad": 1.5}
        axis.text(middle, height, change, **text, bbox=paper)


def compute_large_rate() -> Numbers:
    """Take rate 0.05 in a bowl of condition 50, whose limit is 2 / 50 = 0.04.

    Gradient descent goes wrong by a factor of |1 - 0.05 50| = 1.5 in each step, whereas
    RMSprop divides by the gradients' size and comes to within the rate. At 0.03
    gradient descent would converge, too. ``points`` are 201 each, ``distances`` theirs.
    """
    problem = replace(bowl(50.0), box=((-4.6, 1.6), (-2.5, 2.5)))
    points = {
        f"{make.__name__}, rate {rate}": descend(problem, make, np.array([rate]), 200)[
            :, 0
        ]
        for make, rate in ((SGD, 0.05), (SGD, 0.03), (RMSprop, 0.05))
    }
    distances = {name: problem.distance(path) for name, path in points.items()}
    return {"problem": problem, "points": points, "distances": distances}


def draw_large_rate(numbers: Numbers, path: Path) -> None:
    """Draw the paths over contours, and their distances from the minimum."""
    title = "RMSprop converges at a rate at which gradient descent diverges"
    figure, (left, right) = figure_grid(title, (12, 5.2), columns=2)
    canvas.draw_contours(left, numbers["problem"])
    styles = zip(numbers["points"], (INK, BLUE, ORANGE), (2.8, 2.0, 2.0), strict=True)
    for name, colour, width in styles:
        style = {"color": colour, "linewidth": width, "alpha": 0.9}
        distances = numbers["distances"][name]
        until = SHOWN if distances[-1] > 1e3 else None
        left.plot(*numbers["points"][name][:until].T, ".-", markersize=6, **style)
        right.plot(distances, **style, label=name)
    canvas.mark_start(left, numbers["problem"].start)
    left.set(title="condition 50: the limit is 0.04")
    left.set(xlabel="first parameter", ylabel="second parameter")
    logarithmic(right, "y")
    right.set(xlabel="step", ylabel="distance from the minimum", ylim=(1e-3, 1e6))
    right.legend(loc="upper right")
    save(figure, path)


def compute_adagrad() -> Numbers:
    """Descend Beale's function from the steep corner (4, 4), 3,000 steps.

    Both get the best of the same 36 rates. The first gradients, of size 3e4, stay in
    Adagrad's sum forever; RMSprop's average forgets them. No rate makes up for it: one
    that is large enough for later throws the first step far out. ``factors`` are the
    steps divided by the gradients: the rate over the root of sum or average.
    """
    problem = replace(beale(), start=(4.0, 4.0), box=((-1.0, 5.0), (-2.0, 4.5)))
    makes = {"Adagrad": Adagrad, "RMSprop": RMSprop}
    trajectories = {
        name: best_trajectory(problem, name, make, 3000) for name, make in makes.items()
    }
    factors = {
        name: -np.diff(one.points, axis=0) / problem.gradient(one.points[:-1])
        for name, one in trajectories.items()
    }
    return {"problem": problem, "trajectories": trajectories, "factors": factors}


def draw_adagrad(numbers: Numbers, path: Path) -> None:
    """Draw the paths over contours, and what the gradient is multiplied by."""
    title = "Adagrad's rate only falls, and it stalls; RMSprop's recovers"
    figure, (left, right) = figure_grid(title, (12, 5.4), columns=2)
    canvas.draw_contours(left, numbers["problem"], by_decades=True)
    for name, colour in {"Adagrad": BLUE, "RMSprop": ORANGE}.items():
        one, factors = numbers["trajectories"][name], numbers["factors"][name]
        style = {"color": colour, "linewidth": 2.2}
        until = (one.arrived or len(factors)) + 1
        left.plot(*one.points[:until].T, ".-", markersize=4, **style)
        steps = np.arange(1, len(factors) + 1)
        right.plot(steps, factors[:, 0], **style, label=legend_label(one))
    canvas.mark_start(left, numbers["problem"].start)
    left.set(title="Beale's function from its steep corner")
    left.set(xlabel="first parameter", ylabel="second parameter")
    text = "what the first gradient is multiplied by"
    right.set(title="step by step", xlabel="step", ylabel=text)
    logarithmic(right, "x", "y")
    right.set_ylim(top=100)
    right.legend(loc="upper left")
    save(figure, path)


def main(arguments: list[str] | None = None) -> None:
    """Draw the pictures."""
    folder = canvas.output_folder(arguments, __doc__)
    draw_family(folder / "family.png")
    draw_large_rate(compute_large_rate(), folder / "large-rate.png")
    draw_adagrad(compute_adagrad(), folder / "adagrad.png")


if __name__ == "__main__":
    main()
