"""Products of matrices, in tiles that gdopt's threads share, each with its end.

A product is cut by its shape alone, and never along the dimension that is summed. Its
bits therefore depend neither on the number of threads nor on the load. Where BLAS
cannot be kept to one thread, and on a GPU, products stay whole.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

from gdopt.arrays.backend import Array, Backend
from gdopt.kernels.cpu.blas import OneBlasThread, can_limit_blas
from gdopt.kernels.cpu.pool import POOL, Phases, piece, piece_count
from gdopt.kernels.kernel import cpu_engine

WORTH_CUTTING = 19e6  # floating-point operations; below, the product stays whole
TILE = 32e6  # operations of a tile, which take some .3 ms
# A tile of 64 columns of a large batch takes 1.5 times its share, as BLAS copies the
# whole batch for each; one of 128 takes 1.2 times as long.
WIDTH, MOST_TILES = 128, 16
GRAIN = 16  # columns or rows that tiles start at a multiple of

COLUMNS, ROWS = 1, 0


class Product(NamedTuple):
    """``out = a b``, and what follows.

    The end takes the first column of a tile and the one after its last; it may change
    these columns of `out`.
    """

    a: Array  # (m, k)
    b: Array  # (k, n)
    out: Array  # (m, n), C-contiguous, written to
    axis: int  # `ROWS` or `COLUMNS`, which tiles consist of
    end: Callable[[int, int], object] | None = None

    def multiply(self, backend: Backend, low: int, high: int) -> None:
        """Compute one tile, and its end."""
        a, b, out = self.a, self.b, self.out
        if high - low < out.shape[self.axis]:
            tile = slice(low, high)
            if self.axis == ROWS:
                a, out = a[tile], out[tile]
            else:
                b, out = b[:, tile], out[:, tile]
        backend.matmul(a, b, out=out)
        if self.end is not None:
            self.end(low, high)


@functools.cache
def spans(m: int, k: int, n: int, axis: int) -> list[tuple[int, int]]:
    """Return where the tiles of (m, k) times (k, n) start and stop along an axis."""
    operations, length = 2 * m * k * n, (m, n)[axis]
    parts = max(2, min(operations / TILE, length / WIDTH, MOST_TILES))
    count = piece_count(length, parts if operations >= WORTH_CUTTING else 1, GRAIN)
    return [piece(number, count, length, GRAIN) for number in range(count)]


def multiply(backend: Backend, *products: Product) -> Phases:
    """Compute products that do not depend on each other, as a part of a step."""
    if backend.name != "numpy" or not can_limit_blas():
        for product in products:
            product.multiply(backend, 0, product.out.shape[product.axis])
        return
    late = []
    if cpu_engine() == "numpy":  # whose many calls wait for the interpreter's lock
        late = [(p.end, p.out.shape[p.axis]) for p in products if p.end is not None]
        products = tuple(product._replace(end=None) for product in products)
    tasks = [
        functools.partial(product.multiply, backend, low, high)
        for product in products
        for low, high in spans(*product.a.shape, product.b.shape[1], product.axis)
    ]
    if len(tasks) > len(products):
        yield lambda k: tasks[k](), len(tasks)
    else:
        for task in tasks:
            task()
    for end, length in late:
        end(0, length)


def in_step(backend: Backend) -> AbstractContextManager[None]:
    """Return a context for a whole step, so that it sets BLAS's threads once."""
    return OneBlasThread() if backend.name == "numpy" else nullcontext()


def run_step(backend: Backend, phases: Phases) -> Any:
    """Run products and what is between them; return what the generator returns."""
    with in_step(backend):
        return POOL.follow(phases)
