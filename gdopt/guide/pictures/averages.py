"""Exponentially weighted averages of a year of daily temperatures.

Pictures: averages.png, weights.png, correction.png.
"""

from pathlib import Path

import numpy as np

from gdopt.averages import ewa, ewa_weights, ewa_window
from gdopt.guide.pictures.canvas import DOTS, figure_grid, output_folder, save
from gdopt.plots.series import BLUE, FAINT, GREEN, INK, ORANGE

DAYS, MEAN, SWING, NOISE = 365, 50.0, 15.0, 5.0  # degrees Fahrenheit, as the course
COLDEST = 20  # the day of the year
TINTS = {0.5: ORANGE, 0.9: BLUE, 0.98: GREEN}
FIRST, SHOWN = 240, 120  # days of the second picture, and weights of the third


def season() -> np.ndarray:
    """Return what the year's temperatures would be without noise, (365,)."""
    angle = 2 * np.pi * (np.arange(DAYS) - COLDEST) / DAYS
    return MEAN - SWING * np.cos(angle)


def temperatures() -> np.ndarray:
    """Return a year of synthetic daily temperatures in degrees Fahrenheit, (365,)."""
    return season() + NOISE * np.random.default_rng(0).standard_normal(DAYS)


def lag(beta: float) -> int:
    """Return by how many days an average reaches its peak after the season's own.

    The average of season and noise is the season's average and the noise's: taken here
    is the first part, whose peak no noise moves.
    """
    calm = season()
    return int(np.argmax(ewa(calm, beta)) - np.argmax(calm))


def draw_averages(path: Path) -> None:
    """Draw the days as dots, and their averages with beta .5, .9 and .98 as lines."""
    values = temperatures()
    title = "A larger beta gives a smoother average that lags more"
    figure, axis = figure_grid(title, (12, 5.8))
    axis.plot(values, "o", color=DOTS, markersize=4, label="a day")
    for beta, colour in TINTS.items():
        window, late = ewa_window(beta), lag(beta)
        days = f"{late} day{'' if late == 1 else 's'}"
        text = f"beta {beta}, about {window:.0f} days: {days} late"
        width = 1.6 if beta == 0.5 else 2.6
        axis.plot(ewa(values, beta), color=colour, linewidth=width, label=text)
    axis.set(xlabel="day of the year", ylabel="temperature (degrees Fahrenheit)")
    axis.legend(loc="upper left")
    save(figure, path)


def draw_weights(path: Path) -> None:
    """Draw weights as bars, those within the window 1 / (1 - beta) in colour."""
    title = "The weights fall to 1/e within about 1 / (1 - beta) days"
    figure, axes = figure_grid(title, (12, 4.6), columns=3)
    for axis, (beta, colour) in zip(axes, TINTS.items(), strict=True):
        window = round(ewa_window(beta))
        weights = ewa_weights(beta, min(SHOWN, max(12, 3 * window)))
        inside = np.arange(len(weights)) < window
        days = np.arange(len(weights))
        axis.bar(days[inside], weights[inside], color=colour, width=0.9)
        axis.bar(days[~inside], weights[~inside], color=FAINT, width=0.9)
        low = weights[0] / np.e
        axis.axhline(low, color=INK, linewidth=1.2, linestyle="--")
        place = {"ha": "right", "va": "bottom"}
        axis.text(len(weights) - 0.5, low, "1/e of the newest", **place)
        axis.xaxis.get_major_locator().set_params(integer=True)
        share = weights[:window].sum()
        text = f"beta {beta}: {share:.0%} on the last {window} days"
        axis.set(title=text, xlabel="days ago", ylabel="weight")
    save(figure, path)


def draw_correction(path: Path) -> None:
    """Draw the first 240 days and their averages with beta .98, corrected and not."""
    title = "Without correction an average starts far too low; later both agree"
    figure, axis = figure_grid(title, (12, 5.4))
    values, days = temperatures()[:FIRST], np.arange(1, FIRST + 1)
    axis.plot(days, values, "o", color=DOTS, markersize=5, label="a day")
    corrected, plain = ewa(values, 0.98), ewa(values, 0.98, bias_correction=False)
    style = {"color": GREEN, "linewidth": 2.4}
    axis.plot(days, corrected, label="corrected: v / (1 - $0.98^t$)", **style)
    axis.plot(days, plain, label="uncorrected: v", **{**style, "color": INK})
    axis.set_ylim(bottom=0)
    axis.set(xlabel="day t", ylabel="temperature (degrees Fahrenheit)")
    axis.legend(loc="lower right")
    save(figure, path)


def main(arguments: list[str] | None = None) -> None:
    """Draw the pictures."""
    folder = output_folder(arguments, __doc__)
    draw_averages(folder / "averages.png")
    draw_weights(folder / "weights.png")
    draw_correction(folder / "correction.png")


if __name__ == "__main__":
    main()
