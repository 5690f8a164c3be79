"""How a training went: loss, dev accuracy and learning rate."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from gdopt.errors import ArgumentError
from gdopt.extras import load_extra
from gdopt.plots.style import BLUE, GREEN, INK, ORANGE, STYLE, logarithmic, panels, save
from gdopt.training import Record

WIDE = 50  # times from the least to the largest loss, from which the scale is a log one


def curves(
    records: Sequence[Record],
    path: str | os.PathLike[str],
    *,
    title: str = "",
    best: Record | None = None,
) -> None:
    """Draw how a training went: loss, dev accuracy and learning rate over the steps.

    The loss of each mini-batch is drawn thin, its exponentially weighted average
    thick, on a logarithmic scale where the losses span more than a factor of 50; the
    dev loss of a linear output joins them. Panels of which the records tell nothing are
    left out.

    Args:
        records: of `gdopt.training.fit`, in order, at least one.
        path: of the picture; its ending tells the format, ``.png``, ``.svg`` or
            ``.pdf``.
        title: what stands above.
        best: the record whose parameters were kept, by `EarlyStopping`; it is marked.

    Raises:
        ArgumentError: there is no record.
        MissingExtraError: matplotlib is not installed.

    >>> import pathlib, tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> records = [Record(1, k, 2 / k, 2 / k, 0.1, None, 1e4) for k in (1, 2, 3)]
    >>> curves(records, pathlib.Path(folder.name, "curves.png"))
    >>> folder.cleanup()
    """
    records = list(records)
    if not records:
        message = "records must hold at least one, got none"
        raise ArgumentError(message)
    draws = [(_draw_loss, 3.2)]
    if any(record.dev_accuracy is not None for record in records):
        draws.append((_draw_accuracy, 2.2))
    if any(record.lr is not None for record in records):
        draws.append((_draw_rate, 1.5))
    figure, axes = panels([height for _, height in draws])
    for (draw, _), axis in zip(draws, axes, strict=True):
        draw(axis, records)
        if best is not None:
            axis.axvline(best.step, color=INK, linestyle=":", linewidth=1.6)
    if best is not None:
        axes[0].annotate(
            f"best: epoch {best.epoch} ",
            (best.step, 1),
            xycoords=("data", "axes fraction"),
            ha="right" if best.step > records[-1].step / 2 else "left",
            va="top",
            **STYLE,
        )
    axes[-1].set_xlabel("step", **STYLE)
    axes[-1].set_xlim(0, max(records[-1].step, 1) * 1.01)
    tickers = load_extra("matplotlib.ticker", "train", "drawing")
    axes[-1].xaxis.set_major_locator(tickers.MaxNLocator(integer=True))
    save(figure, path, title)


def _line(axis: Any, steps: Sequence[int], values: Sequence[Any], **style: Any) -> None:
    """Draw a line, or a dot where there is one value."""
    dot = {"marker": "o"} if len(steps) == 1 else {}
    axis.plot(steps, values, **{"linewidth": 2.2, **dot, **style})


def _draw_loss(axis: Any, records: Sequence[Record]) -> None:
    steps = [record.step for record in records]
    losses = [record.loss for record in records]
    smoothed = [record.smoothed_loss for record in records]
    faint = {"alpha": 0.35, "linewidth": 0.8}
    _line(axis, steps, losses, color=BLUE, label="mini-batch", **faint)
    _line(axis, steps, smoothed, color=BLUE, label="average")
    dev = [(r.step, r.dev_loss) for r in records if r.dev_loss is not None]
    if dev:
        _line(axis, *zip(*dev, strict=True), color=ORANGE, marker="o", label="dev")
    if min(losses) > 0 and max(losses) > WIDE * min(losses):
        logarithmic(axis, "y")
    else:
        axis.set_ylim(bottom=0)
    axis.set_ylabel("loss", **STYLE)
    axis.legend(frameon=False, fontsize=12, labelcolor=INK)


def _draw_accuracy(axis: Any, records: Sequence[Record]) -> None:
    measured = [r for r in records if r.dev_accuracy is not None]
    steps = [record.step for record in measured]
    values = [record.dev_accuracy for record in measured]
    _line(axis, steps, values, color=ORANGE, marker="o", markersize=4)
    axis.annotate(
        f"{values[-1]:.3f}",
        (steps[-1], values[-1]),
        xytext=(0, -18),
        textcoords="offset points",
        ha="right",
        fontsize=13,
        color=ORANGE,
    )
    axis.set_ylabel("dev accuracy", **STYLE)


def _draw_rate(axis: Any, records: Sequence[Record]) -> None:
    known = [(record.step, record.lr) for record in records if record.lr is not None]
    _line(axis, *zip(*known, strict=True), color=GREEN)
    axis.set_ylim(bottom=0)
    axis.set_ylabel("learning rate", **STYLE)
