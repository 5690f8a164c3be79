"""Adds up the gradients of each row, in the order in which they were given.

A sum starts from the first of them, as 0 + -0.0 would lose the sign, and takes the
others from left to right, with the same bits on every engine.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gdopt.kernels.cpu.flush import flushing
from gdopt.kernels.kernel import cpu_engine

MOST_ROUNDS = 100  # of a row's gradients; for more, np.add.at takes less time


def add_rows(g: np.ndarray, order: np.ndarray, firsts: np.ndarray) -> Any:
    """Return the sum of the gradients of each row, (rows, ...).

    `order` sorts g, (n, ...), by rows; `firsts`, (rows + 1,), says where they begin.
    """
    if cpu_engine() == "numba":
        from gdopt.kernels.cpu.row_loops import sum_loop  # noqa: PLC0415 - Numba

        total = np.empty((len(firsts) - 1, *g.shape[1:]), g.dtype)
        flat = np.ascontiguousarray(g).reshape(len(g), -1)
        sum_loop(g.dtype.name)(flat, order, firsts, total.reshape(len(total), -1))
        return total
    counts = np.diff(firsts)
    total, most = g.take(order[firsts[:-1]], axis=0), int(counts.max())
    with flushing(g.dtype):
        if most <= MOST_ROUNDS:
            for k in range(1, most):  # not reduceat: it adds in another order
                rows = np.flatnonzero(counts > k)
                total[rows] += g[order[firsts[rows] + k]]
        else:
            rows = np.repeat(np.arange(len(total)), counts - 1)
            np.add.at(total, rows, g[np.delete(order, firsts[:-1])])
    return total
