"""How many examples to a step: what the loss does, and how long it takes.

Pictures: batches.png, cost-of-time.png.
"""

import math
from collections.abc import Callable, Iterator
from itertools import chain, islice, repeat
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from gdopt.averages import ewa
from gdopt.data import minibatches
from gdopt.guide.pictures import canvas
from gdopt.guide.pictures.canvas import Numbers, figure_grid, save
from gdopt.optim import SGD
from gdopt.plots.series import BLUE, FAINT, GREEN, INK, ORANGE, logarithmic
from gdopt.problems import Problem

EXAMPLES, PASSES, RATE = 512, 20, 0.05
SIZES = {"batch": EXAMPLES, "mini-batch": 32, "stochastic": 1}
TINTS = {"batch": INK, "mini-batch": BLUE, "stochastic": ORANGE}
MANY, FEATURES, NOISE = 65_536, 32, 2.0
TIMED = tuple(4**k for k in range(9))  # sizes from one example to all
SHOWN = {1: ORANGE, 256: BLUE, MANY: INK}
RATES = 2.0 ** -np.arange(14)
GOAL = 0.01  # share of the loss above the minimum that is left at the end
LONGEST = 20_000  # steps
ROUNDS = 6  # of time measurements


def regression_loss(X: np.ndarray, y: np.ndarray) -> Problem:
    """Return the loss of a linear regression: sum of (X p - y)^2 / 2 m."""
    best: np.ndarray = np.linalg.lstsq(X, y)[0]
    square, m = X.T @ X, len(y)
    least = float(np.mean((X @ best - y) ** 2) / 2)

    def formula(p: Any, _: Any) -> Any:
        away = p - best
        return least + np.sum(away @ square * away, axis=-1) / (2 * m)

    return Problem(
        "linear regression",
        formula=formula,
        slope=lambda p, _: (p - best) @ square / m,
        start=(0.0,) * len(best),
        box=((-0.5, 2.0), (-1.6, 0.5)),
        minima=(tuple(best.tolist()),),
        least=least,
    )


def describe(losses: np.ndarray, *, full_batch: bool) -> str:
    """Return what a curve of losses shows, in a sentence.

    The loss of a full batch must fall at every step: any rise is a fault, beyond
    rounding. That of mini-batches may rise; what counts is its average, over a tenth of
    the losses, in the second half. It has changed if it differs by more than 1 % and
    by more than three deviations of what noise makes of a difference of averages.
    """
    rises = np.diff(losses) > 1e-5 * np.maximum(1, losses[:-1])
    if full_batch and rises.any():
        step = int(rises.argmax()) + 1
        return f"the loss rises after step {step}: the rate is too large"
    if full_batch:
        return "the loss falls at every step"
    half, beta = len(losses) // 2, 1 - 10 / len(losses)
    average = ewa(losses, beta)
    start, end = average[half - 1], average[-1]
    # The average holds 1 - beta of the latest loss: what is left is less than all.
    noise = np.std(losses[half:] - average[half:]) / math.sqrt(2 * beta**2 / (1 + beta))
    sure = 3 * noise * math.sqrt(2 * (1 - beta) / (1 + beta))
    if abs(end - start) > max(0.01 * max(start, end), sure):
        verb = "rises" if end > start else "falls"
        return f"the average {verb} from {start:.2g} to {end:.2g}"
    return f"the average stays at {end:.2g}, noise {noise / end:.0%}"


def compute_batches() -> Numbers:
    """Take 20 passes over 512 examples with batches of 512, 32 and 1, at one rate.

    The rate is the same for all three, as it is the size alone that differs. ``losses``
    are those of the current batch before each update, ``points`` the parameters,
    ``wholes`` the losses of all examples there.
    """
    rng = np.random.default_rng(0)
    X = rng.standard_normal((EXAMPLES, 2)) @ np.array([[1.0, 0.6], [0.0, 0.8]])
    y = X @ np.array([1.2, -0.8]) + 0.7 * rng.standard_normal(EXAMPLES)
    problem = regression_loss(X, y)
    numbers: Numbers = {"problem": problem, "losses": {}, "points": {}, "wholes": {}}
    for name, size in SIZES.items():
        p = np.zeros(2)
        optimizer = SGD(p, lr=RATE)
        losses, points = [], [p.copy()]
        batches = minibatches(X, y, batch_size=size, seed=0)
        for x, target in chain.from_iterable(repeat(batches, PASSES)):
            rest = x @ p - target
            losses.append(float(np.mean(rest**2) / 2))
            optimizer.step(rest @ x / len(x))
            points.append(p.copy())
        numbers["losses"][name] = np.array(losses)
        numbers["points"][name] = np.array(points)
        numbers["wholes"][name] = problem.value(np.array(points))
    return numbers


def draw_batches(numbers: Numbers, path: Path) -> None:
    """Draw by size: the losses over the passes, and the path below."""
    title = "Smaller batches: the loss falls sooner, but is noisier"
    figure, axes = figure_grid(title, (13, 7.6), 2, 3)
    for (top, below), (name, size) in zip(axes.T, SIZES.items(), strict=True):
        losses = numbers["losses"][name]
        passes = np.linspace(0, PASSES, len(losses) + 1)[1:]
        width, dot = (0.5, 1) if size == 1 else (1.6, 3)
        style = {"color": TINTS[name], "linewidth": width}
        top.plot(passes, losses, **style, label="of the batch, before the update")
        whole = numbers["wholes"][name][1:]
        top.plot(passes, whole, color=GREEN, linewidth=2.6, label="of all, after it")
        logarithmic(top, "x")
        updates = "1 update" if size == EXAMPLES else f"{EXAMPLES // size} updates"
        sentence = describe(losses, full_batch=size == EXAMPLES)
        text = f"{name}: {updates} a pass\n{sentence}"
        limits = {"xlim": (1 / EXAMPLES, PASSES), "ylim": (0, 2)}
        top.set_title(text, fontsize=11)
        top.set(xlabel="passes over the examples", ylabel="loss", **limits)
        canvas.draw_contours(below, numbers["problem"])
        below.plot(*numbers["points"][name].T, **style, marker="o", markersize=dot)
        canvas.mark_start(below, (0, 0))
        below.set(xlabel="first weight", ylabel="second weight")
    axes[0, 0].legend(loc="upper left")
    save(figure, path)


def many_examples() -> tuple[np.ndarray, np.ndarray]:
    """Return 65,536 examples of features of deviations from 0.4 to 1.6, and targets."""
    rng = np.random.default_rng(0)
    scales = np.linspace(0.4, 1.6, FEATURES)
    X = rng.standard_normal((MANY, FEATURES)) * scales
    noise = NOISE * rng.standard_normal(MANY)
    return X, X @ (rng.standard_normal(FEATURES) / scales) + noise


def _endless(X: np.ndarray, y: np.ndarray, size: int) -> Iterator[tuple[Any, Any]]:
    """Yield mini-batches without an end; the examples are in random order as is."""
    batches = minibatches(X, y, batch_size=size, shuffle=False)
    return chain.from_iterable(repeat(batches))


def compute_steps() -> Numbers:
    """Descend with batches of 1 to all of 65,536 examples until 1 % is left.

    What is left is the loss of all examples above the minimum: ``above`` (steps + 1,).
    Each size has the rate of 14, halved from 1 on, with which it is there in the fewest
    steps; all are tried side by side.
    """
    X, y = many_examples()
    problem = regression_loss(X, y)
    numbers: Numbers = {"rates": {}, "above": {}}
    for size in TIMED:
        p = np.zeros((len(RATES), FEATURES))
        optimizer = SGD(p, lr=RATES[:, None].copy())
        above = [problem.value(p) - problem.least]
        with np.errstate(all="ignore"):  # at rates that are too large it diverges
            for x, target in islice(_endless(X, y, size), LONGEST):
                optimizer.step((p @ x.T - target) @ x / len(x))
                above.append(problem.value(p) - problem.least)
                if np.nanmin(above[-1]) <= GOAL * above[0][0]:
                    break
        best = int(np.nanargmin(above[-1]))
        numbers["rates"][size] = float(RATES[best])
        numbers["above"][size] = np.array(above)[:, best]
    return numbers


def compute_seconds(clock: Callable[[], float] = perf_counter) -> dict[int, float]:
    """Measure by size how long a step takes: gradient and update of one descent.

    It is the shortest of 6 rounds of some steps each, as whatever else is running on
    this machine only makes them longer.
    """
    X, y = many_examples()
    seconds = {}
    for size in TIMED:
        p = np.zeros(FEATURES)
        optimizer = SGD(p, lr=1e-9)
        batches, count = _endless(X, y, size), max(2, 256 // size)
        rounds = []
        for _ in range(ROUNDS):
            begin = clock()
            for x, target in islice(batches, count):
                optimizer.step((x @ p - target) @ x / len(x))
            rounds.append((clock() - begin) / count)
        seconds[size] = min(rounds)
    return seconds


def draw_time(numbers: Numbers, seconds: dict[int, float], path: Path) -> None:
    """Draw the losses by steps and by time, and the times by size."""
    title = "Steps of 1 example are too many, of all too slow: in between is fastest"
    figure, (left, middle, right) = figure_grid(title, (13, 5.2), columns=3)
    step = 1000 * np.array(list(seconds.values()))
    times = step * [len(above) - 1 for above in numbers["above"].values()]
    right.plot(TIMED, times, "-", color=INK, linewidth=2.2, label="until 1 % is left")
    right.plot(TIMED, step, "--", color=INK, linewidth=1.4, label="a step")
    for size, colour in SHOWN.items():
        above = numbers["above"][size]
        steps = np.arange(len(above))
        style = {"color": colour, "linewidth": 1.0 if size == 1 else 2.2}
        text = f"all {size:,}" if size == MANY else f"{size:,}"
        for axis, unit in ((left, 1.0), (middle, 1000 * seconds[size])):
            axis.plot(unit * steps[1:], above[1:], **style, label=text)
            axis.plot(unit * steps[-1], above[-1], "o", color=colour, markersize=8)
        right.plot(size, times[TIMED.index(size)], "o", color=colour, markersize=8)
    goal = GOAL * numbers["above"][1][0]
    for axis in (left, middle):
        axis.axhline(goal, color=FAINT, linewidth=3, zorder=0)
        place = {"xy": (0.02, goal), "xycoords": axis.get_yaxis_transform()}
        axis.annotate("1 % is left", **place, va="bottom")
    for axis in (left, middle, right):
        logarithmic(axis, "x", "y")
    left.legend(title="examples a step", title_fontsize=11)
    right.set_ylim(top=8 * times.max())  # room for the legend
    right.legend(loc="upper center")
    above = "loss above the minimum"
    left.set(title="by steps", xlabel="steps", ylabel=above)
    middle.set(title="by time", xlabel="steps times step time (ms)", ylabel=above)
    right.set(title="measured while drawing", ylabel="time (ms)")
    sizes = [1, 16, 256, 4096, MANY]
    right.set_xticks(sizes, [f"{size:,}" for size in sizes])
    right.set_xlabel("examples a step")
    save(figure, path)


def main(arguments: list[str] | None = None) -> None:
    """Draw the pictures."""
    folder = canvas.output_folder(arguments, __doc__)
    draw_batches(compute_batches(), folder / "batches.png")
    draw_time(compute_steps(), compute_seconds(), folder / "cost-of-time.png")


if __name__ == "__main__":
    main()
