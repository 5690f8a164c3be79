"""What dimensions do to searches on a grid."""

from __future__ import annotations

import numpy as np

from gdopt.gallery.parts.canvas import LEGEND, LETTERS, head, sheet
from gdopt.gallery.parts.picture import Numbers, Path, Picture
from gdopt.plots.style import BLUE, FAINT, INK, ORANGE, save

SIDE, SEARCHES = 5, 2_000  # trials along an axis of the grid; repetitions


def _score(points: np.ndarray, best: np.ndarray) -> np.ndarray:
    """Score settings: the first axis matters, the second hardly does."""
    away = points - best
    scores: np.ndarray = np.exp(-50 * away[..., 0] ** 2) - 0.05 * away[..., 1] ** 2
    return scores


def _measure_search() -> Numbers:
    """Search a square of settings with 25 trials: on a 5 by 5 grid, and at random.

    The grid's lines are in the middles of fifths. The best setting lies anywhere, with
    equal chances; 2,000 searches of both kinds are compared, of which the first is
    drawn. ``distinct`` counts the different values tried along each axis, ``grid_best``
    and ``random_best`` are the best scores that were found.

    Source: Bergstra & Bengio 2012, Random search for hyper-parameter optimization; Ng,
    Improving deep neural networks, week 3, "Tuning process".
    """
    rng = np.random.default_rng(0)
    lines = (np.arange(SIDE) + 0.5) / SIDE
    grid = np.stack(np.meshgrid(lines, lines), axis=-1).reshape(-1, 2)
    trials = rng.uniform(size=(SEARCHES, SIDE * SIDE, 2))
    best = rng.uniform(size=(SEARCHES, 1, 2))
    return {
        "grid": grid,
        "random": trials[0],
        "best": best[0, 0],
        "distinct": {
            name: [len(np.unique(points[:, axis])) for axis in (0, 1)]
            for name, points in {"grid": grid, "random": trials[0]}.items()
        },
        "grid_best": _score(grid, best).max(axis=1),
        "random_best": _score(trials, best).max(axis=1),
    }


def _paint_search(numbers: Numbers, path: Path, claim: str) -> None:
    figure, axes = sheet(1, 3, size=(13, 4.9))
    x = np.linspace(0, 1, 201)
    plane = np.stack(np.meshgrid(x, x), axis=-1)
    colours = {"grid": INK, "random": BLUE}
    for axis, (name, colour) in zip(axes[0], colours.items(), strict=False):
        scores = _score(plane, numbers["best"])
        axis.contourf(x, x, scores, levels=12, cmap="Greens", alpha=0.45)
        points = numbers[name]
        axis.plot(*points.T, "o", color=colour, markersize=6)
        axis.plot(points[:, 0], np.full(len(points), -0.03), "|", color=ORANGE)
        axis.plot(*numbers["best"], "x", color=ORANGE, markersize=11, mew=2.5)
        head(axis, f"{name}: {numbers['distinct'][name][0]} values (ticks below)")
        axis.set_xlabel("the setting that matters", **LETTERS)
        axis.set_xlim(0, 1)
        axis.set_ylim(-0.06, 1)
        axis.grid(visible=False)
    axes[0, 0].set_ylabel("the setting that hardly matters", **LETTERS)
    axis = axes[0, 2]
    shares = (np.arange(SEARCHES) + 1) / SEARCHES
    for name, colour in colours.items():
        found = numbers[f"{name}_best"]
        label = f"{name}: mean {found.mean():.3f}"
        axis.plot(np.sort(found), shares, color=colour, linewidth=2.4, label=label)
    axis.axvline(1, color=FAINT)
    head(axis, f"best found in 25 trials, {SEARCHES:,} searches")
    axis.set_xlabel("score (the best there is: 1)", **LETTERS)
    axis.set_ylabel("share of searches at or below", **LETTERS)
    axis.legend(**LEGEND, loc="upper left")
    save(figure, path, claim)


random_search = Picture(
    "random-search",
    "Where one setting matters, 25 random trials try 25 values of it, a grid 5",
    _measure_search,
    _paint_search,
)
