"""What the rate does: too large, fixed, decaying, and Adagrad's, which only falls."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from gdopt.gallery.parts.canvas import (
    LEGEND,
    LETTERS,
    contours,
    head,
    sheet,
    start_mark,
)
from gdopt.gallery.parts.picture import Numbers, Path, Picture
from gdopt.gallery.parts.walks import descend, make_adagrad, near, tuned
from gdopt.optim import SGD, RMSprop
from gdopt.plots.style import BLUE, INK, ORANGE, logarithmic, save
from gdopt.problems import Problem, beale, bowl
from gdopt.schedules import inverse_time

RUNS, NOISY_STEPS, NOISE = 400, 400, 1.0
LARGE, LARGE_STEPS = 0.05, 200
SHOWN = 8  # points of a path that leaves the picture
DECAYS = {
    "fixed at 0.2": (0.2, INK),
    "fixed at 0.01": (0.01, BLUE),
    "decaying, 0.2 / (1 + 0.05 t)": (inverse_time(0.2, rate=0.05), ORANGE),
}


def _measure_decay() -> Numbers:
    """Descend into a bowl with noise of deviation 1 in the gradients, in 400 runs.

    All rates see the same noise. 0.2 / (1 + 0.05 t) ends near 0.01: so a rate that is
    fixed there is drawn, too, which comes as near but takes longer. ``distances`` are
    the root mean squares over the runs, ``points`` the path of the first run.
    """
    problem = replace(bowl(2.0), box=((-4.6, 1.6), (-2, 2)))
    numbers: Numbers = {"problem": problem, "distances": {}, "points": {}}
    for name, (rate, _) in DECAYS.items():
        rng = np.random.default_rng(0)
        p = np.tile(np.array(problem.start), (RUNS, 1))
        optimizer = SGD(p, lr=rate)
        points = [p.copy()]
        for _ in range(NOISY_STEPS):
            noise = NOISE * rng.standard_normal(p.shape)
            optimizer.step(problem.gradient(p) + noise)
            points.append(p.copy())
        away = problem.distance(np.array(points))
        numbers["distances"][name] = np.sqrt(np.mean(away**2, axis=1))
        numbers["points"][name] = np.array(points)[:, 0]
    return numbers


def _paint_decay(numbers: Numbers, path: Path, claim: str) -> None:
    figure, axes = sheet(1, 2, size=(12, 5.2))
    left, right = axes[0]
    contours(left, numbers["problem"])
    for name, (_, colour) in DECAYS.items():
        style = {"color": colour, "linewidth": 1.0, "alpha": 0.85}
        left.plot(*numbers["points"][name].T, ".-", markersize=4, **style)
        distances = numbers["distances"][name]
        label = f"{name}: {distances[-1]:.2f} away at the end"
        right.plot(distances, color=colour, linewidth=2, label=label)
    start_mark(left, numbers["problem"].start)
    head(left, "one run of each, with the same noise")
    head(right, f"distance from the minimum (root mean square of {RUNS} runs)")
    logarithmic(right, "y")
    right.set_xlabel("step t", **LETTERS)
    right.legend(**LEGEND)
    save(figure, path, claim)


def _measure_large_rate() -> Numbers:
    """Take rate 0.05 in a bowl of condition 50, whose limit is 2 / 50 = 0.04.

    Gradient descent goes wrong by a factor of |1 - 0.05 50| = 1.5 in each step, whereas
    RMSprop divides by the gradients' size and comes to within the rate. At 0.03
    gradient descent would converge, too. ``points`` are 201 each, ``distances`` theirs.
    """
    problem = replace(bowl(50.0), box=((-4.6, 1.6), (-2.5, 2.5)))
    cases = {
        f"SGD, rate {LARGE}": (SGD, LARGE),
        "SGD, rate 0.03": (SGD, 0.03),
        f"RMSprop, rate {LARGE}": (RMSprop, LARGE),
    }
    numbers: Numbers = {"problem": problem, "points": {}, "distances": {}}
    for name, (make, rate) in cases.items():
        points = descend(problem, make, np.array([rate]), LARGE_STEPS)[:, 0]
        numbers["points"][name] = points
        numbers["distances"][name] = problem.distance(points)
    return numbers


def _paint_large_rate(numbers: Numbers, path: Path, claim: str) -> None:
    figure, axes = sheet(1, 2, size=(12, 5.2))
    left, right = axes[0]
    contours(left, numbers["problem"])
    looks = zip(numbers["points"], (INK, BLUE, ORANGE), (2.4, 1.2, 1.6), strict=True)
    for name, colour, width in looks:
        style = {"color": colour, "linewidth": width, "alpha": 0.9}
        points = numbers["points"][name]
        until = SHOWN if numbers["distances"][name][-1] > 1e3 else None
        left.plot(*points[:until].T, ".-", markersize=6, **style)
        right.plot(numbers["distances"][name], **style, label=name)
    start_mark(left, numbers["problem"].start)
    head(left, "condition 50: the limit is 0.04")
    head(right, "distance from the minimum")
    logarithmic(right, "y")
    right.set_ylim(1e-3, 1e6)
    right.set_xlabel("step", **LETTERS)
    right.legend(**LEGEND, loc="upper right")
    save(figure, path, claim)


def _measure_adagrad() -> Numbers:
    """Descend Beale's function from the steep corner (4, 4), 3,000 steps.

    Both get the best of the same 36 rates. The first gradients, of size 3e4, stay in
    Adagrad's sum for good; RMSprop's average forgets them. No rate makes up for it: one
    that is large enough for later throws the first step far out. ``factors`` are the
    steps divided by the gradients: the rate over the root of sum or average.
    """
    problem = replace(beale(), start=(4.0, 4.0), box=((-1.0, 5.0), (-2.0, 4.5)))
    numbers: Numbers = {"problem": problem, "walks": {}, "factors": {}}
    for name, make in {"Adagrad": make_adagrad, "RMSprop": RMSprop}.items():
        walk = tuned(problem, name, make, steps=3000, there=near(problem, 0.1))
        numbers["walks"][name] = walk
        numbers["factors"][name] = _factors(problem, walk.points)
    return numbers


def _factors(problem: Problem, points: np.ndarray) -> np.ndarray:
    """Give what each coordinate's gradient was multiplied by at each step."""
    factors: np.ndarray = -np.diff(points, axis=0) / problem.gradient(points[:-1])
    return factors


def _paint_adagrad(numbers: Numbers, path: Path, claim: str) -> None:
    figure, axes = sheet(1, 2, size=(12, 5.4))
    left, right = axes[0]
    contours(left, numbers["problem"], by_decades=True)
    for name, colour in {"Adagrad": BLUE, "RMSprop": ORANGE}.items():
        walk = numbers["walks"][name]
        until = walk.arrived or len(walk.points) - 1
        style = {"color": colour, "linewidth": 1.6}
        left.plot(*walk.points[: until + 1].T, ".-", markersize=4, **style)
        end = f"there after {until} steps" if walk.arrived else "not there after 3,000"
        label = f"{name}, rate {walk.rate:.2g}: {end}"
        factors = numbers["factors"][name]
        right.plot(np.arange(1, len(factors) + 1), factors[:, 0], **style, label=label)
    start_mark(left, numbers["problem"].start)
    head(left, "Beale's function from its steep corner")
    head(right, "what the gradient along x is multiplied by")
    logarithmic(right, "x", "y")
    right.set_xlabel("step", **LETTERS)
    right.set_ylim(top=100)
    right.legend(**LEGEND, loc="upper left")
    save(figure, path, claim)


decay = Picture(
    "decay",
    "A decaying rate is fast at first, and ends near a noisy minimum",
    _measure_decay,
    _paint_decay,
)
large_rate = Picture(
    "large-rate",
    "At a rate at which gradient descent diverges, RMSprop converges",
    _measure_large_rate,
    _paint_large_rate,
)
stalling = Picture(
    "adagrad",
    "Adagrad's rate only falls, and it stalls; RMSprop's recovers, and it goes on",
    _measure_adagrad,
    _paint_adagrad,
)
