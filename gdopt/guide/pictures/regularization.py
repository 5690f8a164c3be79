"""What keeps a network from fitting noise: L2, dropout and early stopping.

Pictures: boundaries.png, dropout.png, patience.png.

Source: Ng, Improving deep neural networks, week 1, "Why regularization reduces
overfitting?", "Dropout regularization" and "Other regularization methods".
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from gdopt.data import MiniBatches, minibatches
from gdopt.guide.pictures.canvas import Numbers, figure_grid, output_folder, save
from gdopt.imports import load_extra
from gdopt.nn import Network, dropout
from gdopt.plots.series import BLUE, GREEN, INK, ORANGE
from gdopt.training import EarlyStopping, steps

POINTS, SIZES = 160, (2, 32, 16, 1)
CASES = {f"λ {l2:g}": {"l2": l2} for l2 in (0.0, 1.0, 10.0)} | {
    f"keep {keep:g}": {"keep_prob": keep} for keep in (0.9, 0.8, 0.6)
}
GRID = 200  # points along each axis, on which a boundary is drawn and measured
UNITS, DRAWS = 100, 5_000
KEEPS = (0.9, 0.5)
BARE = 0.68  # share of a panel that is below its legend
PATIENCE, EPOCHS = 20, 160


def moons(count: int, seed: int, noise: float = 0.3) -> tuple[np.ndarray, np.ndarray]:
    """Draw points on two half circles that reach into each other, and blur them.

    Those of class 0 lie on the upper half of the circle around (0, 0), those of class 1
    on the lower half of the circle around (1, 0.5), both of radius 1; `noise` is the
    deviation of what is added to each coordinate. X is (count, 2), and y (count,).
    """
    rng = np.random.default_rng(seed)
    angles = np.pi * rng.uniform(size=count)
    y = np.repeat([0, 1], count // 2)
    upper = np.stack([np.cos(angles), np.sin(angles)], axis=-1)
    X = np.where(y[:, None] == 0, upper, [1.0, 0.5] - upper)
    X += noise * rng.standard_normal(X.shape)
    return X, y


def train(batches: MiniBatches, settings: Numbers, **how: Any) -> Iterator[Network]:
    """Train a network of some settings with Adam, and yield it after every epoch."""
    # In float32 other orders of sums would lead to other networks.
    home: Numbers = {"dtype": np.float64, "backend": "numpy"}
    network = Network(SIZES, output="sigmoid", **home, **settings)

    def fg(_params: Any, x: np.ndarray, y: np.ndarray) -> Any:
        return network.loss_and_grads(x, y, batch_size=batches.batch_size)

    for _ in steps(fg, network.params, data=batches, record_every="epoch", **how):
        yield network


def plane(X: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the axes of a grid around some points, and all its points."""
    low, high = X.min(axis=0), X.max(axis=0)
    room = 0.06 * (high - low)
    first, second = np.linspace(low - room, high + room, GRID).T
    points = np.stack(np.meshgrid(first, second), axis=-1).reshape(-1, 2)
    return first, second, points.astype(X.dtype)


def boundary_length(probability: Callable[[np.ndarray], Any], X: np.ndarray) -> float:
    """Return the share of neighbours on a grid that are parted by a boundary.

    A simple boundary is short; one that winds around single examples is long.
    """
    sides = (probability(plane(X)[2]) > 0.5).reshape(GRID, GRID)
    parted = (sides[1:] != sides[:-1]).sum() + (sides[:, 1:] != sides[:, :-1]).sum()
    return float(parted / (2 * GRID * (GRID - 1)))


def compute_boundaries() -> Numbers:
    """Train on 160 points of two noisy half moons, regularized more and more.

    By lambda (with all units kept) and by the share of units that dropout keeps (with
    lambda 0): ``weights`` is the root of the sum of all squares; ``seen`` and
    ``unseen`` are accuracies, the latter on 2,000 more points. Units are dropped only
    while training: the boundaries are those of whole networks.
    """
    X, y = moons(POINTS, seed=0)
    unseen = moons(2000, seed=1)
    batches = minibatches(X, y, batch_size=POINTS, shuffle=False)
    numbers: Numbers = {"X": X, "y": y}
    for name, settings in CASES.items():
        *_, network = train(batches, settings | {"seed": 0}, lr=0.05, epochs=240)
        squares = [np.sum(a**2) for a in network.params.values() if a.ndim == 2]
        numbers[name] = {
            "probability": network.predict_proba,
            "weights": float(np.sqrt(sum(squares))),
            "length": boundary_length(network.predict_proba, X),
            "seen": network.accuracy(X, y),
            "unseen": network.accuracy(*unseen),
        }
    return numbers


def draw_boundaries(numbers: Numbers, path: Path) -> None:
    """Draw for each network the probabilities, the boundary and the points."""
    title = "With L2 or dropout, a network draws a shorter boundary"
    figure, axes = figure_grid(title, (12, 8.2), 2, 3, sharex=True, sharey=True)
    colors = load_extra("matplotlib.colors", "train", "drawing")
    tints = colors.LinearSegmentedColormap.from_list("", [BLUE, "white", ORANGE])
    X, y = numbers["X"], numbers["y"]
    first, second, points = plane(X)
    free = numbers[next(iter(CASES))]["length"]
    for axis, name in zip(axes.flat, CASES, strict=True):
        case = numbers[name]
        values = case["probability"](points).reshape(GRID, GRID)
        shades = {"cmap": tints, "alpha": 0.45, "vmin": 0, "vmax": 1}
        axis.contourf(first, second, values, 21, **shades)
        axis.contour(first, second, values, [0.5], colors=[INK], linewidths=1.6)
        style = {"s": 22, "edgecolors": "white", "linewidths": 0.4}
        axis.scatter(*X[y == 0].T, c=BLUE, marker="o", **style)
        axis.scatter(*X[y == 1].T, c=ORANGE, marker="^", **style)
        axis.grid(visible=False)
        length, seen, unseen = case["length"] / free, case["seen"], case["unseen"]
        text = f"{name}: boundary {length:.0%}, weights {case['weights']:.1f}\n"
        axis.set(title=f"{text}accuracy {seen:.0%}, on new points {unseen:.0%}")
        axis.set(xlabel="first feature", ylabel="second feature")
        axis.label_outer()
    save(figure, path)


def compute_dropout() -> Numbers:
    """Drop of 100 units at random, 5,000 times, and sum up what the next unit gets.

    ``whole`` is that sum with every unit: what comes at test. ``sums`` (5,000,) are
    those by share kept, of inverted dropout, which divides by it, and ``plain`` those
    without the division.
    """
    rng = np.random.default_rng(0)
    units = np.maximum(rng.standard_normal(UNITS), 0)
    weights = rng.standard_normal(UNITS) / 10 + 0.1
    copies = np.tile(units, (DRAWS, 1))
    numbers: Numbers = {"whole": float(units @ weights), "sums": {}, "plain": {}}
    for keep in KEEPS:
        kept, _ = dropout(copies, keep_prob=keep, generator=rng)
        numbers["sums"][keep] = kept @ weights
        numbers["plain"][keep] = keep * kept @ weights
    return numbers


def draw_dropout(numbers: Numbers, path: Path) -> None:
    """Draw how the sums are distributed, with and without the division."""
    title = "Divided by keep_prob, dropout keeps the mean of all units at test time"
    figure, axes = figure_grid(title, (12, 4.8), columns=len(KEEPS), sharex=True)
    whole = numbers["whole"]
    every = [*numbers["sums"].values(), *numbers["plain"].values()]
    bins = np.linspace(np.min(every), np.max(every), 61)
    styles = {"plain": (ORANGE, "as it is"), "sums": (BLUE, "divided by keep")}
    for axis, keep in zip(axes, KEEPS, strict=True):
        for kind, (colour, name) in styles.items():
            sums = numbers[kind][keep]
            text = f"{name}: mean {sums.mean() / whole:.2f} of the whole"
            style = {"color": colour, "histtype": "stepfilled", "alpha": 0.45}
            axis.hist(sums, bins, **style, label=text)
            axis.axvline(sums.mean(), 0, BARE, color=colour, linewidth=2.4)
        style = {"color": INK, "linewidth": 2.4, "linestyle": "--"}
        axis.axvline(whole, 0, BARE, **style, label="all units, at test")
        axis.set(title=f"keep {keep:g}, {DRAWS:,} draws", xlabel="sum in the next unit")
        axis.set_ylabel("draws")
        axis.set_ylim(top=axis.get_ylim()[1] / BARE)
        axis.legend(loc="upper right")
    save(figure, path)


def compute_patience() -> Numbers:
    """Train on 160 points of two half moons until the dev loss stops improving.

    ``train`` and ``dev`` (160,) are the losses of all examples after every epoch, had
    the training gone on; ``stopped`` is the epoch after which it was time to stop, with
    a patience of 20, ``best`` the one whose weights came back, ``restored`` the dev
    loss with these.
    """
    seen, unseen = moons(POINTS, seed=0), moons(400, seed=1)

    def run(**options: Any) -> Iterator[Network]:
        batches = minibatches(*seen, batch_size=32, seed=0)
        return train(batches, {"seed": 0}, lr=0.01, epochs=EPOCHS, **options)

    losses = [[network.loss(*part) for part in (seen, unseen)] for network in run()]
    stopping = EarlyStopping(PATIENCE)
    *epochs, network = run(dev=unseen, callback=stopping)
    return {
        "train": np.array(losses)[:, 0],
        "dev": np.array(losses)[:, 1],
        "best": len(epochs) + 1 - PATIENCE,
        "stopped": len(epochs) + 1,
        "restored": network.loss(*unseen),
    }


def draw_patience(numbers: Numbers, path: Path) -> None:
    """Draw both losses, dotted from where the training stops."""
    title = "Early stopping restores the weights from before the dev loss rose"
    figure, axis = figure_grid(title, (10, 5.6))
    best, stopped = numbers["best"], numbers["stopped"]
    epochs = np.arange(1, EPOCHS + 1)
    for name, colour in {"train": BLUE, "dev": ORANGE}.items():
        losses = numbers[name]
        done, rest = slice(None, stopped), slice(stopped - 1, None)
        text = f"{name} loss: {losses[best - 1]:.3f} there, {losses[-1]:.3f} at the end"
        axis.plot(epochs[done], losses[done], color=colour, linewidth=2.4, label=text)
        axis.plot(epochs[rest], losses[rest], ":", color=colour, linewidth=1.6)
    star = {"markersize": 13, "color": GREEN, "zorder": 3, "linestyle": "none"}
    text = f"epoch {best}: these weights are restored"
    axis.plot(best, numbers["restored"], "*", **star, label=text)
    axis.axvline(stopped, color=INK, linewidth=1.4, linestyle="--")
    place = {"xy": (stopped, 0.02), "xycoords": axis.get_xaxis_transform()}
    text = f" epoch {stopped}: {PATIENCE} without a better one"
    axis.annotate(text, **place, va="bottom")
    text = "epoch (dotted: if training had continued)"
    axis.set(xlabel=text, ylabel="loss of all examples", ylim=(0, 0.62))
    axis.legend(loc="upper right")
    save(figure, path)


def main(arguments: list[str] | None = None) -> None:
    """Draw the pictures."""
    folder = output_folder(arguments, __doc__)
    draw_boundaries(compute_boundaries(), folder / "boundaries.png")
    draw_dropout(compute_dropout(), folder / "dropout.png")
    draw_patience(compute_patience(), folder / "patience.png")


if __name__ == "__main__":
    main()
