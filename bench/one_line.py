"""A loop of one line that Numba keeps on disk: the first step is compared with it."""

import numba


@numba.njit(cache=True)
def add(x):
    x += 1
