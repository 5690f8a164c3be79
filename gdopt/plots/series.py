"""Averages of a series; what all pictures share."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from gdopt.arrays.arena import refuse_unusable_dtype
from gdopt.arrays.backend import Array, common_backend
from gdopt.averages import ewa, ewa_window
from gdopt.averages.formula import BETA
from gdopt.checks import check_number, check_sequence, check_text, listed
from gdopt.errors import ArgumentError
from gdopt.files import check_path, replacing
from gdopt.imports import load_extra
from gdopt.tables import printable

# Okabe & Ito 2008, Color Universal Design: distinguished by colour-blind eyes, too.
BLUE, ORANGE, GREEN, INK, FAINT = "#0072B2", "#D55E00", "#009E73", "#333333", "#D9D9D9"
STYLE = {"fontsize": 13, "color": INK}


def panels(heights: Sequence[float]) -> tuple[Any, Any]:
    """Make a figure of panels that share their horizontal axis; heights in inches."""
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
    """Set logarithmic scales on sides ``"x"``, ``"y"``, labelled with powers of ten."""
    tickers = load_extra("matplotlib.ticker", "train", "drawing")
    for side in sides:
        axis.set(**{f"{side}scale": "log"})
        ticks = getattr(axis, f"{side}axis")
        ticks.set_major_formatter(tickers.LogFormatterMathtext())
        ticks.set_minor_formatter(tickers.NullFormatter())


def plain_numbers(axis: Any) -> None:
    """Label a linear y axis with as many digits as it needs, and no common factor."""
    tickers = load_extra("matplotlib.ticker", "train", "drawing")
    ticks = [float(tick) for tick in axis.get_yticks()]
    near = 0.01 * (ticks[1] - ticks[0])
    digits = next(
        count
        for count in range(1, 18)
        if all(abs(float(f"{tick:.{count}g}") - tick) < near for tick in ticks)
    )
    axis.yaxis.set_major_formatter(tickers.StrMethodFormatter(f"{{x:.{digits}g}}"))


def count_along(axis: Any) -> None:
    """Put the ticks of an x axis at whole numbers."""
    tickers = load_extra("matplotlib.ticker", "train", "drawing")
    steps = {"integer": True, "min_n_ticks": 1, "steps": (1, 2, 5, 10)}
    axis.xaxis.set_major_locator(tickers.MaxNLocator(**steps))


def plain(text: str) -> str:
    """Return text that matplotlib draws as it is, without formulas between dollars."""
    return printable(text).replace("$", r"\$")


def save(figure: Any, path: str | os.PathLike[str], title: str) -> None:
    """Write a figure, with its title above if it has one."""
    if check_text("title", title):
        figure.suptitle(plain(title), fontsize=15, color=INK, x=0.01, ha="left")
    final = check_path("path", path)
    known = figure.canvas.get_supported_filetypes()
    if final.is_dir() or final.suffix[1:] not in {"", *known}:
        raise ArgumentError(f"path must name a picture, {listed(known)}, got '{final}'")
    final = final if final.suffix else final.with_name(f"{final.name}.png")
    with replacing(final) as file:
        figure.savefig(file, dpi=150, format=final.suffix[1:])


# The rest of Okabe & Ito 2008 that is distinct on white, behind the style's own.
COLORS = (BLUE, ORANGE, GREEN, "#CC79A7", "#56B4E9", "#E69F00")
DRAWN = 5000  # values: a picture 1,350 pixels wide shows no more
FEW = 200  # values, up to which dots are drawn large


def averages(
    series: Array,
    betas: Sequence[float],
    path: str | os.PathLike[str],
    *,
    title: str = "",
    name: str = "",
) -> None:
    """Draw a series as dots, and its averages v = beta v + (1 - beta) x as lines.

    A solid line is the average with bias correction, v / (1 - beta**t); a dashed one of
    the same colour is v itself, which starts from zero. The legend shows the windows,
    1 / (1 - beta). Of a series longer than 5,000 values some at equal distances are
    drawn, all of which are averages of the whole.

    Args:
        series: (n,) floats, at least one of them a number; NaN is a gap.
        betas: one to six, each in [0, 1).
        path: of the picture; its suffix is the format, ``.png``, ``.svg`` or
            ``.pdf``.
        title: the heading.
        name: what the values are, the label of their axis.

    Raises:
        ArgumentError: the series is empty, of several dimensions or infinite; there
            are too few or too many betas, or one is out of its range.
        ArgumentTypeError: the series is not a float array, or the betas are not a list.
        MissingExtraError: matplotlib is not installed.

    Source: Ng, Improving deep neural networks, week 2, "Understanding exponentially
    weighted averages" and "Bias correction".

    >>> import pathlib, tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> path = pathlib.Path(folder.name, "averages.png")
    >>> averages(np.array([40.0, 49.0, 45.0]), [0.9, 0.5], path, name="temperature")
    >>> folder.cleanup()
    """
    check_text("name", name)
    values = _values(series)
    betas = [
        check_number("betas", beta, BETA) for beta in check_sequence("betas", betas)
    ]
    if not 1 <= len(betas) <= len(COLORS):
        message = f"betas must be 1 to {len(COLORS)} numbers, got {len(betas)}"
        raise ArgumentError(message)
    figure, (axis,) = panels([4.6])
    shown = slice(None, None, -(-values.size // DRAWN))
    steps = np.arange(1, values.size + 1)[shown]
    dots = {"markersize": 5 if steps.size <= FEW else 3, "markeredgewidth": 0}
    axis.plot(steps, values[shown], "o", color=INK, alpha=0.4, label="series", **dots)
    for beta, color in zip(betas, COLORS, strict=False):
        _draw_average(axis, steps, values, shown, beta, color=color)
    if not np.isnan(values).any():
        ends = {"linestyle": "--", "linewidth": 1.8, "label": "not corrected"}
        axis.plot([], [], color=INK, **ends)
    edge = max(0.5, 0.01 * values.size)
    axis.set_xlim(1 - edge, values.size + edge)
    count_along(axis)
    thinned = f" (one in {shown.step:,} is drawn)" if shown.step > 1 else ""
    axis.set_xlabel(f"number of the value{thinned}", **STYLE)
    axis.set_ylabel(plain(name) or "value", **STYLE)
    # Next to the lines, which may be anywhere within.
    figure.legend(loc="outside right upper", frameon=False, fontsize=12, labelcolor=INK)
    save(figure, path, title)


def window_text(beta: float) -> str:
    """Write about how many values an average covers.

    >>> window_text(0.9999), window_text(0.7)
    ('10,000', '3.33')
    """
    window = ewa_window(beta)
    return f"{window:,.0f}" if window >= 10 else f"{window:.3g}"


def _values(series: Array) -> np.ndarray:
    backend = common_backend((("series", series),))
    refuse_unusable_dtype("series", series.dtype)
    if series.ndim != 1 or series.size == 0:
        message = f"series must be of shape (n,), n at least 1, got {series.shape}"
        raise ArgumentError(message)
    values = backend.to_host(series).astype(np.float64)
    wrong = np.isinf(values) | np.isnan(values).all()
    if wrong.any():
        place = int(wrong.argmax())
        rule = "series must hold finite numbers, and NaN for gaps"
        raise ArgumentError(f"{rule}, got {values[place]} at [{place}]")
    return values


def _draw_average(
    axis: Any,
    steps: np.ndarray,
    values: np.ndarray,
    shown: slice,
    beta: float,
    *,
    color: str,
) -> None:
    """Draw both lines of a beta; the smoother, the thicker and the further in front."""
    gaps = bool(np.isnan(values).any())  # after them only the corrected is defined
    fair = ewa(values, beta, ignore_na=gaps or None)[shown]
    style = {"color": color, "linewidth": 1.2 + beta, "zorder": 2 + beta}
    dot = {"marker": "o", "markersize": 6} if steps.size == 1 else {}
    window = window_text(beta)
    label = f"beta {beta:g}: about\n{window} value{'s' if window != '1' else ''}"
    if not gaps:
        plain = ewa(values, beta, bias_correction=False)[shown]
        axis.plot(steps, plain, linestyle="--", markerfacecolor="none", **style, **dot)
    axis.plot(steps, fair, label=label, **style, **dot)
