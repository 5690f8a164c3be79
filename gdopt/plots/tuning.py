"""What a search found: every trial a line through its hyper-parameters."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gdopt.extras import load_extra
from gdopt.plots.style import INK, ORANGE, panels, save
from gdopt.tune import (
    Outcome,
    Scale,
    Study,
    choice,
    log,
    log_one_minus,
    power_of_two,
    uniform,
    uniform_int,
)
from gdopt.tune.engine.trial import FAILED, PRUNED

WIDE, HIGH = 1.35, 3.8  # inches of an axis
NEAR = 0.09  # of an axis: ticks nearer than that would run into each other


def parallel_coordinates(
    study: Study, path: str | os.PathLike[str], *, title: str = ""
) -> None:
    """Draw every trial of a search as a line through its hyper-parameters.

    Each hyper-parameter has an axis on the scale it was drawn from, and the score has
    the last one. Lines are coloured by the rank of their score; the best one is
    highlighted, and its values stand below. Pruned trials, which have no score, are
    dashed; they and failed ones are counted above.

    Args:
        study: of `gdopt.tune.tune`, with one complete trial at least.
        path: of the picture; its ending tells the format, ``.png``, ``.svg`` or
            ``.pdf``.
        title: what stands above; by default the number of trials.

    Raises:
        ArgumentError: no trial is complete.
        MissingExtraError: matplotlib is not installed.

    Source: Inselberg 1985, The plane with parallel coordinates.

    >>> import pathlib, tempfile
    >>> from gdopt.tune import Space, log
    >>> folder = tempfile.TemporaryDirectory()
    >>> trials = [Outcome(k, {"lr": 0.1**k}, "complete", k) for k in range(3)]
    >>> study = Study(Space({"lr": log(0.01, 1)}), trials)
    >>> parallel_coordinates(study, pathlib.Path(folder.name, "trials.png"))
    >>> folder.cleanup()
    """
    best = study.best
    axes = [*_axes(study), _score_axis(study)]
    figure, (panel,) = panels([HIGH])
    figure.set_size_inches(max(9, WIDE * len(axes) + 1.5), HIGH + 1.5)
    panel.axis("off")
    panel.set_xlim(-0.55, len(axes) - 0.7)
    panel.set_ylim(-0.12, 1.17)
    _draw_lines(figure, panel, axes, study)
    for place, axis in enumerate(axes):
        _draw_axis(panel, place, axis, axis.of(best))
    panel.text(-0.5, -0.1, "best", ha="left", fontsize=12, color=ORANGE)
    save(figure, path, (title or f"{len(study.trials)} trials") + _rest(study))


def _rest(study: Study) -> str:
    """Say how many trials have no score."""
    states = [trial.state for trial in study.trials]
    counts = ((PRUNED, "pruned, dashed"), (FAILED, "failed"))
    said = [f"{states.count(s)} {words}" for s, words in counts if s in states]
    return f" ({'; '.join(said)})" if said else ""


@dataclass(frozen=True)
class _Axis:
    """An axis: what stands above it, and where values stand on it."""

    name: str
    scale: Scale

    def of(self, trial: Outcome) -> Any:
        """Give the trial's value on it."""
        return trial.values[self.name]


class _ScoreAxis(_Axis):
    def of(self, trial: Outcome) -> Any:
        """Give the trial's score."""
        return trial.score


def _axes(study: Study) -> list[_Axis]:
    return [_Axis(name, scale) for name, scale in study.space.items()]


def _score_axis(study: Study) -> _Axis:
    scores = [trial.score for trial in study.ranked if trial.score is not None]
    return _ScoreAxis("score", uniform(min(scores), max(scores)))


def _draw_lines(figure: Any, panel: Any, axes: Sequence[_Axis], study: Study) -> None:
    """Draw the worst first, so that the best lie above."""
    matplotlib = load_extra("matplotlib", "train", "drawing")
    colours = load_extra("matplotlib.cm", "train", "drawing")
    scales = load_extra("matplotlib.colors", "train", "drawing")
    # Nunez et al. 2018: to colour-blind eyes as to others, and light for the worst.
    ranks = colours.ScalarMappable(
        scales.Normalize(1, max(2, len(study.ranked))),
        matplotlib.colormaps["cividis"],
    )
    for trial in study.trials:
        if trial.state == PRUNED:
            places = [axis.scale.place(axis.of(trial)) for axis in axes[:-1]]
            panel.plot(places, "--", color="#999999", linewidth=0.9)
    for rank, trial in reversed(list(enumerate(study.ranked, start=1))):
        places = [axis.scale.place(axis.of(trial)) for axis in axes]
        if rank == 1:
            panel.plot(places, "o-", color=ORANGE, linewidth=3, markersize=6, zorder=4)
        else:
            panel.plot(places, color=ranks.to_rgba(rank), linewidth=1.4, alpha=0.9)
    tickers = load_extra("matplotlib.ticker", "train", "drawing")
    whole = tickers.MaxNLocator(integer=True)
    bar = figure.colorbar(ranks, ax=panel, fraction=0.03, pad=0.01, ticks=whole)
    bar.set_label("rank of the score (1 is best)", fontsize=12, color=INK)
    bar.ax.invert_yaxis()
    bar.ax.tick_params(labelsize=11, colors=INK)
    bar.outline.set_visible(False)


def _draw_axis(panel: Any, place: int, axis: _Axis, best: Any) -> None:
    """Draw the axis with its name above, its ticks, and the best value below."""
    panel.plot([place, place], [0, 1], color=INK, linewidth=1.2, zorder=3)
    name = axis.name.replace("_", "\n", 1)
    panel.text(place, 1.05, name, ha="center", va="bottom", fontsize=12, color=INK)
    box = {"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 0.8}
    for height, text in ticks(axis.scale).items():
        panel.plot([place - 0.04, place], [height] * 2, color=INK, zorder=3)
        style: Mapping[str, Any] = {"fontsize": 11, "color": INK, "bbox": box}
        panel.text(
            place - 0.06, height, text, ha="right", va="center", zorder=5, **style
        )
    panel.text(place, -0.1, _text(best), ha="center", fontsize=12, color=ORANGE)


def ticks(scale: Scale) -> dict[float, str]:
    """Give the heights of an axis's ticks, and what stands there.

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
            found[height] = _text(value)
    return dict(sorted(found.items()))


def _round_values(scale: Any) -> Sequence[Any]:
    """Give values with few digits between the ends of a scale."""
    if isinstance(scale, power_of_two):
        powers = range(scale.low.bit_length() - 1, scale.high.bit_length())
        return [1 << power for power in powers]
    if isinstance(scale, log):
        return _decades(scale.low, scale.high)
    if isinstance(scale, log_one_minus):
        return [1 - rest for rest in _decades(1 - scale.high, 1 - scale.low)]
    whole = isinstance(scale, uniform_int)
    tickers = load_extra("matplotlib.ticker", "train", "drawing")
    values = tickers.MaxNLocator(5, integer=whole).tick_values(scale.low, scale.high)
    inside = [value for value in values.tolist() if scale.low <= value <= scale.high]
    return [round(value) for value in inside] if whole else inside


def _decades(low: float, high: float) -> list[float]:
    """Give powers of ten between two numbers, and 2 and 5 times them if few."""
    exponents = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    slack = 1e-9  # 1 - 0.9 is not quite 0.1

    def between(factors: Sequence[int]) -> list[float]:
        values = [factor * 10.0**power for power in exponents for factor in factors]
        return [v for v in values if low * (1 - slack) <= v <= high * (1 + slack)]

    tens = between([1])
    return tens if len(tens) > 2 else between([1, 2, 5])


def _text(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else f"{value}"
