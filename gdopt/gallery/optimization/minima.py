"""What dimensions do to the share of minima among critical points."""

from __future__ import annotations

import math

import numpy as np

from gdopt.gallery.parts.canvas import LEGEND, LETTERS, sheet
from gdopt.gallery.parts.picture import Numbers, Path, Picture
from gdopt.plots.style import BLUE, INK, ORANGE, logarithmic, save

LARGEST, MATRICES = 5, 100_000
KNOWN = {
    1: 1 / 2,
    2: (2 - math.sqrt(2)) / 4,
    3: (math.pi - 2 * math.sqrt(2)) / (4 * math.pi),
}


def _measure_minima() -> Numbers:
    """Count the random symmetric matrices whose eigenvalues are all positive.

    A critical point is a minimum where all eigenvalues of its second derivatives are
    positive. 100,000 matrices of each size have independent normal elements, of twice
    the variance on the diagonal (the Gaussian orthogonal ensemble). ``coins`` is what
    the course reckons with: each direction curves up or down as a coin falls, 2^-n.
    Eigenvalues repel each other, so that minima are rarer still: the logarithm of their
    share goes as -n^2 log(3) / 4.

    Source: Ng, Improving deep neural networks, week 2, "The problem of local optima";
    Dauphin et al. 2014 (arXiv 1406.2572); Dean & Majumdar 2006 (the rate).
    """
    rng = np.random.default_rng(0)
    shares, saddles = {}, {}
    for size in range(1, LARGEST + 1):
        half = rng.standard_normal((MATRICES, size, size))
        values = np.linalg.eigvalsh(half + half.swapaxes(1, 2))
        shares[size] = float((values[:, 0] > 0).mean())
        saddles[size] = float(((values[:, 0] < 0) & (values[:, -1] > 0)).mean())
    coins = {size: 0.5**size for size in shares}
    return {"shares": shares, "saddles": saddles, "coins": coins, "known": KNOWN}


def _paint_minima(numbers: Numbers, path: Path, claim: str) -> None:
    figure, axes = sheet(1, 1, size=(10, 5.6))
    axis = axes[0, 0]
    sizes, shares = list(numbers["shares"]), list(numbers["shares"].values())
    coins = list(numbers["coins"].values())
    axis.plot(sizes, coins, "s--", color=INK, label="coins: 1 / 2^n")
    label = f"share of {MATRICES:,} random matrices"
    axis.plot(sizes, shares, "o-", color=BLUE, linewidth=2.2, label=label)
    known = list(numbers["known"].items())
    style = {"color": ORANGE, "markersize": 15, "markeredgewidth": 2}
    axis.plot(*zip(*known, strict=True), "o", fillstyle="none", **style, label="exact")
    for size, share in zip(sizes, shares, strict=True):
        place = {"xytext": (0, -20), "textcoords": "offset points", "ha": "right"}
        axis.annotate(f"{share:.2g} ", (size, share), **place, **LETTERS)
    logarithmic(axis, "y")
    axis.set_xticks(sizes)
    axis.set_xlim(0.6, LARGEST + 0.4)
    axis.set_ylim(bottom=min(shares) / 3)
    axis.set_xlabel("number of dimensions n", **LETTERS)
    axis.set_ylabel("all curvatures positive", **LETTERS)
    axis.legend(**LEGEND)
    save(figure, path, claim)


share_of_minima = Picture(
    "minima-share",
    "The more dimensions, the fewer critical points are minima, the more are saddles",
    _measure_minima,
    _paint_minima,
)
