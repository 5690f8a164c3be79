"""Why dropout divides by the share it keeps."""

from __future__ import annotations

import numpy as np

from gdopt.gallery.parts.canvas import LEGEND, LETTERS, head, sheet
from gdopt.gallery.parts.picture import Numbers, Path, Picture
from gdopt.nn import dropout
from gdopt.plots.style import BLUE, INK, ORANGE, save

UNITS, DRAWS = 100, 5_000
KEEPS = (0.9, 0.5)
BARE = 0.68  # share of a panel that is below its legend


def _measure() -> Numbers:
    """Drop of 100 units at random, 5,000 times, and sum up what the next unit gets.

    ``whole`` is that sum with every unit: what comes at test. ``sums`` (5,000,) are
    those by share kept, of inverted dropout, which divides by it, and ``plain`` those
    without the division.

    Source: Ng, Improving deep neural networks, week 1, "Dropout regularization".
    """
    rng = np.random.default_rng(0)
    units = np.maximum(rng.standard_normal(UNITS), 0)
    weights = rng.standard_normal(UNITS) / 10 + 0.1
    copies = np.tile(units, (DRAWS, 1))
    numbers: Numbers = {"whole": float(units @ weights), "sums": {}, "plain": {}}
    for keep in KEEPS:
        kept, _ = dropout(copies, keep=keep, generator=rng)
        numbers["sums"][keep] = kept @ weights
        numbers["plain"][keep] = keep * kept @ weights
    return numbers


def _paint(numbers: Numbers, path: Path, claim: str) -> None:
    figure, axes = sheet(1, len(KEEPS), size=(12, 4.8), sharex=True)
    whole = numbers["whole"]
    every = np.concatenate([*numbers["sums"].values(), *numbers["plain"].values()])
    bins = np.linspace(every.min(), every.max(), 61)
    looks = {"plain": (ORANGE, "as it is"), "sums": (BLUE, "divided by keep")}
    for axis, keep in zip(axes[0], KEEPS, strict=True):
        for kind, (colour, text) in looks.items():
            sums = numbers[kind][keep]
            label = f"{text}: mean {sums.mean() / whole:.2f} of the whole"
            style = {"color": colour, "histtype": "stepfilled", "alpha": 0.45}
            axis.hist(sums, bins, **style, label=label)
            axis.axvline(sums.mean(), 0, BARE, color=colour, linewidth=2.4)
        style = {"color": INK, "linewidth": 2.4, "linestyle": "--"}
        axis.axvline(whole, 0, BARE, **style, label="all units, at test")
        head(axis, f"keep {keep:g}, {DRAWS:,} draws")
        axis.set_xlabel("what the next unit gets", **LETTERS)
        axis.set_ylim(top=axis.get_ylim()[1] / BARE)
        axis.legend(**LEGEND, loc="upper right")
    axes[0, 0].set_ylabel("draws", **LETTERS)
    save(figure, path, claim)


dropout_mean = Picture(
    "dropout",
    "Divided by keep, what dropout leaves is the same on average as all units at test",
    _measure,
    _paint,
)
