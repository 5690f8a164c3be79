"""Sums in the order of one fixed binary tree, whichever ranks add its parts.

Its leaves are the replicas of a global batch, a power of two of them. A node is the
number of its first replica and how many there are: a power of two that divides it.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

from gdopt.arrays import Arena, Array, backend_of
from gdopt.arrays.dtypes import compute_dtype
from gdopt.checks import check_int
from gdopt.errors import ArgumentError
from gdopt.kernels import Kernel
from gdopt.kernels.trace import Signature

Node = tuple[int, int]
REPLICAS = 8  # by default: the most ranks that there can be then


def check_replicas(replicas: Any, size: int) -> int:
    """Take a number of replicas: a power of two, at least the number of ranks."""
    number = check_int("replicas", replicas, least=1)
    if number & (number - 1) or number < size:
        rule = f"a power of two, at least {size}, the number of ranks"
        raise ArgumentError(f"replicas must be {rule}, got {number}")
    return number


def share_of(rank: int, size: int, parts: int) -> range:
    """Return which of equal parts are a rank's: neighbours, as evenly as possible.

    >>> [share_of(rank, 3, 8) for rank in range(3)]
    [range(0, 2), range(2, 5), range(5, 8)]
    """
    return range(rank * parts // size, (rank + 1) * parts // size)


def nodes_of(own: range) -> list[Node]:
    """Cut neighbouring leaves into the fewest nodes of the tree.

    >>> nodes_of(range(2, 5))
    [(2, 2), (4, 1)]
    """
    nodes, first = list[Node](), own.start
    while first < own.stop:
        width = first & -first or 1 << (own.stop - 1).bit_length()
        while first + width > own.stop:
            width //= 2
        nodes.append((first, width))
        first += width
    return nodes


@Kernel
def _weighted(total: Any, g: Any, *, weight: Any) -> Any:  # noqa: ARG001 - is replaced
    return weight * g


@Kernel
def _add_weighted(total: Any, g: Any, *, weight: Any) -> Any:
    return total + weight * g


@Kernel
def _add(total: Any, other: Any) -> Any:
    return total + other


def run(kernel: Kernel, *arrays: Any, **scalars: float) -> None:
    """Run a kernel on arrays that fit, of any float dtypes."""
    step = kernel.step(backend_of(*arrays), [array.dtype for array in arrays])
    step.run(arrays, step.values(scalars))


class TreeSum:
    """Adds up the gradients of neighbouring replicas, in ascending order.

    It holds one sum for each node of `nodes_of`, and on the way at most as many more
    as the tree is deep. Gradients of half precision are summed in float32.
    """

    def __init__(self, params: Arena) -> None:
        self._params, self._free = params, list[Arena]()
        self.done: list[tuple[Node, Arena]] = []

    def add(
        self, replica: int, grads: Mapping[str, Array] | None, weight: float
    ) -> None:
        """Add the mean gradient of the next replica; None if it has no examples."""
        first, width = replica, 1
        if grads is not None and replica % 2 and self._last() == (replica - 1, 1):
            (first, width), sums = (replica - 1, 2), self.done.pop()[1]
            self._each(_add_weighted, sums, grads, weight)
        else:
            sums = self._leaf(grads, weight)
        while first % (2 * width) and self._last() == (first - width, width):
            left = self.done.pop()[1]
            for group, buffer in left.buffers.items():
                run(_add, buffer, sums.buffers[group])
            self._free.append(sums)
            first, width, sums = first - width, 2 * width, left
        self.done.append(((first, width), sums))

    def _last(self) -> Node | None:
        return self.done[-1][0] if self.done else None

    def _leaf(self, grads: Mapping[str, Array] | None, weight: float) -> Arena:
        own = self._params
        dtypes = {group: compute_dtype(group) for group in own.layout.sizes}
        made = self._free or [Arena(own.layout, own.backend, own.device, dtypes)]
        sums = made.pop()
        if grads is not None:
            self._each(_weighted, sums, grads, weight)
            return sums
        for buffer in sums.buffers.values():
            buffer[...] = 0
        return sums

    @staticmethod
    def _each(kernel: Kernel, sums: Arena, grads: Any, weight: float) -> None:
        flat = isinstance(grads, Arena)
        totals: Any = sums.buffers if flat else sums
        given = grads.buffers if flat else grads
        for name, total in totals.items():
            run(kernel, total, given[name], weight=weight)

    def clear(self) -> None:
        """Forget the sums, but keep their memory."""
        self._free += [sums for _, sums in self.done]
        self.done = []


@functools.cache
def tree_kernel(nodes: tuple[Node, ...], replicas: int) -> Kernel:
    """Return the kernel that sums these nodes in the tree's order: one pass."""

    def tree_sum(_: Any, *sums: Any) -> Any:
        known = dict(zip(nodes, sums, strict=True))

        def value(first: int, width: int) -> Any:
            if (first, width) in known:
                return known[first, width]
            half = width // 2
            return value(first, half) + value(first + half, half)

        return value(0, replicas)

    names = "total", *(f"sum_{first}_{width}" for first, width in nodes)
    Signature(names, (), {}).put_on(tree_sum)
    return Kernel(tree_sum)
