"""Exponentially weighted averages of a year of daily temperatures."""

from __future__ import annotations

import numpy as np

from gdopt.ewa import ewa, ewa_weights, ewa_window
from gdopt.gallery.parts.canvas import DOTS, LEGEND, LETTERS, head, sheet
from gdopt.gallery.parts.picture import Numbers, Path, Picture
from gdopt.plots.style import BLUE, FAINT, GREEN, INK, ORANGE, save

DAYS, MEAN, SWING, NOISE = 365, 50.0, 15.0, 5.0  # degrees Fahrenheit, as the course
COLDEST = 20  # the day of the year
TINTS = {0.5: ORANGE, 0.9: BLUE, 0.98: GREEN}
FIRST, SHOWN = 240, 120  # days of the second picture, and weights of the third


def season() -> np.ndarray:
    """Give what the year's temperatures would be without noise, (365,)."""
    angle = 2 * np.pi * (np.arange(DAYS) - COLDEST) / DAYS
    return MEAN - SWING * np.cos(angle)


def temperatures() -> np.ndarray:
    """Give a year of synthetic daily temperatures in degrees Fahrenheit, (365,)."""
    return season() + NOISE * np.random.default_rng(0).standard_normal(DAYS)


def roughness(series: np.ndarray) -> float:
    """Give the mean square of the second differences."""
    return float(np.mean(np.diff(series, n=2) ** 2))


def lag(beta: float) -> int:
    """Give by how many days an average reaches its peak after the season's own.

    The average of season and noise is the season's average and the noise's: taken here
    is the first part, whose peak no noise moves.
    """
    calm = season()
    return int(np.argmax(ewa(calm, beta)) - np.argmax(calm))


def _measure_averages() -> Numbers:
    """Average a year of temperatures with beta .5, .9 and .98, corrected.

    ``roughness`` is the mean square of the second differences, ``lag`` the number of
    days by which the peak comes late.
    """
    values = temperatures()
    averages = {beta: ewa(values, beta) for beta in TINTS}
    return {
        "values": values,
        "averages": averages,
        "roughness": {beta: roughness(a) for beta, a in averages.items()},
        "lag": {beta: lag(beta) for beta in TINTS},
    }


def _paint_averages(numbers: Numbers, path: Path, claim: str) -> None:
    figure, axes = sheet(1, 1, size=(12, 5.8))
    axis = axes[0, 0]
    axis.plot(numbers["values"], "o", color=DOTS, markersize=4, label="a day")
    for beta, average in numbers["averages"].items():
        late = numbers["lag"][beta]
        label = (
            f"beta {beta}, about {ewa_window(beta):.0f} days: "
            f"{late} day{'' if late == 1 else 's'} late"
        )
        width = 1.2 if beta == 0.5 else 2.4
        axis.plot(average, color=TINTS[beta], linewidth=width, label=label)
    axis.set_xlabel("day of the year", **LETTERS)
    axis.set_ylabel("temperature (degrees Fahrenheit)", **LETTERS)
    axis.legend(**LEGEND, loc="upper left")
    save(figure, path, claim)


def _measure_correction() -> Numbers:
    """Average the first 240 days with beta .98, with and without correction."""
    values = temperatures()[:FIRST]
    return {
        "values": values,
        "corrected": ewa(values, 0.98),
        "uncorrected": ewa(values, 0.98, bias_correction=False),
    }


def _paint_correction(numbers: Numbers, path: Path, claim: str) -> None:
    figure, axes = sheet(1, 1, size=(12, 5.4))
    axis = axes[0, 0]
    days = np.arange(1, FIRST + 1)
    axis.plot(days, numbers["values"], "o", color=DOTS, markersize=5, label="a day")
    looks = {"corrected": (GREEN, "v / (1 - 0.98^t)"), "uncorrected": (INK, "v")}
    for name, (colour, formula) in looks.items():
        style = {"color": colour, "linewidth": 2.4, "label": f"{name}: {formula}"}
        axis.plot(days, numbers[name], **style)
    axis.set_ylim(bottom=0)
    axis.set_xlabel("day t", **LETTERS)
    axis.set_ylabel("temperature (degrees Fahrenheit)", **LETTERS)
    axis.legend(**LEGEND, loc="lower right")
    save(figure, path, claim)


def _measure_weights() -> Numbers:
    """Take the weights of the last 120 days for beta .5, .9 and .98.

    ``sums`` are those of the days within the window 1 / (1 - beta).
    """
    weights = {beta: ewa_weights(beta, SHOWN) for beta in TINTS}
    sums = {
        beta: float(weights[beta][: round(ewa_window(beta))].sum()) for beta in TINTS
    }
    return {"weights": weights, "sums": sums}


def _paint_weights(numbers: Numbers, path: Path, claim: str) -> None:
    figure, axes = sheet(1, 3, size=(12, 4.6))
    for axis, (beta, weights) in zip(axes[0], numbers["weights"].items(), strict=True):
        window = round(ewa_window(beta))
        shown = min(SHOWN, max(12, 3 * window))
        days, inside = np.arange(shown), np.arange(shown) < window
        axis.bar(days[inside], weights[:shown][inside], color=TINTS[beta], width=0.9)
        axis.bar(days[~inside], weights[:shown][~inside], color=FAINT, width=0.9)
        axis.axhline(weights[0] / np.e, color=INK, linewidth=1.2, linestyle="--")
        text = {"ha": "right", "va": "bottom", **LETTERS}
        axis.text(shown - 0.5, weights[0] / np.e, "1/e of the newest", **text)
        share = numbers["sums"][beta]
        axis.xaxis.get_major_locator().set_params(integer=True)
        head(axis, f"beta {beta}: {share:.0%} on the last {window} days")
        axis.set_xlabel("days ago", **LETTERS)
    axes[0, 0].set_ylabel("weight", **LETTERS)
    save(figure, path, claim)


averages = Picture(
    "averages",
    "The larger beta, the smoother the average, and the later",
    _measure_averages,
    _paint_averages,
)
correction = Picture(
    "correction",
    "Without correction an average starts far too low; later both agree",
    _measure_correction,
    _paint_correction,
)
weights = Picture(
    "weights",
    "The weights fall to 1/e within about 1 / (1 - beta) days",
    _measure_weights,
    _paint_weights,
)
