"""Early stopping: where the dev cost was least, though the training cost falls on."""

from __future__ import annotations

import numpy as np

from gdopt.data import minibatches
from gdopt.gallery.parts.canvas import LEGEND, LETTERS, sheet
from gdopt.gallery.parts.picture import Numbers, Path, Picture
from gdopt.gallery.regularization.moons import moons
from gdopt.nn import Network
from gdopt.optim import Adam
from gdopt.plots.style import BLUE, GREEN, INK, ORANGE, save
from gdopt.training import EarlyStopping, fit

POINTS, DEV, NOISE = 160, 400, 0.3
SIZES, RATE, BATCH = (2, 32, 16, 1), 0.01, 32
PATIENCE, EPOCHS = 20, 160


def _measure() -> Numbers:
    """Train on 160 points of two half moons until the dev cost is no better for long.

    ``train`` and ``dev`` (160,) are the costs of all examples after every epoch, had
    the training gone on; ``stopped`` is the epoch after which it was time to stop, with
    a patience of 20, ``best`` the one whose weights came back, ``restored`` the dev
    cost with these.

    Source: Ng, Improving deep neural networks, week 1, "Other regularization methods".
    """
    points = moons(POINTS, noise=NOISE, seed=0)
    judges = moons(DEV, noise=NOISE, seed=1)
    network = Network(
        SIZES, output="sigmoid", seed=0, dtype=np.float64, backend="numpy"
    )
    optimizer = Adam(network.params, lr=RATE)
    batches = minibatches(*points, size=BATCH, seed=0)
    stopping = EarlyStopping(network.params, patience=PATIENCE, mode="min")
    train, dev = [], []
    numbers: Numbers = {}
    every = POINTS // BATCH
    for _ in fit(
        network, optimizer, batches, epochs=EPOCHS, checked=True, record_every=every
    ):
        train.append(network.loss(*points))
        dev.append(network.loss(*judges))
        if not numbers and stopping.update(dev[-1]):
            numbers = _back(network, stopping, judges)
    return {"train": np.array(train), "dev": np.array(dev), **numbers}


def _back(
    network: Network, stopping: EarlyStopping, judges: tuple[np.ndarray, np.ndarray]
) -> Numbers:
    """Put the best weights back, measure them, and let the training go on as it was."""
    as_it_is = network.params.flat.copy()
    stopping.restore()
    restored = network.loss(*judges)
    network.params.flat[...] = as_it_is
    return {
        "best": stopping.best_update,
        "stopped": stopping.updates,
        "restored": restored,
    }


def _paint(numbers: Numbers, path: Path, claim: str) -> None:
    figure, axes = sheet(1, 1, size=(10, 5.6))
    axis = axes[0, 0]
    best, stopped = numbers["best"], numbers["stopped"]
    epochs = np.arange(1, EPOCHS + 1)
    for name, colour in {"train": BLUE, "dev": ORANGE}.items():
        costs = numbers[name]
        done, rest = slice(None, stopped), slice(stopped - 1, None)
        label = f"{name} cost: {costs[best - 1]:.3f} there, {costs[-1]:.3f} at the end"
        axis.plot(epochs[done], costs[done], color=colour, linewidth=2.4, label=label)
        axis.plot(epochs[rest], costs[rest], ":", color=colour, linewidth=1.6)
    place = {"markersize": 13, "color": GREEN, "zorder": 3, "linestyle": "none"}
    restored = numbers["restored"]
    label = f"epoch {best}: these weights come back"
    axis.plot(best, restored, "*", **place, label=label)
    axis.axvline(stopped, color=INK, linewidth=1.4, linestyle="--")
    text = f" epoch {stopped}: {PATIENCE} without a better one"
    axis.annotate(
        text,
        (stopped, 0.02),
        xycoords=axis.get_xaxis_transform(),
        va="bottom",
        **LETTERS,
    )
    axis.set_ylim(0, 0.62)  # room for the legend
    axis.set_xlabel("epoch (dotted: had the training gone on)", **LETTERS)
    axis.set_ylabel("cost of all examples", **LETTERS)
    axis.legend(**LEGEND, loc="upper right")
    save(figure, path, claim)


patience = Picture(
    "patience",
    "Early stopping gives back the weights from before the dev cost rose",
    _measure,
    _paint,
)
