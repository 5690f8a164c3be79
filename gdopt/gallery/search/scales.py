"""On which scale to draw: evenly, or evenly by decades."""

from __future__ import annotations

from typing import Any

import numpy as np

from gdopt.gallery.parts.canvas import LETTERS, head, sheet
from gdopt.gallery.parts.picture import Numbers, Path, Picture
from gdopt.plots.style import BLUE, FAINT, INK, ORANGE, logarithmic, save

DRAWS = 400
RATE = (1e-4, 1.0)  # the course's range of learning rates
BETA = (0.9, 0.999)  # and of momentum's beta


def _measure() -> Numbers:
    """Draw 400 learning rates from 0.0001 to 1 and 400 betas from .9 to .999.

    ``rates`` are drawn evenly, and evenly by their logarithms; ``rests`` are 1 - beta,
    for betas drawn evenly, and evenly by the logarithms of these. The same random
    numbers serve all. ``shares`` (decades,) are those of the draws in each decade, from
    below.

    Source: Ng, Improving deep neural networks, week 3, "Using an appropriate scale to
    pick hyperparameters".
    """
    even = np.random.default_rng(0).uniform(size=DRAWS)
    ends = {"rates": RATE, "rests": (1 - BETA[1], 1 - BETA[0])}
    numbers: Numbers = {"shares": {}}
    for kind, (low, high) in ends.items():
        numbers[kind] = {
            "evenly": low + (high - low) * even,
            "evenly by decades": low * (high / low) ** even,
        }
        edges = low * 10.0 ** np.arange(round(np.log10(high / low)) + 1)
        edges[-1] = high * (1 + 1e-9)
        numbers["shares"][kind] = {
            name: np.histogram(draws, edges)[0] / DRAWS
            for name, draws in numbers[kind].items()
        }
    return numbers


def _paint(numbers: Numbers, path: Path, claim: str) -> None:
    figure, axes = sheet(1, 2, size=(13, 4.8))
    left, right = axes[0]
    _paint_draws(left, numbers, "rates", RATE[0])
    head(left, f"{DRAWS} learning rates from 0.0001 to 1")
    left.set_xlabel("learning rate", **LETTERS)
    _paint_draws(right, numbers, "rests", 1 - BETA[1])
    head(right, f"{DRAWS} betas from 0.9 to 0.999")
    right.set_xlabel("1 - beta; the average is over 1 / (1 - beta) values", **LETTERS)
    save(figure, path, claim)


def _paint_draws(axis: Any, numbers: Numbers, kind: str, low: float) -> None:
    """Draw a strip for each way, with the share of each decade above it."""
    logarithmic(axis, "x")
    scatter = np.random.default_rng(1).uniform(-0.16, 0.16, DRAWS)
    looks = {"evenly": (1.0, ORANGE), "evenly by decades": (0.0, BLUE)}
    for name, (height, colour) in looks.items():
        draws = numbers[kind][name]
        style = {"color": colour, "markersize": 4, "alpha": 0.6, "mew": 0}
        axis.plot(draws, height + scatter, "o", **style)
        shares = numbers["shares"][kind][name]
        for k, share in enumerate(shares):
            middle = low * 10.0 ** (k + 0.5)
            text = {"ha": "center", "va": "bottom", **LETTERS}
            told = f"{share:.0%}" if share > 0.01 else f"{share:.1%}"
            axis.text(middle, height + 0.2, told, **text)
    decades = low * 10.0 ** np.arange(len(shares) + 1)
    for edge in decades:
        axis.axvline(edge, color=FAINT, linewidth=1.2, zorder=0)
    axis.set_xticks(decades)
    axis.set_yticks([1.0, 0.0], ["evenly", "evenly\nby decades"], color=INK)
    axis.set_ylim(-0.35, 1.5)
    axis.grid(visible=False)


scales = Picture(
    "scales",
    "Drawn evenly, nine rates of ten lie in the top decade; by decades, one of four",
    _measure,
    _paint,
)
