"""Prints the Numba loops of the norm: one pass over segments, then over their sums."""

from __future__ import annotations

import functools
from typing import Any

from gdopt.kernels.cpu.flush import can_flush
from gdopt.kernels.cpu.lanes import Sum, inside, set_width
from gdopt.kernels.cpu.loop_passes import print_jit_head
from gdopt.kernels.cpu.loops import compile_module
from gdopt.kernels.sums import LANES
from gdopt.kernels.symbol import Symbol

# Sums of segments come first, then those of neighbours, level by level, up to the root.
LOOPS = """
@jit
def add_squares(g, segments, column, sums):
    lanes = np.empty({size})
{body}


@jit
def join(sums, firsts):
    first = sums.shape[1] - firsts.size + 1
    for k in range(sums.shape[0]):
        for node in range(first, sums.shape[1]):
            low, high = firsts[node - first], firsts[node - first + 1]
            sums[k, node] = sums[k, low] + (sums[k, low + 1] if high - low > 1 else 0.0)
    big, small = (sums[1, -1], sums[2, -1]) if sums.shape[0] > 1 else (0.0, 0.0)
    return root(sums[0, -1], big, small)


@jit
def take_norm(g, segments, sums, firsts):
    add_squares(g, segments, 1, sums)
    return join(sums, firsts)
"""


def print_squares(dtype: str) -> str:
    """Print loops that add up the squares of a buffer's segments, and join the sums."""
    flush = dtype == "float32" and can_flush()
    one = Sum(Symbol("norm"), range(3 if dtype == "float64" else 1))
    lanes = one.lanes()
    start, add = one.start(lanes), one.add("g[place + l]", lanes)
    rest = inside(
        f"for low in range({LANES}, count, {LANES}):",
        [f"place, m = place + uint64({LANES}), min({LANES}, count - low)"],
        inside("for l in range(uint64(m)):", add),
    )
    body = inside(
        "for s in range(segments.shape[0]):",
        ["place, count = uint64(segments[s, column]), segments[s, 2]"],
        [*set_width("count"), f"m = min({LANES}, count)"],
        inside("for l in range(uint64(m)):", start, add),  # most arrays are short
        inside("for l in range(uint64(m), uint64(width)):", start),
        rest,
        one.halve(),
        [f"sums[{k}, segments[s, 3]] = lanes[{k * LANES}]" for k in one.places],
    )
    if flush:
        body = ["mode = enter()", *body, "leave(mode)"]
    return print_jit_head("norm", flush=flush) + LOOPS.format(
        size=len(one.places) * LANES, body="\n".join(f"    {line}" for line in body)
    )


@functools.cache
def square_loops(dtype: str) -> Any:
    """Return the module of the loops for buffers of a dtype."""
    text = functools.partial(print_squares, dtype)
    return compile_module(text, f"squares_{dtype}")[1]
