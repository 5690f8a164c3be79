"""Adds up what ranks have summed: each receives the total of its own slice."""

from __future__ import annotations

import operator
from collections.abc import Sequence

from gdopt.arrays import Array, backend_of
from gdopt.parallel.communicator import Communicator, Move
from gdopt.parallel.tree import Node, nodes_of, run, tree_kernel

Bounds = tuple[int, int]  # from and to which element
BUCKET = 1 << 26  # bytes that a rank receives at a time


class Reduction:
    """Reduces and scatters sums in the order of the tree, or with "any" the engine's.

    `owners` are the replicas of each rank.
    """

    def __init__(self, comm: Communicator, owners: Sequence[range], order: str) -> None:
        self._comm, self._order = comm, order
        self._replicas = owners[-1].stop
        others = {r: own for r, own in enumerate(owners) if r != comm.rank}
        self._nodes = {rank: nodes_of(own) for rank, own in others.items()}
        self._received: dict[tuple[Node, str], Array] = {}

    def reduce(
        self, sums: Sequence[tuple[Node, Array]], bounds: Sequence[Bounds], total: Array
    ) -> None:
        """Write the total of this rank's slice; it is received in large buckets.

        Args:
            sums: this rank's, by their nodes, of whole buffers.
            bounds: from and to which element each rank takes the total.
            total: this rank's slice of it.
        """
        if self._order == "any":
            (_, first), *others = sums
            for _, buffer in others:
                first += buffer
            self._comm.allreduce(first)
            low, high = bounds[self._comm.rank]
            total[...] = first[low:high]
            return
        count = max(1, sum(map(len, self._nodes.values())))
        length = max(1, BUCKET // (count * sums[0][1].itemsize))
        for start in range(0, max(high - low for low, high in bounds), length):
            buckets = [
                (min(low + start, high), min(low + start + length, high))
                for low, high in bounds
            ]
            self._reduce_bucket(sums, buckets, total[start : start + length])

    def _reduce_bucket(
        self, sums: Sequence[tuple[Node, Array]], bounds: Sequence[Bounds], total: Array
    ) -> None:
        low, high = bounds[self._comm.rank]
        parts = [(node, buffer[low:high]) for node, buffer in sums]
        sends, receives = list[Move](), list[Move]()
        for rank, nodes in self._nodes.items():
            begin, end = bounds[rank]
            if begin < end:
                sends += [(rank, buffer[begin:end]) for _, buffer in sums]
            for node in nodes if low < high else ():
                parts.append((node, self._space(node, parts[0][1])))
                receives.append((rank, parts[-1][1]))
        self._comm.swap(sends, receives)
        if low < high:
            parts.sort(key=operator.itemgetter(0))
            kernel = tree_kernel(tuple(node for node, _ in parts), self._replicas)
            run(kernel, total, *(array for _, array in parts))

    def _space(self, node: Node, like: Array) -> Array:
        """Return memory for what is received of a node."""
        key, size = (node, like.dtype.name), len(like)
        if key not in self._received or len(self._received[key]) < size:
            self._received[key] = backend_of(like).xp.empty_like(like)
        return self._received[key][:size]
