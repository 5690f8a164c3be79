"""Describes a kernel: its formula, what it costs, and what is printed of it."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Callable
from typing import Any, NamedTuple

from gdopt.arrays.dtypes import Storage
from gdopt.kernels.cpu.blocks import print_block
from gdopt.kernels.cpu.loops import print_loop
from gdopt.kernels.cuda.fused import KernelVariant, print_fused
from gdopt.kernels.trace import Program, expression, print_host


class Costs(NamedTuple):
    """What a program costs; loads, stores and operations are those of an element."""

    passes: int
    loads: int
    stores: int
    operations: int


def count_costs(program: Program) -> Costs:
    """Count what a program does."""
    loads = sum(map(program.reads, program.inputs))
    stores = sum(map(program.writes, range(len(program.inputs))))
    return Costs(1, loads, stores, len(program.instructions))


def describe(function: Callable[..., Any], program: Program) -> str:
    """Describe a formula in sections: source, costs, scalars, and text of each engine.

    Args:
        function: the formula.
        program: what it was traced to.
    """
    costs = count_costs(program)._asdict().items()
    lines, values = print_host(
        program.hoisted, lambda node, names: expression(node, names, "python")
    )
    scalars = [line.strip() for line in lines]
    scalars += [f"s{place} = {value}" for place, value in enumerate(values)]
    stored = (Storage("float32"),) * len(program.inputs)
    cuda = print_fused(program, KernelVariant(stored, "float32"))
    sections = {
        "Source": print_source(function),
        "Costs": ", ".join(f"{name} {count}" for name, count in costs),
        "Scalars, once a step in float64": "\n".join(scalars),
        "NumPy, block by block": print_block(program)[0],
        "Numba": print_loop(program, flush=False, cache=False),
        "CUDA, for float32 in arenas": (
            f"// reads {cuda.inputs}\n// writes {cuda.outputs}\n{cuda.body}"
        ),
    }
    return "\n\n".join(
        f"{title}:\n{textwrap.indent(text.strip(), '    ')}"
        for title, text in sections.items()
        if text
    )


def print_source(function: Callable[..., Any] | None) -> str:
    """Return the source of a function, and of that which it wraps."""
    sources = []
    while function is not None:
        try:
            source = inspect.getsource(getattr(function, "__code__", function))
        except (OSError, TypeError):
            source = f"{function!r}: its source is not in a file"
        sources.append(textwrap.dedent(source).strip())
        function = getattr(function, "__wrapped__", None)
    return "\n\n".join(sources)
