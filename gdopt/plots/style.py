"""What all pictures share: colours, letters, and panels one above the other."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from gdopt.extras import load_extra

# Okabe & Ito 2008, Color Universal Design: distinguished by colour-blind eyes, too.
BLUE, ORANGE, GREEN, INK, FAINT = "#0072B2", "#D55E00", "#009E73", "#333333", "#D9D9D9"
STYLE = {"fontsize": 13, "color": INK}


def panels(heights: Sequence[float]) -> tuple[Any, Any]:
    """Make a figure of panels that share their horizontal axis; heights in inches.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    figures = load_extra("matplotlib.figure", "train", "drawing")
    # A Figure of its own draws without a display and without pyplot's global state.
    figure = figures.Figure(figsize=(9, 1.2 + sum(heights)), layout="constrained")
    axes = figure.subplots(
        len(heights), 1, sharex=True, squeeze=False, height_ratios=heights
    )[:, 0]
    for axis in axes:  # only the frame and grid lines that help to read values
        axis.spines[["top", "right"]].set_visible(False)
        axis.spines[["left", "bottom"]].set_color(INK)
        axis.grid(visible=True, axis="y", color=FAINT, linewidth=0.8)
        axis.set_axisbelow(True)
        axis.tick_params(labelsize=12, colors=INK)
    figure.align_ylabels(axes)
    return figure, axes


def logarithmic(axis: Any, *sides: str) -> None:
    """Set logarithmic scales on sides ``"x"``, ``"y"``, with plain numbers: 0.01."""
    tickers = load_extra("matplotlib.ticker", "train", "drawing")
    for side in sides:
        axis.set(**{f"{side}scale": "log"})
        ticks = getattr(axis, f"{side}axis")
        ticks.set_major_formatter(tickers.StrMethodFormatter("{x:g}"))
        ticks.set_minor_formatter(tickers.NullFormatter())


def save(figure: Any, path: str | os.PathLike[str], title: str) -> None:
    """Write a figure, with its title above if it has one."""
    if title:
        figure.suptitle(title, fontsize=15, color=INK, x=0.01, ha="left")
    figure.savefig(path, dpi=150)
