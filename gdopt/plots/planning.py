"""What a plan found: memory, speed and goodput over the batch sizes."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from typing import Any

import numpy as np

from gdopt.checks import check_kind, check_text
from gdopt.planner import Plan
from gdopt.plots.series import BLUE, FAINT, GREEN, INK, ORANGE, STYLE, panels, save
from gdopt.tables import BYTE_UNITS, format_bytes

NEAR = 4  # times the largest bar, up to which the limit of the memory is drawn


def batch_sizes(plan: Plan, path: str | os.PathLike[str], *, title: str = "") -> None:
    """Draw a plan: memory predicted and measured, examples a second, and goodput.

    Args:
        plan: of `gdopt.plan_batch_size`.
        path: of the picture; its suffix is the format, ``.png``, ``.svg`` or
            ``.pdf``.
        title: the heading; by default the size, and what decided.

    Raises:
        MissingExtraError: matplotlib is not installed.
        OSError: the file cannot be written.
    """
    check_kind("plan", plan, Plan)
    draws: list[tuple[Callable[..., None], float]] = [(_draw_bytes, 2.6)]
    if any(row.examples_per_second is not None for row in plan.rows):
        draws.append((_draw_speed, 2.6))
    if any(row.goodput is not None for row in plan.rows):
        draws.append((_draw_goodput, 2.0))
    figure, axes = panels([height for _, height in draws])
    for (draw, _), axis in zip(draws, axes, strict=True):
        place = [row.batch_size for row in plan.rows].index(plan.micro_batch_size)
        axis.axvspan(place - 0.45, place + 0.45, color=FAINT, alpha=0.5, linewidth=0)
        draw(axis, plan)
    names = [f"{row.batch_size:,}" for row in plan.rows]
    axes[-1].set_xticks(range(len(names)), names)
    axes[-1].set_xlabel("batch size (examples)", **STYLE)
    if not check_text("title", title):
        title = f"batch size {plan.micro_batch_size:,}, chosen for: {plan.decided_by}"
    save(figure, path, title)


def _draw_bytes(axis: Any, plan: Plan) -> None:
    rows, places = plan.rows, np.arange(len(plan.rows))
    # None becomes NaN, which is not drawn.
    heights = np.array([(r.predicted_bytes, r.measured_bytes) for r in rows], float)
    top = np.nanmax(heights)
    # The unit in which the tallest bar has one to three digits.
    power = min(len(BYTE_UNITS) - 1, int(math.log10(max(top, 1)) // 3))
    scale = 1000.0**power
    predicted, measured = heights.T / scale
    outline = {"fill": False, "edgecolor": BLUE, "linewidth": 1.8}
    bars = axis.bar(places - 0.2, predicted, width=0.36, label="predicted", **outline)
    notes = ["" if row.fits else "does not fit" for row in rows]
    axis.bar_label(bars, notes, padding=2, fontsize=11, color=ORANGE)
    colors = [BLUE if row.fits else ORANGE for row in rows]
    axis.bar(places + 0.2, measured, width=0.36, color=colors)
    axis.bar([0], [0], width=0.36, color=BLUE, label="measured")
    limit = (plan.memory_bytes - max(row.margin_bytes for row in rows)) / scale
    text = f"{format_bytes(plan.memory_bytes)} less the margin"
    if limit * scale < NEAR * top:
        axis.axhline(limit, color=ORANGE, linewidth=1.6, linestyle="--", label=text)
    else:
        axis.plot([], [], color=ORANGE, linestyle="--", label=f"{text}: far above")
    axis.set_ylabel(f"peak memory ({BYTE_UNITS[power]})", **STYLE)
    axis.set_ylim(bottom=0, top=axis.get_ylim()[1] * 1.05)
    _add_legend(axis)


def _draw_speed(axis: Any, plan: Plan) -> None:
    rates = [
        (r.examples_per_second_low, r.examples_per_second, r.examples_per_second_high)
        for r in plan.rows
    ]
    low, middle, high = np.array(rates, float).T / 1e3
    axis.errorbar(
        range(len(rates)),
        middle,
        yerr=[middle - low, high - middle],
        fmt="o",
        color=BLUE,
        capsize=5,
        linewidth=2,
        label="median and 95 % interval",
    )
    axis.set_ylabel("1,000 examples/s", **STYLE)
    axis.set_ylim(bottom=0)
    _add_legend(axis)


def _add_legend(axis: Any) -> None:
    """Add a legend above the panel, where no data are drawn."""
    place = {"loc": "lower right", "bbox_to_anchor": (1, 1), "borderaxespad": 0.2}
    axis.legend(frameon=False, fontsize=11, labelcolor=INK, ncols=3, **place)


def _draw_goodput(axis: Any, plan: Plan) -> None:
    known = [(k, r.goodput / 1e3) for k, r in enumerate(plan.rows) if r.goodput]
    places, values = zip(*known, strict=True)
    axis.plot(places, values, "o-", color=GREEN, linewidth=2.2)
    axis.set_ylim(bottom=0, top=1.12 * max(values))
    scale = plan.noise_scale
    if scale is not None and math.isfinite(scale.value):
        axis.set_title(
            f"examples that count: speed / (1 + size / {scale.value:,.0f})",
            fontsize=11,
            color=INK,
            loc="right",
        )
    axis.set_ylabel("goodput (1,000/s)", **STYLE)
