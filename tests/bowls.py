"""A function whose minimization by halves can be computed by hand."""

import numpy as np

import gdopt

NAN, INF = float("nan"), float("inf")


def bowl(x):
    """Half the squared distance from (1, -2): its gradient is x minus that point."""
    g = x - np.array([1.0, -2.0], x.dtype)
    return g @ g / 2, g


def start(dtype=float):
    return np.array([9.0, 6.0], dtype)


def halve(**options):
    """Minimize the bowl; each update halves the distance exactly, from (8, 8)."""
    x = options.pop("x", None)
    x = start() if x is None else x
    return gdopt.minimize(bowl, x, **{"method": "sgd", "lr": 0.5} | options)


def collect(fg, params, **options):
    records = []
    result = gdopt.minimize(fg, params, callback=records.append, **options)
    return result, records
