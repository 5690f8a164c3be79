"""Points in the plane that two classes share: two half moons, blurred."""

from __future__ import annotations

import numpy as np


def moons(count: int, *, noise: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw points on two half circles that reach into each other, and blur them.

    Those of class 0 lie on the upper half of the circle around (0, 0), those of class 1
    on the lower half of the circle around (1, 0.5), both of radius 1.

    Args:
        count: how many, even; half of each class.
        noise: deviation of what is added to each coordinate.
        seed: whole number, at least 0.

    Returns:
        X (count, 2) float64 and y (count,) int64.

    Other libraries: scikit-learn's ``make_moons`` spreads the angles evenly.

    >>> X, y = moons(4, noise=0.0, seed=0)
    >>> X.round(2)
    array([[-0.42,  0.91],
           [ 0.66,  0.75],
           [ 0.01,  0.37],
           [ 0.  ,  0.45]])
    >>> y
    array([0, 0, 1, 1])
    """
    rng = np.random.default_rng(seed)
    angles = np.pi * rng.uniform(size=count)
    y = np.repeat([0, 1], count // 2)
    upper = np.stack([np.cos(angles), np.sin(angles)], axis=-1)
    X = np.where(y[:, None] == 0, upper, [1.0, 0.5] - upper)
    X += noise * rng.standard_normal(X.shape)
    return X, y
