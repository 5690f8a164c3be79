"""The norm of gradients of which several processes hold a part each.

A part sums up the segments that start in it, and of these what are nodes of the tree in
`gdopt.kernels.norm`: runs of an array's segments whose number is a power of two and
divides that of the first, or that reach to the end. The nodes of all parts give the
norm with the bits of one process.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from gdopt.arrays.arena import Arena, Layout, Slot
from gdopt.arrays.backend import Array
from gdopt.checks import check_int, check_like
from gdopt.kernels.cpu.norm import CpuNorm
from gdopt.kernels.norm import root
from gdopt.kernels.sums import SEGMENT, neighbours

Run = tuple[int, int]  # from and to which segment


def tree_nodes(low: int, high: int, count: int) -> Iterator[Run]:
    """Cut a run of an array's segments, of which there are `count`, into nodes.

    >>> list(tree_nodes(3, 9, 9)), list(tree_nodes(0, 6, 9))
    ([(3, 4), (4, 8), (8, 16)], [(0, 4), (4, 6)])
    """
    most = 1 << (count - 1).bit_length()
    end = most if high == count else high
    while low < high:
        length = low & -low or most  # the largest that begins there
        while low + length > end:
            length //= 2
        yield low, low + length
        low += length


class NormParts:
    """Computes the norm of all gradients from those of the parts of a layout.

    Attributes:
        bounds: for each dtype and part, up to which element of the whole buffer it
            needs gradients: to the end of its slice, and of the segments that start in
            it.
        shape: of the nodes of a part: one sum of squares, or three if an array is
            float64, for as many nodes as the part with the most has.

    >>> import gdopt
    >>> import numpy as np
    >>> grads = gdopt.Arena.of({"W": np.full(9000, 3.0)})
    >>> parts = NormParts(grads.layout, 2)
    >>> parts.bounds, parts.shape
    ({'float64': [8192, 9024]}, (3, 1))
    >>> own = {"float64": grads.flat[:8192]}, {"float64": grads.flat[4480:]}
    >>> nodes = [parts.nodes(k, buffers) for k, buffers in enumerate(own)]
    >>> parts.norm(nodes) == CpuNorm(grads.layout)(grads)
    True
    """

    def __init__(self, layout: Layout, parts: int) -> None:
        self.bounds: dict[str, list[int]] = {group: [] for group in layout.sizes}
        self._layouts: list[Layout] = []  # of each part's nodes, as if they were arrays
        self._norms: dict[int, Any] = {}
        sizes = {name: slot.stop - slot.start for name, slot in layout.slots.items()}
        found: dict[str, dict[Run, int]] = {name: {} for name in sizes}  # places
        for k, cut in enumerate(layout.cut(parts)):
            slots, ends = dict[str, Slot](), dict(cut.sizes)
            for name, slot in cut.slots.items():
                start = slot.start - slot.first  # of the array, perhaps before the part
                piece = slot.first, slot.first + slot.stop - slot.start
                segments = (-(-end // SEGMENT) for end in (*piece, sizes[name]))
                for low, high in tree_nodes(*segments):
                    first = low * SEGMENT
                    size = min(high * SEGMENT, sizes[name]) - first
                    place = start + first, start + first + size
                    found[name][low, high] = k + parts * len(slots)
                    node = slots[str(len(slots))] = Slot((size,), slot.group, *place)
                    ends[slot.group] = max(ends[slot.group], node.end)
            taken = {slot.group for slot in slots.values()}
            own = {group: end for group, end in ends.items() if group in taken}
            self._layouts.append(Layout(slots, own))
            for group, bounds in self.bounds.items():
                bounds.append(cut.origin[group] + ends.get(group, 0))
        most = max(len(own.slots) for own in self._layouts)
        self.shape = 3 if "float64" in layout.sizes else 1, most
        self._parts = parts
        self._pairs: list[tuple[int, int]] = []  # of sums that are added, one by one
        places = []  # of the sums of the arrays; of those without elements the last
        for name, nodes in found.items():
            count = -(-sizes[name] // SEGMENT)
            every = 0, 1 << count.bit_length(), count
            places.append(self._place(nodes, *every) if count else -1)
        self._places = np.array(places)

    def _place(self, nodes: Mapping[Run, int], low: int, high: int, count: int) -> int:
        """Note what is added to the sum of a node of the tree; return its place."""
        if (low, high) in nodes:
            return nodes[low, high]
        middle = (low + high) // 2
        place = self._place(nodes, low, middle, count)
        if middle >= count:
            return place
        self._pairs.append((place, self._place(nodes, middle, high, count)))
        return self.shape[1] * self._parts + len(self._pairs) - 1

    def nodes(self, part: int, buffers: Mapping[str, Array]) -> np.ndarray:
        """Return the sums of squares of a part's nodes, float64, with zeros behind.

        Args:
            part: its number.
            buffers: the gradients of each dtype, from the start of its slice to
                `bounds`, on one device.

        Raises:
            ArgumentError: a buffer is missing, or of another size.
            ArgumentTypeError: something is not an array, or of another dtype.
        """
        part = check_int("part", part, least=0, most=self._parts - 1)
        sums, layout = np.zeros(self.shape), self._layouts[part]
        if not layout.slots:
            return sums
        own = {group: buffers[group] for group in layout.sizes if group in buffers}
        grads = Arena.over(layout, own)
        if part not in self._norms:
            self._norms[part] = _norm_of(grads)
        found = self._norms[part].of_arrays(grads)
        sums[: len(found), : found.shape[1]] = found
        return sums

    def norm(self, nodes: Sequence[np.ndarray] | np.ndarray) -> float:
        """Return the norm of all gradients, from the nodes of all parts in order.

        Raises:
            ArgumentError: they are not those of all parts.
        """
        every = np.asarray(nodes)
        check_like("nodes", every, np.zeros((self._parts, *self.shape)))
        totals = []
        for column in range(self.shape[0]):
            sums = every[:, column].T.reshape(-1).tolist()
            for one, other in self._pairs:
                sums.append(sums[one] + sums[other])
            sums.append(0.0)
            totals.append(float(neighbours("sum", np.array(sums)[self._places])))
        return root(*totals)


def _norm_of(grads: Arena) -> Any:
    """Return what computes the norm on the device of an arena."""
    if grads.backend.name == "numpy":
        return CpuNorm(grads.layout)
    from gdopt.kernels.cuda.norm import GradNorm  # noqa: PLC0415 - needs CuPy

    return GradNorm(grads.backend, grads.device, grads.layout)
