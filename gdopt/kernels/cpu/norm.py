"""The norm of the gradients on the CPU: by NumPy, or in one pass by Numba."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from gdopt.arrays.arena import Arena, Layout
from gdopt.kernels.cpu.flush import can_flush
from gdopt.kernels.kernel import cpu_engine
from gdopt.kernels.norm import (
    BIG,
    GROW,
    LANES,
    SHRINK,
    SMALL,
    neighbours,
    root,
    segment_sums,
    segment_table,
)

PLAIN = ["lanes0[l] += x * x"]
SCALED = [
    f"big = abs(x) > {BIG!r}",
    f"small = abs(x) < {SMALL!r}",
    "lanes0[l] += 0.0 if big or small else x * x",
    f"x *= {SHRINK!r} if big else {GROW!r}",
    "lanes1[l] += x * x if big else 0.0",
    "lanes2[l] += x * x if small else 0.0",
]


def print_squares(*, scaled: bool, flush: bool, cache: bool) -> str:
    """Print the Numba loop that adds up the squares of segments; see `segment_table`.

    Offsets into whole buffers are unsigned: Numba does not vectorize a signed index,
    which might be negative, and a slice or a call costs as much as a short array.
    """
    lanes = [f"lanes{k}" for k in range(3 if scaled else 1)]
    add = "; ".join(["x = float64(g[place + l])", *(SCALED if scaled else PLAIN)])
    halves = [
        f"        for l in range({width}):\n"
        + "\n".join(f"            {x}[l] += {x}[l + {width}]" for x in lanes)
        for width in (64, 32, 16, 8, 4, 2, 1)
    ]
    return f"""import numba
import numpy as np
from numba import float64, uint64
{"from gdopt.kernels.cpu.numba_flush import enter, leave" if flush else ""}

@numba.njit(cache={cache}, error_model="numpy", nogil=True)
def add_squares(g, segments, sums):
    {"; ".join(f"{x} = np.empty({LANES})" for x in lanes)}
    {"mode = enter()" if flush else ""}
    for s in range(segments.shape[0]):
        place, count = uint64(segments[s, 0]), segments[s, 1]
        for l in range({LANES}):
            {"; ".join(f"{x}[l] = 0.0" for x in lanes)}
        for row in range(count // {LANES}):
            for l in range(uint64({LANES})):
                {add}
            place += uint64({LANES})
        for l in range(uint64(count % {LANES})):
            {add}
{chr(10).join(halves)}
        {"; ".join(f"sums[{k}, segments[s, 2]] = {x}[0]" for k, x in enumerate(lanes))}
    {"leave(mode)" if flush else ""}
"""


def print_neighbours(*, cache: bool) -> str:
    """Print the Numba loop that adds segments' sums, and then arrays', in place."""
    return f"""import numba

@numba.njit(cache={cache}, error_model="numpy", nogil=True)
def add_neighbours(sums, firsts):
    arrays = firsts.size - 1
    for plane in range(sums.shape[0]):
        for array in range(arrays + 1):
            last = array == arrays
            low, high = (0, arrays) if last else (firsts[array], firsts[array + 1])
            width = 1
            while width < high - low:
                for k in range(low, high - width, 2 * width):
                    sums[plane, k] += sums[plane, k + width]
                width *= 2
            if not last:
                sums[plane, array] = sums[plane, low]
"""


@functools.cache
def _loops(dtype: str) -> Any:
    from gdopt.kernels.cpu.loops import compile_module  # noqa: PLC0415 - with Numba

    scaled = dtype == "float64"
    flush = not scaled and can_flush()
    text = functools.partial(print_squares, scaled=scaled, flush=flush)
    return compile_module(text, f"squares_{dtype}")[1].add_squares


@functools.cache
def _tree() -> Any:
    from gdopt.kernels.cpu.loops import compile_module  # noqa: PLC0415 - with Numba

    return compile_module(print_neighbours, "neighbours")[1].add_neighbours


class CpuNorm:
    """Computes the norm of gradients of one layout.

    Args:
        layout: of the parameters.
    """

    def __init__(self, layout: Layout) -> None:
        slots = list(layout.slots.values())
        sizes = np.array([slot.stop - slot.start for slot in slots])
        self._scaled = "float64" in layout.sizes
        self._levels = neighbours(sizes)
        self._numba = cpu_engine() == "numba" and layout.sizes.keys() <= {
            "float32",
            "float64",
        }
        if not self._numba:
            return
        table = segment_table(sizes)
        self._firsts = np.searchsorted(table[:, 3], np.arange(sizes.size + 1))
        self._separate = [
            (_loops(slot.group), table[low:high])
            for slot, low, high in zip(
                slots, self._firsts[:-1], self._firsts[1:], strict=True
            )
        ]
        starts = np.array([slot.start for slot in slots])
        placed = table + starts[table[:, 3], None] * np.array([1, 0, 0, 0])
        groups = np.array([slot.group for slot in slots])[table[:, 3]]
        self._together = [
            (group, _loops(group), placed[groups == group]) for group in layout.sizes
        ]

    def __call__(self, grads: Arena | Sequence[Any]) -> float:
        """Return the norm of all arrays together."""
        if not self._numba:
            arrays = list(grads.values()) if isinstance(grads, Arena) else grads
            sums = segment_sums(arrays, scaled=self._scaled)
            for firsts in self._levels:
                sums = np.add.reduceat(sums, firsts, axis=1)
            return root(*sums[:, 0].tolist())
        sums = np.zeros((3 if self._scaled else 1, self._firsts[-1]))
        if isinstance(grads, Arena):
            for group, add_squares, table in self._together:
                add_squares(grads.buffers[group], table, sums)
        else:
            for (add_squares, table), array in zip(self._separate, grads, strict=True):
                add_squares(array.reshape(-1), table, sums)
        _tree()(sums, self._firsts)
        return root(*sums[:, 0].tolist())
