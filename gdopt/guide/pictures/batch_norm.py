"""Covariate shift: what a shift of the input does to hidden units.

Picture: input-shift.png.

Source: Ng, Improving deep neural networks, week 3, "Why does batch norm work?".
"""

from pathlib import Path
from typing import Any

import numpy as np

from gdopt.data import minibatches
from gdopt.guide.pictures.canvas import Numbers, figure_grid, output_folder, save
from gdopt.nn import Network
from gdopt.nn.normalization import standardized
from gdopt.nn.statistics import Statistics
from gdopt.optim import Adam
from gdopt.plots.series import INK, ORANGE
from gdopt.training import fit

EXAMPLES, SHAPES, COLOURS = 2_000, 20, 10
SIZES, EPOCHS, BATCH, RATE = (SHAPES + COLOURS, 32, 32, 32, 1), 8, 64, 0.005
SHIFT, WIDEN = 4.0, 2.0  # of the colours, in deviations of the black ones
ROWS = {  # by name: batch norm, by statistics of the batch, and what is written
    "none": (False, False, "no batch norm"),
    "training": (True, True, "batch norm, training:\nby each batch"),
    "use": (True, False, "batch norm, prediction:\nby training averages"),
}


def cats(seed: int, *, coloured: bool) -> tuple[np.ndarray, np.ndarray]:
    """Draw examples whose label depends only on the shape, not on the colour.

    X is (2000, 30), of which the last 10 are the colour, with mean 0 and deviation 1
    where all are black, else with 4 and 2; y is (2000,).
    """
    rng = np.random.default_rng(seed)
    shape = rng.standard_normal((EXAMPLES, SHAPES))
    colour = rng.standard_normal((EXAMPLES, COLOURS))
    if coloured:
        colour = SHIFT + WIDEN * colour
    y = (shape[:, :10].sum(axis=1) + shape[:, 10] * shape[:, 11] > 0).astype(int)
    return np.concatenate([shape, colour], axis=1), y


def _train(*, batch_norm: bool) -> Network:
    options: Numbers = {"output": "sigmoid", "dtype": np.float64, "backend": "numpy"}
    network = Network(SIZES, batch_norm=batch_norm, seed=0, **options)
    batches = minibatches(*cats(0, coloured=False), batch_size=BATCH, seed=0)
    optimizer = Adam(network.params, lr=RATE)
    options = {"epochs": EPOCHS, "validate": False, "record_every": len(batches)}
    fit(network, optimizer, batches, **options)
    return network


def propagate(
    network: Network, x: np.ndarray, *, of_batch: bool
) -> tuple[list[np.ndarray], np.ndarray]:
    """Return what is before each activation (m, units), and the logits (m,).

    Hidden layers of a network with batch normalization are normalized by mean and
    variance of these examples, as in training, or else by the averages, as in use.
    """
    params = network.params
    settings = {"beta": 0.9, "bias_correction": True}
    averages = Statistics(network.sizes[1:-1], params, settings)
    if network.batch_norm:
        averages.load_state_dict(network.state_dict()["statistics"])
    active, hidden = x, []
    last = len(network.sizes) - 1
    for k in range(1, last):
        z = active @ params[f"W{k}"]
        if network.batch_norm:
            own = z.mean(axis=0), z.var(axis=0)
            z = standardized(z, *(own if of_batch else averages.of(k - 1)))
            z = z * params[f"gamma{k}"] + params[f"beta{k}"]
        else:
            z = z + params[f"b{k}"]
        hidden.append(z)
        active = np.maximum(z, 0)
    return hidden, (active @ params[f"W{last}"] + params[f"b{last}"])[:, 0]


def compute_shift() -> Numbers:
    """Train on black cats with and without batch normalization, then show others.

    By what normalizes (nothing, the current batch, averages of the training's batches):
    ``hidden`` holds what is before each layer's activation, black and coloured;
    ``moves`` by how many of its deviations a unit's mean moves, on average over a
    layer's units; ``spreads`` the ratio of deviations (their geometric mean);
    ``right`` the accuracy for black and for coloured cats.
    """
    black, coloured = cats(1, coloured=False), cats(1, coloured=True)
    networks = {flag: _train(batch_norm=flag) for flag in (False, True)}
    numbers: Numbers = {}
    for name, (batch_norm, of_batch, _) in ROWS.items():
        case: Numbers = {"moves": [], "spreads": [], "right": []}
        layers = []
        for x, y in (black, coloured):
            hidden, logits = propagate(networks[batch_norm], x, of_batch=of_batch)
            layers.append(hidden)
            case["right"].append(float(((logits > 0) == y).mean()))
        case["hidden"] = list(zip(*layers, strict=True))
        for before, after in case["hidden"]:
            deviation = before.std(axis=0)
            moved = np.abs(after.mean(axis=0) - before.mean(axis=0)) / deviation
            case["moves"].append(float(moved.mean()))
            ratios = after.std(axis=0) / deviation
            case["spreads"].append(float(np.exp(np.log(ratios).mean())))
        numbers[name] = case
    return numbers


def draw_shift(numbers: Numbers, path: Path) -> None:
    """Draw a row for each way to normalize, and in it a panel for each hidden layer."""
    title = "Normalized by their own batch, hidden units do not shift with the input"
    figure, axes = figure_grid(title, (12.5, 9.6), 3, 3, sharex=True, sharey=True)
    for row, (name, case) in zip(axes, numbers.items(), strict=True):
        for k, axis in enumerate(row):
            _draw_units(axis, *case["hidden"][k])
            move, spread = case["moves"][k], case["spreads"][k]
            axis.set(title=f"layer {k + 1}: shifts by {move:.2f}, spread {spread:.2f}")
            axis.set(xlabel="hidden unit, sorted by its shift")
            axis.label_outer()
        before, after = case["right"]
        right = f"right: black {before:.0%}, all {after:.0%}"
        row[0].set(ylabel=f"{ROWS[name][2]}\n{right}\n(standard deviations)")
    axes[0, 0].legend(loc="upper left", title="dots: medians; bands: 80 %")
    save(figure, path)


def _draw_units(axis: Any, before: np.ndarray, after: np.ndarray) -> None:
    """Draw 80 % of each unit's values and their median, in its first deviations."""
    middle, deviation = before.mean(axis=0), before.std(axis=0)
    order = np.argsort((after.mean(axis=0) - middle) / deviation)
    units = np.arange(1, len(order) + 1)
    styles = {"color": INK, "marker": "s", "label": "black cats, as trained on"}
    others = {"color": ORANGE, "marker": "o", "label": "cats of all colours"}
    for values, style in ((before, styles), (after, others)):
        scaled = ((values - middle) / deviation)[:, order]
        low, median, high = np.percentile(scaled, (10, 50, 90), axis=0)
        band = {"color": style["color"], "alpha": 0.3, "linewidth": 0}
        axis.fill_between(units, low, high, **band)
        axis.plot(units, median, markersize=4.5, linestyle="none", **style)


def main(arguments: list[str] | None = None) -> None:
    """Draw the picture."""
    folder = output_folder(arguments, __doc__)
    draw_shift(compute_shift(), folder / "input-shift.png")


if __name__ == "__main__":
    main()
