"""What makes descent easy before the first step: features and first weights.

Pictures: normalization.png, depth.png.
"""

from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from gdopt.data import Normalizer
from gdopt.guide.pictures import canvas
from gdopt.guide.pictures.canvas import Numbers, figure_grid, save
from gdopt.guide.pictures.mini_batches import regression_loss
from gdopt.guide.pictures.trajectories import best_trajectory, legend_label
from gdopt.imports import load_extra
from gdopt.nn import Network
from gdopt.optim import SGD
from gdopt.plots.series import BLUE, GREEN, INK, ORANGE, logarithmic
from gdopt.training.diagnosis import LayerNorms, layer_norms

POINTS = 512
LAYERS, WIDTH, EXAMPLES, CLASSES = 20, 100, 200, 10
LINES: dict[str, dict[str, Any]] = {  # by initialization; lines that cover others, thin
    "he": {"color": BLUE, "marker": "o", "linewidth": 2.2},
    "xavier": {"color": ORANGE, "marker": "s", "linewidth": 4.0, "alpha": 0.55},
    "glorot": {"color": GREEN, "marker": "^", "linewidth": 2.0, "linestyle": "--"},
    "zeros": {"color": INK, "marker": "v", "linewidth": 1.6, "linestyle": ":"},
}
ROWS = {
    "activations": "activations\n(root mean square)",
    "signals": "gradients of units\n(root mean square)",
    "gradients": "gradients of weights\n(norm of dW)",
}
FLOOR, STRIP = 0.04, 0.2  # shares of a panel: where zeros stand, and what is left free


def compute_normalization() -> Numbers:
    """Fit w x + b by gradient descent, to x as it is, and to x normalized.

    x has mean 3 and standard deviation 0.5. Both descents start from 0, with the same
    loss, and have the rate with which each comes soonest to within 1e-4 of that loss
    above the minimum. ``conditions`` are those of the matrices of second derivatives:
    of a normalized feature it is the identity, and rate 1 leads to the minimum in a
    single step.
    """
    rng = np.random.default_rng(0)
    x = 3 + 0.5 * rng.standard_normal(POINTS)
    y = 2 * x - 1 + 0.3 * rng.standard_normal(POINTS)
    normalized = Normalizer.fit(x).transform(x)
    numbers: Numbers = {"problems": {}, "trajectories": {}, "conditions": {}}
    for name, feature in {"as it is": x, "normalized": normalized}.items():
        X = np.stack([feature, np.ones_like(feature)], axis=-1)
        problem = regression_loss(X, y)
        level = problem.least + 1e-4 * (float(np.mean(y**2)) / 2 - problem.least)
        one = best_trajectory(problem, "SGD", SGD, 600, level=level)
        numbers["problems"][name], numbers["trajectories"][name] = problem, one
        numbers["conditions"][name] = float(np.linalg.cond(X.T @ X))
    return numbers


def draw_normalization(numbers: Numbers, path: Path) -> None:
    """Draw the paths over contours in squares that hold start, path and minimum."""
    title = "With the feature normalized the contours are round, and one step is enough"
    figure, axes = figure_grid(title, (12, 5.4), columns=2)
    for axis, (name, problem) in zip(axes, numbers["problems"].items(), strict=True):
        one = numbers["trajectories"][name]
        points = np.concatenate([one.points, problem.minima])
        middle = (points.max(axis=0) + points.min(axis=0)) / 2
        reach = 0.75 * np.ptp(points, axis=0).max()
        box = tuple(zip(middle - reach, middle + reach, strict=True))
        canvas.draw_contours(axis, replace(problem, box=box))
        style = {"color": BLUE, "linewidth": 1.4, "markersize": 4}
        shown = one.points[: one.arrived + 1]
        axis.plot(*shown.T, "o-", **style, label=legend_label(one))
        canvas.mark_start(axis, problem.start)
        condition = numbers["conditions"][name]
        text = f"x {name}: condition {condition:,.0f}"
        axis.set(title=text, xlabel="weight w", ylabel="bias b", aspect="equal")
        axis.legend(loc="upper right")
    save(figure, path)


def compute_depth() -> dict[str, dict[str, LayerNorms]]:
    """Measure networks of 20 layers of 100 units before training, by initialization.

    Examples are standard normal, as normalized data are, and labels are drawn from 10
    classes. All initializations scale the same random numbers.

    Source: Ng, Improving deep neural networks, week 1, "Weight initialization".
    """
    rng = np.random.default_rng(0)
    x = rng.standard_normal((EXAMPLES, WIDTH)).astype(np.float32)
    y = rng.integers(0, CLASSES, EXAMPLES)
    norms: dict[str, dict[str, LayerNorms]] = {"tanh": {}, "relu": {}}
    for activation, name in product(norms, LINES):
        options: Numbers = {"activation": activation, "initialization": name, "seed": 0}
        network = Network((*[WIDTH] * LAYERS, CLASSES), backend="numpy", **options)
        norms[activation][name] = layer_norms(network, x, y)
    return norms


def draw_depth(numbers: dict[str, dict[str, LayerNorms]], path: Path) -> None:
    """Draw activations and gradients against depth, a line for each initialization."""
    title = "Through 20 ReLU layers, signals keep their size with He, not with Xavier"
    figure, axes = figure_grid(title, (9.9, 9), 3, 2, sharex="col", sharey="row")
    for column, (activation, lines) in zip(axes.T, numbers.items(), strict=True):
        for axis, kind in zip(column, ROWS, strict=True):
            _draw_norms(axis, lines, kind)
        left = [f"{name} {lines[name].forward:.2g}" for name in ("he", "xavier")]
        text = f"{activation}, left of a signal: {', '.join(left)}"
        column[0].set(title=text.replace("relu", "ReLU"))
        column[-1].set(xlabel="layer")
    for axis, text in zip(axes[:, 0], ROWS.values(), strict=True):
        axis.set(ylabel=text)
        low, high = axis.get_ylim()
        axis.set_ylim(low * (low / high) ** (STRIP / (1 - STRIP)), high)
    handles = axes[0, 0].get_legend_handles_labels()
    place = {"loc": "outside lower center", "ncols": len(LINES), "frameon": False}
    figure.legend(*handles, **place, fontsize=13, labelcolor=INK)
    save(figure, path)


def _draw_norms(axis: Any, lines: dict[str, LayerNorms], kind: str) -> None:
    """Draw one panel; what is exactly zero stands on its lower edge."""
    logarithmic(axis, "y")
    for name, norms in lines.items():
        style = {"markersize": 6, **LINES[name]}
        values = np.array([getattr(layer, kind) for layer in norms.layers])
        layers = np.arange(1, len(values) + 1)
        axis.plot(layers, np.where(values > 0, values, np.nan), label=name, **style)
        zeros = layers[values == 0]
        mark = {**style, "linestyle": "none", "transform": axis.get_xaxis_transform()}
        axis.plot(zeros, np.full(len(zeros), FLOOR), **mark)
        if len(zeros):
            place = {"xytext": (0, 7), "textcoords": "offset points", "ha": "center"}
            middle = {"xy": (0.5, FLOOR), "xycoords": "axes fraction"}
            axis.annotate(f"{name}: exactly 0", **middle, **place)
    tickers = load_extra("matplotlib.ticker", "train", "drawing")
    axis.xaxis.set_major_locator(tickers.MaxNLocator(integer=True))


def main(arguments: list[str] | None = None) -> None:
    """Draw the pictures."""
    folder = canvas.output_folder(arguments, __doc__)
    draw_normalization(compute_normalization(), folder / "normalization.png")
    draw_depth(compute_depth(), folder / "depth.png")


if __name__ == "__main__":
    main()
