"""The norm of the gradients on the CPU: by NumPy, or in one pass by Numba."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from gdopt.arrays.arena import Arena, Layout
from gdopt.kernels.cpu.flush import can_flush
from gdopt.kernels.kernel import cpu_engine
from gdopt.kernels.norm import NormPlan, root, segment_sums
from gdopt.kernels.sums import BIG, GROW, LANES, SHRINK, SMALL

PLAIN = ["{0} += x * x"]  # to lanes, in float64
SCALED = [
    f"big = abs(x) > {BIG!r}",
    f"small = abs(x) < {SMALL!r}",
    "{0} += 0.0 if big or small else x * x",
    f"x *= {SHRINK!r} if big else {GROW!r}",
    "{1} += x * x if big else 0.0",
    "{2} += x * x if small else 0.0",
]


def print_squares(*, scaled: bool, flush: bool, cache: bool) -> str:
    """Print Numba loops that add up the squares of segments, and then these sums.

    Offsets into whole buffers are unsigned: Numba does not vectorize a signed index,
    which might be negative, and a slice or a call costs as much as a short array.
    """
    lanes = [f"lanes{k}" for k in range(3 if scaled else 1)]
    add = "; ".join(["x = float64(g[place + l])", *(SCALED if scaled else PLAIN)])
    add = add.format(*(f"{x}[l]" for x in lanes))
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
def add_squares(g, segments, column, sums):
    {"; ".join(f"{x} = np.empty({LANES})" for x in lanes)}
    {"mode = enter()" if flush else ""}
    for s in range(segments.shape[0]):
        place, count = uint64(segments[s, column]), segments[s, 2]
        for l in range({LANES}):
            {"; ".join(f"{x}[l] = 0.0" for x in lanes)}
        for row in range(count // {LANES}):
            for l in range(uint64({LANES})):
                {add}
            place += uint64({LANES})
        for l in range(uint64(count % {LANES})):
            {add}
{chr(10).join(halves)}
        {"; ".join(f"sums[{k}, segments[s, 3]] = {x}[0]" for k, x in enumerate(lanes))}
    {"leave(mode)" if flush else ""}


@numba.njit(cache={cache}, error_model="numpy", nogil=True)
def add_neighbours(sums, firsts, ends):
    for k in range(sums.shape[0]):
        for node in range(ends[0], ends[-1]):
            low, high = firsts[node - ends[0]], firsts[node - ends[0] + 1]
            sums[k, node] = sums[k, low] + (sums[k, low + 1] if high - low > 1 else 0.0)
"""


@functools.cache
def _loops(dtype: str) -> Any:
    from gdopt.kernels.cpu.loops import compile_module  # noqa: PLC0415 - with Numba

    scaled = dtype == "float64"
    flush = not scaled and can_flush()
    text = functools.partial(print_squares, scaled=scaled, flush=flush)
    return compile_module(text, f"squares_{dtype}")[1]


class CpuNorm:
    """Computes the norm of gradients of one layout."""

    def __init__(self, layout: Layout) -> None:
        self._plan = plan = NormPlan(layout)
        self._arrays: list[Any] = []  # with Numba, for each its loop and segments
        self._loops: dict[str, Any] = {}
        if cpu_engine() == "numba" and layout.sizes.keys() <= {"float32", "float64"}:
            self._loops = {group: _loops(group) for group in layout.sizes}
            rest = dict(plan.segments)
            for slot in layout.slots.values():
                rows = rest[slot.group]
                count = np.searchsorted(rows[:, 4], rows[0, 4], "right")
                own, rest[slot.group] = np.split(rows, [count])
                self._arrays.append((self._loops[slot.group].add_squares, own))

    def __call__(self, grads: Arena | Sequence[Any]) -> float:
        """Return the norm of all arrays together."""
        plan = self._plan
        sums = np.zeros((plan.sums, plan.ends[-1]))
        if not self._loops:
            arrays = list(grads.values()) if isinstance(grads, Arena) else grads
            sums[:, : plan.ends[0]] = segment_sums(arrays, scaled=plan.sums > 1)
            for low, high in itertools.pairwise(plan.ends):
                firsts = plan.firsts[low - plan.ends[0] : high - plan.ends[0]]
                sums[:, low:high] = np.add.reduceat(sums[:, :low], firsts, axis=1)
            return root(*sums[:, -1].tolist())
        if isinstance(grads, Arena):
            for group, loops in self._loops.items():
                buffer, rows = grads.buffers[group], plan.segments[group]
                loops.add_squares(buffer, rows, 1, sums)
        else:
            for (add_squares, rows), array in zip(self._arrays, grads, strict=True):
                add_squares(array.reshape(-1), rows, 0, sums)
        next(iter(self._loops.values())).add_neighbours(sums, plan.firsts, plan.ends)
        return root(*sums[:, -1].tolist())
