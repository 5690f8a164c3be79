"""What passes through a deep network, by initialization: it vanishes or explodes."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from typing import Any

from gdopt.errors import ArgumentError
from gdopt.extras import load_extra
from gdopt.plots.style import (
    BLUE,
    GREEN,
    INK,
    ORANGE,
    STYLE,
    logarithmic,
    prepare,
    save,
)
from gdopt.training.diagnosis import LayerNorms

ROWS = {
    "activations": "activations\n(root mean square)",
    "signals": "gradients of units\n(root mean square)",
    "gradients": "gradients of weights\n(norm of dW)",
}
# By order, so that lines that cover each other are seen: the wider below, then dashed.
LINES: tuple[dict[str, Any], ...] = (
    {"color": BLUE, "marker": "o", "linewidth": 2.2},
    {"color": ORANGE, "marker": "s", "linewidth": 4.0, "alpha": 0.55},
    {"color": GREEN, "marker": "^", "linewidth": 2.0, "linestyle": "--"},
    {"color": INK, "marker": "v", "linewidth": 1.6, "linestyle": ":"},
)
FLOOR, STRIP = 0.04, 0.2  # shares of a panel: where zeros stand, and what is left free


def initializations(
    norms: Mapping[str, Mapping[str, LayerNorms]],
    path: str | os.PathLike[str],
    *,
    title: str = "",
) -> None:
    """Draw activations and gradients against depth, a line for each initialization.

    A column for each network, and below each other on logarithmic scales: activations,
    the gradients of single examples by the units before their activation, and the
    norms of the weights' gradients. What is exactly zero stands on the lower edge.

    Args:
        norms: by the columns' names and the lines': of
            `gdopt.training.diagnosis.initialization_norms` for tanh and ReLU, say.
            Lines have up to four names; columns share their vertical axes. What is
            not finite is a gap.
        path: of the picture; its ending tells the format, ``.png``, ``.svg`` or
            ``.pdf``.
        title: what stands above.

    Raises:
        ArgumentError: there is no column, no line in one, or there are five names.
        MissingExtraError: matplotlib is not installed.

    >>> import pathlib, tempfile
    >>> from gdopt.training.diagnosis import initialization_norms
    >>> folder = tempfile.TemporaryDirectory()
    >>> norms = initialization_norms("tanh", layers=3, backend="numpy")
    >>> initializations({"tanh": norms}, pathlib.Path(folder.name, "depth.png"))
    >>> folder.cleanup()
    """
    names = list(dict.fromkeys(name for lines in norms.values() for name in lines))
    if not all(norms.values()) or not 1 <= len(names) <= len(LINES):
        message = (
            f"norms must hold columns of lines, with 1 to {len(LINES)} names in all, "
            f"got {len(norms)} columns with {len(names)} names"
        )
        raise ArgumentError(message)
    figures = load_extra("matplotlib.figure", "train", "drawing")
    figure = figures.Figure(figsize=(1.5 + 4.2 * len(norms), 9), layout="constrained")
    axes = figure.subplots(
        len(ROWS), len(norms), squeeze=False, sharex="col", sharey="row"
    )
    styles = dict(zip(names, LINES, strict=False))
    for column, (heading, lines) in enumerate(norms.items()):
        for row, kind in zip(axes[:, column], ROWS, strict=True):
            prepare(row)
            _draw(row, lines, kind, styles)
        axes[0, column].set_title(heading, **STYLE)
        axes[-1, column].set_xlabel("layer", **STYLE)
    for row, kind in zip(axes, ROWS, strict=True):
        row[0].set_ylabel(ROWS[kind], **STYLE)
        _leave_room(row[0], norms, kind)
    handles = {
        label: handle
        for axis in axes[0]
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)
    }
    figure.legend(
        handles.values(),
        handles.keys(),
        loc="outside lower center",
        ncols=len(LINES),
        frameon=False,
        fontsize=13,
        labelcolor=INK,
    )
    save(figure, path, title)


def _draw(
    axis: Any,
    lines: Mapping[str, LayerNorms],
    kind: str,
    styles: Mapping[str, Mapping[str, Any]],
) -> None:
    """Draw one panel: lines where there is something, marks on the edge where not."""
    logarithmic(axis, "y")
    edge = axis.get_xaxis_transform()
    gone = []
    for name, norms in lines.items():
        style = {"markersize": 6, **styles[name]}
        values = {layer.number: float(getattr(layer, kind)) for layer in norms.layers}
        seen = [
            value if 0 < value < math.inf else math.nan for value in values.values()
        ]
        axis.plot(list(values), seen, label=name, **style)
        nothing = [number for number, value in values.items() if value == 0]
        if nothing:
            gone.append(name)
            mark = {**style, "linestyle": "none"}
            axis.plot(nothing, [FLOOR] * len(nothing), transform=edge, **mark)
    if gone:
        axis.annotate(
            f"{', '.join(gone)}: exactly 0",
            (0.5, FLOOR),
            xycoords="axes fraction",
            xytext=(0, 7),
            textcoords="offset points",
            ha="center",
            fontsize=12,
            color=INK,
        )
    tickers = load_extra("matplotlib.ticker", "train", "drawing")
    axis.xaxis.set_major_locator(tickers.MaxNLocator(integer=True))


def _leave_room(
    axis: Any, norms: Mapping[str, Mapping[str, LayerNorms]], kind: str
) -> None:
    """Lengthen the vertical axis of a row downwards, for what is exactly zero."""
    lines = [one for column in norms.values() for one in column.values()]
    if any(getattr(layer, kind) == 0 for one in lines for layer in one.layers):
        low, high = axis.get_ylim()
        axis.set_ylim(low * (low / high) ** (STRIP / (1 - STRIP)), high)
