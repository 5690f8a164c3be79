"""The paths of SGD, Momentum, RMSprop and Adam over surfaces with one difficulty each.

Every optimizer has the rate that suits it best there, of the same 36 from 1e-4 to 1e3:
the one with which it comes soonest to within 0.1 of a minimum and stays. Momentum's
beta is .9, RMSprop's .9, Adam's are .9 and .999, as the course has them. A rate that is
fixed lets RMSprop hover around the minimum, at about half the rate: this bounds its
rate, and its speed. Adam's and Momentum's steps shrink with the gradient.
"""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from gdopt.gallery.parts.canvas import (
    COLOURS,
    LEGEND,
    LETTERS,
    WIDTHS,
    contours,
    head,
    sheet,
    start_mark,
    told,
    trail,
)
from gdopt.gallery.parts.picture import Numbers, Path, Picture
from gdopt.gallery.parts.walks import OPTIMIZERS, RATES, Walk, descend, near, race
from gdopt.plots.style import FAINT, logarithmic, save
from gdopt.problems import (
    Problem,
    bounded_saddle,
    bowl,
    plateau,
    rastrigin,
    rosenbrock,
)

STARTS = 200  # on the surface of many minima


def _race_on(problem: Problem, steps: int) -> Numbers:
    walks = race(problem, steps=steps, there=near(problem, 0.1))
    return {"problem": problem, "walks": walks}


def _measure_bowl() -> Numbers:
    """Descend into a bowl of condition 100 that lies along the axes, and turned.

    Along the axes RMSprop and Adam scale each of them by itself, and the condition is
    nothing to them. Gradient descent and momentum take the same steps when bowl and
    start are turned by 45 degrees; RMSprop and Adam take more. Both are drawn, for
    fairness.
    """
    along = replace(bowl(100.0), box=((-4.6, 2.6), (-2.1, 2.1)))
    turned = replace(bowl(100.0).turned(math.pi / 4), box=((-5.3, 2.5), (-3.55, 1.0)))
    return {"along": _race_on(along, 1000), "turned": _race_on(turned, 1000)}


def _measure_rosenbrock() -> Numbers:
    """Descend along the curved floor of Rosenbrock's valley."""
    return _race_on(rosenbrock(), 4000)


def _measure_saddle() -> Numbers:
    """Descend to a saddle and away from it, starting 1e-4 beside the line into it.

    The saddle is 20 times as steep across as it is down, which bounds the rate of
    gradient descent. Where it lies along the axes, RMSprop and Adam walk past it; where
    it is turned by 45 degrees, the worst for them, they are led to it, too, and leave
    it a little sooner. ``left`` tells after how many steps half of the way down from
    the saddle to a minimum is done.
    """
    along = replace(bounded_saddle(steepness=20.0), start=(-1.5, 1e-4))
    numbers = {"along": along, "turned": along.turned(math.pi / 4)}
    return {name: _left(_race_on(p, 500), -0.5) for name, p in numbers.items()}


def _left(numbers: Numbers, level: float) -> Numbers:
    """Add when each walk first was at most at a level."""
    walks = numbers["walks"].items()
    return {**numbers, "left": {name: walk.first(level) for name, walk in walks}}


def _measure_plateau() -> Numbers:
    """Descend from a plateau with gradient 6e-4 into its hole.

    ``left`` tells after how many steps half of the way down is done.
    """
    return _left(_race_on(plateau(), 1000), 0.5)


def _measure_many_minima() -> Numbers:
    """Descend from 200 random points of Rastrigin's surface, 500 steps each.

    Here no rate leads to the least minimum, so that each optimizer gets the one whose
    mean value at the end is least over all starts. ``paths`` are those from the
    problem's own start at these rates, ``ends`` (200, 2) where the others end.
    """
    problem = rastrigin()
    rng = np.random.default_rng(0)
    starts = rng.uniform(*problem.box[0], (STARTS, 2))
    rates = RATES[RATES < 10]
    numbers: Numbers = {"problem": problem, "starts": starts, "walks": {}, "ends": {}}
    for name, make in OPTIMIZERS.items():
        ends = descend(problem, make, rates, 500, starts, keep=False)
        with np.errstate(all="ignore"):
            means = problem.value(ends).mean(axis=-1)
        best = int(np.nanargmin(means))
        numbers["ends"][name] = ends[best]
        points = descend(problem, make, rates[best : best + 1], 500)[:, 0]
        numbers["walks"][name] = Walk(
            name, float(rates[best]), points, problem.value(points), None
        )
    return numbers


def _paint_race(
    numbers: Numbers, path: Path, claim: str, *, by_decades: bool = False
) -> None:
    """Draw paths over contours, and beside them how the value falls."""
    figure, axes = sheet(1, 2, size=(12, 5.2))
    _paint_row(axes[0], numbers, numbers["problem"].name, by_decades=by_decades)
    save(figure, path, claim)


def _paint_both(numbers: Numbers, path: Path, claim: str, *, text: str) -> None:
    """Draw a race along the axes, and the same below, turned."""
    figure, axes = sheet(2, 2, size=(12, 8.4))
    _paint_row(axes[0], numbers["along"], f"{text}, along the axes")
    _paint_row(axes[1], numbers["turned"], f"{text}, turned by 45 degrees")
    for axis in axes[:, 0]:
        axis.set_aspect("equal")
    save(figure, path, claim)


def _paint_row(
    row: Any, numbers: Numbers, text: str, *, by_decades: bool = False
) -> None:
    problem: Problem = numbers["problem"]
    contours(row[0], problem, by_decades=by_decades)
    head(row[0], text)
    longest = max(walk.arrived or 0 for walk in numbers["walks"].values())
    for name, walk in numbers["walks"].items():
        until = walk.arrived or longest
        trail(row[0], walk, until)
        above = np.maximum(walk.values - problem.least, 1e-12)
        row[1].plot(above[: longest + 1], color=COLOURS[name], linewidth=1.4)
        row[1].plot(
            until, above[until], "o", color=COLOURS[name], label=told(walk), zorder=3
        )
    start_mark(row[0], problem.start)
    logarithmic(row[1], "y")
    row[1].set_ylim(1e-6, 300 * above[0])  # room for the legend
    if longest > 1000:
        logarithmic(row[1], "x")
        row[1].set_xlim(left=1)
    row[1].set_xlabel("step", **LETTERS)
    head(row[1], "value above the least; a dot: there, to stay")
    row[1].legend(**LEGEND, loc="upper right")


def _paint_many_minima(numbers: Numbers, path: Path, claim: str) -> None:
    problem = replace(numbers["problem"], box=((-4.5, 1.0), (-1.0, 3.5)))
    figure, axes = sheet(1, 2, size=(12, 5.4))
    left, right = axes[0]
    contours(left, problem, points=401)
    head(left, "paths from one start; the cross is the least minimum")
    shares = (np.arange(STARTS) + 1) / STARTS
    values = np.sort(problem.value(numbers["starts"]))
    right.plot(values, shares, color=FAINT, linewidth=6, label="at the start")
    for name, ends in numbers["ends"].items():
        walk = numbers["walks"][name]
        trail(left, walk, len(walk.points))
        found = int((problem.distance(ends) < 0.1).sum())
        label = f"{name}, rate {walk.rate:.2g}: {found} of {STARTS} at the least"
        style = {"color": COLOURS[name], "linewidth": 1.4 * WIDTHS[name]}
        right.plot(np.sort(problem.value(ends)), shares, label=label, **style)
    start_mark(left, problem.start)
    head(right, f"share of {STARTS} random starts that end at or below a value")
    right.set_xlabel("value", **LETTERS)
    right.set_ylim(0, 1.02)
    right.legend(**LEGEND, loc="lower right")
    save(figure, path, claim)


bowl_paths = Picture(
    "bowl",
    "Through a long bowl momentum needs a quarter of gradient descent's steps",
    _measure_bowl,
    partial(_paint_both, text="condition 100"),
)
rosenbrock_paths = Picture(
    "rosenbrock",
    "Along a curved valley momentum needs the fewest steps",
    _measure_rosenbrock,
    partial(_paint_race, by_decades=True),
)
saddle_paths = Picture(
    "saddle",
    "Gradient descent lingers at a saddle; momentum, RMSprop and Adam leave it sooner",
    _measure_saddle,
    partial(_paint_both, text="a saddle between two minima"),
)
plateau_paths = Picture(
    "plateau",
    "Gradient descent lingers on a plateau; momentum, RMSprop and Adam cross it sooner",
    _measure_plateau,
    _paint_race,
)
many_minima_paths = Picture(
    "many-minima",
    "Among many minima all four end in one near the start; hardly any finds the least",
    _measure_many_minima,
    _paint_many_minima,
)
