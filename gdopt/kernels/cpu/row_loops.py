"""Prints the Numba loops that work on some rows of arrays, by their numbers."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection
from typing import Any

from gdopt.kernels.cpu.flush import can_flush
from gdopt.kernels.cpu.loop_passes import print_jit_head
from gdopt.kernels.cpu.loops import Loop, compile_module, print_element, print_head
from gdopt.kernels.trace import Program

SUMS = """

@jit
def add_rows(g, order, firsts, total):
    {enter}
    for row in range(firsts.size - 1):
        low, high, own = firsts[row], firsts[row + 1], total[row]
        one = g[order[low]]
        for column in range(own.size):
            own[column] = one[column]
        for k in range(low + 1, high):
            one = g[order[k]]
            for column in range(own.size):
                own[column] += one[column]
    {leave}
"""


def print_row_loop(
    program: Program,
    *,
    flush: bool,
    taken: Collection[int],
    norm: str | None = None,  # noqa: ARG001 - the loop does not compute it
) -> str:
    """Print the loop over rows: number k is row k of what is taken, else rows[k]."""
    names = program.arguments
    body = print_element(program, "a_{}_[i]")[0]
    listed = ", ".join([*names, "rows_"])
    lines = [print_head(program, flush=flush, parameters=listed)]
    lines += ["    for k in range(rows_.size):"]
    for j, name in enumerate(names):
        lines += [f"        {name}_ = {name}[{'k' if j in taken else 'rows_[k]'}]"]
    lines += [f"        for i in range({names[0]}_.size):"]
    lines += [f"            {line}" for line in body or ["pass"]]
    lines += ["    leave(mode)"] if flush else []
    return "\n".join(lines) + "\n"


@functools.cache
def row_loop(
    program: Program, dtype: Any, taken: tuple[int, ...]
) -> Callable[..., None]:
    """Return a function of the inputs, the hoisted values and the rows.

    The inputs are matrices of that dtype; those at the places `taken`, such as the
    gradient, have a row for each of the rows.
    """
    printer = functools.partial(print_row_loop, taken=taken)
    return Loop(program, dtype, printer).run_rows


def print_sums(dtype: str) -> str:
    """Print the loop that adds up gradients of the same row, in order."""
    flush = dtype == "float32" and can_flush()
    enter, leave = ("mode = enter()", "leave(mode)") if flush else ("", "")
    head = print_jit_head("rows", flush=flush)
    return head + SUMS.format(enter=enter, leave=leave)


@functools.cache
def sum_loop(dtype: str) -> Any:
    """Return the function of `print_sums` for a dtype."""
    text = functools.partial(print_sums, dtype)
    return compile_module(text, f"row_sums_{dtype}")[1].add_rows
