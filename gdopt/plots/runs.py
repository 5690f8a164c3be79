"""Curves of a run: loss, gradient, accuracy and learning rate over the steps."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from gdopt.averages import ewa
from gdopt.checks import check_int, check_mapping, check_optional, holds_numbers
from gdopt.errors import ArgumentError
from gdopt.plots.series import (
    BLUE,
    DRAWN,
    GREEN,
    INK,
    ORANGE,
    STYLE,
    count_along,
    logarithmic,
    panels,
    plain_numbers,
    save,
)

# By label: the height in inches, and the colours by the name of the array.
PANELS = {
    "loss": (3.2, {"loss": BLUE, "smoothed_loss": BLUE, "dev_loss": ORANGE}),
    "max |gradient|": (2.4, {"grad_norm": GREEN}),
    "accuracy": (2.2, {"train_accuracy": BLUE, "dev_accuracy": ORANGE}),
    "learning rate": (1.5, {"lr": GREEN}),
}
LEGEND = {"loss": "mini-batch", "smoothed_loss": "train, average", "dev_loss": "dev"}
LEGEND |= {"train_accuracy": "train", "dev_accuracy": "dev"}
# A scale is a log one where the largest value is more than WIDE times a quantile of the
# positive ones, so that a rate may be tiny at the end of its schedule.
WIDE, SMALL = 20, 0.2
FLAT = 0.1  # of the largest value: a smaller range is drawn without the zero
BETA = 0.9  # of the average
DOTS = 60  # dev values, up to which each has a dot


def curves(
    history: Mapping[str, np.ndarray],
    path: str | os.PathLike[str],
    *,
    title: str = "",
    best: int | None = None,
) -> None:
    """Draw a run over its steps: loss, gradient, accuracy and learning rate.

    The loss of each mini-batch is drawn thin, its exponentially weighted average thick,
    with the dev loss; the last mini-batch of an epoch, which may be a small one, is
    left out where the epoch has others. A run without data has its loss alone,
    and the largest element of the gradient. A scale is logarithmic where the largest
    value is more than 20 times those of the lowest fifth; a zero is then drawn at the
    lower edge. Panels without values are left out.

    Args:
        history: of a run; an array ``train_accuracy`` may be added.
        path: of the picture; its suffix is the format, ``.png``, ``.svg`` or
            ``.pdf``.
        title: the heading.
        best: the step whose parameters were kept, by `EarlyStopping`; it is marked.

    Raises:
        ArgumentError: there is no record with a finite loss, or none of `best`.
        MissingExtraError: matplotlib is not installed.

    >>> import pathlib, tempfile
    >>> from gdopt.training.records import History, Record
    >>> folder = tempfile.TemporaryDirectory()
    >>> history = History()
    >>> for step in (1, 2, 3):
    ...     history.append(Record(step, 1, loss=2 / step, smoothed_loss=2 / step))
    >>> curves(history, pathlib.Path(folder.name, "curves.png"))
    >>> folder.cleanup()
    """
    steps = check_mapping("history", history).get("step", np.zeros(0))
    best = check_optional(partial(check_int, least=0), "best", best)
    known = {
        name for name, v in history.items() if holds_numbers(v) and np.isfinite(v).any()
    }
    if "loss" not in known or (best is not None and best not in steps):
        wanted = "with a finite loss" if best is None else f"of step {best}"
        message = f"history must hold a record {wanted}, got {steps.size} records"
        raise ArgumentError(message)
    whole = "grad_norm" in known  # a run without data
    if whole:
        known -= {"smoothed_loss"}
    else:
        history = _without_last_batches(history)
    drawn = [
        (label, height, {name: colors[name] for name in colors if name in known})
        for label, (height, colors) in PANELS.items()
    ]
    drawn = [panel for panel in drawn if panel[2]]
    figure, axes = panels([height for _, height, _ in drawn])
    ends_left = best is not None and 2 * best < steps[0] + steps[-1]
    for axis, (label, _, colors) in zip(axes, drawn, strict=True):
        _draw_lines(axis, history, colors)
        axis.set_ylabel(label, **STYLE)
        if best is not None:
            axis.axvline(best, color=INK, linestyle=":", linewidth=1.6)
        if len(colors) > 1:  # above, where it hides nothing
            style = {"frameon": False, "fontsize": 12, "labelcolor": INK, "ncols": 3}
            side = "right" if ends_left else "left"
            place = {"loc": f"lower {side}", "bbox_to_anchor": (ends_left, 1)}
            axis.legend(**style, **place, borderaxespad=0.2)
    if best is not None:
        epoch = int(history["epoch"][steps == best][0])
        text = f"best: step {best}" if whole else f"best: epoch {epoch}"
        above = {"xycoords": ("data", "axes fraction"), "va": "bottom", **STYLE}
        axes[0].annotate(text, (best, 1), ha="left" if ends_left else "right", **above)
    edge = max(0.01 * (steps[-1] - steps[0]), 0.5 * (steps.size == 1))
    axes[-1].set_xlim(steps[0] - edge, steps[-1] + edge)
    axes[-1].set_xlabel("step", **STYLE)
    count_along(axes[-1])
    save(figure, path, title)


def _draw_lines(
    axis: Any, history: Mapping[str, np.ndarray], colors: Mapping[str, str]
) -> None:
    """Draw the arrays that have a colour, on a scale that shows them."""
    every = np.concatenate([history[name] for name in colors])
    every = every[np.isfinite(every)]
    for name, color in colors.items():
        steps, values = _thinned(history["step"], history[name])
        style = {"linewidth": 2.2, "color": color, "label": LEGEND.get(name)}
        if name == "loss" and "smoothed_loss" in colors:
            style |= {"alpha": 0.5, "linewidth": 1.0}
        if len(values) == 1 or (
            name.startswith(("dev", "train")) and len(values) <= DOTS
        ):
            style |= {"marker": "o", "markersize": 5}
        axis.plot(steps, values, **style)
        if name == "dev_accuracy":
            place = {"xytext": (8, 0), "textcoords": "offset points", "va": "center"}
            last = steps[-1], values[-1]
            axis.annotate(f"{values[-1]:.3f}", last, **place, fontsize=13, color=color)
    least, largest = every.min(), every.max()
    small = np.quantile(every[every > 0], SMALL) if largest > 0 else largest
    shares, narrow = "dev_accuracy" in colors, 0 < largest - least < FLAT * largest
    if least >= 0 and largest > WIDE * small and not shares:
        logarithmic(axis, "y")
        return
    if least >= 0 and not (shares or narrow):
        axis.set_ylim(bottom=0)
    plain_numbers(axis)


def _without_last_batches(history: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Leave the losses that end an epoch out, which may be of a few examples."""
    changes = np.diff(history["epoch"]) != 0
    ends, begins = np.append(changes, True), np.append(True, changes)
    loss = np.where(ends & ~begins, np.nan, history["loss"])
    average = ewa(loss, BETA, ignore_na=True)
    return {**history, "loss": loss, "smoothed_loss": average}


def _thinned(steps: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return what is known, of many values the extremes of short sections."""
    there = np.isfinite(values)
    steps, values = steps[there], values[there]
    size = -(-2 * len(values) // DRAWN)  # of a section, of which two values are left
    if size <= 2:
        return steps, values
    count = len(values) // size
    rows = values[: count * size].reshape(count, size)
    ends = np.sort([rows.argmin(axis=1), rows.argmax(axis=1)], axis=0).T
    first = ends + size * np.arange(count)[:, None]
    kept = np.append(first, np.arange(count * size, len(values)))
    return steps[kept], values[kept]
