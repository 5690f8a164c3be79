"""Cats of other colours: what a shift of the input does to hidden units."""

from __future__ import annotations

from typing import Any

import numpy as np

from gdopt.data import minibatches
from gdopt.gallery.parts.canvas import LEGEND, LETTERS, head, sheet
from gdopt.gallery.parts.picture import Numbers, Path, Picture
from gdopt.nn import Network
from gdopt.nn.layers.batch_norm import standardized
from gdopt.nn.layers.statistics import Statistics
from gdopt.optim import Adam
from gdopt.plots.style import INK, ORANGE, save
from gdopt.training import fit

EXAMPLES, SHAPES, COLOURS = 2_000, 20, 10
SIZES, EPOCHS, BATCH, RATE = (SHAPES + COLOURS, 32, 32, 32, 1), 8, 64, 0.005
SHIFT, WIDEN = 4.0, 2.0  # of the colours, in deviations of the black ones
BLACK, COLOURED = "black cats, as trained on", "cats of all colours"
ROWS = {
    "none": "no batch norm",
    "training": "batch norm, training:\nby the batch at hand",
    "use": "batch norm, in use:\nby averages of training",
}


def _cats(seed: int, *, coloured: bool) -> tuple[np.ndarray, np.ndarray]:
    """Draw examples: what they are hangs on their shape, not on their colour.

    Returns:
        X (2000, 30) float64, of which the last 10 tell the colour, and y (2000,).
    """
    rng = np.random.default_rng(seed)
    shape = rng.standard_normal((EXAMPLES, SHAPES))
    colour = rng.standard_normal((EXAMPLES, COLOURS))
    if coloured:
        colour = SHIFT + WIDEN * colour
    y = (shape[:, :10].sum(axis=1) + shape[:, 10] * shape[:, 11] > 0).astype(int)
    return np.concatenate([shape, colour], axis=1), y


def _trained(*, batch_norm: bool) -> Network:
    network = Network(
        SIZES,
        output="sigmoid",
        batch_norm=batch_norm,
        seed=0,
        dtype=np.float64,
        backend="numpy",
    )
    batches = minibatches(*_cats(0, coloured=False), size=BATCH, seed=0)
    optimizer = Adam(network.params, lr=RATE)
    every = -(-EXAMPLES // BATCH)
    for _ in fit(
        network, optimizer, batches, epochs=EPOCHS, checked=True, record_every=every
    ):
        pass
    return network


def passed(
    network: Network, x: np.ndarray, *, of_batch: bool
) -> tuple[list[np.ndarray], np.ndarray]:
    """Run examples through a network, and give what is before each activation.

    Args:
        network: of ReLUs, on the CPU.
        x: (m, n).
        of_batch: whether hidden layers are normalized by mean and variance of these
            examples, as in training, or by the averages, as in use.

    Returns:
        For each hidden layer z (m, units), normalized where the network does so; and
        the logits (m,).
    """
    params = network.params
    averages = Statistics(network.sizes[1:-1], params, 0.9)
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


def _measure() -> Numbers:
    """Train on black cats with and without batch normalization, then show others.

    Whether it is a cat hangs on 20 features of shape; 10 others tell the colour, with
    mean 0 and deviation 1 in training, then with 2 and 2. By what normalizes (nothing,
    the batch at hand as in training, averages of the training's batches as in use):
    ``hidden`` holds what is before each layer's activation, black and coloured;
    ``moves`` by how many of its deviations a unit's mean moves, on average over a
    layer's units; ``spreads`` the ratio of deviations (their geometric mean);
    ``right`` the share of examples that are told, black and coloured.

    Source: Ng, Improving deep neural networks, week 3, "Why does batch norm work?".
    """
    cats = [_cats(1, coloured=False), _cats(1, coloured=True)]
    numbers: Numbers = {"hidden": {}, "moves": {}, "spreads": {}, "right": {}}
    plain, normed = (_trained(batch_norm=flag) for flag in (False, True))
    cases: dict[str, tuple[Network, bool]] = {
        "none": (plain, False),
        "training": (normed, True),
        "use": (normed, False),
    }
    for name, (network, of_batch) in cases.items():
        runs = [passed(network, x, of_batch=of_batch) for x, _ in cats]
        pairs = list(zip(runs[0][0], runs[1][0], strict=True))
        numbers["hidden"][name] = pairs
        numbers["moves"][name] = [_move(*pair) for pair in pairs]
        numbers["spreads"][name] = [_spread(*pair) for pair in pairs]
        numbers["right"][name] = [
            float(((logits > 0) == y).mean())
            for (_, logits), (_, y) in zip(runs, cats, strict=True)
        ]
    return numbers


def _move(before: np.ndarray, after: np.ndarray) -> float:
    moved = np.abs(after.mean(axis=0) - before.mean(axis=0)) / before.std(axis=0)
    return float(moved.mean())


def _spread(before: np.ndarray, after: np.ndarray) -> float:
    return float(np.exp(np.log(after.std(axis=0) / before.std(axis=0)).mean()))


def _paint(numbers: Numbers, path: Path, claim: str) -> None:
    layers = len(SIZES) - 2
    figure, axes = sheet(len(ROWS), layers, size=(12.5, 9.6), sharex=True, sharey=True)
    for row, (name, text) in zip(axes, ROWS.items(), strict=True):
        for k, axis in enumerate(row):
            _paint_units(axis, *numbers["hidden"][name][k])
            move, spread = numbers["moves"][name][k], numbers["spreads"][name][k]
            head(axis, f"layer {k + 1}: moves by {move:.2f}, spread {spread:.2f}")
        row[0].set_ylabel(text, **LETTERS)
        before, after = numbers["right"][name]
        told = f"right of the black ones: {before:.0%}, of all colours: {after:.0%}"
        row[1].set_xlabel(told, **LETTERS)
    axes[0, 0].legend(**LEGEND, loc="upper left")
    axes[-1, 0].set_xlabel("hidden unit, in order of its move", **LETTERS)
    axes[-1, -1].set_xlabel("bands: 80 % of values, in deviations", **LETTERS)
    save(figure, path, claim)


def _paint_units(axis: Any, before: np.ndarray, after: np.ndarray) -> None:
    """Draw 80 % of each unit's values and their median, in its first deviations."""
    middle, deviation = before.mean(axis=0), before.std(axis=0)
    order = np.argsort((after.mean(axis=0) - middle) / deviation)
    units = np.arange(1, len(order) + 1)
    cases = ((before, INK, "s", BLACK), (after, ORANGE, "o", COLOURED))
    for values, colour, mark, label in cases:
        scaled = ((values - middle) / deviation)[:, order]
        low, median, high = np.percentile(scaled, (10, 50, 90), axis=0)
        axis.fill_between(units, low, high, color=colour, alpha=0.3, linewidth=0)
        axis.plot(units, median, mark, color=colour, markersize=4.5, label=label)


input_shift = Picture(
    "input-shift",
    "Normalized by their own batch, hidden units stay in place when the input shifts",
    _measure,
    _paint,
)
