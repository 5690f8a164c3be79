"""From coarse to fine: half of the trials where the best of the others were."""

from __future__ import annotations

from typing import Any

import numpy as np

from gdopt.gallery.parts.canvas import LEGEND, LETTERS, head, sheet
from gdopt.gallery.parts.picture import Numbers, Path, Picture
from gdopt.plots.style import BLUE, FAINT, GREEN, INK, ORANGE, logarithmic, save

TRIALS, SEARCHES, SHARE = 32, 2_000, 0.25
RATES, LAMBDAS = (-4.0, 0.0), (-3.0, 1.0)  # powers of ten
EDGE = 0.8  # of a decade: how far from the edges the best setting stays
WIDTHS = (0.5, 1.0)  # in decades: how far from the best a score falls to exp(-1/2)


def score(points: np.ndarray, best: np.ndarray) -> np.ndarray:
    """Score settings by their powers of ten: 1 at the best, and a hill around it.

    Args:
        points: (..., 2), powers of ten of learning rate and lambda.
        best: (..., 2).

    >>> float(score(np.array([-2.0, -3.0]), np.array([-2.0, -3.0])))
    1.0
    """
    away = (points - best) / WIDTHS
    scores: np.ndarray = np.exp(-np.sum(away**2, axis=-1) / 2)
    return scores


def narrowed(points: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Give the box around the best quarter of trials, as `gdopt.tune.zoom` does.

    Args:
        points: (..., trials, 2).
        scores: (..., trials).

    Returns:
        The lower and the upper corner, (..., 2) each.
    """
    count = max(2, int(np.ceil(SHARE * scores.shape[-1])))
    best = np.argsort(-scores, axis=-1)[..., :count]
    chosen = np.take_along_axis(points, best[..., None], axis=-2)
    return chosen.min(axis=-2), chosen.max(axis=-2)


def _measure() -> Numbers:
    """Search learning rate and lambda with 32 trials, in one go and in two.

    In one go all are drawn from four decades each, evenly by their logarithms. In two,
    16 are, and 16 more from the box around the best 4 of them. Both begin with the same
    16. The best setting lies anywhere but near an edge, with equal chances. Of 2,000
    searches, ``one`` and ``two`` (2000,) are the best scores; drawn is the one, number
    ``shown``, in which the gain is the median of all.

    Source: Ng, Improving deep neural networks, week 3, "Tuning process".
    """
    rng = np.random.default_rng(0)
    low, high = np.array([RATES, LAMBDAS]).T
    best = rng.uniform(low + EDGE, high - EDGE, (SEARCHES, 1, 2))
    coarse, more, fine = rng.uniform(size=(3, SEARCHES, TRIALS // 2, 2))
    coarse, more = (low + (high - low) * part for part in (coarse, more))
    corners = narrowed(coarse, score(coarse, best))
    below, above = (corner[:, None] for corner in corners)
    fine = below + (above - below) * fine
    first = score(coarse, best).max(axis=1)
    one = np.maximum(first, score(more, best).max(axis=1))
    two = np.maximum(first, score(fine, best).max(axis=1))
    shown = int(np.argsort(two - one)[SEARCHES // 2])
    return {
        "shown": shown,
        "best": best[shown, 0],
        "coarse": coarse[shown],
        "more": more[shown],
        "fine": fine[shown],
        "box": (corners[0][shown], corners[1][shown]),
        "one": one,
        "two": two,
    }


def _paint(numbers: Numbers, path: Path, claim: str) -> None:
    figure, axes = sheet(1, 3, size=(13, 4.9))
    _paint_search(axes[0, 0], numbers, numbers["more"], BLUE, f"{TRIALS} at once")
    _paint_search(axes[0, 1], numbers, numbers["fine"], GREEN, "16 coarse, 16 fine")
    (x, y), (u, v) = (10.0**corner for corner in numbers["box"])
    corners = [x, u, u, x, x], [y, y, v, v, y]
    axes[0, 1].plot(*corners, color=GREEN, linewidth=1.8)
    axes[0, 0].set_ylabel("lambda of L2", **LETTERS)
    axis = axes[0, 2]
    shares = (np.arange(SEARCHES) + 1) / SEARCHES
    looks = {"one": (BLUE, "at once"), "two": (GREEN, "coarse, then fine")}
    for name, (colour, text) in looks.items():
        found = numbers[name]
        label = f"{text}: mean {found.mean():.3f}"
        axis.plot(np.sort(found), shares, color=colour, linewidth=2.4, label=label)
    axis.axvline(1, color=FAINT)
    head(axis, f"best found in {TRIALS} trials, {SEARCHES:,} searches")
    axis.set_xlabel("score (the best there is: 1)", **LETTERS)
    axis.set_ylabel("share of searches at or below", **LETTERS)
    axis.legend(**LEGEND, loc="upper left")
    save(figure, path, claim)


def _paint_search(
    axis: Any, numbers: Numbers, later: np.ndarray, colour: str, text: str
) -> None:
    """Draw the trials of a search over the hill, the first half in ink."""
    x, y = (np.linspace(*ends, 201) for ends in (RATES, LAMBDAS))
    scores = score(np.stack(np.meshgrid(x, y), axis=-1), numbers["best"])
    axis.contourf(10**x, 10**y, scores, levels=12, cmap="Greys", alpha=0.45)
    for points, tint, mark in ((numbers["coarse"], INK, "o"), (later, colour, "D")):
        style = {"color": tint, "markersize": 5.5, "markeredgecolor": "white"}
        axis.plot(*10.0**points.T, mark, **style)
    best = 10.0 ** numbers["best"]
    axis.plot(*best, "x", color=ORANGE, markersize=11, mew=2.5)
    logarithmic(axis, "x", "y")
    axis.grid(visible=False)
    head(axis, text)
    axis.set_xlabel("learning rate", **LETTERS)


coarse_to_fine = Picture(
    "coarse-to-fine",
    "Trials spent around the best so far come nearer in three searches of four",
    _measure,
    _paint,
)
