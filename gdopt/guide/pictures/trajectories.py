"""Paths of SGD, Momentum, RMSprop and Adam over surfaces with one difficulty each.

Pictures: bowl.png, rosenbrock.png, saddle.png, plateau.png, many-minima.png.

To compare optimizers at the same rate is to compare rates: a step of Adam is as long as
the rate says, one of gradient descent as long as the gradient is, too. So every
optimizer has the rate that suits it best, of the same 36 from 1e-4 to 1e3: the one with
which it comes soonest to within 0.1 of a minimum and stays. Momentum's beta is .9,
RMSprop's .9, Adam's are .9 and .999, as in the course. At a fixed rate RMSprop hovers
around the minimum, at about half the rate: this bounds its rate, and its speed. The
steps of Adam and Momentum shrink with the gradient.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from gdopt import problems
from gdopt.guide.pictures import canvas
from gdopt.guide.pictures.canvas import Numbers, figure_grid, save
from gdopt.optim import OPTIMIZERS, Optimizer
from gdopt.plots.series import BLUE, FAINT, GREEN, INK, ORANGE, logarithmic
from gdopt.problems import Problem

Make = Callable[..., Optimizer]  # make(params, lr=...)

RATES = 10.0 ** (np.arange(-20, 16) / 5)  # five a decade, from 1e-4 to 1e3
TINTS = {"SGD": INK, "Momentum": BLUE, "RMSprop": ORANGE, "Adam": GREEN}
WIDTHS = {"SGD": 3.6, "Momentum": 2.6, "RMSprop": 1.9, "Adam": 1.2}  # thin over thick
RACERS: dict[str, Make] = {name: OPTIMIZERS[name.lower()] for name in TINTS}
NEAR = 0.1  # of a minimum: arrived
STARTS = 200  # on the surface of many minima


@dataclass(frozen=True, eq=False)
class Trajectory:
    """One descent."""

    optimizer: str
    rate: float
    points: np.ndarray  # (steps + 1, n), the start first
    values: np.ndarray  # (steps + 1,), of the problem there
    arrived: int | None = None  # steps after which it had arrived to stay


def descend(
    problem: Problem, make: Make, rates: np.ndarray, steps: int, start: Any = None
) -> np.ndarray:
    """Descend at several rates (k,) side by side, as the rows of one array.

    The start is (..., n), by default the problem's own, one point; all points are
    returned, the start first: (steps + 1, k, ..., n).
    """
    begin = np.array(problem.start if start is None else start, dtype=np.float64)
    p = np.tile(begin, (len(rates), *([1] * begin.ndim)))
    optimizer = make(p, lr=np.reshape(rates, (-1, *([1] * begin.ndim))).copy())
    points = np.empty((steps + 1, *p.shape))
    points[0] = p
    with np.errstate(all="ignore"):  # at rates that are too large it diverges
        for step in range(steps):
            optimizer.step(problem.gradient(p))
            points[step + 1] = p
    return points


def arrivals(inside: np.ndarray) -> np.ndarray:
    """Return the steps after which each descent is inside to stay, steps + 1 if never.

    >>> arrivals(np.array([[False, True], [True, True], [True, False]]))
    array([1, 3])
    """
    since_outside = np.argmax(~inside[::-1], axis=0)
    return np.where(inside.all(axis=0), 0, len(inside) - since_outside)


def best_trajectory(
    problem: Problem, name: str, make: Make, steps: int, *, level: float | None = None
) -> Trajectory:
    """Descend at the rate, of all `RATES`, that arrives soonest, to stay.

    To arrive is to come to within `NEAR` of a minimum, or to a value of at most
    `level`. Where none arrives in `steps`, the rate is the one that ends at the least
    value; of equal ones the smaller.
    """
    points = descend(problem, make, RATES, steps)
    with np.errstate(all="ignore"):
        values = problem.value(points)
        near = problem.distance(points) <= NEAR if level is None else values <= level
    soonest = arrivals(near)
    best = int(np.argmin(soonest))
    arrived: int | None = int(soonest[best])
    if arrived == steps + 1:
        best, arrived = int(np.nanargmin(values[-1])), None
    chosen = points[:, best], values[:, best]
    return Trajectory(name, float(RATES[best]), *chosen, arrived)


def race(problem: Problem, steps: int, *, level: float = math.inf) -> Numbers:
    """Let all four descend, each at the rate that suits it.

    ``left`` are the steps after which the value first was at most `level`.
    """
    trajectories = {
        name: best_trajectory(problem, name, make, steps)
        for name, make in RACERS.items()
    }
    left = {name: int((t.values <= level).argmax()) for name, t in trajectories.items()}
    return {"problem": problem, "trajectories": trajectories, "left": left}


def draw_path(axis: Any, trajectory: Trajectory, until: int) -> None:
    """Draw the first points of a trajectory, and a line from each to the next one."""
    points = trajectory.points[: until + 1]
    colour, width = TINTS[trajectory.optimizer], WIDTHS[trajectory.optimizer]
    size = 2 + width if len(points) < 150 else width
    style = {"linewidth": width, "marker": "o", "markersize": size, "alpha": 0.9}
    axis.plot(points[:, 0], points[:, 1], color=colour, **style)


def legend_label(trajectory: Trajectory) -> str:
    """Return the optimizer, its rate, and how many steps it took."""
    named = f"{trajectory.optimizer}, rate {trajectory.rate:.2g}"
    if trajectory.arrived is None:
        return f"{named}: not in {len(trajectory.points) - 1:,} steps"
    return f"{named}: {trajectory.arrived:,} step{'s' * (trajectory.arrived != 1)}"


def draw_races(
    title: str, races: dict[str, Numbers], path: Path, *, by_decades: bool = False
) -> None:
    """Draw a row for each race: the paths over contours, and how the values fall."""
    size = (12, 2 + 3.2 * len(races))
    figure, axes = figure_grid(title, size, len(races), 2, squeeze=False)
    for (left, right), (panel_title, numbers) in zip(axes, races.items(), strict=True):
        canvas.draw_contours(left, numbers["problem"], by_decades=by_decades)
        left.set(title=panel_title, aspect="equal" if len(races) > 1 else "auto")
        left.set(xlabel="first parameter", ylabel="second parameter")
        _draw_race(left, right, numbers["problem"], numbers["trajectories"])
    save(figure, path)


def _draw_race(
    left: Any, right: Any, problem: Problem, trajectories: dict[str, Trajectory]
) -> None:
    """Draw the paths, and in the next panel how the values fall."""
    longest = max(one.arrived or 0 for one in trajectories.values())
    for name, one in trajectories.items():
        until, colour = one.arrived or longest, TINTS[name]
        draw_path(left, one, until)
        above = np.maximum(one.values - problem.least, 1e-12)
        right.plot(above[: longest + 1], color=colour, linewidth=1.8)
        mark = {"color": colour, "label": legend_label(one), "zorder": 3}
        right.plot(until, above[until], "o", **mark)
    canvas.mark_start(left, problem.start)
    logarithmic(right, "y")
    right.set_ylim(1e-6, 300 * above[0])  # room for the legend
    if longest > 1000:
        logarithmic(right, "x")
        right.set_xlim(left=1)
    text = f"dot: from here on within {NEAR} of a minimum"
    right.set(title=text, xlabel="step", ylabel="f(x) - f*, above the minimum")
    right.legend(loc="upper right")


def compute_bowl() -> Numbers:
    """Descend into a bowl of condition 100 that lies along the axes, and turned.

    Along the axes RMSprop and Adam scale each of them separately, and the condition
    does not matter to them. Gradient descent and momentum take the same steps when bowl
    and start are turned by 45 degrees; RMSprop and Adam take more. Both are drawn, for
    fairness.
    """
    bowl = problems.bowl(100.0)
    along = replace(bowl, box=((-4.6, 2.6), (-2.1, 2.1)))
    turned = replace(bowl.turned(math.pi / 4), box=((-5.3, 2.5), (-3.55, 1.0)))
    return {
        "condition 100, along the axes": race(along, 1000),
        "condition 100, turned by 45 degrees": race(turned, 1000),
    }


def compute_rosenbrock() -> Numbers:
    """Descend along the curved floor of Rosenbrock's valley."""
    problem = problems.rosenbrock()
    return {problem.name: race(problem, 4000)}


def compute_saddle() -> Numbers:
    """Descend to a saddle and away from it, starting 1e-4 off the line into it.

    The saddle is 20 times as steep across as it is down, which bounds the rate of
    gradient descent. Where it lies along the axes, RMSprop and Adam pass it; where it
    is turned by 45 degrees, the worst for them, they are led to it, too, and leave it a
    little sooner. ``left`` says after how many steps half of the way down from the
    saddle to a minimum is done.
    """
    along = replace(problems.bounded_saddle(steepness=20.0), start=(-1.5, 1e-4))
    turned = along.turned(math.pi / 4)
    text = "a saddle"
    return {
        f"{text}, along the axes": race(along, 500, level=-0.5),
        f"{text}, turned by 45 degrees": race(turned, 500, level=-0.5),
    }


def compute_plateau() -> Numbers:
    """Descend from a plateau with gradient 6e-4; ``left`` is half of the way down."""
    problem = problems.plateau()
    return {problem.name: race(problem, 1000, level=0.5)}


def compute_many_minima() -> Numbers:
    """Descend from 200 random points of Rastrigin's surface, 500 steps each.

    Here no rate leads to the global minimum, so that each optimizer gets the one whose
    mean value at the end is least over all starts. The trajectories are those from the
    problem's own start at these rates, ``ends`` (200, 2) where the others end.
    """
    problem = problems.rastrigin()
    rng = np.random.default_rng(0)
    starts = rng.uniform(*problem.box[0], (STARTS, 2))
    rates = RATES[RATES < 10]
    trajectories, ends = {}, {}
    for name, make in RACERS.items():
        last = descend(problem, make, rates, 500, starts)[-1]
        with np.errstate(all="ignore"):
            best = int(np.nanargmin(problem.value(last).mean(axis=-1)))
        ends[name] = last[best]
        points = descend(problem, make, rates[[best]], 500)[:, 0]
        values = problem.value(points)
        trajectories[name] = Trajectory(name, float(rates[best]), points, values)
    found = {"trajectories": trajectories, "ends": ends}
    return {"problem": problem, "starts": starts, **found}


def draw_many_minima(numbers: Numbers, path: Path) -> None:
    """Draw paths from one start, and the values at which 200 descents end."""
    title = "All four end in a minimum near the start, rarely in the global one"
    problem = replace(numbers["problem"], box=((-4.5, 1.0), (-1.0, 3.5)))
    figure, (left, right) = figure_grid(title, (12, 5.4), columns=2)
    canvas.draw_contours(left, problem, points=401)
    left.set(title="paths from one start; the cross is the global minimum")
    left.set(xlabel="first parameter", ylabel="second parameter")
    shares = (np.arange(STARTS) + 1) / STARTS
    values = np.sort(problem.value(numbers["starts"]))
    right.plot(values, shares, color=FAINT, linewidth=6, label="at the start")
    for name, ends in numbers["ends"].items():
        one = numbers["trajectories"][name]
        draw_path(left, one, len(one.points))
        found = int((problem.distance(ends) < NEAR).sum())
        text = f"{name}, rate {one.rate:.2g}: {found} of {STARTS} in the global one"
        style = {"color": TINTS[name], "linewidth": 1.4 * WIDTHS[name]}
        right.plot(np.sort(problem.value(ends)), shares, label=text, **style)
    canvas.mark_start(left, problem.start)
    right.set(title=f"where {STARTS} random starts end", xlim=(0, 200), ylim=(0, 1.02))
    right.set(xlabel="value", ylabel="share of the starts at or below it")
    right.legend(loc="lower right")
    save(figure, path)


def main(arguments: list[str] | None = None) -> None:
    """Draw the pictures."""
    folder = canvas.output_folder(arguments, __doc__)
    title = "In a long bowl, momentum needs a quarter of gradient descent's steps"
    draw_races(title, compute_bowl(), folder / "bowl.png")
    title = "Along a curved valley momentum needs the fewest steps"
    draw_races(title, compute_rosenbrock(), folder / "rosenbrock.png", by_decades=True)
    title = "Gradient descent lingers at a saddle; the other three leave it sooner"
    draw_races(title, compute_saddle(), folder / "saddle.png")
    title = "Gradient descent lingers on a plateau; the other three cross it sooner"
    draw_races(title, compute_plateau(), folder / "plateau.png")
    draw_many_minima(compute_many_minima(), folder / "many-minima.png")


if __name__ == "__main__":
    main()
