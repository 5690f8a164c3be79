"""Which optimizer comes of which, and by what change."""

from __future__ import annotations

from typing import Any

from gdopt.gallery.parts.canvas import sheet
from gdopt.gallery.parts.picture import Numbers, Path, Picture
from gdopt.plots.style import BLUE, GREEN, INK, ORANGE, save

FORMULAS = {
    "SGD": "p ← p - lr g",
    "Momentum": "v ← β v + (1 - β) g\np ← p - lr v",
    "Nesterov": "v ← β v + g\np ← p - lr (g + β v)",
    "Adagrad": "h ← h + g²\np ← p - lr g / (√h + ε)",
    "RMSprop": "v ← β v + (1 - β) g²\np ← p - lr g / (√v + ε)",
    "Adam": "m, v ← averages of g, g²\np ← p - lr m̂ / (√v̂ + ε)",
    "AdamW": "p ← (1 - lr λ) p\nthen Adam's step",
}
PLACES = {
    "SGD": (0.0, 1.0),
    "Momentum": (1.0, 2.0),
    "Nesterov": (2.2, 2.0),
    "Adagrad": (1.0, 0.0),
    "RMSprop": (2.2, 0.0),
    "Adam": (2.75, 1.0),
    "AdamW": (4.0, 1.0),
}
EDGES = {
    ("SGD", "Momentum"): "average\nthe gradients",
    ("Momentum", "Nesterov"): "look\nahead",
    ("SGD", "Adagrad"): "divide by the root\nof the squares' sum",
    ("Adagrad", "RMSprop"): "average,\nnot sum",
    ("Momentum", "Adam"): "mean of\nthe gradients",
    ("RMSprop", "Adam"): "mean of\nthe squares",
    ("Adam", "AdamW"): "decay\napart",
}
WIDTH, HEIGHT = 0.78, 0.52  # of a box
TINTS = {"Adagrad": ORANGE, "RMSprop": ORANGE, "Adam": GREEN, "AdamW": GREEN}


def _measure() -> Numbers:
    """Give the formulas and what leads from one to the other, as they are drawn.

    Adagrad is no class of gdopt's, but a rule of one's own; see
    `gdopt.gallery.parts.walks.adagrad`.

    Source: Polyak 1964 (momentum, the heavy ball), Nesterov 1983, Duchi, Hazan & Singer
    2011 (Adagrad), Tieleman & Hinton 2012 (RMSprop), Kingma & Ba 2015 (Adam),
    Loshchilov & Hutter 2019 (AdamW).
    """
    return {"formulas": FORMULAS, "edges": EDGES}


def _paint(numbers: Numbers, path: Path, claim: str) -> None:
    figure, axes = sheet(1, 1, size=(13, 6.2))
    axis = axes[0, 0]
    axis.set_axis_off()
    axis.set_xlim(-0.45, 4.45)
    axis.set_ylim(-0.35, 2.35)
    for name, formula in numbers["formulas"].items():
        _box(axis, name, formula)
    for (parent, child), change in numbers["edges"].items():
        _arrow(axis, parent, child, change)
    save(figure, path, claim)


def _box(axis: Any, name: str, formula: str) -> None:
    x, y = PLACES[name]
    colour = INK if name == "SGD" else TINTS.get(name, BLUE)
    style = {"fill": False, "edgecolor": colour, "linewidth": 2.2}
    corner = (x - WIDTH / 2, y - HEIGHT / 2)
    patch = axis.bar(corner[0], HEIGHT, WIDTH, corner[1], align="edge", **style)
    patch[0].set_joinstyle("round")
    axis.text(x, y + 0.15, name, ha="center", va="center", fontsize=15, color=colour)
    axis.text(x, y - 0.08, formula, ha="center", va="center", fontsize=10.5, color=INK)


def _arrow(axis: Any, parent: str, child: str, change: str) -> None:
    """Draw an arrow from box to box, with what changes beside it."""
    (x, y), (u, v) = PLACES[parent], PLACES[child]
    if y == v:
        start, end = (x + WIDTH / 2, y), (u - WIDTH / 2, v)
    else:
        side = HEIGHT / 2 if v > y else -HEIGHT / 2
        start, end = (x + 0.1, y + side), (u - 0.1, v - side)
    arrow = {"arrowstyle": "-|>", "color": INK, "linewidth": 1.6}
    axis.annotate("", end, start, arrowprops={**arrow, "shrinkA": 1, "shrinkB": 1})
    middle = ((start[0] + end[0]) / 2, (start[1] + end[1]) / 2)
    text = {"ha": "center", "va": "center", "fontsize": 10.5, "color": INK}
    paper = {"facecolor": "white", "edgecolor": "none", "pad": 1.5}
    if y == v:
        axis.text(middle[0], middle[1] + 0.14, change, **text)
    else:
        axis.text(*middle, change, **text, bbox=paper)


family_tree = Picture(
    "family",
    "Adam is momentum and RMSprop in one, and both are gradient descent with memory",
    _measure,
    _paint,
)
