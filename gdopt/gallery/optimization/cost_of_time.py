"""Cost against time: why mini-batches are of one example never, and seldom of all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain, islice, repeat
from time import perf_counter
from typing import Any

import numpy as np

from gdopt.data import minibatches
from gdopt.gallery.parts.canvas import LEGEND, LETTERS, head, sheet
from gdopt.gallery.parts.picture import Numbers, Path, Picture
from gdopt.optim import SGD
from gdopt.plots.style import BLUE, FAINT, INK, ORANGE, logarithmic, save

EXAMPLES, FEATURES, NOISE = 65_536, 32, 2.0
SIZES = tuple(4**k for k in range(9))  # from one example to all
SHOWN = {1: ORANGE, 256: BLUE, EXAMPLES: INK}
RATES = 2.0 ** -np.arange(14)
GOAL = 0.01  # share of the cost above the least that is left at the end
LONGEST = 20_000  # steps
ROUNDS = 6  # of time measurements
Clock = Callable[[], float]


class _Regression:
    """Linear regression on features of deviations from 0.4 to 1.6, with noise."""

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        scales = np.linspace(0.4, 1.6, FEATURES)
        self.X = rng.standard_normal((EXAMPLES, FEATURES)) * scales
        noise = NOISE * rng.standard_normal(EXAMPLES)
        self.y = self.X @ (rng.standard_normal(FEATURES) / scales) + noise
        self.square = self.X.T @ self.X / EXAMPLES
        self.best = np.linalg.solve(self.square, self.X.T @ self.y / EXAMPLES)

    def above(self, p: np.ndarray) -> np.ndarray:
        """Give the cost of all examples above the least one: (..., n) -> (...)."""
        away = p - self.best
        above: np.ndarray = np.sum(away @ self.square * away, axis=-1) / 2
        return above

    def stream(self, size: int) -> Iterator[tuple[Any, Any]]:
        """Give mini-batches without an end; the examples are in random order as is."""
        batches = minibatches(self.X, self.y, size=size, shuffle=False)
        return chain.from_iterable(repeat(batches))


def _measure(*, clock: Clock = perf_counter) -> Numbers:
    """Descend with batches of 1 to all of 65,536 examples until 1 % is left.

    What is left is the cost of all examples above the least one. Each size has the rate
    of 14, halved from 1 on, with which it is there in the fewest steps. ``steps`` and
    ``rates`` are those, ``above`` (steps + 1,) the costs on the way: always the same.

    ``seconds`` for a step are a clock's, on this machine and now: the shortest of 6
    rounds of some steps each, as whatever else is running only makes them longer.
    ``times`` until there is their product with ``steps``.
    """
    problem = _Regression()
    numbers: Numbers = {
        name: {} for name in ("steps", "rates", "above", "seconds", "times")
    }
    for size in SIZES:
        rate, above = _descend(problem, size)
        steps, seconds = len(above) - 1, _seconds(problem, size, clock)
        numbers["steps"][size], numbers["rates"][size] = steps, rate
        numbers["above"][size] = above
        numbers["seconds"][size] = seconds
        numbers["times"][size] = steps * seconds
    return numbers


def _descend(problem: _Regression, size: int) -> tuple[float, np.ndarray]:
    """Descend at all rates side by side, until the first is there.

    Returns:
        Its rate, and the costs above the least after every step, the start's first.
    """
    p = np.zeros((len(RATES), FEATURES))
    optimizer = SGD(p, lr=RATES[:, None].copy())
    above = [problem.above(p)]
    goal = GOAL * above[0][0]
    with np.errstate(all="ignore"):  # at rates that are too large it runs away
        for x, y in islice(problem.stream(size), LONGEST):
            optimizer.step((p @ x.T - y) @ x / len(x))
            above.append(problem.above(p))
            if np.nanmin(above[-1]) <= goal:
                break
    best = int(np.nanargmin(above[-1]))
    return float(RATES[best]), np.array(above)[:, best]


def _seconds(problem: _Regression, size: int, clock: Clock) -> float:
    """Measure how long a step takes: gradient and update, of one descent alone."""
    p = np.zeros(FEATURES)
    optimizer = SGD(p, lr=1e-9)
    batches, count = problem.stream(size), _count(size)
    rounds = []
    for _ in range(ROUNDS):
        begin = clock()
        for x, y in islice(batches, count):
            optimizer.step((x @ p - y) @ x / len(x))
        rounds.append((clock() - begin) / count)
    return min(rounds)


def _count(size: int) -> int:
    """Give how many steps make a round."""
    return max(2, 256 // size)


def _paint(numbers: Numbers, path: Path, claim: str) -> None:
    figure, axes = sheet(1, 3, size=(13, 5.2))
    left, middle, right = axes[0]
    for size, colour in SHOWN.items():
        above, seconds = numbers["above"][size], numbers["seconds"][size]
        steps = np.arange(len(above))
        thick = {"color": colour, "linewidth": 1.0 if size == 1 else 2.2}
        for axis, unit in ((left, 1.0), (middle, 1000 * seconds)):
            axis.plot(unit * steps[1:], above[1:], **thick, label=_named(size))
            axis.plot(unit * steps[-1], above[-1], "o", color=colour, markersize=8)
    goal = GOAL * numbers["above"][1][0]
    for axis in (left, middle):
        axis.axhline(goal, color=FAINT, linewidth=3, zorder=0)
        place = {"xy": (0.02, goal), "xycoords": axis.get_yaxis_transform()}
        axis.annotate("1 % is left", **place, va="bottom", **LETTERS)
        logarithmic(axis, "x", "y")
    head(left, "cost above the least, by steps")
    head(middle, "the same, by time")
    left.set_xlabel("steps", **LETTERS)
    middle.set_xlabel("milliseconds: steps times that of a step", **LETTERS)
    legend = left.legend(**LEGEND, title="examples a step", title_fontsize=11)
    legend.get_title().set_color(INK)
    _paint_times(right, numbers)
    save(figure, path, claim)


def _paint_times(axis: Any, numbers: Numbers) -> None:
    """Draw by size: the time until there, and of it a single step."""
    sizes = list(numbers["times"])
    times = 1000 * np.array(list(numbers["times"].values()))
    seconds = 1000 * np.array(list(numbers["seconds"].values()))
    axis.plot(sizes, times, "-", color=INK, linewidth=2.2, label="until 1 % is left")
    axis.plot(sizes, seconds, "--", color=INK, linewidth=1.4, label="a step")
    for size, colour in SHOWN.items():
        axis.plot(size, times[sizes.index(size)], "o", color=colour, markersize=8)
    logarithmic(axis, "x", "y")
    axis.set_xticks([1, 16, 256, 4096, EXAMPLES])
    axis.set_ylim(top=8 * times.max())  # room for the legend
    head(axis, "milliseconds, measured while drawing")
    axis.set_xlabel("examples a step", **LETTERS)
    axis.legend(**LEGEND, loc="upper center")


def _named(size: int) -> str:
    return f"all {size:,}" if size == EXAMPLES else f"{size:,}"


cost_of_time = Picture(
    "cost-of-time",
    "Steps of 1 example are too many, steps of all too long: in between is fastest",
    _measure,
    _paint,
)
