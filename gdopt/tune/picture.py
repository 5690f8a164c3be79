"""What a search found: every trial a line through its hyper-parameters."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from gdopt.imports import load_extra
from gdopt.plots.series import INK, ORANGE, panels, plain, save
from gdopt.tune import (
    Outcome,
    Scale,
    Study,
    choice,
    log_one_minus,
    log_uniform,
    log_uniform_int,
    power_of_two,
    uniform,
    uniform_int,
)
from gdopt.tune.study import FAILED, PRUNED, cell

WIDE, HIGH = 1.35, 3.8  # inches of an axis
NEAR = 0.09  # of an axis: ticks nearer than that would run into each other


def parallel_coordinates(
    study: Study, path: str | os.PathLike[str], *, title: str = ""
) -> None:
    """Draw every trial of a search as a line through its hyper-parameters.

    Each hyper-parameter has an axis on the scale it was drawn from, and the score has
    the last one. Lines are coloured by the rank of their score; the best one is
    highlighted, and its values are shown below. Pruned trials, which have no score, are
    dashed; they and failed ones are counted above.

    Args:
        study: of `gdopt.tune.tune`, with one complete trial at least.
        path: of the picture; its suffix is the format, ``.png``, ``.svg`` or
            ``.pdf``.
        title: the heading; by default the number of trials.

    Raises:
        ArgumentError: no trial is complete.
        MissingExtraError: matplotlib is not installed.

    Source: Inselberg 1985, The plane with parallel coordinates.

    >>> import pathlib, tempfile
    >>> from gdopt.tune import Space, log_uniform
    >>> folder = tempfile.TemporaryDirectory()
    >>> trials = [Outcome(k, {"lr": 0.1**k}, "complete", k) for k in range(3)]
    >>> study = Study(Space({"lr": log_uniform(0.01, 1)}), trials)
    >>> parallel_coordinates(study, pathlib.Path(folder.name, "trials.png"))
    >>> folder.cleanup()
    """
    best = study.best
    scores = [trial.score for trial in study.ranked if trial.score is not None]
    axes = {**study.space, "score": uniform(min(scores), max(scores))}
    figure, (panel,) = panels([HIGH])
    figure.set_size_inches(max(9, WIDE * len(axes) + 1.5), HIGH + 1.5)
    panel.axis("off")
    panel.set_xlim(-0.65, len(axes) - 0.7)
    panel.set_ylim(-0.12, 1.17)
    _draw_lines(figure, panel, list(axes.values()), study)
    values = {**best.values, "score": best.score}
    for place, (name, scale) in enumerate(axes.items()):
        _draw_axis(panel, place, name, scale, cell(values[name]))
    panel.text(-0.64, -0.1, "best", ha="left", fontsize=12, color=ORANGE)
    states = [trial.state for trial in study.trials]
    kinds = {PRUNED: "pruned, dashed", FAILED: "failed"}
    counts = [f"{states.count(k)} {text}" for k, text in kinds.items() if k in states]
    heading = title or f"{len(study.trials)} trials"
    save(figure, path, heading + (f" ({'; '.join(counts)})" if counts else ""))


def _draw_lines(figure: Any, panel: Any, scales: list[Scale], study: Study) -> None:
    """Draw the worst first, so that the best lie above."""
    matplotlib = load_extra("matplotlib", "train", "drawing")
    colours = load_extra("matplotlib.cm", "train", "drawing")
    norms = load_extra("matplotlib.colors", "train", "drawing")

    def places(trial: Outcome) -> list[float]:
        score = [] if trial.score is None else [trial.score]
        pairs = zip(scales, (*trial.values.values(), *score), strict=False)
        return [scale.place(value) for scale, value in pairs]

    # Nunez et al. 2018: to colour-blind eyes as to others, and light for the worst.
    norm = norms.Normalize(1, max(2, len(study.ranked)))
    ranks = colours.ScalarMappable(norm, matplotlib.colormaps["cividis"])
    for trial in study.trials:
        if trial.state == PRUNED:
            panel.plot(places(trial), "--", color="#999999", linewidth=0.9)
    for rank, trial in reversed(list(enumerate(study.ranked[1:], start=2))):
        panel.plot(places(trial), color=ranks.to_rgba(rank), linewidth=1.4, alpha=0.9)
    style = {"color": ORANGE, "linewidth": 3, "markersize": 6, "zorder": 4}
    panel.plot(places(study.best), "o-", **style)
    tickers = load_extra("matplotlib.ticker", "train", "drawing")
    whole = tickers.MaxNLocator(integer=True)
    bar = figure.colorbar(ranks, ax=panel, fraction=0.03, pad=0.01, ticks=whole)
    bar.set_label("rank of the score (1 is best)", fontsize=12, color=INK)
    bar.ax.invert_yaxis()
    bar.ax.tick_params(labelsize=11, colors=INK)
    bar.outline.set_visible(False)


def _draw_axis(panel: Any, place: int, name: str, scale: Scale, best: str) -> None:
    """Draw the axis with its name above, its ticks, and the best value below."""
    panel.plot([place, place], [0, 1], color=INK, linewidth=1.2, zorder=3)
    text = {"fontsize": 12, "ha": "center"}
    name = plain(name).replace("_", "\n", 1)
    panel.text(place, 1.05, name, va="bottom", color=INK, **text)
    panel.text(place, -0.1, plain(best), color=ORANGE, **text)
    box = {"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 0.8}
    text = {"fontsize": 11, "color": INK, "bbox": box, "ha": "right", "va": "center"}
    for height, label in ticks(scale).items():
        panel.plot([place - 0.04, place], [height] * 2, color=INK, zorder=3)
        panel.text(place - 0.06, height, plain(label), zorder=5, **text)


def ticks(scale: Scale) -> dict[float, str]:
    """Return the heights of an axis's ticks, and their labels.

    >>> from gdopt.tune import log_one_minus
    >>> list(ticks(log_one_minus(0.9, 0.999)).values())
    ['0.9', '0.99', '0.999']
    """
    if isinstance(scale, choice):
        return {scale.place(option): str(option) for option in scale.options}
    ends: Any = scale
    found: dict[float, str] = {}
    for value in (*_round_values(ends), ends.low, ends.high):
        height = scale.place(value)
        if all(abs(height - other) > NEAR for other in found):
            found[height] = cell(value)
    return dict(sorted(found.items()))


def _round_values(scale: Any) -> Sequence[Any]:
    """Return values with few digits between the ends of a scale."""
    if isinstance(scale, power_of_two):
        powers = range(scale.low.bit_length() - 1, scale.high.bit_length())
        return [1 << power for power in powers]
    if isinstance(scale, log_uniform):
        return _decades(scale.low, scale.high)
    if isinstance(scale, log_uniform_int):
        return [round(value) for value in _decades(scale.low, scale.high)]
    if isinstance(scale, log_one_minus):
        return [1 - rest for rest in _decades(1 - scale.high, 1 - scale.low)]
    whole = isinstance(scale, uniform_int)
    tickers = load_extra("matplotlib.ticker", "train", "drawing")
    values = tickers.MaxNLocator(5, integer=whole).tick_values(scale.low, scale.high)
    inside = [value for value in values.tolist() if scale.low <= value <= scale.high]
    return [round(value) for value in inside] if whole else inside


def _decades(low: float, high: float) -> list[float]:
    """Return powers of ten between two numbers, and 2 and 5 times them if few."""
    tickers = load_extra("matplotlib.ticker", "train", "drawing")
    slack = 1e-9  # 1 - 0.9 is not quite 0.1
    for factors in ((1,), (1, 2, 5)):
        locator = tickers.LogLocator(subs=factors, numticks=100)
        values = locator.tick_values(low, high).tolist()
        found = [v for v in values if low * (1 - slack) <= v <= high * (1 + slack)]
        if len(found) > 2:
            break
    return found
