"""How to search for hyper-parameters: at random, on scales, from coarse to fine.

Pictures: random-search.png, scales.png, coarse-to-fine.png.

Source: Ng, Improving deep neural networks, week 3, "Tuning process" and "Using an
appropriate scale to pick hyperparameters".
"""

from pathlib import Path
from typing import Any

import numpy as np

from gdopt.guide.pictures.canvas import Numbers, figure_grid, output_folder, save
from gdopt.plots.series import BLUE, FAINT, GREEN, INK, ORANGE, logarithmic

SEARCHES = 2_000  # repetitions
SIDE = 5  # trials along an axis of the grid
DRAWS = 400
RATE = (1e-4, 1.0)  # the course's range of learning rates
BETA = (0.9, 0.999)  # and of momentum's beta
TRIALS, SHARE = 32, 0.25  # from coarse to fine: trials, and the share that is kept
RATES, LAMBDAS = (-4.0, 0.0), (-3.0, 1.0)  # powers of ten
EDGE = 0.8  # of a decade: how far from the edges the best setting stays
WIDTHS = (0.5, 1.0)  # in decades: how far from the best a score falls to exp(-1/2)


def _score_on_square(points: np.ndarray, best: np.ndarray) -> Any:
    """Score settings: the first axis matters, the second hardly does."""
    away = points - best
    return np.exp(-50 * away[..., 0] ** 2) - 0.05 * away[..., 1] ** 2


def compute_random_search() -> Numbers:
    """Search a square of settings with 25 trials: on a 5 by 5 grid, and at random.

    The grid's lines are in the middles of fifths. The best setting lies anywhere, with
    equal chances; 2,000 searches of both kinds are compared, of which the first is
    drawn. ``found`` are the best scores that were found.

    Source: Bergstra & Bengio 2012, Random search for hyper-parameter optimization.
    """
    rng = np.random.default_rng(0)
    lines = (np.arange(SIDE) + 0.5) / SIDE
    grid = np.stack(np.meshgrid(lines, lines), axis=-1).reshape(-1, 2)
    trials = rng.uniform(size=(SEARCHES, SIDE * SIDE, 2))
    best = rng.uniform(size=(SEARCHES, 1, 2))
    return {
        "trials": {"grid": grid, "random": trials[0]},
        "best": best[0, 0],
        "found": {
            "grid": _score_on_square(grid, best).max(axis=1),
            "random": _score_on_square(trials, best).max(axis=1),
        },
    }


def draw_random_search(numbers: Numbers, path: Path) -> None:
    """Draw the trials of a search of each kind, and what all searches found."""
    title = "If one setting matters, 25 random trials try 25 of its values, a grid 5"
    figure, axes = figure_grid(title, (13, 4.9), columns=3)
    x = np.linspace(0, 1, 201)
    scores = _score_on_square(np.stack(np.meshgrid(x, x), axis=-1), numbers["best"])
    trials = numbers["trials"].items()
    for axis, (name, points), colour in zip(axes, trials, (INK, BLUE), strict=False):
        axis.contourf(x, x, scores, levels=12, cmap="Greens", alpha=0.45)
        axis.plot(*points.T, "o", color=colour, markersize=6)
        axis.plot(points[:, 0], np.full(len(points), -0.03), "|", color=ORANGE)
        axis.plot(*numbers["best"], "x", color=ORANGE, markersize=11, mew=2.5)
        text = f"{name}: {len(np.unique(points[:, 0]))} values (ticks below)"
        limits = {"xlim": (0, 1), "ylim": (-0.06, 1)}
        axis.set(title=text, xlabel="the setting that matters", **limits)
        axis.set_ylabel("the setting that hardly matters")
        axis.grid(visible=False)
    text = f"best of 25, {SEARCHES:,} searches"
    _draw_found(axes[2], text, numbers["found"], INK, BLUE)
    save(figure, path)


def _draw_found(axis: Any, title: str, found: Numbers, *tints: str) -> None:
    """Draw how the best scores of all searches are distributed."""
    shares = (np.arange(SEARCHES) + 1) / SEARCHES
    for (name, scores), colour in zip(found.items(), tints, strict=True):
        text = f"{name}: mean {scores.mean():.3f}"
        axis.plot(np.sort(scores), shares, color=colour, linewidth=2.4, label=text)
    axis.axvline(1, color=FAINT)
    text = "score (best possible: 1)"
    axis.set(title=title, xlabel=text, ylabel="share of searches at or below")
    axis.legend(loc="upper left")


def compute_scales() -> Numbers:
    """Draw 400 learning rates from 0.0001 to 1 and 400 betas from .9 to .999.

    ``rates`` are drawn evenly, and evenly by their logarithms; ``rests`` are 1 - beta,
    for betas drawn evenly, and evenly by the logarithms of these. The same random
    numbers serve all. The last are the edges of the decades.
    """
    even = np.random.default_rng(0).uniform(size=DRAWS)
    ends = {"rates": RATE, "rests": (1 - BETA[1], 1 - BETA[0])}
    return {
        kind: {
            "evenly": low + (high - low) * even,
            "evenly by decades": low * (high / low) ** even,
            "edges": low * 10.0 ** np.arange(round(np.log10(high / low)) + 1),
        }
        for kind, (low, high) in ends.items()
    }


def draw_scales(numbers: Numbers, path: Path) -> None:
    """Draw strips of draws, with the share of each decade above it."""
    title = "Drawn uniformly, 9 of 10 rates are in the top decade; by logarithm, 1 of 4"
    figure, (left, right) = figure_grid(title, (13, 4.8), columns=2)
    _draw_strips(left, *numbers["rates"].values())
    text = f"{DRAWS} learning rates from 0.0001 to 1"
    left.set(title=text, xlabel="learning rate")
    _draw_strips(right, *numbers["rests"].values())
    text = "1 - beta"
    right.set(title=f"{DRAWS} betas from 0.9 to 0.999", xlabel=text)
    save(figure, path)


def _draw_strips(axis: Any, even: Any, by_decades: Any, edges: Any) -> None:
    logarithmic(axis, "x")
    scatter = np.random.default_rng(1).uniform(-0.16, 0.16, DRAWS)
    for draws, height, colour in ((even, 1.0, ORANGE), (by_decades, 0.0, BLUE)):
        style = {"color": colour, "markersize": 5, "alpha": 0.6, "mew": 0}
        axis.plot(draws, height + scatter, "o", **style)
        shares = np.histogram(draws, edges)[0] / DRAWS
        for low, share in zip(edges[:-1], shares, strict=True):
            text = f"{share:.0%}" if share > 0.01 else f"{share:.1%}"
            place = low * 10.0**0.5, height + 0.2
            axis.text(*place, text, ha="center", va="bottom")
    for edge in edges:
        axis.axvline(edge, color=FAINT, linewidth=1.2, zorder=0)
    axis.set_yticks([1.0, 0.0], ["evenly", "evenly\nby decades"], color=INK)
    axis.set(xticks=edges, ylim=(-0.35, 1.5), ylabel="how they are drawn")
    axis.grid(visible=False)


def score(points: np.ndarray, best: np.ndarray) -> Any:
    """Score powers of ten (..., 2) of rate and lambda: a hill around the best, 1 there.

    >>> float(score(np.array([-2.0, -3.0]), np.array([-2.0, -3.0])))
    1.0
    """
    return np.exp(-np.sum(((points - best) / WIDTHS) ** 2, axis=-1) / 2)


def narrowed(points: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the box around the best quarter of trials, as `gdopt.tune.zoom` does.

    Of points (..., trials, 2) these are the lower and the upper corner, (..., 2) each.
    """
    count = max(2, int(np.ceil(SHARE * scores.shape[-1])))
    best = np.argsort(-scores, axis=-1)[..., :count]
    chosen = np.take_along_axis(points, best[..., None], axis=-2)
    return chosen.min(axis=-2), chosen.max(axis=-2)


def compute_coarse_to_fine() -> Numbers:
    """Search learning rate and lambda with 32 trials, in one go and in two.

    In one go all are drawn from four decades each, evenly by their logarithms. In two,
    16 are, and 16 more from the box around the best 4 of them. Both begin with the same
    16. The best setting lies anywhere but near an edge, with equal chances. ``found``
    are the best scores of 2,000 searches; drawn is the one, number ``shown``, in which
    the gain is the median of all.
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
        "trials": {"coarse": coarse[shown], "more": more[shown], "fine": fine[shown]},
        "box": (corners[0][shown], corners[1][shown]),
        "found": {"at once": one, "coarse, then fine": two},
    }


def draw_coarse_to_fine(numbers: Numbers, path: Path) -> None:
    """Draw the trials of a search in one go and in two, and what all searches found."""
    title = "Trials around the best so far get closer in three searches of four"
    figure, axes = figure_grid(title, (13, 4.9), columns=3)
    _draw_trials(axes[0], f"{TRIALS} at once", numbers, "more", BLUE)
    _draw_trials(axes[1], "16 coarse, 16 fine", numbers, "fine", GREEN)
    (x, y), (u, v) = (10.0**corner for corner in numbers["box"])
    axes[1].plot([x, u, u, x, x], [y, y, v, v, y], color=GREEN, linewidth=1.8)
    text = f"best of {TRIALS}, {SEARCHES:,} searches"
    _draw_found(axes[2], text, numbers["found"], BLUE, GREEN)
    save(figure, path)


def _draw_trials(axis: Any, title: str, numbers: Numbers, *later: str) -> None:
    """Draw the trials of a search over the hill, the first half in ink."""
    x, y = (np.linspace(*ends, 201) for ends in (RATES, LAMBDAS))
    scores = score(np.stack(np.meshgrid(x, y), axis=-1), numbers["best"])
    axis.contourf(10**x, 10**y, scores, levels=12, cmap="Greys", alpha=0.45)
    for name, tint, mark in (("coarse", INK, "o"), (*later, "D")):
        style = {"color": tint, "markersize": 5.5, "markeredgecolor": "white"}
        axis.plot(*10.0 ** numbers["trials"][name].T, mark, **style)
    axis.plot(*10.0 ** numbers["best"], "x", color=ORANGE, markersize=11, mew=2.5)
    logarithmic(axis, "x", "y")
    axis.grid(visible=False)
    axis.set(title=title, xlabel="learning rate", ylabel="lambda of L2")


def main(arguments: list[str] | None = None) -> None:
    """Draw the pictures."""
    folder = output_folder(arguments, __doc__)
    draw_random_search(compute_random_search(), folder / "random-search.png")
    draw_scales(compute_scales(), folder / "scales.png")
    draw_coarse_to_fine(compute_coarse_to_fine(), folder / "coarse-to-fine.png")


if __name__ == "__main__":
    main()
