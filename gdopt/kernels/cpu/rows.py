"""Prints a loss as a Numba loop over the rows of a matrix."""

from __future__ import annotations

from collections.abc import Collection

from gdopt.kernels.ops import LANES, OPERATIONS
from gdopt.kernels.rows import RowPlan
from gdopt.kernels.symbol import Symbol
from gdopt.kernels.trace import Program

TEXT = '''"""A loop over rows printed by gdopt from the formula {name}."""
from math import fabs

import numba
import numpy as np
from numpy import exp, log, log1p, sqrt, tanh
{imports}

@numba.njit(cache={cache}, error_model="numpy", nogil=True)
def combine_(lanes_):
    half_ = {lanes}
    while half_ > 1:
        half_ //= 2
        for k_ in range(half_):
            lanes_[k_] += lanes_[k_ + half_]
    return lanes_[0]


@numba.njit(cache={cache}, error_model="numpy", nogil=True)
def serial({parameters}, total_, scalars_):
    rows_, columns_ = outputs.shape
    totals_ = np.zeros({lanes}, outputs.dtype)
    lanes_ = np.zeros(({sums}, {lanes}), outputs.dtype)
{head}
    for r_ in range(rows_):
{body}
    total_[0] = combine_(totals_)
{tail}
'''


def print_rows(
    program: Program, vectors: Collection[str], *, flush: bool, cache: bool
) -> str:
    """Print a loss: gradient, each row's loss and, into total_, the sum of those."""
    plan = RowPlan(program, vectors)
    gradient, loss = program.results
    parameters = [s.name for s in program.inputs if s.name != "column"]
    names = {symbol: f"v_{symbol.name}_" for symbol in program.inputs}
    names |= {symbol: f"s{place}" for symbol, place in program.places.items()}
    numbers = {node: k for k, node in enumerate(program.instructions)}
    body = [
        f"{names[symbol]} = {symbol.name}[r_]"
        for symbol in program.inputs
        if symbol.name in vectors and program.reads(symbol)
    ]

    def compute(node: Symbol) -> str:
        names[node] = f"x{numbers[node]}"
        arguments = [names[argument] for argument in node.arguments]
        text = OPERATIONS[str(node.operation)].python.format(*arguments)
        return f"{names[node]} = {text}"

    stages = plan.stages(program.instructions, {"gradient": gradient})
    for before, sums, outs in stages:
        body += [compute(node) for node in before]
        body += [f"lanes_[{numbers[n]}, :] = 0" for n in sums]
        body += [f"x{numbers[n]} = outputs[r_, 0]" for n in sums if not _adds(n)]
        if not sums and not outs:
            continue
        body.append("for k_ in range(columns_):")
        wanted = [node.arguments[0] for node in sums] + list(outs.values())
        inputs, nodes = plan.needed(wanted)
        for symbol in inputs:
            source = "k_" if symbol.name == "column" else f"{symbol.name}[r_, k_]"
            body.append(f"    {names[symbol]} = {source}")
        body += ["    " + compute(node) for node in nodes]
        for node in sums:
            body.append("    " + _step(node, names, numbers[node]))
        body += [f"    {name}[r_, k_] = {names[r]}" for name, r in outs.items()]
        for node in sums:
            names[node] = f"x{numbers[node]}"
            if _adds(node):
                body.append(f"{names[node]} = combine_(lanes_[{numbers[node]}])")
    body += [f"loss[r_] = {names[loss]}", f"totals_[r_ % {LANES}] += {names[loss]}"]
    head = [f"    s{k} = scalars_[{k}]" for k in range(len(program.hoisted))]
    imported = "\nfrom gdopt.kernels.cpu.numba_flush import enter, leave\n"
    return TEXT.format(
        name=program.name,
        imports=imported if flush else "",
        cache=cache,
        lanes=LANES,
        parameters=", ".join(parameters),
        sums=len(program.instructions),
        head="\n".join([*head, *(["    mode = enter()"] if flush else [])]),
        body="\n".join(f"        {line}" for line in body),
        tail="    leave(mode)" if flush else "",
    )


def _adds(node: Symbol) -> bool:
    return node.operation == "row_sum"


def _step(node: Symbol, names: dict[Symbol, str], number: int) -> str:
    """Print what an element adds to a sum, or does to a maximum or a choice."""
    value, mine = names[node.arguments[0]], f"x{number}"
    if _adds(node):
        return f"lanes_[{number}, k_ % {LANES}] += {value}"
    if node.operation == "row_pick":
        return f"{mine} = {value} if k_ == {names[node.arguments[1]]} else {mine}"
    return f"{mine} = {value} if {value} > {mine} or {value} != {value} else {mine}"
